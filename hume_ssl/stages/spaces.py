"""Spaces in the run folder: made once by an encoder, and found again by what they follow from."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.files import plain
from hume_ssl.items import Items
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide, sha256_file
from hume_ssl.spaces.embed import Spread, asked_for, check_embeddable, describe, embed, fitted_beside
from hume_ssl.spaces.spec import EncoderSpec
from hume_ssl.stages.table import DISCOVER, stored_roles

if TYPE_CHECKING:
    from hume_ssl.spaces.encode import Meter

SPACES = "spaces/"  # begins the name of the stage of every space that an encoder made


def stored_space(
    run: RunFolder, items: Items, spec: EncoderSpec, train: NDArray[np.bool_], precision: str
) -> str | None:
    """The stage of the finished space that `spec` would give, if the run has it.

    Nothing is asked of the encoder's library, unless that has another version than when the space was made.
    """
    asked = plain(asked_for(items, spec, train, precision))
    made = {
        name: record["identity"]
        for name, record in run.stages().items()
        if name.startswith(SPACES) and record["status"] == "finished" and not run.changed(name)
    }
    if name := _same(made, asked):
        return name
    without = {name: _but_library(facts) for name, facts in made.items()}
    if _same(without, _but_library(asked)) is None:
        return None
    return _same(without, _but_library(plain(describe(items, spec, train, precision))))


def found_space(
    run: RunFolder, items: Items, spec: EncoderSpec, train: NDArray[np.bool_], precision: str
) -> dict[str, Any] | None:
    """What `make_space` returns of a space that is there; None where it has to be made."""
    stage = stored_space(run, items, spec, train, precision)
    return {**_facts(run, items, spec, stage), "cached": True} if stage else None


def make_space(
    run: RunFolder,
    items: Items,
    spec: EncoderSpec,
    train: NDArray[np.bool_],
    *,
    device: str,
    precision: str,
    what: str = "",
    resume: bool = True,
    overwrite: bool = False,
    batch: int | None = None,
    workers: int | None = None,
    spread: Spread | None = None,
    show: bool = True,
) -> dict[str, Any]:
    """The space of all items under an encoder, in spaces/: found there, or made, going on where it was cut off.

    Args:
        train: (n,) True for train items.
        device: of a network.
        precision: float32 or bfloat16.
        what: begins the progress line, as "judge".
        resume: go on with an unfinished one; without, and without `overwrite`, it is refused.
        spread: see `embed`.
        show: progress on stderr.

    Returns:
        `encoder`, `path`, `items`, `width`, and `cached`: whether it was there; else also `seconds`,
        `images_per_second`, and of a network `busy`: the share of the time in which the device computed.

    Raises InputError as `embed`; what has begun to be written is then removed.
    """
    check_embeddable(items, spec, train)
    if not overwrite and (found := found_space(run, items, spec, train, precision)):
        return found
    identity = describe(items, spec, train, precision)
    stage = SPACES + space_name(spec, identity)
    path = run.space(stage[len(SPACES) :])
    step = decide(run, stage, identity, resume=resume, overwrite=overwrite)
    if step == "start":
        run.remove_stage(stage)
    run.begin_stage(stage, identity, device=device)
    run.log(f"{step} {stage}: {spec.text}, {len(items)} items, device {device}, {precision}")
    began, meter = time.monotonic(), _meter(spec)
    try:
        with track(len(items), f"{what or 'embed'} ({spec.text})", show=show) as progress:
            embed(
                items,
                spec,
                train,
                device=device,
                precision=precision,
                progress=progress,
                path=path,
                batch=batch,
                workers=workers,
                meter=meter,
                spread=spread,
            )
    except InputError:
        run.discard(stage)
        raise
    seconds = time.monotonic() - began
    fitted = fitted_beside(path)
    run.finish_stage(stage, [path, fitted] if fitted.is_file() else [path], seconds, items=len(items))
    index_spaces(run)
    facts = {**_facts(run, items, spec, stage), "cached": False, "seconds": round(seconds, 3)}
    if meter is not None and meter.seconds:
        facts["images_per_second"] = round(meter.images / meter.seconds, 1)
        facts["busy"] = round(meter.busy(device), 3)
    run.log(f"finished {stage}: {facts}")
    return facts


def index_spaces(run: RunFolder, roles: Mapping[str, Mapping[str, object]] | None = None) -> None:
    """Write spaces.json: what serves as labeller and judges, and by their files' names what else encoders made.

    Args:
        roles: the record of each, in order, with `file`; None: those that spaces.json has.
    """
    if roles is None:
        roles = stored_roles(run)
    made = {
        name[len(SPACES) :]: {"file": f"{name[len(SPACES) :]}.npy", **record["identity"]}
        for name, record in sorted(run.stages().items())
        if name.startswith(SPACES) and record["status"] == "finished"
    }
    serving = {record["file"] for record in roles.values()}
    made = {name: record for name, record in made.items() if record["file"] not in serving}
    run.write_json(run.spaces_json, {**roles, **made})
    if run.stage(DISCOVER).get("status") == "finished":  # it recorded the file, as it was before it got a line more
        digest = {run.spaces_json.relative_to(run.path).as_posix(): sha256_file(run.spaces_json)}
        run.update(lambda record: record["stages"][DISCOVER]["artefacts"].update(digest))


def forget_other_spaces(run: RunFolder, items: Items) -> tuple[str, ...]:
    """Remove the spaces that encoders made of other items; returns patterns of the files of all that stay."""
    kept = []
    for name, record in run.stages().items():
        if name.startswith(SPACES):
            if record["identity"].get("items") != items.hash:
                run.remove_stage(name)
            else:
                kept.append(f"{name}.*")
    return tuple(kept)


def space_name(spec: EncoderSpec, identity: Mapping[str, object]) -> str:
    """What a space is called: its encoder, and a hash of all it follows from but the version of a library."""
    text = json.dumps(_but_library(plain(identity)), sort_keys=True)
    short = f"{spec.kind}-{Path(spec.name).name}"[:60]
    return RunFolder("").space(f"{short}-{hashlib.sha256(text.encode()).hexdigest()[:12]}").stem


def _facts(run: RunFolder, items: Items, spec: EncoderSpec, stage: str) -> dict[str, Any]:
    path = run.space(stage[len(SPACES) :])
    return {"encoder": spec.text, "path": str(path), "items": len(items), "width": int(run.read_npy(path).shape[1])}


def _same(made: Mapping[str, Mapping[str, Any]], asked: Mapping[str, Any]) -> str | None:
    return next((n for n, facts in made.items() if all(facts.get(key) == value for key, value in asked.items())), None)


def _but_library(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != "library"}


def _meter(spec: EncoderSpec) -> Meter | None:
    if not spec.is_network:
        return None
    from hume_ssl.spaces.encode import Meter

    return Meter()
