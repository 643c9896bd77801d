"""`embed`: spaces made once, found again by what they follow from, and gone on with where they were cut off."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from hume_ssl.spaces import embed as embedding
from hume_ssl.spaces.encode import Engine
from tests.conftest import Hume

SMALL = ["--searches", "2", "--set", "search.iterations=3"]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """30 colour images, and a file of random weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedding, "CHUNK", 8)
    rng = np.random.default_rng(0)
    Path("images").mkdir()
    for i in range(30):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(f"images/{i:02d}.png")
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), "w.pth")
    return tmp_path


ENCODER = "torchvision:squeezenet1_1@w.pth?size=32"


def made(run: str = "hume-run") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(run, "spaces").iterdir()}


def test_a_space_and_its_record(images: Path, hume: Hume) -> None:
    answer = hume("embed", "--images", "images", "--encoder", ENCODER, "--json")
    assert answer.code == 0, answer.err
    (one,) = answer.json["spaces"]
    assert (one["items"], one["width"], one["cached"]) == (30, 512, False)
    assert one["images_per_second"] > 0 and 0 < one["busy"] < 1.2
    assert np.load(one["path"]).shape == (30, 512) and np.load(one["path"]).dtype == np.float32
    (record,) = json.loads(Path("hume-run/spaces/spaces.json").read_text()).values()
    assert record["encoder"] == "torchvision:squeezenet1_1?size=32" and record["precision"] == "float32"
    assert record["preprocessing"]["resize"] == [32, 32] and len(record["weights_sha256"]) == 64
    assert Path("hume-run/spaces", record["file"]) == Path(one["path"])


def test_a_space_more_leaves_a_run_as_it_was(images: Path, hume: Hume) -> None:
    """spaces.json gets a line more, and is still what discover's record says."""
    kernel = ["--images", "images", "--classes", "2", "--encoder", "kernel:rbf?dim=8", "--neighbours", "3"]
    assert hume("discover", *kernel, *SMALL).code == 0
    assert hume("select", "--per-class", "1", "--allow-short").code == 0
    assert hume("embed", "--images", "images", "--encoder", ENCODER).code == 0
    assert len(json.loads(Path("hume-run/spaces/spaces.json").read_text())) >= 2
    for command in (["select", "--per-class", "1", "--allow-short"], ["select", "--per-class", "2", "--allow-short"]):
        answer = hume(*command)
        assert answer.code == 0, answer.err
    assert hume("report").code == 0
    Path("hume-run/spaces/spaces.json").write_text("{}")
    answer = hume("embed", "--images", "images", "--encoder", "kernel:rbf?dim=9")
    assert answer.code == 2 and "spaces.json is not as discover left it" in answer.err


def test_nothing_is_embedded_twice(images: Path, hume: Hume, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hume("embed", "--images", "images", "--encoder", ENCODER).code == 0
    before = made()
    Path("other").mkdir()
    Path("w.pth").rename("other/weights.pth")  # the same weights in another place

    def never(*arguments: object) -> None:
        raise AssertionError("it is embedded again")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "encode", never)
        moved = ENCODER.replace("@w.pth", "@other/weights.pth")
        answer = hume("embed", "--images", "images", "--encoder", moved, "--json")
        assert answer.code == 0 and answer.json["spaces"][0]["cached"]
        flags = ["--images", "images", "--classes", "3", "--encoder", moved, "--encoder", "kernel:rbf?dim=16", *SMALL]
        assert hume("discover", *flags).code == 0
        assert hume("discover", *flags, "--seed", "1", "--overwrite").code == 0
    after = made()
    assert before.items() - {"spaces.json"} <= after.items() | {("spaces.json", before["spaces.json"])}
    roles = json.loads(after["spaces.json"])
    assert list(roles) == ["labeller", "judge"]
    assert np.array_equal(np.load("hume-run/spaces/labeller.npy"), np.load(answer.json["spaces"][0]["path"]))


@pytest.mark.parametrize(
    "change",
    [
        ("--encoder", ENCODER.replace("32", "40")),
        ("--encoder", ENCODER, "--precision", "bfloat16"),
        ("--encoder", "torchvision:squeezenet1_1@w2.pth?size=32"),
    ],
)
def test_what_is_another_space(images: Path, hume: Hume, change: tuple[str, ...]) -> None:
    torch.manual_seed(1)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), "w2.pth")
    assert hume("embed", "--images", "images", "--encoder", ENCODER).code == 0
    answer = hume("embed", "--images", "images", *change, "--json")
    assert answer.code == 0 and not answer.json["spaces"][0]["cached"]
    assert len(json.loads(Path("hume-run/spaces/spaces.json").read_text())) == 2


def test_an_array_is_a_space_too(images: Path, hume: Hume) -> None:
    rows = np.random.default_rng(0).standard_normal((30, 7))
    np.save("rows.npy", rows)
    flags = ["embed", "--images", "images", "--encoder", "npy:rows.npy", "--json"]
    (one,) = hume(*flags).json["spaces"]
    np.testing.assert_array_equal(np.load(one["path"]), rows.astype(np.float32))
    assert hume(*flags).json["spaces"][0]["cached"]
    np.save("rows.npy", rows[:29])
    answer = hume(*flags)
    assert answer.code == 2 and "29 rows" in answer.err


def test_kernels_follow_from_the_train_items(images: Path, hume: Hume) -> None:
    flags = ["embed", "--images", "images", "--encoder", "kernel:rbf?dim=16", "--json"]
    assert not hume(*flags).json["spaces"][0]["cached"]
    assert not hume(*flags, "--split", "0.2").json["spaces"][0]["cached"]
    assert hume(*flags).json["spaces"][0]["cached"]


def test_killed_and_resumed(images: Path, hume: Hume, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["embed", "--images", "images", "--encoder", ENCODER]
    assert hume(*flags, "--run", "whole").code == 0
    seen: list[int] = []
    encode = Engine.encode

    def killed(self: Engine, items: object, chunks: list[range], *more: object) -> Iterator[object]:
        for number, rows in enumerate(encode(self, items, chunks, *more)):  # type: ignore[arg-type]
            if number == 2:
                raise KeyboardInterrupt
            yield rows

    def noted(self: Engine, items: object, chunks: list[range], *more: object) -> Iterator[object]:
        seen.extend(i for chunk in chunks for i in chunk)
        yield from encode(self, items, chunks, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "encode", killed)
        assert hume(*flags).code == 130
    refused = hume(*flags)
    assert refused.code == 2 and "--resume" in refused.err and "--overwrite" in refused.err
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "encode", noted)
        assert hume(*flags, "--resume").code == 0
    assert seen == list(range(16, 30))
    assert made() == made("whole")
    assert hume(*flags, "--overwrite").code == 0
    assert made() == made("whole")


def test_another_version_of_the_library_is_asked(images: Path, hume: Hume, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["embed", "--images", "images", "--encoder", ENCODER, "--json"]
    assert hume(*flags).code == 0
    with monkeypatch.context() as patch:
        patch.setattr(embedding.metadata, "version", lambda name: "999.0")
        assert hume(*flags).json["spaces"][0]["cached"]  # it prepares images as before
        patch.setattr(embedding, "FORMAT", 2)
        assert not hume(*flags).json["spaces"][0]["cached"]


def test_spaces_of_other_images_make_way(images: Path, hume: Hume) -> None:
    assert hume("embed", "--images", "images", "--encoder", "kernel:rbf?dim=16").code == 0
    Path("images/00.png").unlink()
    flags = ["--images", "images", "--classes", "3", "--encoder", "kernel:rbf?dim=16", "--encoder", "kernel:rbf?dim=8"]
    assert hume("discover", *flags, *SMALL).code == 0
    assert {np.load(path).shape for path in Path("hume-run/spaces").glob("kernel-*.npy")} == {(29, 16), (29, 8)}


def test_a_broken_image_leaves_nothing_of_its_space(images: Path, hume: Hume) -> None:
    data = Path("images/20.png").read_bytes()
    Path("images/20.png").write_bytes(data[: len(data) // 2])
    answer = hume("embed", "--images", "images", "--encoder", ENCODER)
    assert answer.code == 2 and "20.png" in answer.err
    assert not Path("hume-run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--images"),
        (["--images", "images"], "--encoder"),
        (["--images", "images", "--encoder", "kernel:rbf", "--encoder", "kernel:rbf"], "twice"),
        (["--images", "images", "--encoder", "npy:gone.npy"], "gone.npy"),
        (["--images", "images", "--encoder", "torchvision:squeezenet1_1@gone.pth"], "gone.pth"),
        (["--images", "images", "--encoder", "torchvision:squeezenet9@w.pth"], "squeezenet1_1"),
        (["--images", "images", "--encoder", "torchvision:resnet18@w.pth"], "w.pth are not of torchvision:resnet18"),
    ],
)
def test_what_cannot_be_embedded(images: Path, hume: Hume, flags: list[str], message: str) -> None:
    answer = hume("embed", *flags)
    assert answer.code == 2 and message in answer.err and answer.err.count("\n") == 1
    assert not Path("hume-run").exists()


def test_the_list_asks_no_network(hume: Hume, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    answer = hume("embed", "--list")
    assert answer.code == 0 and "timm:NAME" in answer.out and "hume-ssl pretrain" in answer.out
    facts = hume("embed", "--list", "--json").json
    assert facts["taken"]["grey"][0].startswith("kernel:rbf") and {"kinds", "pairs", "gpu"} <= facts.keys()


def test_the_best_encoders_on_this_machine_are_taken(images: Path, hume: Hume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in torch's own cache count as installed: then a photograph's default is a network."""
    checkpoints = Path("hub/checkpoints").absolute()
    checkpoints.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(checkpoints.parent))
    flags = ["discover", "--images", "images", "--classes", "3", *SMALL, "--dry-run"]
    answer = hume(*flags)
    assert answer.code == 0, answer.err
    assert "no encoder named: taking kernel:rbf" in answer.out and "better for photographs" in answer.out
    for name in ("mobilenet_v2", "resnet50"):
        weights = torchvision.models.get_model_weights(name).DEFAULT
        torch.save(torchvision.models.get_model(name, weights=None).state_dict(), checkpoints / Path(weights.url).name)
    answer = hume(*flags)
    assert answer.code == 0, answer.err
    assert "taking torchvision:mobilenet_v2 and torchvision:resnet50" in answer.out


def test_a_hit_takes_no_time(images: Path, hume: Hume) -> None:
    """No library of encoders is imported: torch and torchvision alone would take seconds."""
    assert hume("embed", "--images", "images", "--encoder", ENCODER).code == 0
    code = (
        "import sys; sys.argv = ['hume-ssl', 'embed', '--images', 'images', '--encoder', sys.argv[1]]\n"
        "from hume_ssl.cli.main import app\napp(standalone_mode=False)\n"
        "assert not {'torch', 'torchvision', 'sklearn', 'faiss'} & set(sys.modules)"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, ENCODER], capture_output=True, text=True)
    assert done.returncode == 0 and "there already" in done.stdout, done.stderr
    assert time.monotonic() - began < 20  # 1.3 s for 6,000 files; the rest is for a machine at work
