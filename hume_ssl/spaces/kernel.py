"""kernel:rbf, random Fourier features of the pixels: a space of the data's own, with nothing to download.

Rahimi and Recht, "Random Features for Large-Scale Kernel Machines" (NeurIPS 2007): with z(x) = sqrt(2/d) cos(x W + b),
W normal with standard deviation 1/s and b uniform in [0, 2 pi), the product z(x) . z(y) estimates the Gaussian kernel
exp(-|x - y|^2 / (2 s^2)) with an error of about 1/sqrt(d). Here s is `width` times the median distance of two items.

An image moved by a pixel is the same thing to a person and far away in pixels. So the features are averaged over nine
small moves of the image (the kernel mean embedding of its moved copies): `shift` is their length as a share of the
longer side, 0 for none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.items import Items
from hume_ssl.spaces.spec import EncoderSpec
from hume_ssl.tensor_files import read_safetensors, write_safetensors

WIDTH = 0.7
DIM = 1024
SIZE = 32
CENTRE = True
SHIFT = 0.125

_PAIRS = 4096
_CHUNK = 1024


@dataclass(frozen=True)
class RandomFeatures:
    """A fitted map from pixels to features.

    Attributes:
        weights: (p, d) float32, for pixels in [0, 1].
        offsets: (d,) float32, in [0, 2 pi).
        mean: (d,) float32, subtracted from the features: their mean over train items, or zeros.
        scale: s, the standard deviation of the Gaussian kernel, in units of pixel distance.
        shift: pixels an image is moved by, up, down, left and right.
    """

    weights: NDArray[np.float32]
    offsets: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: float
    shift: int = 0

    def transform(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(b, h, w[, c]) uint8 pixels -> (b, d) features."""
        import torch  # whose product, unlike numpy's, is the same on any number of threads

        dim, weights = len(self.offsets), torch.from_numpy(self.weights)
        mean = np.zeros((len(pixels), dim), dtype=np.float32)
        for moved, weight in moves(pixels, self.shift):
            mean += np.float32(weight) * np.cos((torch.from_numpy(flat(moved)) @ weights).numpy() + self.offsets)
        return np.asarray(np.sqrt(2 / dim, dtype=np.float32) * mean - self.mean, dtype=np.float32)


def fit(
    pixels: NDArray[np.uint8],
    train: NDArray[np.bool_],
    *,
    width: float,
    dim: int,
    centre: bool,
    seed: int,
    shift: int = 0,
) -> RandomFeatures:
    """Fit the features to the train items only.

    Args:
        pixels: (n, ...) uint8.
        train: (n,) True for train items.
        width: kernel width in median distances; smaller tells nearer items apart.
        dim: number of features, d.
        centre: subtract the features' mean over train items.
        seed: of the features; two seeds give independent estimates of one kernel.
        shift: pixels the images are moved by.

    Raises:
        InputError: all train images are the same.
    """
    rng = np.random.default_rng(seed)
    scale = width * median_distance(pixels, np.flatnonzero(train), rng)
    p = int(np.prod(pixels.shape[1:]))
    weights = (rng.standard_normal((p, dim)) / scale).astype(np.float32)
    offsets = rng.uniform(0, 2 * np.pi, dim).astype(np.float32)
    features = RandomFeatures(weights, offsets, np.zeros(dim, dtype=np.float32), scale, shift)
    if not centre:
        return features
    rows = np.flatnonzero(train)
    total = np.zeros(dim)
    for start in range(0, len(rows), _CHUNK):
        total += features.transform(pixels[rows[start : start + _CHUNK]]).sum(axis=0, dtype=np.float64)
    return RandomFeatures(weights, offsets, (total / len(rows)).astype(np.float32), scale, shift)


def moves(pixels: NDArray[np.uint8], shift: int) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """The images (b, h, w[, c]) moved by -shift, 0 and shift pixels in both directions, edges repeated, with weights
    1/4, 1/2, 1/4 in each direction (all nine sum to 1); just the images where shift is 0."""
    if shift == 0:
        yield pixels, 1.0
        return
    height, width = pixels.shape[1:3]
    border = [(0, 0), (shift, shift), (shift, shift)] + [(0, 0)] * (pixels.ndim - 3)
    padded = np.pad(pixels, border, mode="edge")
    for down, by_row in enumerate((0.25, 0.5, 0.25)):
        for right, by_column in enumerate((0.25, 0.5, 0.25)):
            top, left = down * shift, right * shift
            yield padded[:, top : top + height, left : left + width], by_row * by_column


def median_distance(pixels: NDArray[np.uint8], rows: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Median Euclidean distance of 4,096 random pairs of items `rows`, pixels in [0, 1]; equal pairs are left out."""
    i, j = rng.choice(rows, size=_PAIRS), rng.choice(rows, size=_PAIRS)
    distances = np.concatenate(
        [
            np.linalg.norm(flat(pixels[i[at : at + _CHUNK]]) - flat(pixels[j[at : at + _CHUNK]]), axis=1)
            for at in range(0, _PAIRS, _CHUNK)
        ]
    )
    if not distances.any():
        raise InputError(f"kernel:rbf: all {len(rows)} train images look the same; give images that differ")
    return float(np.median(distances[distances > 0]))


def flat(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(b, ...) uint8 -> (b, p) float32 in [0, 1]."""
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)


def pixel_size(items: Items, spec: EncoderSpec) -> tuple[int, int]:
    """(height, width) the features see: the most common size, its longer side brought down to `size` pixels."""
    height, width = items.common_size
    longest, limit = max(height, width), int(spec.options.get("size", SIZE))
    if longest <= limit:
        return height, width
    return max(1, round(height * limit / longest)), max(1, round(width * limit / longest))


def shift_pixels(items: Items, spec: EncoderSpec) -> int:
    """How far images are moved: the option `shift` times the longer side the features see, rounded."""
    return round(float(spec.options.get("shift", SHIFT)) * max(pixel_size(items, spec)))


def spec_seed(spec: EncoderSpec) -> int:
    """A seed drawn from the spec's text, so that two specs give independent features, the same ones every time."""
    return int.from_bytes(hashlib.sha256(spec.text.encode()).digest()[:8], "big")


def fit_items(items: Items, spec: EncoderSpec, train: NDArray[np.bool_]) -> RandomFeatures:
    """The features that a spec asks for, fitted to the train items, (n,) True. Raises InputError as in `fit`."""
    return fit(
        items.pixels(pixel_size(items, spec)),
        train,
        width=float(spec.options.get("width", WIDTH)),
        dim=dimension(spec),
        centre=bool(spec.options.get("centre", CENTRE)),
        seed=spec_seed(spec),
        shift=shift_pixels(items, spec),
    )


def save(path: Path, features: RandomFeatures, size: tuple[int, int], channels: int) -> None:
    """Keep a fitted map for new images: its arrays, and the size (h, w) and channels of the pixels it reads."""
    import torch

    arrays = {name: torch.from_numpy(getattr(features, name)) for name in ("weights", "offsets", "mean")}
    facts = {"scale": features.scale, "shift": features.shift, "size": size, "channels": channels}
    write_safetensors(path, arrays, facts)


def load(path: Path) -> tuple[RandomFeatures, tuple[int, int], int]:
    """What `save` kept: the map, and the size and channels it reads. Raises InputError if it is absent or broken."""
    arrays, facts = read_safetensors(path)
    try:
        weights, offsets, mean = (arrays[name].float().numpy() for name in ("weights", "offsets", "mean"))
        features = RandomFeatures(weights, offsets, mean, float(facts["scale"]), int(facts["shift"]))
        (height, width), channels = map(int, facts["size"]), int(facts["channels"])
        pixels, d = height * width * channels, len(offsets)
        shapes = weights.shape, offsets.shape, mean.shape
        if shapes != ((pixels, d), (d,), (d,)) or min(height, width) < 1 or channels not in (1, 3):
            raise ValueError(f"shapes {shapes} do not fit {height} x {width} pixels of {channels} channels")
        if not (np.isfinite(features.scale) and 0 <= features.shift <= max(height, width)):
            raise ValueError(f"scale {features.scale} and shift {features.shift}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is damaged: {error}: make the space again with --overwrite") from error
    return features, (height, width), channels


def encode_chunks(
    items: Items, size: tuple[int, int], features: RandomFeatures, chunks: Iterable[range]
) -> Iterator[NDArray[np.float32]]:
    """The features (b, d) of the items of each chunk, their pixels brought to `size` (h, w)."""
    pixels = items.pixels(size)
    for chunk in chunks:
        yield features.transform(pixels[chunk.start : chunk.stop])


def dimension(spec: EncoderSpec) -> int:
    """Width d of the space that `spec` makes."""
    return int(spec.options.get("dim", DIM))


def preprocessing(items: Items, spec: EncoderSpec) -> dict[str, object]:
    """What is done to an image and with which settings, for the record beside the space."""
    height, width = pixel_size(items, spec)
    return {
        "height": height,
        "width": width,
        "channels": items.channels,
        "kernel_width": float(spec.options.get("width", WIDTH)),
        "centre": bool(spec.options.get("centre", CENTRE)),
        "seed": spec_seed(spec),
        "shift": shift_pixels(items, spec),
    }
