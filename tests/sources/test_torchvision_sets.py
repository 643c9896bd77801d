"""torchvision's data sets by name, in files of their own formats written here, against torchvision itself."""

import pickle
import struct
from collections.abc import Callable
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from hume_ssl.errors import InputError
from hume_ssl.images import for_each
from hume_ssl.items import check_images, load_items
from hume_ssl.sources.torchvision_sets import NAMES

N = 5


def pixels_of(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx(path: Path, array: np.ndarray) -> None:
    """The format of MNIST: two zero bytes, 8 for uint8, the number of dimensions, their lengths, the values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


def write_mnist(root: Path, name: str = "MNIST") -> None:
    for part, seed in (("train", 0), ("t10k", 1)):
        idx(root / name / "raw" / f"{part}-images-idx3-ubyte", pixels_of(seed, N, 28, 28))
        idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", np.arange(N, dtype=np.uint8))


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / datasets.CIFAR10.base_folder
    folder.mkdir()
    lists: dict[str, list[list[str]]] = {"train_list": [], "test_list": []}
    for key, name, seed in (
        ("train_list", "data_batch_1", 0),
        ("train_list", "data_batch_2", 1),
        ("test_list", "t", 2),
    ):
        batch = {"data": pixels_of(seed, N, 3072), "labels": list(range(N))}
        (folder / name).write_bytes(pickle.dumps(batch))
        lists[key].append([name, md5((folder / name).read_bytes()).hexdigest()])
    (folder / "meta").write_bytes(pickle.dumps({"names": ["a"] * 10}))
    meta = {"filename": "meta", "key": "names", "md5": md5((folder / "meta").read_bytes()).hexdigest()}
    for key, value in {**lists, "meta": meta}.items():
        monkeypatch.setattr(datasets.CIFAR10, key, value)


def write_stl(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / datasets.STL10.base_folder
    folder.mkdir()
    pixels_of(0, N, 3, 96, 96).tofile(folder / "train_X.bin")
    np.arange(1, N + 1, dtype=np.uint8).tofile(folder / "train_y.bin")
    pixels_of(1, N + 2, 3, 96, 96).tofile(folder / "unlabeled_X.bin")
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    path = root / "train_32x32.mat"
    savemat(path, {"X": pixels_of(0, 32, 32, 3, N), "y": np.ones((N, 1))})
    url, name, _ = datasets.SVHN.split_list["train"]
    split_list = {**datasets.SVHN.split_list, "train": [url, name, md5(path.read_bytes()).hexdigest()]}
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)


def write_usps(root: Path) -> None:
    import bz2

    rows = np.random.default_rng(0).uniform(-1, 1, (N, 256))
    lines = [f"{i + 1} " + " ".join(f"{j + 1}:{x:.4f}" for j, x in enumerate(row)) for i, row in enumerate(rows)]
    (root / "usps.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))


def write_eurosat(root: Path) -> None:
    for i in range(N):
        path = root / "eurosat" / "2750" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_of(i, 6, 8, 3)).save(path)


Write = Callable[[Path, pytest.MonkeyPatch], None]
WRITE: dict[str, tuple[Write, Callable[[Path], object]]] = {
    "MNIST": (lambda r, m: write_mnist(r), lambda r: datasets.MNIST(r)),
    "MNIST?split=test": (lambda r, m: write_mnist(r), lambda r: datasets.MNIST(r, train=False)),
    "FashionMNIST?split=train": (lambda r, m: write_mnist(r, "FashionMNIST"), lambda r: datasets.FashionMNIST(r)),
    "CIFAR10": (write_cifar, lambda r: datasets.CIFAR10(r)),
    "CIFAR10?split=test": (write_cifar, lambda r: datasets.CIFAR10(r, train=False)),
    "STL10": (write_stl, lambda r: datasets.STL10(r)),
    "STL10?split=train+unlabeled": (write_stl, lambda r: datasets.STL10(r, split="train+unlabeled")),
    "SVHN": (write_svhn, lambda r: datasets.SVHN(r)),
    "USPS": (lambda r, m: write_usps(r), lambda r: datasets.USPS(r)),
    "EuroSAT": (lambda r, m: write_eurosat(r), lambda r: datasets.EuroSAT(r)),
}


@pytest.mark.parametrize("name", WRITE)
def test_images_and_order_are_torchvisions(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, direct = WRITE[name]
    write(tmp_path, monkeypatch)
    items, expected = load_items(f"torchvision:{name}", root=tmp_path), direct(tmp_path)
    assert len(items) == len(expected) and items.filepaths == [""] * len(items)  # type: ignore[arg-type]
    assert (items.array is None) == name.startswith("EuroSAT")
    check_images(items)
    for i in range(len(items)):
        image = expected[i][0]  # type: ignore[index]
        assert items.image(i).mode == image.mode
        np.testing.assert_array_equal(np.asarray(items.image(i)), np.asarray(image))
    assert items.headers.tolist() == [[image.height, image.width, 1 if image.mode == "L" else 3]] * len(items)
    assert load_items(f"torchvision:{name}", root=tmp_path).hash == items.hash


def test_hashes_tell_splits_and_contents_apart(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write_eurosat(tmp_path)
    names = ("MNIST", "MNIST?split=test", "EuroSAT")
    hashes = [load_items(f"torchvision:{name}", root=tmp_path).hash for name in names]
    assert len(set(hashes)) == 3
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "eurosat").rename(tmp_path / "elsewhere" / "eurosat")
    moved = load_items("torchvision:EuroSAT", root=tmp_path / "elsewhere")
    assert moved.hash == hashes[2]
    Image.fromarray(pixels_of(9, 6, 8, 3)).save(tmp_path / "elsewhere/eurosat/2750/a/0.png")
    assert load_items("torchvision:EuroSAT", root=tmp_path / "elsewhere").hash != moved.hash


def test_files_lie_upright_are_named_and_go_to_other_processes(tmp_path: Path) -> None:
    write_eurosat(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels_of(0, 6, 8, 3)).save(tmp_path / "eurosat/2750/a/0.png", exif=exif)
    items = load_items("torchvision:EuroSAT", root=tmp_path)
    upright = np.rot90(pixels_of(0, 6, 8, 3), -1)
    sent = pickle.dumps(items.images)
    assert len(sent) < 1000
    for source in (items.images, pickle.loads(sent), items.images.take(np.array([0]))):
        np.testing.assert_array_equal(np.asarray(source.image(0)), upright)
    (tmp_path / "eurosat/2750/a/2.png").write_bytes(b"no image")
    broken = load_items("torchvision:EuroSAT", root=tmp_path)
    with pytest.raises(InputError, match=r"a/2\.png"):
        check_images(broken)


def test_threads_open_a_sent_source_together(tmp_path: Path) -> None:
    write_eurosat(tmp_path)
    source = pickle.loads(pickle.dumps(load_items("torchvision:EuroSAT", root=tmp_path).images))
    for_each(source.image, len(source))


def refuses(text: str, *words: str, **how: object) -> None:
    with pytest.raises(InputError) as caught:
        load_items(text, **how)  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)


def test_names_and_splits_that_are_none(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write_eurosat(tmp_path)
    for text, words in {
        "torchvision:CIFAR-10": ("'CIFAR-10'", "'CIFAR10'"),
        "torchvision:LSUN": ("'LSUN'",),  # it unpickles what lies beside it
        "torchvision:x": ("'x'", "valid are CIFAR10, "),
        "torchvision:MNIST?split=val": ("no such split", "?split=test"),
        "torchvision:SVHN?split=tset": ("no such split", "extra"),
        "torchvision:EMNIST": ("needs a split",),
        "torchvision:EuroSAT?split=test": ("no splits",),
        "torchvision:MNIST?train=false": ("'?train=false'", "?split=test"),
        "torchvision:MNIST?split=": ("?split=test",),
    }.items():
        refuses(text, *words, root=tmp_path)


def test_every_name_is_one_of_torchvisions_and_can_be_asked_for(tmp_path: Path) -> None:
    """All are constructed; none is there, so each is refused by one line that says what to do, and nothing is made."""
    tmp_path.joinpath("data").mkdir()
    for name in NAMES:
        split = {"EMNIST": "?split=letters"}.get(name, "")
        refuses(f"torchvision:{name}{split}", name, "--root", root=tmp_path / "data")
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


def test_nothing_is_fetched_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fetched = []

    def download(self: datasets.MNIST) -> None:
        fetched.append(self.root)
        print("fetching")
        write_mnist(Path(self.root))

    monkeypatch.setattr(datasets.MNIST, "download", download)
    monkeypatch.setattr(datasets.SEMEION, "download", download)  # torchvision's default there is to fetch
    refuses("torchvision:MNIST", "torchvision:MNIST is not in data", "--root", "--download")
    refuses("torchvision:SEMEION", "--download")
    (tmp_path / "data").mkdir()
    refuses("torchvision:MNIST", "is not in data (Dataset not found)", "--download")
    refuses("torchvision:SEMEION", "is not in data", "--download")
    assert not fetched and not list((tmp_path / "data").iterdir())
    assert len(load_items("torchvision:MNIST", download=True)) == N and fetched == ["data"]
    refuses("torchvision:ImageNet", "cannot download ImageNet", "by hand", download=True)


def test_a_download_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: datasets.MNIST) -> None:
        raise RuntimeError("Error downloading x.gz:\nTried https://a/, got:\n<urlopen error>\n")

    monkeypatch.setattr(datasets.MNIST, "download", download)
    refuses("torchvision:MNIST", "cannot download torchvision:MNIST", "urlopen error", root=tmp_path, download=True)


def test_root_and_download_belong_to_torchvision(tmp_path: Path) -> None:
    refuses("digits", "--root", "torchvision:NAME", root=tmp_path)
    refuses("digits", "--download", "digits", download=True)


def test_cifar_files_with_another_checksum_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch)

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "trapped",))

    (tmp_path / datasets.CIFAR10.base_folder / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    refuses("torchvision:CIFAR10", "corrupted", "--download", root=tmp_path)
    assert not (tmp_path / "trapped").exists()
