"""cvat: "CVAT for images 1.1" annotations, a tag for each image; no image is copied."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from hume_ssl.files import write_bytes, write_text
from hume_ssl.labels.labelled import How, Labelled


def check() -> None:
    """Nothing is needed."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """annotations.xml, to be uploaded into a task made of the same images, and task-labels.json, its labels as CVAT's
    "raw" label editor takes them. CVAT knows an image by its file name; signs that XML has not become "?".

    Raises InputError for a run without image files.
    """
    heights, widths = labelled.images().headers[labelled.index][:, :2].T
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for name in labelled.names:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = _clean(name)
    rows = zip(labelled.index.tolist(), labelled.filepaths, labelled.class_names, widths, heights, strict=True)
    for number, (item, filepath, name, width, height) in enumerate(rows):
        known = {"id": str(number), "name": _clean(filepath or f"img-{item:06d}.png")}
        image = ElementTree.SubElement(root, "image", known | {"width": str(width), "height": str(height)})
        ElementTree.SubElement(image, "tag", {"label": _clean(name), "source": "auto"})
    ElementTree.indent(root)
    path, raw = folder / "annotations.xml", folder / "task-labels.json"
    write_bytes(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
    write_text(raw, json.dumps([{"name": _clean(name), "type": "tag", "attributes": []} for name in labelled.names]))
    return [path, raw]


def _clean(words: str) -> str:
    """Words without the signs that XML 1.0 cannot hold."""
    return "".join(
        sign if sign >= " " and not "\ud800" <= sign <= "\udfff" and sign < "\ufffe" else "?" for sign in words
    )
