"""hf-datasets: the `imagefolder` layout of Hugging Face's datasets, with a metadata.csv in each split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hume_ssl.files import table_of, write_csv
from hume_ssl.labels.labelled import How, Labelled
from hume_ssl.labels.pictures import file_names, place


def check() -> None:
    """Nothing is needed to write it."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """data/SPLIT/FILE and data/SPLIT/metadata.csv (file_name, label 0..k-1, class_name, agreement ...), and
    manifest.csv beside data. `datasets.load_dataset("imagefolder", data_dir=".../data")` reads it.

    Raises InputError for a run without images.
    """
    split = np.asarray(labelled.split)
    names = file_names(labelled, labelled.split)
    paths = [f"data/{part}/{name}" for part, name in zip(labelled.split, names, strict=True)]
    written = [place(labelled, folder, paths, how.copy)]
    for part in np.unique(split):
        rows = np.flatnonzero(split == part)
        columns = {
            "file_name": [names[row] for row in rows],
            "label": labelled.target[rows],
            "class_name": [labelled.names[target] for target in labelled.target[rows]],
            "agreement": labelled.agreement[rows],
            "neighbour_agreement": labelled.neighbour_agreement[rows],
            "reliable": labelled.reliable[rows],
            "selected": labelled.selected[rows],
        }
        path = folder / "data" / str(part) / "metadata.csv"
        write_csv(path, table_of(columns))
        written.append(path)
    return written
