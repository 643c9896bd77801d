"""New images, or rows, in the spaces of a run: by the encoders that made those, as they were then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.files import plain
from hume_ssl.items import Items
from hume_ssl.progress import track
from hume_ssl.run import RunFolder
from hume_ssl.spaces.decode import in_batches, pixels_of
from hume_ssl.spaces.embed import CHUNK, describe, embed, fitted_beside
from hume_ssl.spaces.loading import check_space, load_space
from hume_ssl.spaces.spec import check_spec, parse_spec
from hume_ssl.stages.inputs import Role, roles
from hume_ssl.stages.table import stored_recipe, stored_roles

Array = NDArray[Any]


def check_sources(run: RunFolder, wanted: Sequence[str], items: Items | None, given: dict[str, str]) -> list[Role]:
    """The roles of a run whose spaces are `wanted` for new items, before anything is embedded.

    Args:
        wanted: names of roles, as "labeller".
        items: new images; None: there are none, and every space has to be given.
        given: files (m, d) of new rows, by role.

    Raises InputError where one can neither be given nor made: an encoder without images, a space that was an array, a
    weights file that is gone or is another one.
    """
    found = {role.name: role for role in roles(stored_recipe(run))}
    records = stored_roles(run)
    for name in given:
        if name not in records:
            raise InputError(f"the run {run.path} has no {name}: its spaces are {', '.join(records)}")
    for name in wanted:
        role = found[name]
        if name in given:
            continue
        if role.encoder is None or items is None:
            flag = f"--{name.partition('-')[0]} NEW.npy"
            why = f"was the array {role.path}" if role.encoder is None else f"was made by {role.encoder}, from images"
            raise InputError(f"the {name} space of {run.path} {why}: give the new items' rows with {flag}")
        spec, record = parse_spec(role.encoder), records[name]
        check_spec(spec)
        now = plain(describe(items, spec, np.ones(len(items), dtype=bool), str(record.get("precision", "float32"))))
        for key in ("weights_sha256", "weights", "preprocessing") if spec.is_network else ():
            if now.get(key) != record.get(key):
                raise InputError(
                    f"the encoder {role.encoder!r} is not as it was for {run.path}: its {key} is another; put the file "
                    f"or the library's version back, or run discover --overwrite{run.flag}"
                )
        if spec.kind == "kernel" and not fitted_beside(run.spaces / record["file"]).is_file():
            raise InputError(
                f"{run.path} does not hold what {role.encoder} was fitted to: make it again with discover "
                f"--overwrite{run.flag}"
            )
    return [found[name] for name in wanted]


def space_of_new(
    run: RunFolder, role: Role, items: Items | None, given: dict[str, str], device: str, *, show: bool = True
) -> Array:
    """(m, d) rows of the new items in the space of a role, after `check_sources`."""
    record = stored_roles(run)[role.name]
    width = int(run.read_npy(run.spaces / record["file"]).shape[1])
    if role.name in given:
        array = load_space(given[role.name])
        check_space(array, given[role.name], labeller=role.name == "labeller", whole=False)
        if array.shape[1] != width:
            raise InputError(f"{given[role.name]} has {array.shape[1]} columns, the {role.name} of the run {width}")
        return array
    assert role.encoder is not None and items is not None
    spec = parse_spec(role.encoder)
    with track(len(items), f"{role.name} ({role.encoder})", show=show) as progress:
        if spec.kind == "kernel":
            return _by_kernel(items, fitted_beside(run.spaces / record["file"]), progress)
        everything = np.ones(len(items), dtype=bool)
        precision = str(record.get("precision", "float32"))
        return embed(items, spec, everything, device=device, precision=precision, progress=progress)


def _by_kernel(items: Items, fitted: Path, progress: Any) -> Array:
    from hume_ssl.spaces import kernel

    features, size, channels = kernel.load(fitted)
    out = np.empty((len(items), len(features.offsets)), dtype=np.float32)
    for rows in in_batches(range(len(items)), CHUNK):
        out[rows.start : rows.stop] = features.transform(pixels_of(items, rows, size, channels))
        progress.advance(len(rows))
    return out
