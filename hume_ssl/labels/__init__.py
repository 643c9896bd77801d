"""Labels for other tools: one module a format, each with `check()` and `write(labelled, folder, how)`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from hume_ssl.labels.labelled import How, Labelled

Of = Literal["consensus", "reliable", "selection"]
CHOICES: tuple[Of, ...] = ("consensus", "reliable", "selection")


class Format(NamedTuple):
    """A format: its module, the items it has unless others are asked for, what it is, and what comes next."""

    module: str
    of: Of
    what: str
    after: str


FORMATS = {
    "csv": Format("csv_table", "consensus", "a table for spreadsheets and pandas", "open labels.csv"),
    "parquet": Format("parquet", "consensus", "the same table, typed", "pandas.read_parquet('labels.parquet')"),
    "imagefolder": Format(
        "image_folder", "reliable", "a folder for each class", "torchvision.datasets.ImageFolder('images')"
    ),
    "usb": Format("usb", "selection", "a script that trains USB with these labels", "python usb_train.py"),
    "torchssl": Format("torchssl", "selection", "the index file of TorchSSL", "read README.txt"),
    "cleanlab": Format(
        "cleanlab",
        "consensus",
        "labels, votes and annotators in one npz",
        "cleanlab.multiannotator.get_label_quality_multiannotator(labels_multiannotator, pred_probs)",
    ),
    "crowd-kit": Format(
        "crowd_kit", "consensus", "votes as task, worker, label", "crowdkit.aggregation.DawidSkene().fit_predict(votes)"
    ),
    "label-studio": Format(
        "label_studio", "consensus", "tasks with predictions", "paste interface.xml as the interface, import tasks.json"
    ),
    "cvat": Format(
        "cvat", "consensus", "a tag for each image", "upload annotations.xml as 'CVAT 1.1' into a task of these images"
    ),
    "fiftyone": Format(
        "fiftyone",
        "consensus",
        "FiftyOneImageClassificationDataset",
        "fiftyone.Dataset.from_dir('.', dataset_type=fiftyone.types.FiftyOneImageClassificationDataset)",
    ),
    "hf-datasets": Format(
        "hf_datasets",
        "consensus",
        "Hugging Face's imagefolder",
        "datasets.load_dataset('imagefolder', data_dir='data')",
    ),
}


PICTURED = ("imagefolder", "usb", "label-studio", "cvat", "fiftyone", "hf-datasets")  # formats about images
TAUGHT = ("usb", "torchssl")  # formats whose items are learned from, so that no test item may be among them


def check(name: str) -> None:
    """Raise InputError where a format needs a package that is not installed."""
    _module(name).check()


def write(name: str, labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """Write labels in the format `name` into `folder`; the files whose bytes the run records, the main one last or
    first. Raises InputError where the format asks for images and the run has none."""
    written: list[Path] = _module(name).write(labelled, folder, how)
    return written


def _module(name: str) -> Any:
    return import_module(f"hume_ssl.labels.{FORMATS[name].module}")
