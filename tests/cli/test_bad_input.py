"""Wrong input: exit 2, one line on stderr with the value and the fix, and not a byte written or changed."""

import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import DISCOVER, SELECT, TRAIN, Answer, Hume, files_of

SPACES = shlex.split("discover --classes 3 --searches 2 --labeller a.npy --judge b.npy")
Prepare = Callable[[Path], object]


def refused(hume: Hume, folder: Path, *arguments: str, says: tuple[str, ...]) -> Answer:
    before = files_of(folder)
    folders = sorted(path for path in folder.rglob("*") if path.is_dir())
    answer = hume(*arguments)
    assert (answer.code, answer.out) == (2, ""), answer
    assert len(answer.err.splitlines()) == 1, answer.err
    assert "Traceback" not in answer.err
    for words in says:
        assert words in answer.err
    assert files_of(folder) == before
    assert sorted(path for path in folder.rglob("*") if path.is_dir()) == folders
    return answer


def images(folder: Path) -> Path:
    """Three PNG files."""
    (folder / "pics").mkdir()
    for i in range(3):
        Image.fromarray(np.full((8, 8), 40 * i, dtype=np.uint8)).save(folder / "pics" / f"{i}.png")
    return folder / "pics"


def no_image(folder: Path) -> None:
    (folder / "pics").mkdir()
    (folder / "pics" / "notes.txt").write_text("no image")


def unreadable(folder: Path) -> None:
    (images(folder) / "bad.png").write_bytes(b"no image")


def cut_image(folder: Path) -> None:
    path = images(folder) / "1.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def list_with_absent_file(folder: Path) -> None:
    images(folder)
    (folder / "list.csv").write_text("filepath\npics/0.png\npics/absent.png\n")


def list_without_filepath(folder: Path) -> None:
    (folder / "list.csv").write_text("file\npics/0.png\n")


def archives(folder: Path) -> None:
    """One with a name that leads out of it, one compressed, one without an image, one that is none."""
    with zipfile.ZipFile(folder / "out.zip", "w") as archive:
        archive.writestr("../a.png", b"")
    with zipfile.ZipFile(folder / "empty.zip", "w") as archive:
        archive.writestr("notes.txt", b"")
    (folder / "a.tar.gz").write_bytes(b"")
    (folder / "a.tar").write_bytes(b"no archive" * 100)


def image_array(folder: Path) -> None:
    np.save(folder / "float.npy", np.zeros((30, 8, 8), dtype=np.float32))


@pytest.mark.parametrize(
    ("prepare", "arguments", "says"),
    [
        (no_image, "--images pics --classes 2", ("pics", "no image")),
        (unreadable, "--images pics --classes 2", ("bad.png", "--skip-broken")),
        (cut_image, "--images pics --classes 2", ("1.png", "--skip-broken")),
        (list_with_absent_file, "--images list.csv --classes 2", ("absent.png",)),
        (list_without_filepath, "--images list.csv --classes 2", ("filepath",)),
        (image_array, "--images float.npy --classes 2", ("float.npy", "uint8")),
        (archives, "--images out.zip --classes 2", ("out.zip", "'../a.png'")),
        (archives, "--images empty.zip --classes 2", ("empty.zip", "no image")),
        (archives, "--images a.tar.gz --classes 2", ("a.tar.gz", "unpack")),
        (archives, "--images a.tar --classes 2", ("a.tar", "again")),
        (images, "--images torchvision:CIFAR11 --classes 2", ("'CIFAR11'", "'CIFAR10'")),
        (images, "--images torchvision:CIFAR10 --classes 2", ("torchvision:CIFAR10", "--root", "--download")),
        (images, "--images torchvision:CIFAR10 --root pics --classes 2", ("pics", "--root", "--download")),
        (images, "--images torchvision:CIFAR10?split=val --root pics --classes 2", ("?split=val", "?split=test")),
        (images, "--images pics --root pics --classes 2", ("--root", "torchvision:NAME")),
        (images, "--images pics --download --classes 2", ("--download", "torchvision:NAME")),
        (images, "--images pics/0.png --classes 2", ("pics/0.png", ".zip")),
        (images, "--images pics", ("--classes",)),
        (images, "--images pics --classes 4", ("4", "3")),
        (images, "--images absent --classes 2", ("absent",)),
        (images, "--images pics --classes 2 --split 0.01", ("0.01",)),
        (images, "--images pics --classes 2 --split absent.csv", ("absent.csv",)),
        (images, "--images pics --classes 2 --encoder kernel:rfb", ("rfb", "'rbf'")),
        (images, "--images pics --classes 2 --encoder torchvison:resnet18", ("torchvison", "'torchvision'")),
        (images, "--images pics --classes 2 --encoder torchvision:resnet18@absent.pth", ("absent.pth",)),
        (images, "--images pics --classes 2 --encoder kernel:rbf?width=big", ("width", "big")),
        (images, "--images pics --classes 2 --device cuba", ("cuba", "cpu")),
        (images, "--images pics --classes 2 --encoder kernel:rbf --judge absent.npy", ("absent.npy",)),
    ],
)
def test_images_that_cannot_be_used(
    hume: Hume, bare: Path, prepare: Prepare, arguments: str, says: tuple[str, ...]
) -> None:
    prepare(bare)
    refused(hume, bare, "discover", *arguments.split(), says=says)


def test_what_shows_only_while_spaces_are_made_leaves_nothing_either(hume: Hume, bare: Path) -> None:
    """Equal images have no random features; that is found by the encoder, after the run folder was begun."""
    np.save(bare / "equal.npy", np.zeros((30, 8, 8), dtype=np.uint8))
    before = files_of(bare)
    answer = hume("discover", "--images", "equal.npy", "--classes", "3")
    assert answer.code == 2
    assert "look the same" in answer.err
    assert files_of(bare) == before
    assert not (bare / "hume-run").exists()


def save(folder: Path, a: np.ndarray, b: np.ndarray) -> None:
    np.save(folder / "a.npy", a)
    np.save(folder / "b.npy", b)


def normal(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, columns)).astype(np.float32)


def with_value(value: float, *rows: int) -> np.ndarray:
    array = normal(30, 8)
    array[list(rows), 3] = value
    return array


def pickled(folder: Path) -> None:
    save(folder, normal(30, 8), normal(30, 8))
    np.save(folder / "a.npy", np.array([{"a": 1}] * 30, dtype=object), allow_pickle=True)


def cut_short(folder: Path) -> None:
    save(folder, normal(30, 8), normal(30, 8))
    (folder / "b.npy").write_bytes((folder / "b.npy").read_bytes()[:-10])


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda f: save(f, normal(30, 8), normal(31, 8)), ("30", "31")),
        (lambda f: save(f, with_value(np.nan, 7, 9), normal(30, 8)), ("a.npy", "nan", "row 7")),
        (lambda f: save(f, normal(30, 8), with_value(np.inf, 29)), ("b.npy", "inf", "row 29")),
        (lambda f: save(f, normal(30, 8) * (np.arange(30)[:, None] != 4), normal(30, 8)), ("a.npy", "row 4", "zero")),
        (lambda f: save(f, normal(30, 8).astype(np.int64), normal(30, 8)), ("a.npy", "int64")),
        (lambda f: save(f, normal(30, 8)[0], normal(30, 8)), ("a.npy", "(8,)")),
        (lambda f: save(f, normal(30, 2), normal(30, 8)), ("3", "2 directions")),
        (lambda f: save(f, normal(2, 8), normal(2, 8)), ("3", "2")),
        (pickled, ("a.npy", "pickle")),
        (cut_short, ("b.npy", "cut short")),
    ],
)
def test_spaces_that_cannot_be_used(hume: Hume, bare: Path, prepare: Prepare, says: tuple[str, ...]) -> None:
    prepare(bare)
    refused(hume, bare, *SPACES, says=says)


@pytest.mark.parametrize("k", ["1", "0", "-3"])
def test_too_few_classes(hume: Hume, bare: Path, k: str) -> None:
    save(bare, normal(30, 8), normal(30, 8))
    refused(hume, bare, *SPACES, "--classes", k, says=(k, "2"))


def test_spaces_and_images_of_different_length(hume: Hume, bare: Path) -> None:
    save(bare, normal(30, 8), normal(30, 8))
    refused(hume, bare, *SPACES, "--images", "digits.npy", says=("30", "400"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("discover --recipe digts", ("digts", "'digits'")),
        ("discover --recipe fixmatch", ("fixmatch", "train-fixmatch")),
        ("discover --recipe absent/mine.toml", ("absent/mine.toml",)),
        ("discover --recipe digits --set search.iteratons=3", ("search.iteratons", "'search.iterations'")),
        ("discover --recipe digits --set search.iterations=many", ("search.iterations", "many", "whole number")),
        ("discover --recipe digits --set search.iterations", ("search.iterations", "KEY=VALUE")),
        ("discover --recipe digits --searches 0", ("0", "1")),
        ("discover --recipe digits --neighbours 0", ("0", "1")),
        ("discover --recipe digits --seed -1", ("-1", "0")),
        ("discover --recipe digits --seed 99999999999999999999", ("99999999999999999999", "search.seed")),
        ("discover --recipe digits --set search.train_fraction=0.0001", ("search.train_fraction", "0.0001")),
        ("discover --recipe digits --run digits.npy/run", ("digits.npy/run", "--run")),
        ("discover --recipe digits --split 1.5", ("1.5", "between 0 and 1")),
        ("discover --judge digits.npy", ("--labeller",)),
        ("discover --recipe digits --resume --overwrite", ("--resume", "--overwrite")),
        ("select --per-class 4", ("hume-run", "discover")),
        ("train-fixmatch", ("hume-run", "discover")),
        ("evaluate --truth truth.npy", ("hume-run", "discover")),
        ("status", ("hume-run", "discover")),
        ("train-fixmatch --recipe fixmach", ("fixmach", "'fixmatch'")),
        ("train-fixmatch --set train.batc=3", ("train.batc", "'train.batch'")),
        ("assign --images digits.npy", ("hume-run", "discover")),
        ("assign --images digits.npy --from consensus", ("'consensus'", "--from searches or train")),
        ("export --to torch", ("hume-run", "discover")),
        ("export --to onx", ("'onx'", "'onnx'")),
        ("export --to ../../x", ("../../x", "torch")),
        ("recipes show digts", ("digts", "'digits'")),
        ("recipes cp digts mine.toml", ("digts", "'digits'")),
    ],
)
def test_arguments_that_cannot_be_used(hume: Hume, bare: Path, arguments: str, says: tuple[str, ...]) -> None:
    refused(hume, bare, *arguments.split(), says=says)


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [("discover --serches 3", "--searches"), ("discver", "discover"), ("train-fixmatch --stepps 3", "--steps")],
)
def test_an_unknown_flag_or_command_offers_the_nearest(hume: Hume, bare: Path, arguments: str, offered: str) -> None:
    before = files_of(bare)
    answer = hume(*arguments.split())
    assert (answer.code, answer.out) == (2, "")
    assert offered in answer.err  # in typer's usage box, many lines long
    assert files_of(bare) == before


def test_a_recipe_file_with_an_unknown_key_or_broken_toml(hume: Hume, bare: Path) -> None:
    (bare / "mine.toml").write_text("[search]\niteration = 3\n")
    refused(hume, bare, "discover", "--recipe", "mine.toml", says=("search.iteration", "'search.iterations'"))
    (bare / "mine.toml").write_text("[search]\niterations = \n")
    refused(hume, bare, "discover", "--recipe", "mine.toml", says=("mine.toml", "line 2"))


def test_a_folder_of_somebody_else(hume: Hume, bare: Path) -> None:
    (bare / "hume-run").mkdir()
    (bare / "hume-run" / "thesis.txt").write_text("mine")
    for flags in ([], ["--resume"], ["--overwrite"], ["--dry-run"]):
        refused(hume, bare, *DISCOVER, *flags, says=("hume-run", "thesis.txt", "--run"))
    refused(hume, bare, *DISCOVER, "--run", "digits.npy", says=("digits.npy", "--run"))


def test_a_run_json_of_somebody_else(hume: Hume, bare: Path) -> None:
    (bare / "hume-run").mkdir()
    for text in ("{}", "[]", "{", '{"format": "other"}'):
        (bare / "hume-run" / "run.json").write_text(text)
        for command in (DISCOVER, [*DISCOVER, "--overwrite"], SELECT, TRAIN, ["status"]):
            refused(hume, bare, *command, says=("run.json", "--run"))


@pytest.mark.parametrize("n", ["0", "-1"])
def test_no_items_a_class(hume: Hume, done: Path, n: str) -> None:
    refused(hume, done, "select", "--per-class", n, says=(f"--per-class {n}", "1 or more"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("assign --images absent", ("absent",)),
        ("assign --images hume-run/train", ("hume-run/train", "no image")),
        ("assign --images truth.npy", ("truth.npy", "uint8")),
        ("assign --images digits.npy --name other", ("'other'", "fixmatch-per-class-2")),
        ("assign --images digits.npy --name ../../x", ("../../x",)),
        ("assign --images digits.npy --device cuba", ("cuba", "cpu")),
        ("export --to torch --name other", ("'other'", "fixmatch-per-class-2")),
        ("export --to torch --name ../../x", ("../../x",)),
        ("train-fixmatch --name drawn --logger tensorbord", ("'tensorbord'", "tensorboard")),
    ],
)
def test_what_comes_after_training_with_wrong_flags(
    hume: Hume, done: Path, arguments: str, says: tuple[str, ...]
) -> None:
    refused(hume, done, *arguments.split(), says=says)


def test_a_selection_or_training_that_is_not_there(hume: Hume, done: Path) -> None:
    refused(hume, done, "train-fixmatch", "--per-class", "7", says=("7", "select --per-class 7"))
    refused(hume, done, "evaluate", "--truth", "truth.npy", "--per-class", "7", says=("7", "select --per-class 7"))
    refused(hume, done, "evaluate", "--truth", "truth.npy", "--name", "other", says=("other", "fixmatch-per-class-2"))
    refused(hume, done, "train-fixmatch", "--name", "../../x", says=("../../x", "letters"))
    refused(hume, done, "evaluate", "--truth", "truth.npy", "--name", "../../x", says=("../../x",))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{index},,10,class-10,1,1,1,mine", ("row 1", "label 10", "0 to 9")),
        ("{index},,-1,unknown,1,1,1,mine", ("row 1", "label -1", "0 to 9")),
        ("{index},,1.5,class-01,1,1,1,mine", ("row 1", "label 1.5")),
        ("{index},,seven,class-01,1,1,1,mine", ("row 1", "label seven")),
        ("{index},,,class-01,1,1,1,mine", ("row 1", "label")),
        ("400,,1,class-01,1,1,1,mine", ("row 1", "index 400", "0 to 399")),
        ("{other},,1,class-01,1,1,1,mine", ("item {other}", "twice")),
        ("{test},,1,class-01,1,1,1,mine", ("item {test}", "test item")),
    ],
)
def test_a_label_file_changed_by_hand(hume: Hume, done: Path, row: str, says: tuple[str, ...]) -> None:
    path = done / "hume-run/selection/per-class-2/labels.csv"
    header, first, second, *rest = path.read_text().splitlines()
    items = (done / "hume-run/items.csv").read_text().splitlines()[1:]
    known = {
        "index": first.split(",")[0],
        "other": second.split(",")[0],
        "test": next(line.split(",")[0] for line in items if line.endswith(",test")),
    }
    path.write_text("\n".join([header, row.format(**known), second, *rest]) + "\n")
    named = tuple(word.format(**known) for word in says)
    refused(hume, done, *TRAIN, "--overwrite", says=("labels.csv", *named))
    refused(hume, done, "evaluate", "--truth", "truth.npy", says=("labels.csv", *named))


@pytest.mark.parametrize("text", ["", "index\n1\n", "index,label\n"])
def test_a_label_file_that_is_no_label_file(hume: Hume, done: Path, text: str) -> None:
    (done / "hume-run/selection/per-class-2/labels.csv").write_text(text)
    refused(hume, done, *TRAIN, "--overwrite", says=("labels.csv",))


def test_a_truth_that_does_not_fit(hume: Hume, done: Path) -> None:
    np.save(done / "short.npy", np.zeros(399, dtype=np.int64))
    refused(hume, done, "evaluate", "--truth", "short.npy", says=("short.npy", "399", "400"))
    np.save(done / "unknown.npy", np.full(400, -1))
    refused(hume, done, "evaluate", "--truth", "unknown.npy", says=("unknown.npy", "train item"))
    refused(hume, done, "evaluate", "--truth", "absent.npy", says=("absent.npy",))
    (done / "truth.csv").write_text("filepath,label\na.png,1\n")
    refused(hume, done, "evaluate", "--truth", "truth.csv", says=("truth.csv", ".npy"))


def test_a_consensus_changed_by_hand(hume: Hume, done: Path) -> None:
    path = done / "hume-run/consensus.csv"
    path.write_text(path.read_text().replace(",0,", ",1,", 1))
    for command in (SELECT, TRAIN, ["evaluate", "--truth", "truth.npy"]):
        refused(hume, done, *command, says=("consensus.csv", "--overwrite"))


@pytest.mark.parametrize("text", ["", "class\n0\n", "class,name\n0,zero\n"])
def test_class_names_that_cannot_be_read(hume: Hume, done: Path, text: str) -> None:
    (done / "hume-run/classes.csv").write_text(text)
    if not text:  # no table at all: said before hours of searches, not after them
        refused(hume, done, *DISCOVER, "--searches", "8", "--resume", says=("classes.csv",))
        refused(hume, done, *DISCOVER, "--overwrite", says=("classes.csv",))
    refused(hume, done, *SELECT, "--overwrite", says=("classes.csv",))


def test_images_that_are_not_those_of_the_run_any_more(hume: Hume, done: Path) -> None:
    quick = [*DISCOVER, "--set", "search.iterations=5"]
    assert hume(*quick, "--overwrite").code == 0
    assert hume(*SELECT, "--overwrite", "--allow-short").code == 0
    np.save(done / "digits.npy", np.load(done / "digits.npy")[::-1].copy())
    refused(hume, done, *TRAIN, "--overwrite", says=("digits.npy", "hume-run"))
    refused(hume, done, *quick, says=("data.images", "--overwrite"))
    refused(hume, done, *quick, "--resume", says=("data.images", "--overwrite"))


def test_a_run_of_spaces_alone_has_nothing_for_a_network_of_images(hume: Hume, bare: Path) -> None:
    save(bare, normal(60, 8), normal(60, 8))
    assert hume(*SPACES, "--set", "search.iterations=5").code == 0
    assert hume("select", "--per-class", "1", "--allow-short").code == 0
    refused(hume, bare, *TRAIN, "--set", "train.network=small-cnn", says=("hume-run", "--images"))


def test_too_few_reliable_items(hume: Hume, done: Path) -> None:
    before = files_of(done)
    answer = hume("select", "--per-class", "300")
    assert (answer.code, answer.out) == (2, "")
    first, header, *rows = answer.err.splitlines()
    assert "300" in first and "--allow-short" in first
    assert header.split() == ["class", "reliable", "items"]
    assert [row.split()[0] for row in rows] == [f"class-{label:02d}" for label in range(10)]
    assert all(row.split()[1].isdecimal() for row in rows)
    assert files_of(done) == before
