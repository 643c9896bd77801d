"""The rules against loops in numpy, and what must hold for every rule: renaming, order, purity, edge cases."""

import numpy as np
import pytest
import torch

from hume_ssl.train.algorithms import RULES, first_state, pseudo_targets
from hume_ssl.train.losses import extra_loss, unlabelled_loss
from hume_ssl.train_config import TrainConfig

LEARNING = ["fixmatch", "flexmatch", "freematch", "softmatch"]
N, POOL, U = 60, 50, 24  # items, those of the pool (the first ones), images a batch


def random_batch(rng, k=5, u=U, repeated=True):
    """Items and float64 probabilities (u, k), of all degrees of confidence, classes of unequal size."""
    logits = rng.normal(size=(u, k)) * rng.uniform(0.5, 6, size=(u, 1)) + np.linspace(0, 1, k)
    p = np.exp(logits - logits.max(1, keepdims=True))
    return rng.choice(POOL, u, replace=repeated), p / p.sum(1, keepdims=True)


def doubled(state):
    return {name: t.double() if t.is_floating_point() else t for name, t in state.items()}


class Loops:
    """All rules again, image by image in float64, on plain lists and dicts."""

    def __init__(self, k, config):
        self.k, self.config = k, config
        self.label_of = {}  # flexmatch
        self.tau, self.p, self.h = 1 / k, [1 / k] * k, [1 / k] * k  # freematch
        self.model, self.mu, self.var = None, 1 / k, 1.0  # softmatch

    def fixmatch(self, items, p):
        return [float(max(row) >= self.config.threshold) for row in p]

    def flexmatch(self, items, p):
        tau, labelled = self.config.threshold, list(self.label_of.values())
        most = max([labelled.count(c) for c in range(self.k)] + [POOL - len(labelled)])
        weights = []
        for row in p:
            beta = labelled.count(int(np.argmax(row))) / most
            weights.append(float(max(row) >= tau * beta / (2 - beta)))
        for item, row in zip(items, p, strict=True):
            if max(row) >= tau:
                self.label_of[int(item)] = int(np.argmax(row))
        return weights

    def freematch(self, items, p):
        m, u = self.config.statistics_decay, len(p)
        self.tau = m * self.tau + (1 - m) * sum(max(row) for row in p) / u
        for c in range(self.k):
            self.p[c] = m * self.p[c] + (1 - m) * sum(row[c] for row in p) / u
            self.h[c] = m * self.h[c] + (1 - m) * sum(np.argmax(row) == c for row in p) / u
        return [float(max(row) >= self.tau * self.p[int(np.argmax(row))] / max(self.p)) for row in p]

    def softmatch(self, items, p):
        m, u = self.config.statistics_decay, len(p)
        now = [sum(row[c] for row in p) / u for c in range(self.k)]
        self.model = now if self.model is None else [m * a + (1 - m) * b for a, b in zip(self.model, now, strict=True)]
        confidence = []
        for row in p:
            scaled = [row[c] * (1 / self.k + 1e-6) / (self.model[c] + 1e-6) for c in range(self.k)]
            confidence.append(max(scaled) / sum(scaled))
        mean = sum(confidence) / u
        self.mu = m * self.mu + (1 - m) * mean
        self.var = m * self.var + (1 - m) * sum((c - mean) ** 2 for c in confidence) / (u - 1)
        two_var = 2 * self.var / self.config.softness**2
        return [float(np.exp(-(min(c - self.mu, 0) ** 2) / two_var)) for c in confidence]

    def fairness(self, strong, weights):
        """Sum of a log b with a, b as in the paper, over the images in use."""
        used = [row for row, w in zip(strong, weights, strict=True) if w > 0]
        if not used:
            return 0.0
        q = [np.mean([row[c] for row in used]) for c in range(self.k)]
        g = [np.mean([np.argmax(row) == c for row in used]) for c in range(self.k)]
        a = [p / h for p, h in zip(self.p, self.h, strict=True)]
        b = [mean / share if share > 0 else 0.0 for mean, share in zip(q, g, strict=True)]
        return sum(x / sum(a) * np.log(y / sum(b) + 1e-12) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("algorithm", LEARNING)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fifty_steps_as_with_loops(algorithm, seed):
    rng, k = np.random.default_rng(seed), 5
    config = TrainConfig(algorithm=algorithm, threshold=0.8, statistics_decay=0.9, softness=1.5, fairness=0.5)
    loops, state = Loops(k, config), doubled(first_state(algorithm, k, N, POOL))
    all_weights = []
    for _ in range(50):
        items, p = random_batch(rng, k)
        _, strong = random_batch(rng, k)
        targets, state = RULES[algorithm](torch.from_numpy(p), torch.from_numpy(items), state, config)
        expected = getattr(loops, algorithm)(items, p)
        assert targets.labels.tolist() == p.argmax(1).tolist()
        np.testing.assert_allclose(targets.weights.numpy(), expected, rtol=1e-6, atol=1e-7)
        extra = extra_loss(algorithm, torch.from_numpy(strong).log(), targets, state, config).item()
        fair = loops.fairness(strong, expected) if algorithm == "freematch" else 0.0
        assert extra == pytest.approx(0.5 * fair, rel=1e-9)
        all_weights += expected
    assert 0.05 < np.mean(all_weights) < 0.95  # neither all nor nothing: the comparison means something
    if algorithm == "flexmatch":
        table = [loops.label_of.get(item, k) for item in range(N)]
        assert state["labels"][:N].tolist() == table and state["labels"][N] == k
        assert state["counts"].tolist() == [table[:POOL].count(c) for c in range(k + 1)]


@pytest.mark.parametrize("algorithm", LEARNING)
def test_class_names_are_arbitrary(algorithm):
    """Renaming the classes renames the pseudo-labels and changes no weight, over ten steps."""
    rng, k = np.random.default_rng(3), 5
    order = torch.tensor([3, 0, 4, 1, 2])  # new class j is old class order[j]
    config = TrainConfig(algorithm=algorithm, threshold=0.8, statistics_decay=0.8)
    one, other = (doubled(first_state(algorithm, k, N, POOL)) for _ in range(2))
    for _ in range(10):
        items, p = (torch.from_numpy(part) for part in random_batch(rng, k))
        first, one = RULES[algorithm](p, items, one, config)
        second, other = RULES[algorithm](p[:, order], items, other, config)
        assert torch.equal(order[second.labels], first.labels)
        torch.testing.assert_close(first.weights, second.weights)
        extra = [extra_loss(algorithm, x.log(), first, s, config) for x, s in ((p, one), (p[:, order], other))]
        torch.testing.assert_close(*extra)


@pytest.mark.parametrize("algorithm", LEARNING)
def test_order_of_the_batch_is_arbitrary(algorithm):
    """Shuffling a batch (of different items) shuffles what comes out, and leaves what is remembered, over ten steps."""
    rng = np.random.default_rng(4)
    config = TrainConfig(algorithm=algorithm, threshold=0.8, statistics_decay=0.8)
    one, other = (doubled(first_state(algorithm, 5, N, POOL)) for _ in range(2))
    for _ in range(10):
        items, p = (torch.from_numpy(part) for part in random_batch(rng, repeated=False))
        order = torch.from_numpy(rng.permutation(U))
        first, one = RULES[algorithm](p, items, one, config)
        second, other = RULES[algorithm](p[order], items[order], other, config)
        assert torch.equal(first.labels[order], second.labels)
        torch.testing.assert_close(first.weights[order], second.weights)
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("algorithm", RULES)
def test_what_goes_in_is_not_changed(algorithm):
    """Probabilities, items and state stay as they are; of FlexMatch's table only rows of this batch may change."""
    items, p = (torch.from_numpy(part) for part in random_batch(np.random.default_rng(5)))
    p, state = p.float(), first_state(algorithm, 5, N, POOL)
    kept = {name: t.clone() for name, t in state.items()}
    inputs = p.clone(), items.clone()
    _, new = RULES[algorithm](p, items, state, TrainConfig(algorithm=algorithm, threshold=0.5))
    assert torch.equal(p, inputs[0]) and torch.equal(items, inputs[1])
    assert new.keys() == kept.keys()
    for name in kept.keys() - {"labels"}:
        assert torch.equal(state[name], kept[name]) and not torch.equal(new[name], kept[name])
        assert new[name].dtype == kept[name].dtype
    if algorithm == "flexmatch":
        changed = (state["labels"] != kept["labels"]).nonzero().flatten().tolist()
        assert changed and set(changed) <= set(items.tolist())
        assert new["labels"] is state["labels"]


EDGES = {
    "none passes": lambda: torch.full((6, 4), 0.25),
    "one class": lambda: torch.ones(6, 1),
    "a class of probability 0": lambda: torch.tensor([[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [1.0, 0.0, 0.0]]),
    "all sure of the same": lambda: torch.eye(3)[[0, 0, 0, 0]],
    "one image": lambda: torch.tensor([[0.2, 0.8]]),
}


@pytest.mark.parametrize("algorithm", RULES)
@pytest.mark.parametrize("decay", [0.0, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("edge", EDGES)
def test_nothing_is_ever_not_a_number(algorithm, decay, dtype, edge):
    """A decay of 0 empties averages at once: shares of 0, a variance of 0."""
    p = EDGES[edge]().to(dtype)
    config = TrainConfig(algorithm=algorithm, threshold=0.95, statistics_decay=decay, fairness=1.0)
    state, items = first_state(algorithm, p.shape[1], 8, 6), torch.arange(len(p))
    strong = torch.linspace(-3, 3, p.numel()).reshape(p.shape).to(dtype).requires_grad_()
    for _ in range(5):
        targets, state = RULES[algorithm](p, items, state, config)
        assert targets.weights.dtype == torch.float32 and targets.labels.dtype == torch.int64
        assert ((targets.weights >= 0) & (targets.weights <= 1)).all()
        assert all(t.dtype != dtype or dtype == torch.float32 for t in state.values())
        assert all(t.isfinite().all() for t in state.values())
        loss = unlabelled_loss(strong, targets) + extra_loss(algorithm, strong, targets, state, config)
        (gradient,) = torch.autograd.grad(loss, strong)
        assert loss.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("algorithm", LEARNING)
def test_gradient_flows_into_the_strong_views_alone(algorithm):
    rng = np.random.default_rng(6)
    items, p = random_batch(rng)
    weak = torch.from_numpy(p).log().float().requires_grad_()
    strong = torch.from_numpy(random_batch(rng)[1]).log().float().requires_grad_()
    config = TrainConfig(algorithm=algorithm, threshold=0.95, fairness=1.0)
    state = first_state(algorithm, 5, N, POOL)
    targets, state = pseudo_targets(RULES[algorithm], weak, torch.from_numpy(items), state, config)
    assert not any(t.requires_grad for t in (*targets, *state.values()))
    (unlabelled_loss(strong, targets) + extra_loss(algorithm, strong, targets, state, config)).backward()
    assert weak.grad is None and strong.grad is not None
    assert torch.equal(strong.grad.abs().sum(1) > 0, targets.weights > 0)
