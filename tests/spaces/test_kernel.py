"""Random Fourier features: against the Gaussian kernel itself, and what may and may not change them."""

from pathlib import Path

import numpy as np
import pytest

from hume_ssl.errors import InputError
from hume_ssl.items import load_items
from hume_ssl.spaces import kernel
from hume_ssl.spaces.embed import describe, embed
from hume_ssl.spaces.spec import parse_spec


def images(n: int = 40, side: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side), dtype=np.uint8)


def everything(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


def test_products_estimate_the_gaussian_kernel() -> None:
    """Parity with exp(-|x - y|^2 / 2 s^2); at 20,000 features the standard error is below 0.007."""
    pixels = images()
    features = kernel.fit(pixels, everything(40), width=1.0, dim=20_000, centre=False, seed=1)
    z = features.transform(pixels)
    x = pixels.reshape(40, -1) / 255
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.testing.assert_allclose(z @ z.T, np.exp(-squared / (2 * features.scale**2)), atol=0.04)


def test_median_distance_by_hand() -> None:
    """Two kinds of images, all 0 and all 255, four pixels: every pair that differs is sqrt(4) = 2 apart."""
    pixels = np.repeat(np.array([0, 255], dtype=np.uint8), 10).reshape(20, 1, 1) * np.ones((1, 2, 2), dtype=np.uint8)
    rng = np.random.default_rng(0)
    assert kernel.median_distance(pixels, np.arange(20), rng) == 2
    assert kernel.fit(pixels, everything(20), width=0.5, dim=4, centre=False, seed=0).scale == 1


def test_all_the_same_is_refused() -> None:
    with pytest.raises(InputError, match="look the same"):
        kernel.fit(np.zeros((5, 2, 2), np.uint8), everything(5), width=1, dim=4, centre=True, seed=0)


def test_fitted_on_train_items_only() -> None:
    pixels, train = images(), np.arange(40) < 30
    changed = pixels.copy()
    changed[30:] = 255 - changed[30:] // 2
    spec = parse_spec("kernel:rbf?dim=16")
    a, b = embed(load_items(pixels), spec, train), embed(load_items(changed), spec, train)
    np.testing.assert_array_equal(a[:30], b[:30])
    assert not np.allclose(a[30:], b[30:])


def test_centred_on_train_items() -> None:
    train = np.arange(40) < 30
    space = embed(load_items(images()), parse_spec("kernel:rbf?dim=16"), train)
    np.testing.assert_allclose(space[train].mean(axis=0), 0, atol=1e-6)
    plain = embed(load_items(images()), parse_spec("kernel:rbf?dim=16&centre=false"), train)
    assert np.abs(plain[train].mean(axis=0)).max() > 0.01


def test_same_spec_is_equal_to_the_bit_and_another_is_independent() -> None:
    items = load_items(images(200))
    a = embed(items, parse_spec("kernel:rbf?dim=64"), everything(200))
    np.testing.assert_array_equal(a, embed(items, parse_spec("kernel:rbf?dim=64"), everything(200)))
    b = embed(items, parse_spec("kernel:rbf?dim=64&seed=1"), everything(200))
    correlation = np.corrcoef(a.T, b.T)[:64, 64:]
    assert np.abs(correlation).mean() < 0.2 and not np.allclose(np.abs(correlation).max(axis=1), 1)


def test_rows_do_not_depend_on_their_neighbours() -> None:
    """Past one chunk of 1,024 rows, each row is what the fitted map gives it alone, up to rounding."""
    pixels = images(1030)
    train = everything(1030)
    spec = parse_spec("kernel:rbf?width=1&dim=8")
    whole = embed(load_items(pixels), spec, train)
    features = kernel.fit(pixels, train, width=1, dim=8, centre=True, seed=kernel.spec_seed(spec))
    for i in (0, 1023, 1024, 1029):
        np.testing.assert_allclose(whole[i], features.transform(pixels[i : i + 1])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "option", "expected"),
    [((8, 8), "", (8, 8)), ((64, 48), "", (32, 24)), ((64, 48), "?size=16", (16, 12)), ((100, 1), "", (32, 1))],
)
def test_longer_side_is_brought_down_to_size(shape: tuple[int, int], option: str, expected: tuple[int, int]) -> None:
    items = load_items(np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8))
    spec = parse_spec(f"kernel:rbf{option}")
    assert kernel.pixel_size(items, spec) == expected
    assert describe(items, spec, everything(3))["preprocessing"]["height"] == expected[0]  # type: ignore[index]
    assert embed(items, spec, everything(3)).shape == (3, kernel.DIM)


def test_colour_counts() -> None:
    grey = np.repeat(images()[..., None], 3, axis=3)
    tinted = grey.copy()
    tinted[:20, ..., 0] //= 2
    spec = parse_spec("kernel:rbf?dim=16")
    a, b = (embed(load_items(x), spec, everything(40)) for x in (grey, tinted))
    assert not np.allclose(a, b)


def test_a_damaged_map_is_refused(tmp_path: Path) -> None:
    spec = parse_spec("kernel:rbf?dim=8")
    features = kernel.fit_items(load_items(images()), spec, everything(40))
    for size, channels in (((4, 5), 1), ((4, 4), 3), ((-4, -4), 1)):
        kernel.save(tmp_path / "k.safetensors", features, size, channels)
        with pytest.raises(InputError, match=r"k\.safetensors is damaged"):
            kernel.load(tmp_path / "k.safetensors")
    kernel.save(tmp_path / "k.safetensors", features, (4, 4), 1)
    assert kernel.load(tmp_path / "k.safetensors")[1:] == ((4, 4), 1)
