"""Embedding: real weights against torchvision called directly, batches, workers, bad files."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision import transforms

from hume_ssl.devices import pick_device
from hume_ssl.errors import InputError
from hume_ssl.items import bare_items, load_items
from hume_ssl.spaces.embed import describe, embed
from hume_ssl.spaces.spec import EncoderSpec, parse_spec

REAL_WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "squeezenet1_1-imagenet.pth"


class Counter:
    def __init__(self) -> None:
        self.done = 0

    def advance(self, n: int = 1, **info: str) -> None:
        self.done += n


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> EncoderSpec:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), path)
    return parse_spec(f"torchvision:squeezenet1_1@{path}?size=48")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of different sizes, grey and colour, in several formats."""
    rng = np.random.default_rng(0)
    for i in range(9):
        shape = (20 + i, 30, 3) if i % 3 else (20, 25)
        image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        image.save(tmp_path / f"{i}.{('png', 'jpg', 'webp')[i % 3]}")
    return tmp_path


def everything(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


def direct(folder: Path, weights: Path, size: int) -> np.ndarray:
    """The same space by torchvision alone, one image at a time."""
    network = torchvision.models.squeezenet1_1(weights=None).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    prepare = transforms.Compose(
        [
            transforms.Resize((size, size)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    rows = []
    with torch.inference_mode():
        for path in sorted(folder.iterdir()):
            rows.append(network.features(prepare(Image.open(path).convert("RGB"))[None]).mean(dim=(2, 3))[0].numpy())
    return np.stack(rows)


@pytest.mark.skipif(not REAL_WEIGHTS.exists(), reason="needs ../shared/data/squeezenet1_1-imagenet.pth")
def test_real_weights_equal_a_direct_call(folder: Path) -> None:
    spec = parse_spec(f"torchvision:squeezenet1_1@{REAL_WEIGHTS}?size=128")
    space = embed(load_items(folder), spec, everything(9), device="cpu")
    assert space.shape == (9, 512) and space.dtype == np.float32
    # Relative as well: values reach 90, and float32 itself leaves 4e-5 there (measured against float64).
    np.testing.assert_allclose(space, direct(folder, REAL_WEIGHTS, 128), atol=1e-5, rtol=1e-5)


def test_batches_and_workers_change_nothing_but_rounding(folder: Path, spec: EncoderSpec) -> None:
    assert spec.weights is not None
    expected = direct(folder, spec.weights, 48)
    for batch, workers in [(1, 0), (4, 0), (4, 2), (64, 1)]:
        progress = Counter()
        space = embed(
            load_items(folder),
            spec,
            everything(9),
            device="cpu",
            batch=batch,
            workers=workers,
            progress=progress,
        )
        np.testing.assert_allclose(space, expected, atol=1e-5)
        assert progress.done == 9


def test_an_array_of_images_gives_what_its_files_give(tmp_path: Path, spec: EncoderSpec) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 20, 20), dtype=np.uint8)
    for i, image in enumerate(array):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    from_array = embed(load_items(array), spec, everything(5), device="cpu")
    np.testing.assert_array_equal(from_array, embed(load_items(tmp_path), spec, everything(5), device="cpu"))


def test_the_space_is_written_where_the_caller_says(folder: Path, tmp_path: Path, spec: EncoderSpec) -> None:
    path = tmp_path / "spaces" / "space.npy"
    space = embed(load_items(folder), spec, everything(9), device="cpu", path=path)
    assert isinstance(space, np.memmap) and sorted(path.parent.iterdir()) == [path]
    np.testing.assert_array_equal(np.load(path), embed(load_items(folder), spec, everything(9), device="cpu"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_is_named_in_one_line(folder: Path, spec: EncoderSpec, workers: int) -> None:
    path = folder / "1.jpg"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(InputError, match=r"1\.jpg") as caught:
        embed(load_items(folder), spec, everything(9), device="cpu", workers=workers)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


def test_workers_can_be_sent_what_they_need(folder: Path, spec: EncoderSpec) -> None:
    """Where processes are spawned (macOS, Windows) the data set is pickled: small, and without decoded pixels."""
    import pickle

    from hume_ssl.sources.decoded import DecodedImages
    from hume_ssl.spaces.encoders import build_preprocess

    items = load_items(folder)
    items.pixels(512)
    images = DecodedImages(items.images, build_preprocess(spec))
    data = pickle.dumps(images)
    assert len(data) < 5000
    assert torch.equal(pickle.loads(data)[2], images[2])


def test_wrong_calls(folder: Path, spec: EncoderSpec) -> None:
    with pytest.raises(InputError, match="needs images"):
        embed(bare_items(3), spec, everything(3))
    with pytest.raises(InputError, match="train item"):
        embed(load_items(folder), spec, ~everything(9))
    for device in ("gpu", "cuda:99" if torch.cuda.is_available() else "cuda"):
        with pytest.raises(InputError, match=device):
            pick_device(device)


def test_the_record_beside_the_space(folder: Path, spec: EncoderSpec) -> None:
    items = load_items(folder)
    facts = describe(items, spec, everything(9))
    assert (
        facts["encoder"] == spec.without_path
        and facts["items"] == items.hash
        and len(str(facts["weights_sha256"])) == 64
    )
    assert facts["preprocessing"]["resize"] == (48, 48)  # type: ignore[index]
