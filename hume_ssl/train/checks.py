"""What training is given: refused where it does not fit together, and decided where it says "auto"."""

from collections.abc import Sequence

import numpy as np
import torch

from hume_ssl.errors import InputError
from hume_ssl.train.feature_sources import NoisySource
from hume_ssl.train.sources import PixelSource, Source
from hume_ssl.train_config import TrainConfig


def resolved(
    images: np.ndarray | Source, config: TrainConfig, device: torch.device, train: np.ndarray, *, sizes_known: bool
) -> tuple[Source, TrainConfig]:
    """The source of the views, and the settings without `"auto"`.

    Arrays are taken at the size they have. Vectors (n, d) are trained on with noise for their strong view.

    Raises InputError for an array of anything else, or a network that cannot take it.
    """
    if isinstance(images, np.ndarray) and images.ndim == 2 and images.dtype.kind == "f":
        images = NoisySource(images, train, config.feature_noise, device)
    vectors = not isinstance(images, np.ndarray) and len(images.shape) == 1
    if vectors != (config.network == "head") and config.network not in ("auto", "head"):
        raise InputError(f"train.network = {config.network} takes images, and these are vectors: give head")
    if config.network == "head" and not vectors:
        raise InputError("train.network = head takes vectors (n, d), floats; these are images: embed them first")
    if not isinstance(images, np.ndarray):
        channels, side = (1, 1) if vectors else (images.shape[0], max(images.shape[1:]))
        config = config.model_copy(update={"network": "head"} if vectors else {"size": side})
        return images, config.resolve(side, channels, device.type, sizes_known=sizes_known)
    check_images(images)
    side, channels = max(images.shape[1:3]), 1 if images.ndim == 3 else images.shape[3]
    config = config.model_copy(update={"size": side}).resolve(side, channels, device.type, sizes_known=sizes_known)
    made_at = torch.device("cpu") if config.workers else device
    return PixelSource(images, made_at, flip=bool(config.flip), preset=config.augment), config


def check_images(images: np.ndarray) -> None:
    """Raise InputError for anything but uint8 (n, h, w) or (n, h, w, c)."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(
            f"images are {images.dtype} of shape {images.shape}; give uint8 of shape (n, h, w) or (n, h, w, c), or "
            "vectors, floats of shape (n, d)"
        )


def whole_numbers(values: np.ndarray, what: str) -> np.ndarray:
    """`values` as a new int64 array. Raises InputError where one is no whole number; `what` they are."""
    numbers = np.array(values)
    with np.errstate(invalid="ignore"):
        whole = numbers.astype(np.int64) if numbers.dtype.kind in "biuf" else None
    if whole is None or not np.array_equal(whole, numbers):
        raise InputError(f"{what} are {numbers.dtype}, not all of them whole numbers; give int")
    return whole


def check_inputs(
    n: int, labelled: np.ndarray, labels: np.ndarray, classes: int, train: np.ndarray, known: np.ndarray
) -> None:
    """Refuse arrays that do not fit together; shapes as in :func:`train_fixmatch`."""
    if classes < 2:
        raise InputError(f"{classes} classes leave nothing to tell apart: give 2 or more")
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
