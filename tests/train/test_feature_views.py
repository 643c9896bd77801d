"""Views embedded once: equal to torchvision called directly, cut off and continued, found again."""

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional as tvf

from hume_ssl.errors import InputError
from hume_ssl.growing import GrowingArray
from hume_ssl.items import bare_items, load_items
from hume_ssl.spaces.embed import embed
from hume_ssl.spaces.spec import EncoderSpec, parse_spec
from hume_ssl.train import feature_views
from hume_ssl.train.batches import generator
from hume_ssl.train.feature_views import ViewPlan, describe_views, embed_views, views_name, working_size
from hume_ssl.train.views import apply_strong, apply_weak, draw_strong, draw_weak

PLAN = ViewPlan(weak=2, strong=2, precision="float32")


class StopAt:
    """A progress display that stands for Ctrl-C after so many items."""

    def __init__(self, items: int) -> None:
        self.left = items

    def advance(self, n: int = 1, **info: str) -> None:
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt


class Count:
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


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_views, "CHUNK", 4)


def images(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def directly(spec: EncoderSpec, pixels: torch.Tensor) -> np.ndarray:
    """uint8 (b, 3, h, w) through torchvision alone."""
    network = torchvision.models.squeezenet1_1(weights=None).eval()
    network.load_state_dict(torch.load(str(spec.weights), weights_only=True))
    size = [int(spec.options["size"])] * 2
    scaled = tvf.normalize(
        tvf.resize(pixels, size, antialias=True).float() / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    with torch.inference_mode():
        return network.features(scaled).mean(dim=(2, 3)).numpy()


@pytest.mark.parametrize("side", [20, 64])
def test_views_equal_direct_calls_on_the_changed_images(spec: EncoderSpec, tmp_path: Path, side: int) -> None:
    """Small images are changed at their own size, large ones at the encoder's 48 pixels; the plain view is resized by
    Pillow, as for a space."""
    data = images(6, side)
    views = embed_views(load_items(data), spec, PLAN, tmp_path / "v.npy", workers=0)
    assert views.shape == (6, 5, 512) and views.dtype == np.float16
    resized = [np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BILINEAR)) for image in data]
    plain = torch.from_numpy(np.stack(resized)).movedim(3, 1)
    pixels = plain if side > 48 else torch.from_numpy(data).movedim(3, 1)
    expected = []
    for chunk, some in enumerate(pixels.split(4)):
        draws, size = generator(0, chunk), (len(some), *some.shape[2:])
        how = {"flip": True, "preset": "fixmatch-paper"}
        made = [plain[4 * chunk : 4 * chunk + 4]]
        made += [apply_weak(some, draw_weak(*size, draws, **how)) for _ in range(2)]
        made += [apply_strong(some, draw_strong(*size, draws, **how)) for _ in range(2)]
        expected.append(np.stack([directly(spec, view) for view in made], 1))
    np.testing.assert_allclose(views, np.concatenate(expected), rtol=2e-3, atol=1e-3)  # float16


def test_the_plain_view_is_the_encoders_space(spec: EncoderSpec, tmp_path: Path) -> None:
    items = load_items(images(6, 64))
    space = embed(items, spec, np.ones(6, bool), device="cpu")
    views = embed_views(items, spec, PLAN, tmp_path / "v.npy", workers=0)
    np.testing.assert_allclose(views[:, 0], space, rtol=1e-3, atol=1e-4)


def test_the_plain_view_of_mixed_sizes_is_the_encoders_space(spec: EncoderSpec, tmp_path: Path) -> None:
    """Most images are 40 x 30: views of the others are changed at that size, but as they are they keep their own."""
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate([(30, 40), (30, 40), (90, 20), (30, 40)]):
        pixels = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    items = load_items(tmp_path)
    space = embed(items, spec, np.ones(4, bool), device="cpu")
    views = embed_views(items, spec, PLAN, tmp_path / "v.npy", workers=0)
    np.testing.assert_allclose(views[:, 0], space, rtol=1e-3, atol=1e-4)


def test_a_file_cut_short_is_named(spec: EncoderSpec, tmp_path: Path) -> None:
    embed_views(load_items(images(6, 32)), spec, PLAN, tmp_path / "v.npy", workers=0)
    (tmp_path / "v.npy").write_bytes((tmp_path / "v.npy").read_bytes()[:-1])
    with pytest.raises(InputError, match=r"v\.npy is not a readable npy array.*remove it"):
        embed_views(load_items(images(6, 32)), spec, PLAN, tmp_path / "v.npy", workers=0)


def test_views_differ_from_one_another(spec: EncoderSpec, tmp_path: Path) -> None:
    """Colours in one corner only, so that a moved or mirrored image is another one; strong ones go further."""
    data = images(12, 32)
    data[:, 16:] = 128
    views = embed_views(load_items(data), spec, ViewPlan(4, 8), tmp_path / "v.npy", workers=0).astype(np.float64)
    away = np.linalg.norm(views - views[:, :1], axis=2).mean(0)
    assert away[0] == 0 and (away[1:] > 0).all() and away[5:].mean() > away[1:5].mean()


@pytest.mark.parametrize("stop", [4, 8, 10])
def test_cut_off_and_continued_gives_the_same_bytes(spec: EncoderSpec, tmp_path: Path, stop: int) -> None:
    items = load_items(images(10, 20))
    embed_views(items, spec, PLAN, tmp_path / "whole.npy", workers=0)
    path = tmp_path / "cut.npy"
    with pytest.raises(KeyboardInterrupt):
        embed_views(items, spec, PLAN, path, progress=StopAt(stop), workers=0)
    assert not path.exists()  # a reader never sees half of it
    count = Count()
    embed_views(items, spec, PLAN, path, progress=count, workers=0)
    assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes() and count.done == 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.npy", "whole.npy"]


def test_what_was_begun_under_another_plan_is_begun_again(spec: EncoderSpec, tmp_path: Path) -> None:
    items, path = load_items(images(10, 20)), tmp_path / "v.npy"
    with pytest.raises(KeyboardInterrupt):
        embed_views(items, spec, dataclasses.replace(PLAN, seed=1), path, progress=StopAt(4), workers=0)
    embed_views(items, spec, PLAN, path, workers=0)
    embed_views(items, spec, PLAN, tmp_path / "whole.npy", workers=0)
    assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_second_call_embeds_nothing(spec: EncoderSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items, path, count = load_items(images(6, 20)), tmp_path / "v.npy", Count()
    first = np.array(embed_views(items, spec, PLAN, path, workers=0))

    def never(*_: object) -> None:
        raise AssertionError("the encoder was built")

    monkeypatch.setattr(feature_views, "build_network", never)
    again = embed_views(items, spec, PLAN, path, progress=count, workers=0)
    assert np.array_equal(first, again) and count.done == 6


def test_the_name_tells_what_the_values_follow_from(spec: EncoderSpec, tmp_path: Path) -> None:
    items = load_items(images(6, 20))
    other = load_items(images(6, 20)[::-1].copy())
    moved = tmp_path / "moved.pth"
    moved.write_bytes(Path(str(spec.weights)).read_bytes())
    name = views_name(describe_views(items, spec, PLAN))
    assert name == views_name(describe_views(items, parse_spec(f"torchvision:squeezenet1_1@{moved}?size=48"), PLAN))
    changes = [dataclasses.replace(PLAN, **change) for change in ({"weak": 3}, {"strong": 3}, {"flip": False})]
    names = {views_name(describe_views(items, spec, plan)) for plan in changes}
    names |= {views_name(describe_views(other, spec, PLAN))}
    names |= {views_name(describe_views(items, parse_spec(spec.text.replace("=48", "=50")), PLAN))}
    assert len(names | {name}) == 6


def test_bf16_is_near(spec: EncoderSpec, tmp_path: Path) -> None:
    items = load_items(images(6, 20))
    exact = embed_views(items, spec, PLAN, tmp_path / "a.npy", workers=0).astype(np.float64)
    plan = dataclasses.replace(PLAN, precision="bf16")
    near = embed_views(items, spec, plan, tmp_path / "b.npy", workers=0).astype(np.float64)
    error = np.linalg.norm(near - exact, axis=2) / np.linalg.norm(exact, axis=2)
    assert 0 < error.max() < 0.05


@pytest.mark.parametrize(
    ("text", "message"), [("kernel:rbf", "'kernel:rbf' is none"), ("torchvision:squeezenet1_1@gone.pth", "gone.pth")]
)
def test_what_gives_no_views_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        embed_views(load_items(images(6, 20)), parse_spec(text), PLAN, tmp_path / "v.npy")
    assert not list(tmp_path.iterdir())


def test_without_images_there_are_no_views(spec: EncoderSpec, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--images"):
        embed_views(bare_items(6), spec, PLAN, tmp_path / "v.npy")


def test_more_than_the_disk_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"v.npy needs 1048576.0 GiB"):
        GrowingArray(tmp_path / "v.npy", "key").open((1 << 50,), np.uint8)
    assert not list(tmp_path.iterdir())


def test_size_at_which_images_are_changed(spec: EncoderSpec) -> None:
    preprocess = feature_views.build_preprocess(spec)
    assert working_size(load_items(images(2, 20)), preprocess) == (20, 20)
    assert working_size(load_items(images(2, 48)), preprocess) == (48, 48)
    assert working_size(load_items(images(2, 100)), preprocess) == (48, 48)


def test_real_images_by_real_weights(shared: Path, tmp_path: Path) -> None:
    """In the precision that this machine takes by default. A weak view is most like its own image."""
    with zipfile.ZipFile(shared / "cifar10-dev-images.zip") as archive:
        archive.extractall(tmp_path, sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:60])
    items = load_items(tmp_path / "images")
    spec = parse_spec(f"torchvision:squeezenet1_1@{shared / 'squeezenet1_1-imagenet.pth'}?size=128")
    plan = ViewPlan(weak=1, strong=1)
    views = embed_views(items, spec, plan, tmp_path / "v.npy", workers=0).astype(np.float64)
    space = embed(items, spec, np.ones(60, bool), device="cpu", workers=0)
    error = np.linalg.norm(views[:, 0] - space, axis=1) / np.linalg.norm(space, axis=1)
    assert error.mean() < feature_views.BF16_ERROR
    centred = np.sqrt(views) - np.sqrt(views[:, 0]).mean(0)
    centred /= np.linalg.norm(centred, axis=2, keepdims=True)
    own = [(np.argmax(centred[:, kind] @ centred[:, 0].T, axis=1) == np.arange(60)).mean() for kind in (1, 2)]
    assert own[0] > 0.8 and own[0] > own[1]
