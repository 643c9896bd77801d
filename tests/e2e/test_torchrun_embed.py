"""Two processes under torchrun embed what one does; a broken image is told once, whoever meets it."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tests.conftest import Hume
from tests.e2e.test_torchrun import torchrun

ENCODER = "torchvision:squeezenet1_1@w.pth?size=32"
N = 2 * 1024 + 100  # three chunks: two for the first process, one for the other


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as torchrun sets it; more threads round otherwise
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), "w.pth")
    return tmp_path


def test_as_one_process(images: Path, hume: Hume) -> None:
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), dtype=np.uint8))
    flags = ["embed", "--images", "images.npy", "--encoder", ENCODER, "--encoder", "kernel:rbf?dim=16"]
    process = torchrun(*flags, "--run", "two", "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count('"cached": false') == 2
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert hume(*flags, "--run", "one").code == 0
    finally:
        torch.set_num_threads(threads)
    names = sorted(path.name for path in Path("one/spaces").iterdir())
    assert names == sorted(path.name for path in Path("two/spaces").iterdir()) and len(names) == 4
    for name in names:
        assert Path("one/spaces", name).read_bytes() == Path("two/spaces", name).read_bytes(), name


def test_a_broken_image_is_told_once(images: Path) -> None:
    Path("images").mkdir()
    for i in range(12):
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(f"images/{i:02d}.png")
    Path("images/11.png").write_bytes(Path("images/11.png").read_bytes()[:40])
    process = torchrun("embed", "--images", "images", "--encoder", ENCODER)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1 and err.count("error: ") == 1 and "11.png" in err  # torchrun's own code
    assert not Path("hume-run").exists()
