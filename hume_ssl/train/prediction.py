"""What a network says of items as they are."""

import numpy as np
import torch
from torch import nn

from hume_ssl.train.batches import chunks
from hume_ssl.train.sources import Source
from hume_ssl.train.together import ALONE, Together


def predict(
    model: nn.Module,
    source: Source,
    items: np.ndarray,
    *,
    chunk: int = 1024,
    together: Together = ALONE,
) -> np.ndarray:
    """Class probabilities of items (m,) as they are, without views, float32 (m, k), in chunks.

    In float32 whatever the training ran in, so that an exported network gives the same classes. Several processes share
    the items, and each gets the probabilities of all of them.
    """
    device = next(model.parameters()).device
    model.eval()
    parts = []
    with torch.inference_mode():
        for some in chunks(together.split(items), chunk):
            parts.append(model(source.plain(torch.from_numpy(some)).to(device)).softmax(1).cpu())
    probabilities: np.ndarray = together.collect(torch.cat(parts), len(items)).numpy()
    return probabilities
