"""`status`: what is done in a run folder, what is stale, and what comes next."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from hume_ssl.errors import InputError
from hume_ssl.progress import duration
from hume_ssl.run import RunFolder
from hume_ssl.stages.table import ANSWERS, CLASS_COUNT, DISCOVER

KEYS: tuple[str, ...] = ("status", "stale", "seconds", "stop_reason")


def status(run: RunFolder, say: Callable[[str], None]) -> dict[str, Any]:
    """Say how far the run is; facts for `--json`. Raises InputError if there is no run."""
    stages = run.stages()
    if not stages:
        raise InputError(f"no run in {run.path}: start one with hume-ssl discover{run.flag}")
    shown: dict[str, dict[str, Any]] = {}
    for name, record in stages.items():
        shown[name] = {key: record[key] for key in KEYS if key in record}
        took = f" in {duration(record['seconds'])}" if "seconds" in record else ""
        stale = f", stale: {record['stale']}" if "stale" in record else ""
        changed = run.changed(name) if record["status"] == "finished" else []
        if changed:
            shown[name]["changed"] = changed
        note = f", changed since: {', '.join(changed)}" if changed else ""
        say(f"{name:24} {record['status']}{took}{stale}{note}")
    step = _next(run, stages) + run.flag if DISCOVER in stages else _before_discover(run, stages)
    also = [f"{command}{run.flag}" for command in _also(run)]
    for command in also:
        say(f"also: {command}")
    say(f"next: {step}")
    return {"run": str(run.path), "stages": shown, "next": step, "also": also}


def _before_discover(run: RunFolder, stages: dict[str, dict[str, Any]]) -> str:
    """What follows where only numbers of classes were tried, or an encoder trained, as the user's own flags have it."""
    known = stages.get(CLASS_COUNT) or stages.get(run.latest("pretrain/") or "", {})
    return str(known.get("next", f"hume-ssl discover{run.flag}"))


def _next(run: RunFolder, stages: dict[str, dict[str, Any]]) -> str:
    """The command that gets a run one stage further."""
    finished = {name for name, record in stages.items() if record["status"] == "finished" and "stale" not in record}
    stale = [name for name, record in stages.items() if "stale" in record]
    if "discover" not in finished:
        if not run.recipe_toml.is_file():
            return "hume-ssl discover --resume"
        return f"hume-ssl discover --recipe {shlex.quote(str(run.recipe_toml))} --resume"
    if ANSWERS in stages and ANSWERS not in finished:
        return f"hume-ssl select --answers {shlex.quote(str(run.answers_csv))}"
    if not any(name.startswith("selection/per-class-") for name in finished):
        old = next((name for name in stale if name.startswith("selection/per-class-")), None)
        number = old.rpartition("-")[2] if old else "4"
        return f"hume-ssl select --per-class {number}" + (" --overwrite" if old else "")
    if not any(name.startswith("train/") for name in finished):
        begun = [name for name in stages if name.startswith("train/")]
        flag = " --overwrite" if any(name in stale for name in begun) else " --resume" if begun else ""
        return f"hume-ssl train-fixmatch{flag}"
    return "hume-ssl evaluate --truth FILE"


def _also(run: RunFolder) -> list[str]:
    """What a finished discover can be used for, and a finished training."""
    if run.stage(DISCOVER).get("status") != "finished":
        return []
    also = ["hume-ssl report", "hume-ssl export --to csv"]
    trained = ["hume-ssl assign --images DIR", "hume-ssl export --to onnx"]
    return also + (trained if run.latest("train/", stale=False) is not None else [])
