"""Named tensors and JSON facts about them in one safetensors file, which knows by a hash whether it was altered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hume_ssl.errors import InputError
from hume_ssl.files import plain, write_bytes

if TYPE_CHECKING:
    import numpy as np
    import torch

Part = tuple[str, tuple[int, ...], Any]
"""Of a tensor its dtype, shape and bytes."""


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, object]) -> None:
    """Write named tensors, and `facts` (JSON values) about them.

    The facts go under one key, since the library writes several keys in an order that changes from run to run. With
    them goes a hash of all there is, by which `read_safetensors` knows a file that was altered or half-copied.
    """
    from safetensors.torch import save

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not `save_file`: it makes files that only their owner may read.
    said = plain(facts)
    said["sha256"] = _sha256_tensors({name: _bytes_of(tensor) for name, tensor in contiguous.items()}, said)
    write_bytes(path, save(contiguous, metadata={"hume_ssl": json.dumps(said, sort_keys=True)}))


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `write_safetensors` wrote. Raises InputError if the file is absent, broken or altered."""
    tensors, facts = _read_safetensors(path, "pt")
    _check_hash(path, facts, lambda: {name: _bytes_of(tensor) for name, tensor in tensors.items()})
    return tensors, facts


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors that `write_safetensors` wrote, as arrays, for those who have no need of torch. Raises likewise."""
    arrays, facts = _read_safetensors(path, "numpy")
    _check_hash(path, facts, lambda: {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in arrays.items()})
    return arrays


def _read_safetensors(path: Path, framework: str) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is no dict
            facts = json.loads((file.metadata() or {}).get("hume_ssl", "{}"))
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged: the facts in its header are no JSON ({error}): make it again") from error
    if not isinstance(facts, dict):
        raise InputError(f"{path} is damaged: the facts in its header are no table: make it again")
    return tensors, facts


def _check_hash(path: Path, facts: dict[str, Any], parts: Callable[[], dict[str, Part]]) -> None:
    """Raise InputError where the hash in the facts is not that of all the rest; files of before have none."""
    stored = facts.pop("sha256", None)
    if stored is not None and stored != _sha256_tensors(parts(), facts):
        raise InputError(f"{path} was altered or cut after it was written: its hash is not that of what is in it")


def _sha256_tensors(parts: Mapping[str, Part], facts: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(parts):
        dtype, shape, data = parts[name]
        digest.update(f"{name} {dtype} {shape}".encode())
        digest.update(data)
    return digest.hexdigest()


def _bytes_of(tensor: torch.Tensor) -> Part:
    import torch

    flat = tensor.reshape(-1).view(torch.uint8) if tensor.numel() else torch.zeros(0, dtype=torch.uint8)
    return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), flat.numpy()
