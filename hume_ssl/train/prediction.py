"""What a network says of items as they are."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from hume_ssl.train.batches import chunks
from hume_ssl.train.sources import Source
from hume_ssl.train.together import ALONE, Together

MOST, VALUES = 1024, 3 << 20  # items in a chunk, and pixel values in it: 1,024 colour images of 32 pixels


def chunk_size(shape: tuple[int, ...]) -> int:
    """How many items of this shape go through a network at once: what the network needs grows with their pixels."""
    return max(1, min(MOST, VALUES // math.prod(shape)))


def predict(
    model: nn.Module, source: Source, items: np.ndarray, *, chunk: int | None = None, together: Together = ALONE
) -> np.ndarray:
    """Class probabilities of items (m,) as they are, without views, float32 (m, k), in chunks.

    In float32 whatever the training ran in, so that an exported network gives the same classes. Several processes share
    the items, and each gets the probabilities of all of them. For many items see :func:`classify`.
    """
    parts = list(_probabilities(model, source, together.split(items), chunk))
    probabilities: np.ndarray = together.collect(torch.cat(parts), len(items)).numpy()
    return probabilities


def classify(
    model: nn.Module, source: Source, items: np.ndarray, *, together: Together = ALONE
) -> tuple[np.ndarray, np.ndarray]:
    """Most probable classes, int64 (m,), and their probabilities, float32 (m,), of items (m,): :func:`predict` without
    its (m, k), which for 1.28 million items of 1,000 classes takes 5 GB."""
    best = [part.max(1) for part in _probabilities(model, source, together.split(items), None)]
    labels = together.collect(torch.cat([part.indices for part in best]), len(items))
    confidence = together.collect(torch.cat([part.values for part in best]), len(items))
    return labels.numpy(), confidence.numpy()


def _probabilities(model: nn.Module, source: Source, items: np.ndarray, chunk: int | None) -> Iterator[Tensor]:
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        for some in chunks(items, chunk or chunk_size(source.shape)):
            yield model(source.plain(torch.from_numpy(some)).to(device)).softmax(1).cpu()
