"""fiftyone: the data set type FiftyOneImageClassificationDataset, data/ and labels.json."""

from __future__ import annotations

from pathlib import Path

from hume_ssl.files import write_json
from hume_ssl.labels.labelled import How, Labelled
from hume_ssl.labels.pictures import file_names, place


def check() -> None:
    """Nothing is needed to write it."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """data/ITEM-FILE and labels.json {"classes": names, "labels": {ITEM-FILE without suffix: class}}.

    The item's number comes first, since FiftyOne knows an image by its name without the suffix. Raises InputError for
    a run without images.
    """
    own = file_names(labelled, [""] * len(labelled))
    names = [f"{item:07d}-{name}" for item, name in zip(labelled.index.tolist(), own, strict=True)]
    manifest = place(labelled, folder, [f"data/{name}" for name in names], how.copy)
    path = folder / "labels.json"
    labels = {Path(name).stem: int(target) for name, target in zip(names, labelled.target, strict=True)}
    write_json(path, {"classes": list(labelled.names), "labels": labels})
    return [manifest, path]
