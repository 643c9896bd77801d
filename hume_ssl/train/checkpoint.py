"""Checkpoints: one safetensors file each, with the rest as JSON in its header; never a pickle.

`last.safetensors` is replaced as a whole, and the one before it stays as `previous.safetensors`. The files hold no
clock time, so the same run writes the same bytes.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hume_ssl import disk, tensor_files
from hume_ssl.errors import InputError

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"


def save(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `last.safetensors` and keep the one before it.

    Args:
        folder: made if absent.
        tensors: any names.
        facts: what JSON can hold.
    """
    if (folder / LAST).exists():
        os.replace(folder / LAST, folder / PREVIOUS)  # killed here, `load` finds the previous one
    tensor_files.write_safetensors(folder / LAST, tensors, facts)


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest whole checkpoint as (tensors, facts); None where there is none."""
    for path in (folder / LAST, folder / PREVIOUS):
        try:
            return tensor_files.read_safetensors(path)
        except InputError:
            continue
    return None


def clear(folder: Path) -> None:
    """Remove the checkpoints of an earlier run, and what a killed process left half-written."""
    for name in (LAST, PREVIOUS):
        (folder / name).unlink(missing_ok=True)
    disk.remove_leftovers(folder)


def check_same(stored: Mapping[str, str], now: Mapping[str, str], folder: Path) -> None:
    """Refuse to go on with a run that was made from something else.

    Args:
        stored: what the checkpoint was made from, as hashes by name ("label file", "settings", "items").
        now: the same of this run.

    Raises:
        InputError: a hash differs; both are named.
    """
    for name, value in now.items():
        if stored.get(name) != value:
            raise InputError(
                f"cannot resume from {folder}: its checkpoint was made with {name} {stored.get(name)}, "
                f"this run has {name} {value}; use the same {name}, or start again with --overwrite"
            )
