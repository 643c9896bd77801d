"""One set of images in every kind of source: the same pixels here, in threads, and in forked and spawned workers."""

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader

from hume_ssl.items import Items, load_items
from hume_ssl.sources.decoded import DecodedImages

N = 12


def as_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Items]:
    """N colour images of one size as files, in archives, in an array, and as two libraries keep them."""
    root = tmp_path_factory.mktemp("sources")
    folder = root / "eurosat" / "2750" / "one"  # where torchvision looks for EuroSAT
    folder.mkdir(parents=True)
    array = np.random.default_rng(0).integers(0, 256, (N, 9, 7, 3), dtype=np.uint8)
    paths = [folder / f"{i:02d}.png" for i in range(N)]
    with (
        zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        tarfile.open(root / "a.tar", "w:") as tar,
    ):
        for path, pixels in zip(paths, array, strict=True):
            Image.fromarray(pixels).save(path)
            archive.write(path, path.name)
            tar.add(path, path.name)
    found = {name: load_items(root / name) for name in ("eurosat", "a.zip", "a.tar")}
    found |= {"array": load_items(array), "torchvision": load_items("torchvision:EuroSAT", root=root)}
    try:
        import datasets
    except ImportError:
        return found
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_dict({"x": [str(path) for path in paths]}).cast_column("x", datasets.Image())
    made.save_to_disk(root / "saved")
    return found | {"saved": load_items(root / "saved")}


def test_all_hold_the_same_images(sources: dict[str, Items]) -> None:
    for name, items in sources.items():
        np.testing.assert_array_equal(items.pixels(), sources["array"].pixels(), err_msg=name)
        np.testing.assert_array_equal(items.headers, sources["array"].headers, err_msg=name)
        taken = items.take(np.array([7, 2]))
        np.testing.assert_array_equal(taken.pixels(), items.pixels()[[7, 2]], err_msg=name)
        assert taken.hash != items.hash
    assert len({items.hash for items in sources.values()}) == len(sources)


@pytest.mark.parametrize(("how", "workers"), [("fork", 2), ("spawn", 1)])  # a spawned one imports torch again
def test_worker_processes_read_them_in_order(sources: dict[str, Items], how: str, workers: int) -> None:
    every: Any = ConcatDataset([DecodedImages(items.images, as_array) for items in sources.values()])  # type: ignore[arg-type]
    loader: Any = DataLoader(every, batch_size=N, num_workers=workers, multiprocessing_context=how, collate_fn=np.stack)
    for name, batch in zip(sources, loader, strict=True):
        np.testing.assert_array_equal(batch, sources["array"].pixels(), err_msg=name)


def test_a_broken_image_comes_as_its_message(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    images = DecodedImages(load_items(tmp_path).images, as_array)
    assert images[0].startswith(f"cannot read the image {tmp_path / 'a.png'}: ")
