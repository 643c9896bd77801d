"""The files that HUME's published code leaves of each search: `linear_task_SEED.pt` and `results_SEED.pickle`.

The first is the state dict of a bias-free linear layer under `torch.nn.utils.parametrizations.orthogonal`; the second a
pickled {"CV_Score": number}. Neither is unpickled: what a file of somebody else's could run is never looked up.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError

TASK, RESULT = re.compile(r"linear_task_(\d+)\.pt"), re.compile(r"results_(\d+)\.pickle")
ORIGINAL = "parametrizations.weight.original"
MOST_BYTES = 1 << 20  # of a results file, which holds one number


def find_tasks(folder: Path) -> dict[int, Path]:
    """The task files in a folder by seed, ascending; those of single iterations (`--save_all`) are not among them.

    Raises InputError where there is no such folder or no task file in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give the --exp_path of the published code")
    found = {int(match[1]): path for path in folder.iterdir() if (match := TASK.fullmatch(path.name))}
    if not found:
        raise InputError(f"no linear_task_SEED.pt in {folder}: give the --exp_path of the published code")
    return dict(sorted(found.items()))


def find_results(folder: Path) -> dict[int, Path]:
    """The results files in a folder by seed."""
    return {int(match[1]): path for path in folder.iterdir() if (match := RESULT.fullmatch(path.name))}


def read_task(path: Path) -> NDArray[np.float32]:
    """The task encoder's weight (k, d1), rows orthonormal (HUME, eq. 3); k is that of the file.

    Raises InputError for what is no state dict of such a layer, or holds anything but tensors.
    """
    import torch
    from torch import nn

    from hume_ssl.spaces.weights_files import load_tensors

    try:
        state = load_tensors(path)
    except Exception as error:  # a damaged file raises whatever its opcodes lead to
        raise InputError(f"{path} is no state dict of tensors alone: {_first_line(error)}; it is not read") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path} is no state dict: give files as the published code saves them")
    weight: Any = state.get("weight", state.get(ORIGINAL))
    if weight is None or weight.ndim != 2 or not weight.is_floating_point() or weight.layout != torch.strided:
        known = ", ".join(sorted(map(str, state)))[:120]
        raise InputError(f"{path} has no weight (k, d1), but {known or 'nothing'}: give linear_task files")
    k, d1 = weight.shape
    if not 2 <= k <= d1:
        raise InputError(f"{path}: a task encoder of {k} classes on {d1} columns has no {k} orthonormal rows")
    if ORIGINAL in state:
        layer = nn.utils.parametrizations.orthogonal(nn.Linear(d1, k, bias=False))
        try:
            layer.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(f"{path} is no orthogonal linear layer: {_first_line(error)}") from error
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            weight = layer.weight
    made: NDArray[np.float32] = weight.detach().float().numpy().copy()
    if not np.isfinite(made).all():
        raise InputError(f"{path} has weights that are no numbers: leave that search out")
    return made


def read_score(path: Path) -> float:
    """CV_Score, in [0, 1], of a results file.

    Raises InputError for a file that holds anything but plain values and numpy numbers, or no such score.
    """
    try:
        data = path.read_bytes()[: MOST_BYTES + 1]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path} has more than {MOST_BYTES:,} bytes, and should hold one number: it is not read")
    try:
        # Before it is loaded: Python makes room for whatever length or number a pickle says.
        for opcode, argument, _ in pickletools.genops(data):  # refuses lengths beyond the end
            if "PUT" in opcode.name and int(argument or 0) > len(data):
                raise ValueError(f"it numbers {argument} values in {len(data)} bytes")
        value = _Reader(io.BytesIO(data)).load()
    except InputError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its opcodes lead to
        raise InputError(f"{path} is no readable results file: {_first_line(error)}; leave it out") from error
    score = value.get("CV_Score") if isinstance(value, dict) else None
    if isinstance(score, _Array):
        score = score.number()
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise InputError(f"{path} has no CV_Score from 0 to 1: leave it out")
    return float(score)


class _Reader(pickle.Unpickler):
    """Reads dicts, lists, text and numbers; of classes and functions only stand-ins for those of numpy's numbers."""

    def find_class(self, module: str, name: str) -> Any:
        place = module.replace("numpy._core", "numpy.core"), name
        if place not in _STANDINS:
            raise InputError(
                f"a results file asks for {module}.{name}, which no number needs: it may be meant to run "
                "something, and is not read"
            )
        return _STANDINS[place]

    def persistent_load(self, pid: Any) -> Any:
        raise InputError("a results file refers to something outside it: it is not read")


class _Dtype:
    """What a pickled numpy dtype says: its code and byte order."""

    def __init__(self, code: str, align: object = False, copy: object = True) -> None:
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Array:
    """A pickled numpy number, or array of one."""

    def __init__(self, dtype: object = None, data: object = b"") -> None:
        self.dtype, self.data = dtype, data

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, _, self.dtype, _, self.data = state

    def number(self) -> float | None:
        """The one number that is in it; None if it is another thing."""
        kinds = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i"}
        if not isinstance(self.dtype, _Dtype) or self.dtype.code not in kinds or not isinstance(self.data, bytes):
            return None
        form = self.dtype.order + kinds[self.dtype.code]
        return float(struct.unpack(form, self.data)[0]) if len(self.data) == struct.calcsize(form) else None


def _latin1(text: str, coding: str = "latin1") -> bytes:
    """`_codecs.encode` as old protocols use it for bytes."""
    return text.encode("latin1")


def _empty(*arguments: object) -> _Array:
    return _Array()


def _from_buffer(data: object, dtype: object, *shape: object) -> _Array:
    return _Array(dtype, bytes(data) if isinstance(data, bytes | bytearray) else b"")


_STANDINS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "scalar"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _latin1,
}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
