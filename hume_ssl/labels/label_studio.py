"""label-studio: tasks with our labels as predictions, and the labelling interface that shows them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from hume_ssl.files import write_json, write_text
from hume_ssl.labels.labelled import How, Labelled
from hume_ssl.labels.pictures import file_names, place


def check() -> None:
    """Nothing is needed."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """tasks.json and interface.xml. A task's image is the prefix and the file's path, which by default is what Label
    Studio's local storage serves; images that are in no file are written below images/. A prediction's score is the
    agreement.

    Raises InputError for a run without images.
    """
    written, paths = [], list(labelled.filepaths)
    if labelled.images().root is None:
        paths = [f"images/{name}" for name in file_names(labelled, [""] * len(labelled))]
        written.append(place(labelled, folder, paths, how.copy))
    rows = zip(labelled.index.tolist(), paths, labelled.class_names, labelled.agreement.tolist(), strict=True)
    tasks = [
        {
            "data": {"image": how.prefix + quote(path, errors="surrogateescape"), "index": item},
            "predictions": [
                {
                    "model_version": "hume_ssl",
                    "score": round(share, 6),
                    "result": [
                        {
                            "from_name": "choice",
                            "to_name": "image",
                            "type": "choices",
                            "value": {"choices": [name]},
                        }
                    ],
                }
            ],
        }
        for item, path, name, share in rows
    ]
    path, interface = folder / "tasks.json", folder / "interface.xml"
    write_json(path, tasks)
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in labelled.names)
    write_text(
        interface,
        '<View>\n  <Image name="image" value="$image"/>\n  <Choices name="choice" toName="image" choice="single">\n'
        f"{choices}\n  </Choices>\n</View>\n",
    )
    return [*written, path, interface]
