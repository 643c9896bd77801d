"""What training is given: refused where it does not fit together, and decided where it says "auto"."""

from collections.abc import Sequence

import numpy as np
import torch

from hume_ssl.errors import InputError
from hume_ssl.train.sources import PixelSource, Source
from hume_ssl.train_config import TrainConfig


def resolved(images: np.ndarray | Source, config: TrainConfig, device: torch.device) -> tuple[Source, TrainConfig]:
    """The source of the views, and the settings without `"auto"`."""
    shape = images.shape[1:] if isinstance(images, np.ndarray) else images.shape
    if isinstance(images, np.ndarray):
        channels = 1 if images.ndim == 3 else shape[2]
        config = config.resolve(max(shape[:2]), channels, device.type)
        made_at = torch.device("cpu") if config.workers else device
        return PixelSource(images, made_at, flip=bool(config.flip), preset=config.augment), config
    if len(shape) == 1:
        if config.network not in ("auto", "head"):
            raise InputError(f"train.network = {config.network} takes images, and these are vectors: give head")
        return images, config.model_copy(update={"network": "head"}).resolve(1, 1, device.type)
    return images, config.resolve(max(shape[1:]), shape[0], device.type)


def check_images(images: np.ndarray) -> None:
    """Raise InputError for anything but uint8 (n, h, w) or (n, h, w, c)."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(
            f"images are {images.dtype} of shape {images.shape}; give uint8 of shape (n, h, w) or (n, h, w, c)"
        )


def check_inputs(
    n: int, labelled: np.ndarray, labels: np.ndarray, classes: int, train: np.ndarray, known: np.ndarray
) -> None:
    """Refuse arrays that do not fit together; shapes as in :func:`train_fixmatch`."""
    if train.shape != (n,) or known.shape != (n,):
        raise InputError(
            f"train has shape {train.shape} and consensus {known.shape}; give one value for each of {n} items"
        )
    if labelled.ndim != 1 or labelled.shape != labels.shape or len(labelled) == 0:
        raise InputError(
            f"{labelled.shape} labelled items and {labels.shape} labels; give one label an item, at least one"
        )
    if labelled.min() < 0 or labelled.max() >= n or len(np.unique(labelled)) < len(labelled):
        raise InputError(f"labelled items must be different indices from 0 to {n - 1}")
    if not train[labelled].all():
        raise InputError(f"labelled item {labelled[~train[labelled]][0]} is a test item; label train items only")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"labels from {labels.min()} to {labels.max()} for {classes} classes; give 0 to {classes - 1}")


def checked_shares(shares: Sequence[float] | None, classes: int) -> list[float] | None:
    """Class sizes as a list of sum 1. Raises InputError if they are not `classes` numbers above 0."""
    if shares is None:
        return None
    sizes = np.asarray(shares, dtype=np.float64)
    if sizes.shape != (classes,) or not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise InputError(f"class_shares are {sizes.tolist()}; give {classes} numbers above 0, one a class")
    total: list[float] = (sizes / sizes.sum()).tolist()
    return total
