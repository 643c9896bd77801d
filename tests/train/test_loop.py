"""Training as a whole: resume, determinism, refusals, and digits from end to end."""

import json

import numpy as np
import pytest
import torch
from torchvision.models import squeezenet1_1

from hume_ssl.errors import InputError
from hume_ssl.train import checkpoint, loop, predict, train_fixmatch
from hume_ssl.train.models import Classifier, build_network
from hume_ssl.train.sources import PixelSource
from hume_ssl.train.state import balance
from hume_ssl.train_config import TrainConfig

SHORT = TrainConfig(
    steps=12,
    batch=4,
    mu=2,
    lr=0.03,
    lambda_u=1.0,
    flip=True,
    threshold=0.3,
    seed=3,
    eval_every=4,
    checkpoint_every=5,
    precision="float32",
)


class StopAt:
    """A progress display that stands for Ctrl-C after so many steps."""

    def __init__(self, step):
        self.left = step

    def advance(self, n=1, **info):
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt


def problem(n=40, shape=(8, 8), seed=0):
    """Bright top, bright bottom or neither, with noise: (images, labelled items, labels, truth)."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    images = rng.integers(0, 100, (n, *shape), dtype=np.uint8)
    images[truth == 0, : shape[0] // 2] += 150
    images[truth == 1, shape[0] // 2 :] += 150
    return images, np.arange(6), truth[:6], truth


def as_source(images):
    return PixelSource(images, torch.device("cpu"), flip=False, preset="fixmatch-paper")


def train(config=SHORT, data=None, **keys):
    images, labelled, labels, _ = data or problem()
    return train_fixmatch(images, labelled, labels, classes=3, config=config, device="cpu", **keys)


def assert_same(a, b):
    assert json.dumps(a.history) == json.dumps(b.history) and a.steps == b.steps  # the order of the columns too
    assert a.state_dict.keys() == b.state_dict.keys()
    for name in a.state_dict:
        assert torch.equal(a.state_dict[name], b.state_dict[name]), name
    assert a.confidence.tobytes() == b.confidence.tobytes()


@pytest.mark.parametrize("stop", [3, 5, 7, 11])
def test_killed_and_resumed_is_uninterrupted(tmp_path, stop):
    """Stopped before the first checkpoint, at one, between two, after the last full one; the history's rows of 4 steps
    straddle the checkpoints of 5. Weights, history, confidences and the checkpoint file are equal byte for byte."""
    whole = train(checkpoint_dir=tmp_path / "whole", consensus=problem()[3])
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint_dir=tmp_path / "cut", progress=StopAt(stop), consensus=problem()[3])
    resumed = train(checkpoint_dir=tmp_path / "cut", resume=True, consensus=problem()[3])
    assert_same(whole, resumed)
    assert [row["step"] for row in resumed.history] == [4, 8, 12]
    for name in ("last.safetensors", "previous.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_killed_twice_and_wide_resnet_too(tmp_path):
    config = SHORT.model_copy(update={"network": "wrn-28-2", "steps": 3, "checkpoint_every": 1, "batch": 2})
    data = problem(12, (8, 8, 3))
    whole = train(config, data)
    for stop in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            train(config, data, checkpoint_dir=tmp_path, resume=True, progress=StopAt(stop))
    assert_same(whole, train(config, data, checkpoint_dir=tmp_path, resume=True))


def test_resume_in_bfloat16_and_with_dropout_and_adam(tmp_path):
    """What a network draws itself (dropout here) follows from the step, and Adam's moments are in the checkpoint."""
    text = f"torchvision:squeezenet1_1@{tmp_path / 'w.pth'}"
    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "w.pth")
    changes = {"network": text, "steps": 3, "checkpoint_every": 1, "batch": 2, "precision": "bf16", "lr": 1e-3}
    config = SHORT.model_copy(update=changes)
    data = problem(12, (24, 24))
    whole = train(config, data)
    assert whole.config.optimiser == "adamw" and whole.state_dict["mean"].shape == (1, 3, 1, 1)
    before = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        train(config, data, checkpoint_dir=tmp_path / "cut", progress=StopAt(2))
    torch.rand(7)
    assert_same(whole, train(config, data, checkpoint_dir=tmp_path / "cut", resume=True))
    torch.set_rng_state(before)
    train(config, data)
    assert torch.equal(torch.get_rng_state(), before)


def test_finished_run_resumes_without_a_step(tmp_path):
    first = train(checkpoint_dir=tmp_path)
    before = (tmp_path / "last.safetensors").read_bytes()
    assert_same(first, train(checkpoint_dir=tmp_path, resume=True))
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_without_resume_it_starts_again(tmp_path):
    train(checkpoint_dir=tmp_path, config=SHORT.model_copy(update={"seed": 4}))
    assert_same(train(), train(checkpoint_dir=tmp_path))


def test_other_labels_or_settings_are_refused(tmp_path):
    train(checkpoint_dir=tmp_path, label_hash="aaaa")
    with pytest.raises(InputError, match=r"label file aaaa.*label file bbbb"):
        train(checkpoint_dir=tmp_path, label_hash="bbbb", resume=True)
    with pytest.raises(InputError, match=r"settings [0-9a-f]{64}.*settings [0-9a-f]{64}"):
        train(SHORT.model_copy(update={"lr": 0.02}), checkpoint_dir=tmp_path, label_hash="aaaa", resume=True)
    mask = np.ones(40, bool)
    mask[-1] = False
    with pytest.raises(InputError, match="items"):
        train(checkpoint_dir=tmp_path, label_hash="aaaa", resume=True, train=mask)


def test_labels_themselves_are_the_default_hash(tmp_path):
    images, labelled, labels, truth = problem()
    train(checkpoint_dir=tmp_path)
    with pytest.raises(InputError, match="label file"):
        train(data=(images, labelled, (labels + 1) % 3, truth), checkpoint_dir=tmp_path, resume=True)


def test_seed_decides_and_nothing_else():
    torch.manual_seed(1)
    first = train()
    torch.manual_seed(2)
    np.random.seed(2)
    assert_same(first, train())
    other = train(SHORT.model_copy(update={"seed": 4}))
    assert first.confidence.tobytes() != other.confidence.tobytes()


def test_small_network_does_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(train())
            assert torch.get_num_threads() == count  # given back as it was
    finally:
        torch.set_num_threads(before)
    assert_same(*results)


def test_history_has_what_is_promised_and_is_json():
    truth = problem()[3]
    rows = train(consensus=truth).history
    for row in rows:
        assert list(row) == [
            "step", "loss", "labelled_loss", "unlabelled_loss", "mask_rate", "pseudo_agreement", "pseudo_balance",
            "consensus_agreement", "lr",
        ]  # fmt: skip
        assert row["loss"] == pytest.approx(row["labelled_loss"] + row["unlabelled_loss"], rel=1e-6)
        assert 0 <= row["mask_rate"] <= 1
    json.dumps(rows, allow_nan=False)
    assert rows[-1]["lr"] == pytest.approx(0.03 * np.cos(7 * np.pi * 11 / (16 * 12)))  # of the last of 12 steps


def test_consensus_is_only_looked_at():
    truth = problem()[3]
    with_it, without = train(consensus=truth), train()
    assert all(row["pseudo_agreement"] is None for row in without.history)
    assert {type(row["pseudo_agreement"]) for row in with_it.history} == {float}
    assert with_it.confidence.tobytes() == without.confidence.tobytes()


def test_agreement_counts_used_and_known_items_only():
    """At threshold 0 every image is used (mask rate 1). With the consensus at the true class for all and at a wrong one
    for all, the two shares of agreement are disjoint; with -1 for all there is nothing to compare."""
    truth = problem()[3]
    config = SHORT.model_copy(update={"threshold": 0.0})
    shares = [[row["pseudo_agreement"] for row in train(config, consensus=(truth + i) % 3).history] for i in range(3)]
    np.testing.assert_allclose(np.sum(shares, 0), 1.0)
    assert train(config, consensus=np.full(40, -1)).history[-1]["pseudo_agreement"] is None
    assert train(config).history[0]["mask_rate"] == 1.0


def test_unlabelled_pool(monkeypatch):
    """All train items, labelled ones included; without them if excluded; never test items."""
    seen = []
    original = loop.pseudo_targets
    monkeypatch.setattr(loop, "pseudo_targets", lambda *a: (seen.extend(a[2].tolist()), original(*a))[1])
    mask = np.arange(40) < 30
    train(train=mask)
    assert set(seen) == set(range(30))
    seen.clear()
    train(SHORT.model_copy(update={"exclude_labelled": True}), train=mask)
    assert set(seen) == set(range(6, 30))


def test_test_items_change_nothing_but_their_own_predictions():
    images, labelled, labels, truth = problem()
    mask = np.arange(40) < 30
    changed = images.copy()
    changed[30:] = 255 - changed[30:]
    a, b = train(train=mask), train(data=(changed, labelled, labels, truth), train=mask)
    assert a.confidence[:30].tobytes() == b.confidence[:30].tobytes()
    assert a.confidence[30:].tobytes() != b.confidence[30:].tobytes()


def test_predictions_follow_the_order_of_the_images():
    network = build_network("small-cnn", channels=1, classes=3, size=(8, 8), steps=10, seed=0)
    model = Classifier(network, torch.tensor([100.0]), torch.tensor([50.0]))
    images = problem()[0]
    order = np.random.default_rng(0).permutation(40)
    straight, mixed = (predict(model, as_source(x), np.arange(40), chunk=7) for x in (images, images[order]))
    np.testing.assert_allclose(straight[order], mixed, atol=1e-6)
    np.testing.assert_allclose(straight.sum(1), 1, atol=1e-5)
    assert not model.training


def test_evaluations_are_of_the_test_items_and_the_last_is_the_result():
    truth, mask = problem()[3], np.arange(40) < 30
    result = train(train=mask, consensus=truth)
    assert result.evaluated.tolist() == list(range(30, 40))
    assert result.evaluations.shape == (3, 10)  # at steps 4, 8 and 12
    assert np.array_equal(result.evaluations[-1], result.predictions[30:])
    right = (result.evaluations == truth[30:]).mean(1)
    assert [row["consensus_agreement"] for row in result.history] == pytest.approx(right.tolist())


def test_evaluations_without_test_items_and_with_a_limit():
    result = train(SHORT.model_copy(update={"eval_items": 8, "eval_every": 1, "steps": 25}))
    assert result.evaluated.tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    assert result.evaluations.shape == (20, 8) and len(result.history) == 25  # the last twenty are kept
    assert np.array_equal(result.evaluations[-1], result.predictions[result.evaluated])


def test_balance_of_the_classes_learned_from():
    assert balance([3, 3, 3]) == pytest.approx(1)
    assert balance([5, 0, 0]) == 0
    assert balance([0, 0, 0]) is None
    assert balance([1, 1, 0, 0]) == pytest.approx(0.5)
    row = train(SHORT.model_copy(update={"threshold": 1.0}), consensus=problem()[3]).history[-1]
    assert row["mask_rate"] == 0 and row["pseudo_balance"] is None and row["pseudo_agreement"] is None


def test_metrics_file_grows_and_survives_an_interruption(tmp_path):
    whole = train(metrics=tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == whole.history
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint_dir=tmp_path, metrics=tmp_path / "cut.jsonl", progress=StopAt(9))
    assert (tmp_path / "cut.jsonl").read_text().splitlines() == lines[:2]
    train(checkpoint_dir=tmp_path, metrics=tmp_path / "cut.jsonl", resume=True)
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_workers_change_nothing_not_even_in_a_resumed_run(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint_dir=tmp_path, progress=StopAt(7))
    with_workers = SHORT.model_copy(update={"workers": 1})
    assert_same(train(), train(with_workers, checkpoint_dir=tmp_path, resume=True))


def test_state_dict_alone_labels_new_images():
    """The predictions come from the averaged model in the result, with the normalisation of the train pixels in it."""
    images = problem()[0]
    result = train()
    model = Classifier(
        build_network("small-cnn", channels=1, classes=3, size=(8, 8), steps=12, seed=9), torch.zeros(1), torch.ones(1)
    )
    model.load_state_dict(result.state_dict)
    again = predict(model, as_source(images), np.arange(40))
    np.testing.assert_array_equal(again.argmax(1), result.predictions)
    np.testing.assert_allclose(again.max(1), result.confidence, atol=1e-5)
    assert result.state_dict["mean"].item() == pytest.approx(images.mean(), rel=1e-6)
    assert all(t.is_contiguous() and t.device.type == "cpu" for t in result.state_dict.values())


def test_bf16_is_close_to_float32():
    """Rounding to 8 bits of mantissa: after 12 steps confidences differ by a few percent, and not by nothing."""
    a, b = train(), train(SHORT.model_copy(update={"precision": "bf16"}))
    difference = np.abs(a.confidence - b.confidence).max()
    assert 0 < difference < 0.15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((40, 8, 8), np.float32)}, "float32"),
        ({"images": np.zeros((40, 8), np.uint8)}, "uint8"),
        ({"labelled": np.array([0, 1, 2, 3, 4, 40])}, "0 to 39"),
        ({"labelled": np.array([0, 1, 2, 3, 4, 4])}, "different"),
        ({"labels": np.array([0, 1, 2, 0, 1, 3])}, "give 0 to 2"),
        ({"labels": np.array([0, 1])}, "label"),
        ({"labels": np.array([0, 1, 2, 0, 1, 1.5])}, "labels are float64, not all of them whole numbers"),
        ({"classes": 1, "labels": np.zeros(6, int)}, "1 classes leave nothing to tell apart"),
        ({"config": SHORT.model_copy(update={"network": "head"})}, "head takes vectors"),
        (
            {"images": np.zeros((40, 8)), "config": SHORT.model_copy(update={"network": "wrn-28-2"})},
            "these are vectors",
        ),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"config": SHORT.model_copy(update={"algorithm": "supervised", "batch": 1})}, "train.batch = 1"),
        ({"config": SHORT.model_copy(update={"align": True})}, "needs the sizes of the classes"),
        ({"labelled": np.array([], int), "labels": np.array([], int)}, "label"),
        ({"train": np.arange(40) > 0}, "item 0 is a test item"),
        ({"train": np.ones(39, bool)}, "40 items"),
        ({"consensus": np.zeros(3, int)}, "40 items"),
        ({"train": np.arange(40) < 6, "config": SHORT.model_copy(update={"exclude_labelled": True})}, "no unlabelled"),
    ],
)
def test_wrong_input_is_named_in_one_line(change, message):
    images, labelled, labels, _ = problem()
    arguments = {"images": images, "labelled": labelled, "labels": labels, "classes": 3, "config": SHORT} | change
    with pytest.raises(InputError, match=message) as caught:
        train_fixmatch(**arguments)
    assert "\n" not in str(caught.value)


def test_vectors_are_trained_on_by_a_head():
    """Two clouds, one labelled item each; the last item of each is a test item."""
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2
    vectors = (rng.normal(size=(40, 5)) + 6 * truth[:, None]).astype(np.float32)
    result = train_fixmatch(
        vectors, np.array([0, 1]), np.array([0, 1]), classes=2, train=np.arange(40) < 38, config=TrainConfig(steps=60)
    )
    assert result.config.network == "head" and result.network["shape"] == [5]
    np.testing.assert_array_equal(result.predictions, truth)


def test_digits_from_end_to_end():
    """4 true labels a class, 250 short steps, held-back digits: above the 0.86 that logistic regression on the pixels
    of the same 40 reaches (0.97 after the default 2,000)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, truth = np.round(digits.images * 255 / 16).astype(np.uint8), digits.target
    held_back = np.zeros(len(images), bool)
    held_back[np.random.default_rng(0).permutation(len(images))[: len(images) // 5]] = True
    rng = np.random.default_rng(0)
    labelled = np.concatenate([rng.choice(np.flatnonzero(~held_back & (truth == c)), 4, False) for c in range(10)])
    config = TrainConfig(steps=250, mu=2, flip=False, seed=0)
    result = train_fixmatch(images, labelled, truth[labelled], classes=10, train=~held_back, config=config)
    assert (result.predictions == truth)[held_back].mean() > 0.88
    assert result.history[-1]["mask_rate"] > result.history[0]["mask_rate"]


def test_a_training_that_diverges_says_so_instead_of_finishing():
    with pytest.raises(InputError, match=r"not a number by step .*train\.lr than 9"):
        train(SHORT.model_copy(update={"lr": 1e30}))


def test_labels_by_agreement():
    """Equal agreements weigh 1 each and change nothing; a label of weight 0 is not learned from."""
    config = SHORT.model_copy(update={"label_noise": "agreement"})
    same = train(config, label_agreement=(np.full(6, 0.7), np.full(6, 0.9)))
    assert same.confidence.tobytes() == train().confidence.tobytes()
    images, labelled, labels, truth = problem()
    doubtful = (np.array([1.0, 1, 1, 0, 0, 0]), np.ones(6))
    wrong = np.concatenate([labels[:3], (labels[3:] + 1) % 3])
    weighed = train(config, (images, labelled, labels, truth), label_agreement=doubtful)
    unmoved = train(config, (images, labelled, wrong, truth), label_agreement=doubtful)
    assert weighed.confidence.tobytes() == unmoved.confidence.tobytes()
    assert weighed.confidence.tobytes() != same.confidence.tobytes()
    with pytest.raises(InputError, match="give label_agreement"):
        train(config)


def test_a_contradicted_label_is_dropped_and_the_run_resumes(tmp_path):
    """One of fifteen labels is wrong; the dropped label is that one, and killing the run changes nothing."""
    images, _, _, truth = problem(60)
    labelled, labels = np.arange(15), truth[:15].copy()
    labels[0] = 1  # of an item of class 0
    config = SHORT.model_copy(
        update={"label_noise": "contradicted", "steps": 60, "eval_every": 2, "batch": 8, "checkpoint_every": 10}
    )
    data = (images, labelled, labels, truth)
    whole = train(config, data, checkpoint_dir=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, data, checkpoint_dir=tmp_path / "cut", progress=StopAt(35))
    assert_same(whole, train(config, data, checkpoint_dir=tmp_path / "cut", resume=True))
    tensors, _ = checkpoint.load(tmp_path / "whole")
    assert tensors["label_weights"].tolist() == [0.0] + [1.0] * 14


def test_known_class_sizes_move_the_pseudo_labels(tmp_path):
    """Aligned to nearly all of class 2, pseudo-labels are mostly of it, and a killed run remembers the bias; without
    `align`, or without sizes, nothing changes; sizes that are none are refused."""
    config = SHORT.model_copy(update={"threshold": 0.0, "steps": 40})
    shares = [0.05, 0.05, 0.9]
    whole = train(config, class_shares=shares)
    assert whole.history[-1]["pseudo_balance"] < 0.8 < train(config).history[-1]["pseudo_balance"]
    with pytest.raises(KeyboardInterrupt):
        train(config, class_shares=shares, checkpoint_dir=tmp_path, progress=StopAt(17))
    assert_same(whole, train(config, class_shares=shares, checkpoint_dir=tmp_path, resume=True))
    off = config.model_copy(update={"align": False})
    assert train(off, class_shares=shares).confidence.tobytes() == train(off).confidence.tobytes()
    for wrong in ([1, 2], [1, 0, 1], [1, float("nan"), 1]):
        with pytest.raises(InputError, match="give 3 numbers above 0"):
            train(config, class_shares=wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": "2"},
        {"step": 10**9},
        {"history": [1]},
        {"history": [{}]},
        {"identity": None},
        {"optimiser/0/momentum_buffer": torch.ones(3)},
        {"optimiser/999/momentum_buffer": torch.ones(3)},
        {"optimiser/0/other": torch.ones(())},
        {"evaluations": torch.zeros(2, 3)},
        {"label_weights": torch.ones(1)},
        {"doubts/x": torch.ones(1)},
        {"sums": torch.ones(2)},
        {"model/mean": torch.ones(7)},
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, change):
    train(checkpoint_dir=tmp_path)
    tensors, facts = checkpoint.load(tmp_path)
    given = {name: value for name, value in change.items() if isinstance(value, torch.Tensor)}
    checkpoint.clear(tmp_path)
    checkpoint.save(tmp_path, tensors | given, facts | {k: v for k, v in change.items() if k not in given})
    with pytest.raises(InputError, match="checkpoint"):
        train(checkpoint_dir=tmp_path, resume=True)
