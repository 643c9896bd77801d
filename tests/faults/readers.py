"""Every reader of files that a user gives or a run has, with sound files to damage."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hume_ssl.config import load_recipe
from hume_ssl.files import read_csv, read_json
from hume_ssl.growing import GrowingArray
from hume_ssl.imports.hume_files import read_score, read_task
from hume_ssl.inputs import read_table
from hume_ssl.item_columns import load_truth, make_split
from hume_ssl.items import load_items
from hume_ssl.run import RunFolder
from hume_ssl.spaces.loading import check_space, load_space
from hume_ssl.spaces.weights_files import read_state
from hume_ssl.stages.answer_file import read_answers
from hume_ssl.stages.naming import read_given_names
from hume_ssl.stages.status import status
from hume_ssl.stages.table import load_found, read_labels, stored_recipe, stored_spaces
from hume_ssl.tensor_files import read_arrays, read_safetensors, write_safetensors
from hume_ssl.train import checkpoint, trained

RUN = Path("hume-run")
FILES = [f"{i}.png" for i in range(30)]
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


@dataclass(frozen=True)
class Reader:
    """What a user's file is read by.

    Attributes:
        name: of the file.
        seeds: sound files, as bytes.
        read: reads the file; whatever it returns is right.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], Any]


def npy(*arrays: Any) -> list[bytes]:
    """Arrays as .npy files, and one as .npz."""
    made = []
    for array in arrays:
        out = io.BytesIO()
        np.save(out, array)
        made.append(out.getvalue())
    out = io.BytesIO()
    np.savez(out, a=arrays[0])
    return [*made, out.getvalue()]


def spaces() -> list[bytes]:
    rows = np.random.default_rng(0).normal(size=(30, 8))
    return npy(rows.astype(np.float32), rows.astype(np.float16), np.asfortranarray(rows))


def images(form: str) -> list[bytes]:
    """A grey, a colour and a palette image in one format."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    made = []
    for mode in ("L", "RGB", "P") if form not in ("JPEG", "WEBP") else ("L", "RGB"):
        out = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(out, form)
        made.append(out.getvalue())
    if form in ("PNG", "TIFF"):
        out = io.BytesIO()
        Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(out, form)
        made.append(out.getvalue())
    return made


def archive(kind: str) -> list[bytes]:
    """Three images in a zip, stored and packed, or in a tar."""
    made = []
    for packed in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if kind == "zip" else (0,):
        out = io.BytesIO()
        if kind == "zip":
            with zipfile.ZipFile(out, "w", packed) as file:
                for i, data in enumerate(images("PNG")[:3]):
                    file.writestr(f"a/{i}.png", data)
        else:
            with tarfile.open(fileobj=out, mode="w") as tar:
                for i, data in enumerate(images("PNG")[:3]):
                    member = tarfile.TarInfo(f"a/{i}.png")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        made.append(out.getvalue())
    return made


def saved(*states: Any, **how: Any) -> list[bytes]:
    """Objects as `torch.save` writes them, in its new and its old way."""
    made = []
    for state in states:
        for new in (True, False):
            out = io.BytesIO()
            torch.save(state, out, _use_new_zipfile_serialization=new, **how)
            made.append(out.getvalue())
    return made


def tensors() -> list[bytes]:
    """A file of ours, and one as others write them."""
    from safetensors.torch import save

    some = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.int64)}
    write_safetensors(Path("seed.safetensors"), some, {"step": 3, "history": [{"loss": 0.5}]})
    return [Path("seed.safetensors").read_bytes(), save(some)]


def of_run(pattern: str) -> Callable[[], list[bytes]]:
    """A file of the finished run."""
    return lambda: [path.read_bytes() for path in sorted(RUN.glob(pattern))][:3]


def text(*lines: str) -> Callable[[], list[bytes]]:
    return lambda: ["\n".join(lines).encode(), "\r\n".join(lines).encode() + b"\r\n"]


def read_items(path: Path) -> Any:
    items = load_items(path)
    return items.pixels(16) if items.has_images else None


def read_folder(path: Path) -> Any:
    """As `discover` reads a folder: the headers, then the pixels."""
    folder = path.parent / "folder"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / path.name)
    items = load_items(folder)
    return items.headers, items.pixels(16)


def read_space(path: Path) -> Any:
    array = load_space(path)
    check_space(array, str(path), labeller=True)
    return np.asarray(array).sum()


def read_run(path: Path) -> Any:
    """As commands begin on a run: how far it is, its consensus, its recipe and its spaces."""
    shutil.copy(path, RUN / "run.json")
    run = RunFolder(RUN)
    status(run, lambda line: None)
    return load_found(run), stored_recipe(run), stored_spaces(run)


def in_run(name: str, read: Callable[[RunFolder], Any]) -> Callable[[Path], Any]:
    """A file of the run replaced, and read as if it were unaltered: as one of a stranger's run would be."""

    def reader(path: Path) -> Any:
        shutil.copy(path, RUN / name)
        run = RunFolder(RUN)
        run.update(lambda record: record["stages"]["discover"]["artefacts"].pop(name, None))
        return read(run)

    return reader


def read_growing(path: Path) -> Any:
    shutil.copy(path, "space.growing.json")
    np.save("space.growing.npy", np.zeros((30, 4), dtype=np.float32))
    growing = GrowingArray(Path("space.npy"), "key")
    growing.open((30, 4), np.float32)
    return growing.chunks, growing.facts


def read_checkpoint(path: Path) -> Any:
    folder = Path("checkpoints")
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "last.safetensors")
    return checkpoint.load(folder)


def found() -> Any:
    return load_found(RunFolder(RUN))


PIXELS = (np.zeros((5, 8, 8), np.uint8), np.ones((2, 6, 6, 3), np.uint8))
LISTED = [f"{i}.png,{i % 3}" for i in range(30)]
SPLIT = [f"{i}.png,train" for i in range(30)]
STATES = ({"w": torch.ones(3, 4), "b": torch.zeros(3)}, {"state_dict": {"w": torch.ones(2)}})
ANSWERS = ("index,filepath,label,class_name", "1,,2,", "2,,,dog", "3,,-1,")
GROWING = json.dumps({"key": "key", "chunks": 2, "facts": {"a": 1}}).encode()


def recipe(kind: Any) -> Callable[[Path], Any]:
    return lambda path: load_recipe(str(path.absolute()), kind)


def truth(path: Path) -> Any:
    return load_truth(path, FILES)


def split(path: Path) -> Any:
    return make_split(30, path, 0, FILES)


def table(path: Path) -> Any:
    return read_table(path, ("a",)), read_csv(path)


def answers(path: Path) -> Any:
    return read_answers(path, [""] * 9, np.ones(9, bool), np.zeros(9, np.int64), ["a", "b", "c"])


def scores() -> list[bytes]:
    return [pickle.dumps({"CV_Score": value}, protocol) for value in (0.5, np.float64(0.5)) for protocol in (0, 2, 4)]


READERS = {
    "space": Reader("a.npy", spaces, read_space),
    "image array": Reader("a.npy", lambda: npy(*PIXELS), read_items),
    "truth array": Reader("a.npy", lambda: npy(np.arange(30), np.array(["a", "b"] * 15)), truth),
    "split array": Reader("a.npy", lambda: npy(np.array(["train", "test"] * 15)), split),
    "table": Reader("a.csv", text("a,b", "1,x", '"2","y"'), table),
    "list": Reader("a.csv", text("filepath,x", "a.png,1", "b.png,2"), load_items),
    "truth": Reader("a.csv", text("filepath,label", *LISTED), truth),
    "split": Reader("a.csv", text("filepath,split", *SPLIT), split),
    "label file": Reader("a.csv", of_run("selection/*/labels.csv"), lambda path: read_labels(path, found())),
    "names": Reader("a.csv", text("class,name", "0,cat", "1,dog"), lambda path: read_given_names(path, ["a", "b"])),
    "answers": Reader("a.csv", text(*ANSWERS), answers),
    "recipe": Reader("a.toml", of_run("recipe.toml"), recipe("discover")),
    "training recipe": Reader("a.toml", of_run("train/*/recipe.toml"), recipe("train")),
    "tensors": Reader("a.safetensors", tensors, lambda path: (read_safetensors(path), read_arrays(path))),
    "checkpoint": Reader("a.safetensors", of_run("train/*/checkpoints/last.safetensors"), read_checkpoint),
    "network": Reader("a.safetensors", of_run("train/*/model.safetensors"), trained.load),
    "weights": Reader("a.safetensors", tensors, read_state),
    "torch weights": Reader("a.pth", lambda: saved(*STATES), read_state),
    "published task": Reader("a.pt", lambda: saved({"weight": torch.eye(3, 6)}), read_task),
    "published score": Reader("a.pickle", scores, read_score),
    **{form: Reader(f"a.{form.lower()}", partial(images, form), read_folder) for form in FORMATS},
    "zip": Reader("a.zip", partial(archive, "zip"), read_items),
    "tar": Reader("a.tar", partial(archive, "tar"), read_items),
    "run.json": Reader("a.json", of_run("run.json"), read_run),
    "spaces.json": Reader("a.json", of_run("spaces/spaces.json"), in_run("spaces/spaces.json", stored_spaces)),
    "views.json": Reader("a.json", of_run("spaces/spaces.json"), read_json),
    "growing": Reader("a.json", lambda: [GROWING], read_growing),
}
