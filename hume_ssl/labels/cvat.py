"""cvat: "CVAT for images 1.1" annotations, a tag for each image; no image file is copied."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from hume_ssl.files import write_bytes, write_text
from hume_ssl.labels.labelled import How, Labelled
from hume_ssl.labels.pictures import file_names, place


def check() -> None:
    """Nothing is needed."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """annotations.xml, to be uploaded into a task made of the same images, and task-labels.json, its labels as CVAT's
    "raw" label editor takes them. CVAT knows an image by its file name; signs that XML has not become "?".

    Images that are in no file are written below images/, to be uploaded. Raises InputError for a run without images.
    """
    written, paths = [], list(labelled.filepaths)
    if labelled.images().root is None:
        paths = file_names(labelled, [""] * len(labelled))
        written.append(place(labelled, folder, [f"images/{name}" for name in paths], how.copy))
    heights, widths = labelled.images().headers[labelled.index][:, :2].T
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for name in labelled.names:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = _clean(name)
    rows = zip(paths, labelled.class_names, widths, heights, strict=True)
    for number, (filepath, name, width, height) in enumerate(rows):
        known = {"id": str(number), "name": _clean(filepath)}
        image = ElementTree.SubElement(root, "image", known | {"width": str(width), "height": str(height)})
        ElementTree.SubElement(image, "tag", {"label": _clean(name), "source": "auto"})
    ElementTree.indent(root)
    path, raw = folder / "annotations.xml", folder / "task-labels.json"
    write_bytes(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
    write_text(raw, json.dumps([{"name": _clean(name), "type": "tag", "attributes": []} for name in labelled.names]))
    return [*written, path, raw]


def _clean(words: str) -> str:
    """Words without the signs that XML 1.0 cannot hold."""
    return "".join(
        sign if sign >= " " and not "\ud800" <= sign <= "\udfff" and sign < "\ufffe" else "?" for sign in words
    )
