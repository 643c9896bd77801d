"""Files from strangers: nothing in them is run, followed out of a folder, or obeyed by a terminal or a spreadsheet."""

import csv
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from hume_ssl.errors import InputError
from hume_ssl.files import read_csv
from hume_ssl.harmless import as_path, is_formula
from hume_ssl.images import BrokenImage, open_image
from hume_ssl.items import load_items
from hume_ssl.labels import FORMATS
from tests.conftest import DISCOVER, Hume

RUN = Path("hume-run")
NAMES = [
    os.fsencode(name)
    for name in (
        "new\nline.png",
        "re\rturn.png",
        "quo\"te's, and commas.png",
        "<img src=x onerror=alert(1)>.png",
        "-dash.png",
        "--help.png",
        "=1+1.png",
        "=cmd|'!A0'.png",
        "@SUM(1).png",
        "+1(2).png",
        "\ttab.png",
        "\x1b[31mred\x07.png",
        "007.png",
        "NA.png",
        " space .png",
        "\u202egnp.exe.png",
        "e" * 251 + ".png",
        "\u4e2d" * 83 + ".png",
    )
] + [b"no\xff\xfeutf.png"]


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.system, ("touch ran",)


@pytest.fixture
def photos(bare: Path) -> Path:
    """400 digits, the first of them under names that make trouble."""
    folder = os.fsencode(bare / "photos")
    os.mkdir(folder)
    for i, digit in enumerate(np.load("digits.npy")):
        name = NAMES[i] if i < len(NAMES) else b"%03d.png" % i
        with open(os.path.join(folder, name), "wb") as file:
            Image.fromarray(digit).save(file, "PNG")
    return bare


def on_photos(*more: str) -> list[str]:
    """`DISCOVER` on the folder of photos."""
    return ["photos" if word == "digits.npy" else word for word in DISCOVER] + list(more)


def cells_of(path: Path) -> list[str]:
    """Every cell of a table, as a spreadsheet would have it."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return [cell for row in csv.reader(file) for cell in row]


def test_names_that_make_trouble_go_all_the_way(photos: Path, hume: Hume) -> None:
    assert hume(*on_photos()).code == 0
    known = {os.fsencode(os.path.normpath(name)) for name in read_csv(RUN / "consensus.csv")["filepath"]}
    assert known >= set(NAMES) and len(known) == 400
    assert hume("select", "--per-class", "2", "--allow-short").code == 0
    train = ["train-fixmatch", "--steps", "2", "--set", "train.batch=16"]
    for command in (train, ["report"], ["assign", "--images", "photos"], ["evaluate", "--truth", "truth.npy"]):
        answer = hume(*command)
        assert answer.code == 0, answer.err
    for form in FORMATS:
        answer = hume("export", "--to", form, "--of", "consensus")
        assert answer.code == 0, (form, answer.err)
    for path in photos.glob("hume-run/**/*.csv"):
        assert not any(map(is_formula, cells_of(path))), path
    page = (RUN / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    for path in RUN.rglob("*"):
        assert path.resolve().is_relative_to(photos)


def test_a_name_is_shown_without_what_a_terminal_obeys(photos: Path, hume: Hume) -> None:
    for name in NAMES[11], NAMES[-1]:
        Path(os.fsdecode(b"photos/" + name)).write_bytes(b"no image")
    answer = hume(*on_photos())
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1 and "\x1b" not in answer.err and r"\x1b[31mred" in answer.err
    # A real terminal, whose encoding is strict.
    command = [sys.executable, "-m", "hume_ssl", *on_photos("--set", "data.skip_broken=true")]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
    assert done.returncode == 0, done.stderr
    assert b"\x1b[31m" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["=cmd|'/C calc'!A0", "@x", "+SUM(1)", "-2+3+cmd|' /C calc'!A0", "=1"])
def test_a_class_name_that_a_spreadsheet_would_run_is_refused(done: Path, hume: Hume, name: str) -> None:
    pd.DataFrame({"class": [0], "name": [name]}).to_csv("names.csv", index=False)
    pd.DataFrame({"index": [1], "class_name": [name]}).to_csv("answers.csv", index=False)
    classes = pd.read_csv(RUN / "classes.csv")
    for command in (["--names", "names.csv"], ["--answers", "answers.csv"]):
        answer = hume("select", "--per-class", "1", *command)
        assert answer.code == 2 and "spreadsheet" in answer.err and name in answer.err
    classes.assign(name=[name, *classes["name"][1:]]).to_csv(RUN / "classes.csv", index=False)
    assert "spreadsheet" in hume("select", "--per-class", "1").err


def test_what_a_spreadsheet_runs() -> None:
    for text in ("=1", "@a", "\tx", "\r=1", "+a(1)", "-1|x", "-x!y", "\uff1d1"):
        assert is_formula(text) and not is_formula(as_path(text))
    for text in ("", "a=1", "-dash.png", "-1", "+1.5", "photos/=1.png", " =1"):
        assert not is_formula(text) and as_path(text) == text


def test_pickles_are_not_opened(done: Path, hume: Hume) -> None:
    """As spaces, as images, as weights, in checkpoints of every format that torch reads, as what a run has."""
    evil = np.array([Evil()], dtype=object)
    np.save("evil.npy", evil, allow_pickle=True)
    np.savez("evil.npz", a=evil, allow_pickle=True)
    Path("raw.pth").write_bytes(pickle.dumps(Evil()))
    torch.save({"weights": Evil()}, "new.pth")
    torch.save({"weights": Evil()}, "old.pth", _use_new_zipfile_serialization=False)
    commands = [f"discover --run new --labeller {name} --classes 2" for name in ("evil.npy", "evil.npz", "raw.pth")]
    commands += [f"discover --run new --images {name} --classes 2" for name in ("evil.npy", "evil.npz")]
    commands += [
        f"discover --run new --images digits.npy --classes 10 --encoder torchvision:squeezenet1_1@{name}"
        for name in ("raw.pth", "new.pth", "old.pth", "evil.npy")
    ]
    commands += ["evaluate --truth evil.npy", "score --labels evil.npy", "select --answers raw.pth"]
    for command in commands:
        answer = hume(*command.split())
        assert answer.code == 2 and len(answer.err.splitlines()) == 1, (command, answer)
    for path in [*RUN.rglob("*.npy"), *RUN.rglob("*.safetensors")]:
        path.write_bytes(Path("raw.pth").read_bytes())
    for command in (["select", "--per-class", "1"], ["report"], ["export", "--to", "torch"], ["train-fixmatch"]):
        assert hume(*command).code == 2
    assert not Path("ran").exists()


def test_bombs_are_refused_without_being_unpacked(bare: Path, hume: Hume) -> None:
    """60,000 x 60,000 pixels in 60 kB, in less memory than one such image would take."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 60_000
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1 << 20)) * 60
    Path("bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BrokenImage, match="bomb"):
        open_image(Path("bomb.png"))
    Path("photos").mkdir()
    Path("bomb.png").rename("photos/bomb.png")
    for i, digit in enumerate(np.load("digits.npy")[:30]):
        Image.fromarray(digit).save(f"photos/{i}.png")
    answer = hume(*on_photos())
    assert answer.code == 2 and "bomb.png" in answer.err
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 << 10, f"{grown >> 10} MiB more"


def test_a_path_out_of_a_saved_data_set_is_not_followed(bare: Path) -> None:
    datasets = pytest.importorskip("datasets")
    Image.new("L", (8, 8)).save("secret.png")
    cell = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"image": cell})
    rows = {"image": [{"bytes": None, "path": "../secret.png"}]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk("saved")
    info = json.loads(Path("saved/dataset_info.json").read_text())
    info["features"]["image"] = {"_type": "Image"}
    Path("saved/dataset_info.json").write_text(json.dumps(info))
    items = load_items("saved")
    with pytest.raises(InputError, match="leads out of its folder"):
        items.image(0)


def test_a_name_in_a_run_that_leads_out_of_it_is_refused(done: Path, hume: Hume) -> None:
    record = json.loads((RUN / "run.json").read_text())
    (name,) = [stage for stage in record["stages"] if stage.startswith("train/")]
    record["stages"]["train/../../up"] = record["stages"].pop(name)
    (RUN / "run.json").write_text(json.dumps(record))
    for command in (
        ["export", "--to", "torch"],
        ["evaluate", "--truth", "truth.npy"],
        ["assign", "--images", "digits.npy", "--from", "train"],
    ):
        answer = hume(*command)
        assert answer.code == 2 and "../../up" in answer.err, answer


def test_a_repository_that_only_a_file_names_is_not_run(
    bare: Path, hume: Hume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hub: runs a repository's own code: a recipe of a stranger's may ask for that, and does not get it."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(bare / "hub"))
    monkeypatch.setattr("hume_ssl.spaces.trust._named", set())
    Path("evil").mkdir()
    Path("evil/hubconf.py").write_text(
        "open('ran', 'w')\nimport torch\ndef net(pretrained=True):\n    return torch.nn.Conv2d(3, 16, 8, 8)\n"
    )
    Path("sent.toml").write_text('name = "sent"\n[spaces]\nencoders = ["hub:./evil/net?size=8"]\n')
    command = [
        "discover",
        "--images",
        "digits.npy",
        "--classes",
        "10",
        "--searches",
        "1",
        "--set",
        "search.iterations=2",
    ]
    answer = hume(*command, "--recipe", "sent.toml")
    assert answer.code == 2 and "if you trust it" in answer.err
    assert not Path("ran").exists() and not RUN.exists()
    answer = hume(*command, "--encoder", "hub:./evil/net?size=8")
    assert answer.code == 0 and Path("ran").exists(), answer.err
    monkeypatch.setattr("hume_ssl.spaces.trust._named", set())
    assert hume("assign", "--images", "digits.npy").code == 0  # it was named once
