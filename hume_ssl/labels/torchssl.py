"""torchssl: the index file with which TorchSSL takes the labelled items."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hume_ssl.files import write_npy, write_text
from hume_ssl.labels.labelled import How, Labelled

README = """Copy sampled_label_idx.npy to SAVE_DIR/SAVE_NAME/ of a TorchSSL run: it takes these items as labelled.

The file holds positions in the order of the run's items, and nothing else: TorchSSL reads the labels themselves from
the data set's own truth. labels.npy has ours, in the same order. TorchSSL asks that --num_labels ({m}) is a multiple
of --num_classes ({k}).
"""


def check() -> None:
    """Nothing is needed."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """sampled_label_idx.npy, (m,) int64 items class by class; labels.npy, (m,) their classes 0..k-1; README.txt."""
    order = np.argsort(labelled.target, kind="stable")
    index, labels, readme = folder / "sampled_label_idx.npy", folder / "labels.npy", folder / "README.txt"
    write_npy(index, labelled.index[order])
    write_npy(labels, labelled.target[order])
    write_text(readme, README.format(m=len(labelled), k=len(labelled.names)))
    return [index, labels, readme]
