"""A network as one ONNX file: uint8 images in, probabilities out, class names in its metadata.

Input "images", uint8 (b, c, h, w), any b, or "vectors", float32 (b, d), of a head on a space; output "probabilities",
float32 (b, k). The metadata has "classes", a JSON list of names by class id, "preparation", how an image becomes the
input, in words, and "hume_ssl", a JSON object of what the network is.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hume_ssl import files
from hume_ssl.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hume_ssl.train.trained import Trained

EXPORTED = (2, 9)  # torch's exporter by torch.export is the default from this version on; before, it is TorchScript's
IMAGES, VECTORS, OUTPUT = "images", "vectors", "probabilities"


def check() -> None:
    """Raise InputError where a package that torch's exporter needs is missing."""
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(f"--to onnx needs the package {package}: pip install 'hume_ssl[onnx]'") from error


def write(trained: Trained, class_names: list[str], path: Path) -> list[Path]:
    """Write model.onnx (`path`); the same bytes for the same network and versions.

    Raises InputError for a network that torch cannot write as ONNX.
    """
    import onnx
    import torch

    from hume_ssl.train.trained import preparation

    shape = trained.facts["shape"]
    images = torch.zeros(2, *shape, dtype=torch.float32 if len(shape) == 1 else torch.uint8)
    try:
        with _quiet(), torch.inference_mode():
            model = convert(torch.nn.Sequential(trained.model, torch.nn.Softmax(1)).eval(), images)
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise InputError(
            f"torch {torch.__version__} cannot write {trained.facts['network']} as ONNX "
            f"({str(error)[:200]}): give --to torch"
        ) from error
    for part in [*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, *model.functions]:
        part.ClearField("metadata_props")  # where in which file on this machine each operation was called
        part.ClearField("doc_string")
    kept = {key: value for key, value in trained.facts.items() if key != "class_names"}
    facts = {"classes": json.dumps(class_names), "hume_ssl": json.dumps(kept, sort_keys=True)}
    facts["preparation"] = preparation(trained.facts)
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    files.write_bytes(path, model.SerializeToString(deterministic=True))
    return [path]


def convert(network: nn.Module, images: Tensor, exported: bool | None = None) -> Any:
    """A network as an onnx.ModelProto with a batch of any size, by the exporter that this torch has as its default.

    Args:
        images: uint8 (2, c, h, w), or float32 (2, d), as an example.
        exported: by torch.export (True) or TorchScript (False); None: by the version of torch.
    """
    import onnx
    import torch

    if exported is None:
        exported = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= EXPORTED
    given = IMAGES if images.dtype == torch.uint8 else VECTORS
    names: dict[str, Any] = {"input_names": [given], "output_names": [OUTPUT]}
    if exported:
        batch = torch.export.Dim("batch", min=1)
        program = torch.onnx.export(
            network, (images,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False, **names
        )
        assert program is not None
        return program.model_proto
    data: Any = io.BytesIO()  # newer torch says it takes a path only, and takes this as ever
    axes = {given: {0: "batch"}, OUTPUT: {0: "batch"}}
    torch.onnx.export(network, (images,), data, dynamo=False, dynamic_axes=axes, **names)
    return onnx.load_model_from_string(data.getvalue())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about itself off the user's screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
