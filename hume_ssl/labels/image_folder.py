"""imagefolder: a folder for each class, as torchvision's ImageFolder and most training code want it."""

from __future__ import annotations

from pathlib import Path

from hume_ssl.labels.labelled import How, Labelled
from hume_ssl.labels.pictures import file_names, folder_names, place


def check() -> None:
    """Nothing is needed."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """CLASS/FILE, links to the run's images or copies, and manifest.csv. Raises InputError for a run without images."""
    folders = folder_names(labelled.names)
    groups = [folders[target] for target in labelled.target]
    names = file_names(labelled, groups)
    paths = [f"images/{group}/{name}" for group, name in zip(groups, names, strict=True)]
    return [place(labelled, folder, paths, how.copy)]
