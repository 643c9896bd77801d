"""What run.json must hold for the rest of the package to rely on it: it may have been damaged, or edited by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

STATUS = ("unfinished", "finished")
COUNTS = ("searches", "items", "classes", "reliable_items", "k")  # whole numbers wherever they stand
TEXTS = ("started", "finished", "stop_reason", "stale", "device", "next")
NUMBERED = re.compile(r"selection/(per-class|ask)-[1-9]\d{0,9}")


def fault_of(record: Mapping[str, Any]) -> str:
    """What is wrong with a record of a run, in words; "" where nothing is."""
    stages = record.get("stages", {})
    if not isinstance(stages, dict):
        return "its stages are no table"
    return next((f"{name!r} {fault}" for name, stage in stages.items() if (fault := _fault(name, stage))), "")


def _fault(name: str, stage: Any) -> str:
    if not isinstance(stage, dict):
        return "is no table"
    if name.startswith("selection/") and not NUMBERED.fullmatch(name):
        return "is no name of a selection"
    if stage.get("status") not in STATUS:
        return f"has a status other than {' or '.join(STATUS)}"
    if not isinstance(stage.get("identity"), dict):
        return "does not say what it was made from"
    for key in TEXTS:
        if not isinstance(stage.get(key, ""), str):
            return f"has {key} that is no text"
    for key in COUNTS:
        value = stage.get(key, 0)
        if value is not None and not (type(value) is int and 0 <= value < 1 << 40):
            return f"has {key} that is no whole number from 0"
    seconds = stage.get("seconds", 0.0)
    if type(seconds) not in (int, float) or not (math.isfinite(seconds) and 0 <= seconds < 1e12):
        return "has seconds that are no time"
    artefacts = stage.get("artefacts", {})
    if not isinstance(artefacts, dict) or not all(isinstance(digest, str) for digest in artefacts.values()):
        return "has artefacts that are no table of hashes"
    if bad := next((path for path in artefacts if not _inside(path)), None):
        return f"lists {bad!r}, a file outside the run"
    if stage["status"] == "finished" and "finished" not in stage:
        return "does not say when it was finished"
    return ""


def _inside(path: str) -> bool:
    """Whether a relative path stays in the folder it starts from: `--overwrite` removes what it names."""
    parts = PurePosixPath(path).parts
    short = len(path) <= 1000 and all(len(part.encode("utf-8", "replace")) <= 255 for part in parts)
    return bool(parts) and short and not path.startswith("/") and ".." not in parts and "\0" not in path
