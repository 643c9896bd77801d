"""Every snippet of the README is run, in order, on real images and with fewer steps; nothing of it is only shown."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Hume
from tests.imports.test_hume_files import published_encoder, published_files

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

# What sets up a Python is done by whoever runs this.
SETUP = re.compile(r"python3 -m venv|\. \.venv/bin/activate|pip install|mkdir|cd |python -m pytest")
# Fewer steps of the same; encoders whose weights would have to be fetched are those that need none.
SMALLER: dict[str, list[str]] = {
    "discover": ["--searches", "3", "--set", "search.iterations=20"],
    "train-fixmatch": ["--steps", "4", "--set", "train.checkpoint_every=4"],
    "pretrain": ["--steps", "4", "--batch", "32"],
}
FETCHED = {
    "torchvision:resnet50": "kernel:rbf?dim=64",
    "torchvision:squeezenet1_1?size=128": "kernel:rbf?dim=96",
    "timm:vit_small_patch14_dinov2.lvd142m?size=126": "kernel:rbf?dim=32",
}


def commands(block: str) -> list[list[str]]:
    """The commands of a shell block, without those that set up."""
    lines = [part.strip() for line in block.splitlines() for part in re.split(r"&&", line.partition(" #")[0])]
    return [shlex.split(line) for line in lines if line and not SETUP.match(line)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README takes for granted: photos, characters, published results, a person's downloads."""
    from sklearn.datasets import load_digits

    digits = np.rint(load_digits().images[:360] * (255 / 16)).astype(np.uint8)
    for name in ("photos", "characters"):
        (tmp_path / name).mkdir()
        for item, image in enumerate(digits):
            picture = Image.fromarray(image)
            (picture.convert("RGB") if name == "photos" else picture).save(tmp_path / name / f"{item:03d}.png")
    flat = digits.reshape(len(digits), -1).astype(np.float32)
    np.save(tmp_path / "phi1_l2.npy", flat / np.linalg.norm(flat, axis=1, keepdims=True))
    np.save(tmp_path / "phi2.npy", flat)
    for seed in range(2):
        published_files(tmp_path / "experiments", published_encoder(64, 3, seed), seed, 0.9)
    (tmp_path / "classes.csv").write_text("class,name\n0,circle\n")
    (tmp_path / "answers.csv").write_text("index,filepath,label\n7,,-1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def run(hume: Hume, command: list[str]) -> None:
    """One command of the README, made small."""
    if command[0] == "python":
        assert command[1] == "-c", command
        exec(command[2], {})
        return
    assert command[0] == "hume-ssl", command
    name, *rest = command[1:]
    rest = [FETCHED.get(word, word) for word in rest]
    more = [] if "--classes" in rest and ":" in rest[rest.index("--classes") + 1] else SMALLER.get(name, [])
    if name == "select" and "--per-class" in rest:
        more = ["--allow-short"]  # so few searches of so few items leave classes short
    answer = hume(name, *rest, *more)
    assert answer.code == 0, (command, answer.err)


def finished(run: Path) -> bool:
    """Whether a discover has been there."""
    return run.exists() and "discover" in json.loads((run / "run.json").read_text())["stages"]


def test_every_shell_snippet(hume: Hume, here: Path) -> None:
    ran = 0
    for language, block in BLOCKS:
        if language != "sh":
            continue
        for command in commands(block):
            if command[1] in ("discover", "pretrain") and finished(Path("hume-run")):
                Path("hume-run").rename(f"hume-run-{ran}")  # the next example begins in a folder of its own
            run(hume, command)
            ran += 1
    assert ran >= 15


def test_every_python_snippet(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [block for language, block in BLOCKS if language == "python"]
    assert blocks
    for block in blocks:
        made: dict[str, Any] = {}
        small = block.replace("searches=16", "searches=2, settings={'search.iterations': 20}")
        small = small.replace("picked.label, classes=10)", "picked.label, classes=10, config=SMALL)")
        small = small.replace(".pixels()", ".pixels()[:300]").replace("per_class=4", "per_class=4, allow_short=True")
        assert small != block
        from hume_ssl.config import TrainConfig

        made["SMALL"] = TrainConfig(steps=3, eval_every=3)
        exec(small, made)
        assert len(made["trained"].predictions) == len(made["images"])


def test_nothing_but_shell_python_and_references() -> None:
    """A block of another kind would stand there untried."""
    assert {language for language, _ in BLOCKS} <= {"sh", "python", "bibtex"}
    for path in re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text(encoding="utf-8")):
        assert (README.parent / path).exists(), path
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", README.read_text(encoding="utf-8")):
        assert anchor in anchors | {"below"}, anchor
