"""usb: index files as USB names them, and a script that trains USB's algorithms with our labels on the run's images.

USB reads its index files for STL-10 alone; for CIFAR it draws labelled items anew and writes over them, and it always
reads the labels from the data set's own truth. So the script (`usb_train_script.py`, copied beside the files) gives it
images and labels itself, as its notebook on custom data sets does.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np

from hume_ssl.files import write_npy, write_text
from hume_ssl.labels.labelled import How, Labelled

MOST_BYTES = 4 << 30  # of all images in memory, as USB holds them

README = """python usb_train.py --algorithm fixmatch --steps 2000

trains USB (pip install semilearn) on the images of this run with the {m} labels of this folder: no true label is read.
`python usb_train.py --help` names the options; --data FOLDER names the images where they have moved.

usb.json          where the images are, and the class names
labels.npy        (m, 2): item and class of each labelled item
labeled_idx/      the same items as index files named as USB does (lb_labels{m}_1_seed{seed}_idx.npy). Copied into
                  data/stl10/labeled_idx/ of USB they are read for STL-10. For CIFAR and the other data sets USB ignores
                  such files, draws its own items from the truth, and writes over them; and it takes labels from the
                  truth in any case. Keep this copy.
"""


def check() -> None:
    """Nothing is needed to write it."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """usb_train.py, usb.json, labels.npy, labeled_idx/lb_... and ulb_..., README.txt.

    Raises InputError for a run without images.
    """
    items = labelled.images()
    order = np.argsort(labelled.target, kind="stable")
    index, target = labelled.index[order], labelled.target[order]
    m, seed = len(index), labelled.seed
    paths = [folder / name for name in ("usb_train.py", "usb.json", "labels.npy", "README.txt")]
    script, facts, labels, readme = paths
    write_text(script, files("hume_ssl.labels").joinpath("usb_train_script.py").read_text(encoding="utf-8"))
    about: dict[str, object] = {"classes": list(labelled.names), "seed": seed, "train": labelled.train.tolist()}
    if items.root is not None:
        about |= {"data": str(items.root.absolute()), "filepaths": list(items.filepaths)}
    else:  # in an array or an archive: USB gets an array
        paths.append(folder / "images.npy")
        write_npy(paths[-1], items.pixels(limit_bytes=MOST_BYTES))
        about |= {"data": "images.npy"}
    write_text(facts, json.dumps(about, indent=1) + "\n")
    write_npy(labels, np.stack([index, target], axis=1))
    write_text(readme, README.format(m=m, seed=seed))
    lb = folder / f"labeled_idx/lb_labels{m}_1_seed{seed}_idx.npy"
    ulb = folder / f"labeled_idx/ulb_labels{m}_1_seed{seed}_idx.npy"
    write_npy(lb, index)
    write_npy(ulb, np.setdiff1d(labelled.train, index))  # USB puts the labelled ones in front itself
    return [*paths, lb, ulb]
