"""Checkpoints: one safetensors file each, with the rest as JSON in its header; never a pickle.

`last.safetensors` is replaced as a whole, and the one before it stays as `previous.safetensors`. The files hold no
clock time, so the same run writes the same bytes.
"""

import os
from collections.abc import Callable, Mapping, Sequence
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


def go_on(
    folder: Path,
    kept: tuple[dict[str, Tensor], dict[str, Any]],
    identity: Mapping[str, str],
    steps: int,
    restore: Callable[[Mapping[str, Tensor], Mapping[str, Any]], None],
) -> None:
    """Put a checkpoint back with `restore`, as :func:`load` gave it.

    Args:
        identity: as for :func:`check_same`.
        steps: of the whole training.

    Raises:
        InputError: it was made from something else, or tensors and facts are not those of such a training.
    """
    tensors, facts = kept
    stored, step = facts.get("identity"), facts.get("step")
    check_same(stored if isinstance(stored, Mapping) else {}, identity, folder)
    try:
        if type(step) is not int or not 0 <= step <= steps:
            raise ValueError(f"its step is {step!r}, of {steps}")
        restore(tensors, facts)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        # load_state_dict names the wrong tensors in many lines.
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the checkpoint in {folder} is damaged: {reason}: start again with --overwrite") from error


def check_like(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless there are the same names, each with the same shape and type."""
    for name in found.keys() | wanted.keys():
        if name not in found or name not in wanted:
            raise ValueError(f"{name} is {'missing' if name in wanted else 'unexpected'}")
        if (found[name].shape, found[name].dtype) != (wanted[name].shape, wanted[name].dtype):
            raise ValueError(f"{name} is {found[name].dtype} of shape {tuple(found[name].shape)}")


def rows_of(history: object, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a history in the order of `columns`, which they may lack. Raises ValueError for anything else."""
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        raise ValueError("its history is no list of rows")
    rows = [{name: row[name] for name in columns if name in row} for row in history]  # JSON came back sorted
    if not all(value is None or type(value) in (int, float) for row in rows for value in row.values()):
        raise ValueError("its history holds what is no number")
    return rows


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
