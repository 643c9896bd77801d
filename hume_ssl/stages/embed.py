"""`embed`: the spaces of some encoders, made into the run folder for a later `discover` to find."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from hume_ssl.broken import sentence
from hume_ssl.config import DataConfig
from hume_ssl.devices import pick_device
from hume_ssl.distributed import check_devices, local_device
from hume_ssl.errors import InputError
from hume_ssl.item_columns import make_split
from hume_ssl.run import RunFolder
from hume_ssl.spaces.embed import precision_on, width_of
from hume_ssl.spaces.spec import EncoderSpec, check_spec, parse_spec, split_spec
from hume_ssl.stages.embed_ranks import spread_embedding
from hume_ssl.stages.run_items import look_at_images, run_items, same_items
from hume_ssl.stages.spaces import found_space, make_space
from hume_ssl.stages.table import note_broken


def embed(
    run: RunFolder,
    data: DataConfig,
    encoders: Sequence[str],
    say: Callable[[str], None],
    *,
    precision: str = "auto",
    device: str = "auto",
    batch: int | None = None,
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Embed the images under each encoder; facts for `--json`.

    Args:
        data: the images and where they are, and their split, as for discover: `kernel` encoders are fitted to train
            items alone.
        encoders: KIND:NAME[@FILE][?key=value], each a space.
        precision: float32, bfloat16, or auto: bfloat16 on a GPU that computes in it.
        batch: images encoded at once; None: as many as pay off.
        workers: processes that decode; None: as many as pay off.
        resume, overwrite: go on with an unfinished space, or make all of them again.
        show: progress on stderr.

    Raises InputError before anything is written, but for an image that cannot be read, which is found on the way.
    """
    if not encoders:
        raise InputError("which encoder? give --encoder, or --list to see which there are")
    specs = [_checked(text) for text in encoders]
    if len(specs) > len({spec.text for spec in specs}):
        raise InputError("an --encoder stands twice: give each once")
    run.check()
    items, broken = run_items(data, {}, show=show)
    if broken:
        say(f"warning: {sentence(broken, len(items))}; broken.csv has the list")
    train = make_split(len(items), data.split, data.split_seed, items.filepaths, items.root) == "train"
    precisions = ("float32", "bfloat16") if precision == "auto" else (precision,)
    made: dict[str, dict[str, Any]] = {}
    for spec in specs if not overwrite else []:
        for how in precisions:
            if found := found_space(run, items, spec, train, how):
                made[spec.text] = found
    missing = [parse_spec(spec.text) for spec in specs if spec.text not in made]
    if missing:
        look_at_images(items, data, show=show)
        device = str(pick_device(device))
        check_devices(device)
    if precision == "bfloat16" and missing and precision_on(device, "auto", cpu=True) != precision:
        say("warning: this device does not compute in bfloat16, and emulates it slowly: give --precision float32")
    for spec in missing:
        width_of(spec)  # refuses wrong weights now, not after an hour with the encoder before it
    for spec in missing:
        how = precision_on(device, precision) if spec.is_network else "float32"
        made[spec.text] = make_space(
            run,
            items,
            spec,
            train,
            device=local_device(device),
            precision=how,
            spread=spread_embedding(data, broken, items, spec, device, how, batch, workers),
            resume=resume,
            overwrite=overwrite,
            batch=batch,
            workers=workers,
            show=show,
        )
    if broken:
        note_broken(run, broken, items)
    for spec in specs:
        say(_told(made[spec.text]))
    flags = shlex.join(["--images", str(data.images), *(word for e in encoders for word in ("--encoder", e))])
    say(f"Next: hume-ssl discover {flags}{same_items(data)} --classes K{run.flag} takes them as they are")
    return {"run": str(run.path), "spaces": [made[spec.text] for spec in specs]}


def _checked(text: str) -> EncoderSpec:
    """An encoder whose file is there; its name is looked up only if it has to be made, as a library takes seconds."""
    spec = split_spec(text)
    check_spec(spec)
    return spec


def _told(made: dict[str, Any]) -> str:
    size = f"{made['items']} x {made['width']}"
    if made["cached"]:
        return f"{made['encoder']}: there already, {size}: {made['path']}"
    speed = f", {made['images_per_second']:.0f} images a second" if "images_per_second" in made else ""
    busy = f", device busy {made['busy']:.0%} of the time" if "busy" in made else ""
    return f"{made['encoder']}: {size} in {made['seconds']:.1f} s{speed}{busy}: {made['path']}"
