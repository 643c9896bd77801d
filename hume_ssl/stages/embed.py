"""`embed`: the spaces of some encoders, made into the run folder for a later `discover` to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hume_ssl.devices import pick_device
from hume_ssl.distributed import refuse
from hume_ssl.errors import InputError
from hume_ssl.items import check_images, load_items, make_split
from hume_ssl.run import RunFolder
from hume_ssl.spaces.embed import precision_on, width_of
from hume_ssl.spaces.spec import EncoderSpec, check_spec, parse_spec, split_spec
from hume_ssl.stages.spaces import found_space, make_space
from hume_ssl.stages.table import run_flag


def embed(
    run: RunFolder,
    images: str,
    encoders: Sequence[str],
    say: Callable[[str], None],
    *,
    split: str | None = None,
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
        images: what `--images` takes.
        encoders: KIND:NAME[@FILE][?key=value], each a space.
        split: share of test items, or a file, as for discover: `kernel` encoders are fitted to train items alone.
        precision: float32, bfloat16, or auto: bfloat16 on a GPU that computes in it.
        batch: images encoded at once; None: as many as pay off.
        workers: processes that decode; None: as many as pay off.
        resume, overwrite: go on with an unfinished space, or make all of them again.
        show: progress on stderr.

    Raises InputError before anything is written, but for an image that cannot be read, which is found on the way.
    """
    refuse("embed")
    if not encoders:
        raise InputError("which encoder? give --encoder, or --list to see which there are")
    specs = [_checked(text) for text in encoders]
    if len(specs) > len({spec.text for spec in specs}):
        raise InputError("an --encoder stands twice: give each once")
    run.check()
    items = load_items(images)
    share = float(split) if split is not None and _is_number(split) else split
    train = make_split(len(items), share, 0, items.filepaths, items.root) == "train"
    precisions = ("float32", "bfloat16") if precision == "auto" else (precision,)
    made: dict[str, dict[str, Any]] = {}
    for spec in specs if not overwrite else []:
        for how in precisions:
            if found := found_space(run, items, spec, train, how):
                made[spec.text] = found
    missing = [parse_spec(spec.text) for spec in specs if spec.text not in made]
    if missing:
        check_images(items)
        device = str(pick_device(device))
    for spec in missing:
        width_of(spec)  # refuses wrong weights now, not after an hour with the encoder before it
    for spec in missing:
        made[spec.text] = make_space(
            run,
            items,
            spec,
            train,
            device=device,
            precision=precision_on(device, precision) if spec.is_network else "float32",
            resume=resume,
            overwrite=overwrite,
            batch=batch,
            workers=workers,
            show=show,
        )
    for spec in specs:
        say(_told(made[spec.text]))
    flags = " ".join(f"--encoder '{text}'" for text in encoders)
    say(f"Next: hume-ssl discover --images {images} --classes K {flags}{run_flag(run)} takes them as they are")
    return {"run": str(run.path), "spaces": [made[spec.text] for spec in specs]}


def _checked(text: str) -> EncoderSpec:
    """An encoder whose file is there; its name is looked up only if it has to be made, as a library takes seconds."""
    spec = split_spec(text)
    check_spec(spec)
    if spec.kind == "npy":
        raise InputError(f"{text!r} is a space already: give it to discover as it is")
    return spec


def _told(made: dict[str, Any]) -> str:
    size = f"{made['items']} x {made['width']}"
    if made["cached"]:
        return f"{made['encoder']}: there already, {size}: {made['path']}"
    speed = f", {made['images_per_second']:.0f} images a second" if "images_per_second" in made else ""
    busy = f", device busy {made['busy']:.0%} of the time" if "busy" in made else ""
    return f"{made['encoder']}: {size} in {made['seconds']:.1f} s{speed}{busy}: {made['path']}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
