"""Image files in an export: links to the run's files, copies of them, or PNG files of images that are in no file."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from hume_ssl.errors import InputError
from hume_ssl.files import read_csv, table_of, write_csv
from hume_ssl.harmless import is_formula
from hume_ssl.images import for_each
from hume_ssl.labels.labelled import Labelled

MANIFEST = "manifest.csv"
COLUMNS = ("file", "filepath", "class_name")
LINK = "link"  # a column: whether the file was made as a link
LONGEST = 120  # bytes of a folder's or file's name


def folder_names(names: Sequence[str]) -> list[str]:
    """(k,) a folder for each class name: one path part each, no two alike, whatever the names hold."""
    taken: set[str] = set()
    return [
        _unlike(re.sub(r"[\x00-\x1f/\\:*?\"<>|\ud800-\udfff]", "-", name).strip(" ."), "class", taken) for name in names
    ]


def file_names(labelled: Labelled, groups: Sequence[str]) -> list[str]:
    """(m,) a file name for each item, no two alike within a group (m,).

    Of files their own name; where two in a group have the same, the relative path joined with "__". Images that are in
    no file of their own are img-000123.png, by their item.
    """
    if labelled.images().root is None:
        return [f"img-{item:06d}.png" for item in labelled.index.tolist()]
    parts = [PurePosixPath(path.replace("\\", "-")) for path in labelled.filepaths]
    counts: dict[tuple[str, str], int] = {}
    for group, path in zip(groups, parts, strict=True):
        key = (group, path.name.casefold())
        counts[key] = counts.get(key, 0) + 1
    taken: dict[str, set[str]] = {}
    made = []
    for group, path in zip(groups, parts, strict=True):
        alone = counts[group, path.name.casefold()] == 1
        name = path.name if alone else "__".join(part for part in path.parts if part not in ("/", "..", "."))
        name = f"_{name}" if is_formula(name) else name  # it stands in tables
        made.append(_unlike(name, "image", taken.setdefault(group, set())))
    return made


def place(labelled: Labelled, folder: Path, names: Sequence[str], copy: bool) -> Path:
    """Put the image of each item at `folder` / names[i], and return the manifest that lists them.

    The manifest is written before the first image, so that an export that was stopped half-way can be taken away again.
    Raises InputError for a name or a link that leaves the folder, for something of the user's in the way, or an image
    that cannot be read.
    """
    items, targets = labelled.images(), [folder / name for name in names]
    inside = folder.resolve()
    for parent in {target.parent for target in targets}:
        if not parent.resolve().is_relative_to(inside):
            raise InputError(
                f"{parent} would lie outside {folder}: rename the class or the file, or move the link away"
            )
    for target in targets:  # before they are listed: what is listed is ours to take away
        if os.path.lexists(target):
            raise InputError(f"{target} is in the way, and is from no export: move it away")
    manifest = folder / MANIFEST
    columns = zip(COLUMNS, (names, labelled.filepaths, labelled.class_names), strict=True)
    links = items.root is not None and not copy
    write_csv(manifest, table_of({name: list(values) for name, values in columns} | {LINK: links}))
    for parent in {target.parent for target in targets}:
        parent.mkdir(parents=True, exist_ok=True)
    root = items.root

    def one(at: int) -> None:
        item, target = int(labelled.index[at]), targets[at]
        if root is None:
            items.image(item).save(target, "PNG")
        elif copy:
            shutil.copyfile(root / items.filepaths[item], target)
        else:
            os.symlink(os.path.abspath(root / items.filepaths[item]), target)

    for_each(one, len(targets))
    return manifest


def take_away(folder: Path) -> None:
    """Remove the files that a manifest in `folder` lists, and the folders that are empty then; nothing else.

    A line that names a file elsewhere, or a link in whose place the user has put a file, is passed over.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return
    inside = folder.resolve()
    parents = set()
    table = read_csv(manifest, COLUMNS)
    if "file" not in table:
        raise InputError(
            f"{manifest} is damaged, so nobody knows which files are the export's: remove {folder} yourself"
        )
    links = [str(link) != "False" for link in table[LINK]] if LINK in table else [True] * len(table)
    for name, link in zip(table["file"], links, strict=True):
        path = folder / name
        if "\0" in name or any(len(os.fsencode(part)) > 255 for part in path.parts):
            continue  # no file can have that name
        if path.parent.resolve().is_relative_to(inside) and (path.is_symlink() or (path.is_file() and not link)):
            path.unlink()
            parents.add(path.parent)
    for parent in sorted(parents, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # not empty: something of the user's is in it
            parent.rmdir()
    manifest.unlink()


def _unlike(name: str, otherwise: str, taken: set[str]) -> str:
    """`name` cut to what file systems take, with a number behind it where it is taken, in whatever case."""
    stem, suffix = os.path.splitext(name.lstrip("."))
    suffix = suffix[:12]
    room = LONGEST - len(os.fsencode(suffix))
    stem = os.fsencode(stem)[:room].decode("utf-8", "ignore") or otherwise
    made, number = stem + suffix, 2
    while made.casefold() in taken:
        made, number = f"{stem}-{number}{suffix}", number + 1
    taken.add(made.casefold())
    return made
