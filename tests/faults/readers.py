"""Every reader of a file, with valid seeds of what it reads: `test_damaged_input` damages them."""

import dataclasses
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from hume_ssl import config, files, inputs, item_columns
from hume_ssl.growing import GrowingArray
from hume_ssl.imports import hume_files
from hume_ssl.items import Items, check_images, load_items
from hume_ssl.run import RunFolder, decide
from hume_ssl.schema import SearchConfig
from hume_ssl.search.midway import Midway
from hume_ssl.spaces.loading import check_space, load_space
from hume_ssl.spaces.spec import parse_spec
from hume_ssl.spaces.weights_files import load_strictly, read_state
from hume_ssl.train_config import TrainConfig

NAMES = ["a/0.png", "a/1.png", "2.png", "3.png"]
TRAINING = "fixmatch-per-class-2"


@dataclass(frozen=True)
class Reader:
    """A reader of one file.

    Attributes:
        file: where the damaged bytes go, in a working folder with a finished run, hume-run.
        kind: which edits (`tests.faults.damage.EDITS`).
        seeds: valid files; made in that folder.
        read: what may raise InputError and nothing else.
        sound: whether all seeds are read; False where some are refused as they are, being files of another kind.
    """

    file: str
    kind: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    sound: bool = True


def npy(*arrays: Any) -> list[bytes]:
    made = []
    for array in arrays:
        file = io.BytesIO()
        np.save(file, array)
        made.append(file.getvalue())
    return made


def npz(*arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{f"a{i}": array for i, array in enumerate(arrays)})
    return file.getvalue()


def torch_saved(value: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def tensors(values: dict[str, torch.Tensor], facts: dict[str, Any]) -> bytes:
    files.write_safetensors(Path("seed.safetensors"), values, facts)
    return Path("seed.safetensors").read_bytes()


def present(*paths: str) -> Callable[[], list[bytes]]:
    """Files of the finished run are the seeds."""
    return lambda: [Path("hume-run", path).read_bytes() for path in paths]


def pixels(height: int = 9, width: int = 11, colour: bool = True) -> np.ndarray:
    shape = (height, width, 3) if colour else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encoded(form: str, image: Image.Image | None = None, **how: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(pixels())).save(file, form, **how)
    return file.getvalue()


def pngs() -> list[bytes]:
    colour = Image.fromarray(pixels())
    wide = Image.fromarray(pixels(8, 8, False).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = colour.quantize(16)
    return [
        *(encoded("PNG", image) for image in (colour, colour.convert("L"), wide, palette, colour.convert("RGBA"))),
        encoded("PNG", colour.convert("1")),
        encoded("PNG", palette, transparency=0),
        encoded("PNG", colour, exif=turned),
    ]


def tiffs() -> list[bytes]:
    colour, wide = Image.fromarray(pixels()), Image.fromarray(pixels(8, 8, False).astype(np.uint16) * 257)
    packed = ["raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"]
    return [*(encoded("TIFF", colour, compression=how) for how in packed), encoded("TIFF", wide)]


def gifs() -> list[bytes]:
    frames = [Image.fromarray(pixels()).quantize(8), Image.fromarray(pixels()[::-1].copy()).quantize(8)]
    return [encoded("GIF", frames[0]), encoded("GIF", frames[0], save_all=True, append_images=frames[1:])]


def bmps() -> list[bytes]:
    colour = Image.fromarray(pixels())
    return [encoded("BMP", image) for image in (colour, colour.convert("L"), colour.quantize(4), colour.convert("1"))]


def jpegs() -> list[bytes]:
    turned = Image.Exif()
    turned[0x0112], turned[0x010E] = 6, "a"
    colour = Image.fromarray(pixels(17, 24))
    plain = [encoded("JPEG", image) for image in (colour, colour.convert("L"), colour.convert("CMYK"))]
    return [*plain, encoded("JPEG", colour, progressive=True), encoded("JPEG", colour, exif=turned)]


def archive(form: str) -> bytes:
    made = io.BytesIO()
    images = {"a.png": pngs()[0], "b/c.jpg": jpegs()[0], "d.gif": gifs()[0], "notes.txt": b"x"}
    if form == "tar":
        with tarfile.open(fileobj=made, mode="w") as tar:
            for name, data in images.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED if form == "deflated" else zipfile.ZIP_STORED) as zipped:
            for name, data in images.items():
                zipped.writestr(name, data)
    return made.getvalue()


def look(items: Items) -> None:
    """All that commands do with images: headers, checks of both kinds, pixels."""
    for decode in (False, True):
        check_images(items, decode=decode)
    assert len(items.hash) == 64 and len(items.headers) == len(items)
    items.pixels(8)


def use(array: Any) -> None:
    np.asarray(array).tobytes()


def read_space(path: Path) -> None:
    check_space(load_space(path), str(path), labeller=True)


def listed() -> list[bytes]:
    for i, name in enumerate(NAMES):
        Path("pictures", name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels()).save(Path("pictures", name), "PNG")
        assert i < 10
    rows = ["filepath,label,split", *(f"{name},{'cat' if i % 2 else 'dog'},train" for i, name in enumerate(NAMES))]
    quoted = '\ufefffilepath,note\r\n"2.png","a, ""b"""\r\n3.png,\r\n'
    return ["\n".join(rows).encode(), quoted.encode()]


def truths() -> list[bytes]:
    return [
        (
            "filepath,label,split\n"
            + "".join(f"{name},{i},{'test' if i else 'train'}\n" for i, name in enumerate(NAMES))
        ).encode(),
        b"label,split\ncat,train\ndog,test\n7,train\n,test\n",
    ]


def truth_arrays() -> list[bytes]:
    return npy(
        np.arange(4),
        np.array([0.0, 1, np.nan, 3]),
        np.array(["a", "b", "c", "-1"]),
        np.array([True] * 4),
        np.array(["train", "test"] * 2),
    )


def run() -> RunFolder:
    return RunFolder("hume-run")


def found() -> Any:
    """The consensus of the run, read once."""
    from hume_ssl.stages.table import load_found

    if "found" not in _kept:
        _kept["found"] = load_found(run())
    return _kept["found"]


_kept: dict[str, Any] = {}


def read_answers(path: Path) -> None:
    from hume_ssl.stages.answer_file import read_answers

    one = found()
    read_answers(path, one.filepaths, one.train, one.labels, one.names)


def answers() -> list[bytes]:
    train = np.flatnonzero(found().train)[:4].tolist()
    rows = [
        f"{i},,{label},{name}"
        for i, label, name in zip(train, (3, -1, "", "wrong"), ("", "", "seven", ""), strict=True)
    ]
    return [("index,filepath,label,class_name\n" + "\n".join(rows)).encode(), f"index;label\n{train[0]};3.0\n".encode()]


def recipe(kind: Any) -> Callable[[Path], object]:
    return lambda path: config.to_toml(config.load_recipe(str(path.absolute()), kind).resolved())


def recipes(kind: Any) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        names = [config.recipe_path(name) for name in config.recipe_names(kind)]
        if not names:  # none comes with the package
            return [config.to_toml(config.PretrainRecipe(name="own")).encode()]
        whole = config.to_toml(config.load_recipe(names[0].stem, kind).resolved())
        return [*(path.read_bytes() for path in names), whole.encode()]

    return seeds


def head_training(resume: bool) -> object:
    """A training of a head of which the first steps are done: what the checkpoint says is gone on from."""
    from hume_ssl.train import train_fixmatch

    rows = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    settings = TrainConfig(
        steps=4, batch=2, mu=1, lr=0.03, lambda_u=1.0, network="head", checkpoint_every=2, eval_every=2
    )
    return train_fixmatch(
        rows,
        np.arange(4),
        np.arange(4) % 2,
        classes=2,
        config=settings,
        device="cpu",
        checkpoint_dir=Path("head"),
        resume=resume,
    )


def head_checkpoints() -> list[bytes]:
    head_training(resume=False)
    return [Path("head/previous.safetensors").read_bytes(), Path("head/last.safetensors").read_bytes()]


def head_resumed(path: Path) -> None:
    (path.parent / "previous.safetensors").unlink(missing_ok=True)
    data = path.read_bytes()
    head_training(resume=True)
    path.write_bytes(data)


def pretraining() -> Any:
    from hume_ssl.pretrain.state import Pretraining
    from hume_ssl.pretrain_config import PretrainConfig

    settings = PretrainConfig(network="small-cnn", lr=0.01, projection=8)
    statistics = torch.zeros(1), torch.ones(1)
    return Pretraining(settings, shape=(1, 8, 8), statistics=statistics, device=torch.device("cpu"))


def pretrain_seeds() -> list[bytes]:
    tensors_, facts = pretraining().save()
    row = dict.fromkeys(("step", "loss", "found_again", "alignment", "spread", "effective_rank", "lr"), 1.0)
    return [tensors(tensors_, facts | {"step": 3, "history": [row], "identity": {"settings": "a", "items": "b"}})]


def pretrain_resumed(path: Path) -> None:
    from hume_ssl.train import checkpoint

    for resumed in (pretraining(),):
        if kept := checkpoint.load(path.parent):
            checkpoint.go_on(path.parent, kept, {"settings": "a", "items": "b"}, 10, resumed.restore)


def trained(path: Path) -> None:
    from hume_ssl.train import trained

    network = trained.load(path)
    trained.preparation(network.facts)
    if len(network.facts["shape"]) == 3:
        trained.label(network, load_items(pixels(8, 8, False)[None]), torch.device("cpu"))
    assert len(network.facts.get("class_names", [])) >= 0


def trained_seeds() -> list[bytes]:
    head_training(resume=False)
    from hume_ssl.train import trained

    result = head_training(resume=False)
    trained.save(Path("t.safetensors"), result.state_dict, result.network, ["a", "b"])  # type: ignore[attr-defined]
    return [Path("t.safetensors").read_bytes(), *present(f"train/{TRAINING}/model.safetensors")()]


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def weights(path: Path) -> None:
    load_strictly(small_network(), read_state(path), "small", path)


def pth_seeds() -> list[bytes]:
    state = small_network().state_dict()
    return [
        torch_saved(state),
        torch_saved({"model": state, "epoch": 3}),
        torch_saved(state, _use_new_zipfile_serialization=False),
    ]


def encoder_file(path: Path) -> None:
    from hume_ssl.spaces.encoders import build_network, build_preprocess

    spec = parse_spec(f"pretrained:small-cnn@{path}")
    build_preprocess(spec)
    build_network(spec)


def encoder_seeds() -> list[bytes]:
    from hume_ssl.pretrain.network import build_encoder

    facts = {
        "format": "hume_ssl encoder 1",
        "network": "small-cnn",
        "channels": 1,
        "size": [8, 8],
        "mean": [0.5],
        "std": [0.2],
    }
    return [tensors(build_encoder("small-cnn", 1, (8, 8)).state_dict(), facts)]


def task_seeds() -> list[bytes]:
    layer = nn.utils.parametrizations.orthogonal(nn.Linear(7, 3, bias=False))
    old = torch_saved(layer.state_dict(), _use_new_zipfile_serialization=False)
    return [torch_saved(layer.state_dict()), torch_saved({"weight": torch.eye(3, 5)}), old]


def score_seeds() -> list[bytes]:
    values = [0.9375, np.float64(0.75), np.float32(0.5), np.array(0.25), np.array([0.125])]
    return [pickle.dumps({"CV_Score": value}, protocol=p) for value in values for p in (0, 2, 4, 5)]


def saved_seeds(name: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        import datasets

        rows = {"image": [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(pngs()[:3])], "label": [0, 1, 2]}
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
        one = datasets.Dataset.from_dict(rows, features=features)
        datasets.disable_progress_bars()
        datasets.DatasetDict({"train": one, "test": one}).save_to_disk("saved")
        return [Path("saved", name).read_bytes()]

    return seeds


def saved(path: Path) -> None:
    look(load_items("saved?split=train"))


def whole_run(path: Path) -> None:
    """What commands do first with run.json and the files beside it."""
    from hume_ssl.stages import report
    from hume_ssl.stages.evaluate import _training
    from hume_ssl.stages.naming import present_names
    from hume_ssl.stages.status import status
    from hume_ssl.stages.table import load_found, pretrained_encoders, stored_items
    from hume_ssl.stages.trainings import finished_training

    one = run()
    readings: list[Callable[[], object]] = [
        one.check,
        lambda: status(one, lambda text: None),
        lambda: decide(one, "discover", {"a": 1}, resume=True, searches=9),
        lambda: decide(one, "selection/per-class-2", {"a": 1}),
        lambda: present_names(one),
        lambda: pretrained_encoders(one),
        lambda: finished_training(one, None, one.predictions_csv),
        lambda: _training(one, None),
        lambda: report._stages(one),
        lambda: report._trainings(one),
        lambda: report._glance(one, found(), 2),
        lambda: stored_items(one),
        lambda: one.update({}),
        lambda: load_found(one),
    ]
    every(readings)
    path.exists()


def every(readings: list[Callable[[], object]]) -> None:
    """All of them, each of which may refuse."""
    from hume_ssl.errors import InputError

    refused = None
    for reading in readings:
        try:
            reading()
        except InputError as error:
            refused = error
    if refused:
        raise refused


def stored(path: Path) -> None:
    """What commands read of a finished discover."""
    from hume_ssl.stages import report
    from hume_ssl.stages.artefacts import stored_searches
    from hume_ssl.stages.assign_classes import _vote
    from hume_ssl.stages.spaces import index_spaces
    from hume_ssl.stages.table import every_space, stored_recipe
    from hume_ssl.stages.votes import stored_votes

    one = run()

    def spaces() -> None:
        for space in every_space(one):
            assert len(space) == len(found().labels)

    def votes() -> None:
        from hume_ssl.consensus import vote_share

        kept = stored_votes(one, found())
        vote_share(kept.labellings, kept.matching, kept.weights, found().labels)

    every([
        spaces,
        votes,
        lambda: stored_recipe(one),
        lambda: stored_searches(one).first(2),
        lambda: _vote(one, found(), np.zeros((4, 3), np.int32), np.asarray(one.read_npy(one.labellings_npy))),
        lambda: report._spaces(one),
        lambda: index_spaces_of(one, index_spaces),
    ])  # fmt: skip


def index_spaces_of(one: RunFolder, index_spaces: Callable[[RunFolder], None]) -> None:
    data = one.spaces_json.read_bytes()
    try:
        index_spaces(one)
    finally:
        one.spaces_json.write_bytes(data)


def growing(path: Path) -> None:
    """The record is damaged, and the array beside it whole."""
    shutil.copy("whole.growing.npy", "grow/a.growing.npy")
    array = GrowingArray(Path("grow/a.npy"), "key")
    array.open((6, 3), np.float32)
    assert isinstance(array.facts, dict) and array.chunks >= 0


def growing_seeds() -> list[bytes]:
    array = GrowingArray(Path("grow/a.npy"), "key")
    array.open((6, 3), np.float32)[:] = 1
    array.keep({"width": 3})
    shutil.copy("grow/a.growing.npy", "whole.growing.npy")
    return [Path("grow/a.growing.json").read_bytes()]


def growing_array(path: Path) -> None:
    files.write_json(Path("grow/a.growing.json"), {"key": "key", "chunks": 1, "facts": {}})
    GrowingArray(Path("grow/a.npy"), "key").open((6, 3), np.float32)


def growing_array_seeds() -> list[bytes]:
    growing_seeds()
    return [Path("whole.growing.npy").read_bytes()]


def searches_checkpoint(path: Path) -> None:
    """A killed discover goes on from whole batches."""
    from types import SimpleNamespace

    from hume_ssl.stages.artefacts import searches_so_far

    one = RunFolder("killed")
    given: Any = SimpleNamespace(items=found().labels, classes=10)
    searches = searches_so_far(one, given)
    if searches is not None:
        searches.joined(searches).first(3)


def searches_seeds() -> list[bytes]:
    from hume_ssl.stages.artefacts import packed, stored_searches

    return [tensors(*packed(stored_searches(run())))]


def killed_batch(path: Path) -> None:
    """A killed batch goes on from its last kept step."""
    from hume_ssl.stages.artefacts import batch_in_hand

    search(batch_in_hand(RunFolder("killed"), 0))


def search(midway: Midway) -> None:
    from hume_ssl.search import prepare_spaces, run_searches

    rows = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    settings = SearchConfig(searches=2, iterations=2, batch=2, seed=0, subsets=1).model_copy(
        update={"early_stop": True}
    )
    spaces = prepare_spaces(rows, [rows], np.ones(24, bool), settings)
    run_searches(spaces, 2, settings, midway=lambda start: midway)


def batch_seeds() -> list[bytes]:
    kept: list[bytes] = []
    midway = Midway(None, lambda values, facts: kept.append(tensors(values, facts)))
    midway.saved = -1e9
    search(midway)
    return kept


def broken_csv(path: Path) -> None:
    from hume_ssl.stages.table import leave_out_broken

    leave_out_broken(run(), load_items("pictures"))


def predictions(path: Path) -> None:
    from hume_ssl.stages.evaluate import read_evaluations, read_predictions

    every([lambda: read_predictions(path, 400), lambda: read_evaluations(path, 400)])


def tried(path: Path) -> None:
    from hume_ssl.class_count import choose
    from hume_ssl.stages.class_count import read_tried

    choose(read_tried(path))


def tried_seeds() -> list[bytes]:
    from hume_ssl.class_count import Tried
    from hume_ssl.stages.class_count import _table

    rows = [Tried(k, 0.5, 0.6, 0.7, -0.1, 4, 0) for k in (2, 3, 4)]
    assert dataclasses.is_dataclass(rows[0])
    return [files.csv_bytes(_table(rows))]


def manifest(path: Path) -> None:
    from hume_ssl.labels.pictures import take_away

    take_away(path.parent)


def names_file(path: Path) -> None:
    from hume_ssl.stages.naming import read_given_names
    from hume_ssl.stages.table import read_names

    every([lambda: read_given_names(path, found().names), lambda: read_names(run(), 10)])


def labels_file(path: Path) -> None:
    from hume_ssl.stages.table import read_labels

    read_labels(path, found())


def evaluation_json(path: Path) -> None:
    from hume_ssl.stages.report import read_figures, read_history

    every([lambda: read_figures(path), lambda: read_history(path)])


def evaluation_seeds() -> list[bytes]:
    figures = {"consensus": {"accuracy": 0.9}, "calibration": {"bins": [1, 2]}, "per_class": [0.1, None]}
    return [json.dumps(figures, indent=1).encode(), *present(f"train/{TRAINING}/metrics.jsonl")()]


def kernel_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(Path("hume-run/spaces").glob("*.safetensors"))]


def kernel_map(path: Path) -> None:
    from hume_ssl.spaces import kernel

    features, size, channels = kernel.load(path)
    features.transform(np.zeros((2, *size) if channels == 1 else (2, *size, channels), np.uint8))


def views(path: Path) -> None:
    from hume_ssl.train.feature_views import stored_views

    use(stored_views(path))


def look_at_folder(path: Path) -> None:
    look(load_items(path.parent))


def split_of(path: Path) -> None:
    item_columns.make_split(len(NAMES), path, 0, NAMES, Path("pictures"))


def truth_of(path: Path) -> None:
    item_columns.load_truth(path, NAMES, Path("pictures"))


def tables() -> list[bytes]:
    frame = pd.DataFrame({"index": [0, 1], "filepath": ["a", "b,c"], "label": [0, 1], "agreement": [0.5, np.nan]})
    return [files.csv_bytes(frame), *listed()]


def arrays() -> list[bytes]:
    return npy(np.ones((5, 3), np.float32), np.arange(6).reshape(2, 3), np.array(["ab", "c"]), pixels(), np.float64(3))


def spaces() -> list[bytes]:
    rows = np.random.default_rng(0).normal(size=(6, 3))
    return npy(*(rows.astype(dtype) for dtype in (np.float16, np.float32, np.float64)), np.asfortranarray(rows))


READERS: dict[str, Reader] = {
    "array": Reader("x.npy", "npy", arrays, lambda path: use(inputs.open_array(path))),
    "array, npz inside": Reader(
        "x.npy", "zip", lambda: [npz(pixels()), *arrays()[:1]], lambda path: use(inputs.open_array(path)), sound=False
    ),
    "array read whole": Reader("x.npy", "npy", arrays, lambda path: use(files.read_npy(path, mmap=False))),
    "space": Reader("x.npy", "npy", spaces, read_space),
    "space, npz": Reader("x.npz", "zip", lambda: [npz(np.ones((3, 2)))], read_space, sound=False),
    "image array": Reader(
        "i.npy", "npy", lambda: npy(pixels()[None], pixels()[..., 0][None]), lambda path: look(load_items(path))
    ),
    "table": Reader("t.csv", "text", tables, lambda path: inputs.read_table(path, ("filepath",))),
    "csv": Reader("t.csv", "text", tables, lambda path: files.read_csv(path)),
    "image list": Reader("pictures/list.csv", "text", listed, lambda path: look(load_items(path))),
    "label file": Reader("l.csv", "text", present("selection/per-class-2/labels.csv"), labels_file),
    "class names": Reader("hume-run/classes.csv", "text", present("classes.csv"), names_file),
    "answers": Reader("answers.csv", "text", answers, read_answers),
    "split csv": Reader("s.csv", "text", truths, split_of),
    "split npy": Reader("s.npy", "npy", truth_arrays, split_of, sound=False),
    "truth csv": Reader("t.csv", "text", truths, truth_of),
    "truth npy": Reader("t.npy", "npy", truth_arrays, truth_of),
    "recipe, discover": Reader("r.toml", "text", recipes("discover"), recipe("discover")),
    "recipe, train": Reader("r.toml", "text", recipes("train"), recipe("train")),
    "recipe, pretrain": Reader("r.toml", "text", recipes("pretrain"), recipe("pretrain")),
    "safetensors": Reader("a.safetensors", "safetensors", encoder_seeds, lambda path: files.read_safetensors(path)),
    "safetensors, arrays": Reader("a.safetensors", "safetensors", encoder_seeds, lambda path: files.read_arrays(path)),
    "training checkpoint": Reader("head/last.safetensors", "safetensors", head_checkpoints, head_resumed),
    "pretraining checkpoint": Reader("pre/last.safetensors", "safetensors", pretrain_seeds, pretrain_resumed),
    "searches checkpoint": Reader(
        "killed/searches/checkpoint.safetensors", "safetensors", searches_seeds, searches_checkpoint
    ),
    "batch checkpoint": Reader(
        "killed/searches/checkpoint-batch-0.safetensors", "safetensors", batch_seeds, killed_batch
    ),
    "trained network": Reader("m.safetensors", "safetensors", trained_seeds, trained),
    "weights, pth": Reader("w.pth", "zip", pth_seeds, weights),
    "weights, safetensors": Reader(
        "w.safetensors", "safetensors", lambda: [tensors(small_network().state_dict(), {})], weights
    ),
    "pretrained encoder": Reader("e.safetensors", "safetensors", encoder_seeds, encoder_file),
    "published task": Reader("linear_task_0.pt", "zip", task_seeds, hume_files.read_task),
    "published score": Reader("results_0.pickle", "pickle", score_seeds, hume_files.read_score),
    "image, png": Reader("one/a.png", "image", pngs, look_at_folder),
    "image, jpeg": Reader("one/a.jpg", "image", jpegs, look_at_folder),
    "image, webp": Reader(
        "one/a.webp", "image", lambda: [encoded("WEBP"), encoded("WEBP", lossless=True)], look_at_folder
    ),
    "image, bmp": Reader("one/a.bmp", "image", bmps, look_at_folder),
    "image, gif": Reader("one/a.gif", "image", gifs, look_at_folder),
    "image, tiff": Reader("one/a.tif", "image", tiffs, look_at_folder),
    "zip of images": Reader(
        "a.zip", "zip", lambda: [archive("deflated"), archive("stored")], lambda path: look(load_items(path))
    ),
    "tar of images": Reader("a.tar", "binary", lambda: [archive("tar")], lambda path: look(load_items(path))),
    "saved data set, splits": Reader("saved/dataset_dict.json", "text", saved_seeds("dataset_dict.json"), saved),
    "saved data set, state": Reader("saved/train/state.json", "text", saved_seeds("train/state.json"), saved),
    "saved data set, info": Reader(
        "saved/train/dataset_info.json", "text", saved_seeds("train/dataset_info.json"), saved
    ),
    "saved data set, arrow": Reader(
        "saved/train/data-00000-of-00001.arrow", "binary", saved_seeds("train/data-00000-of-00001.arrow"), saved
    ),
    "run.json": Reader("hume-run/run.json", "text", present("run.json"), whole_run, sound=False),
    "recipe of a run": Reader("hume-run/recipe.toml", "text", present("recipe.toml"), stored),
    "spaces.json": Reader("hume-run/spaces/spaces.json", "text", present("spaces/spaces.json"), stored),
    "searches.csv": Reader("hume-run/searches/searches.csv", "text", present("searches/searches.csv"), stored),
    "labellings.npy": Reader("hume-run/searches/labellings.npy", "npy", present("searches/labellings.npy"), stored),
    "task encoders": Reader(
        "hume-run/searches/encoders.safetensors", "safetensors", present("searches/encoders.safetensors"), stored
    ),
    "matching": Reader(
        "hume-run/searches/matching.safetensors", "safetensors", present("searches/matching.safetensors"), stored
    ),
    "predictions, evaluations": Reader(
        "p.csv",
        "text",
        present(f"train/{TRAINING}/predictions.csv", f"train/{TRAINING}/evaluations.csv"),
        predictions,
        sound=False,
    ),
    "figures": Reader("evaluation.json", "text", evaluation_seeds, evaluation_json, sound=False),
    "kernel map": Reader("k.safetensors", "safetensors", kernel_seeds, kernel_map),
    "views": Reader("v.npy", "npy", lambda: npy(np.ones((4, 3, 5), np.float16)), views),
    "growing record": Reader("grow/a.growing.json", "text", growing_seeds, growing),
    "growing array": Reader("grow/a.growing.npy", "npy", growing_array_seeds, growing_array),
    "broken.csv": Reader(
        "hume-run/broken.csv",
        "text",
        lambda: [*listed()[:0], b"filepath,reason,position\n2.png,cut,2\n,bad,1\n"],
        broken_csv,
    ),
    "class-count": Reader("c.csv", "text", tried_seeds, tried),
    "manifest": Reader(
        "exported/manifest.csv", "text", lambda: [b"file,filepath,class_name,link\na/x.png,x.png,a,True\n"], manifest
    ),
}
