"""Class sizes: what the term is by hand, what a share file may hold, and that known sizes are found."""

import math
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from hume_ssl.class_shares import checked_shares, read_prior
from hume_ssl.config import DiscoverRecipe, identity, load_recipe, override, to_toml
from hume_ssl.errors import InputError
from hume_ssl.schema import SearchConfig
from hume_ssl.search import prepare_spaces, run_searches, runner, steps_to_do
from hume_ssl.search.inner import entropy_gradient
from hume_ssl.search.prior import MARGIN, STRENGTHS, UNIFORM, ranked, silhouettes, size_gradient

SHARES = (0.5, 0.3, 0.2)


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_uniform_term_is_the_entropys_bit_for_bit() -> None:
    mean = torch.rand(7, 3, generator=torch.Generator().manual_seed(0)).softmax(0)
    assert torch.equal(size_gradient(mean, 3.0, 100, UNIFORM), entropy_gradient(mean, 3.0, 100))


def test_the_term_of_shares_by_hand() -> None:
    """H * KL(p || pi) has derivative H (log p_c + 1 - log pi_c), 1/n of it a label. p = (1/4, 3/4) and shares (3/4,
    1/4) by rank: both logs cancel. p = (1/2, 1/2): the first of equals takes the larger share. An empty class: 0."""
    found = size_gradient(tensor([[0.25, 0.5, 1.0], [0.75, 0.5, 0.0]]), 6.0, 2, (0.75, 0.25))
    logs = math.log(0.5 / 0.75), math.log(0.5 / 0.25)
    expected = [[1.0, logs[0] + 1, 1 - math.log(0.75)], [1.0, logs[1] + 1, 0.0]]
    torch.testing.assert_close(found, 3 * tensor(expected), rtol=1e-12, atol=0)


def test_the_term_of_free_sizes_by_hand() -> None:
    """With k = 2 the floor is 1/20: at 3/4 and at the floor the entropy's alone; at 1/40, half the floor, ten times
    log(1/2) more. An empty class: 0."""
    mean = tensor([[0.75, 0.95, 0.975, 1.0], [0.25, 0.05, 0.025, 0.0]])
    more = size_gradient(mean, 3.0, 6, "free") - entropy_gradient(mean, 3.0, 6)
    expected = tensor([[0, 0, 0, 0], [0, 0, 10 * math.log(0.5) / 2, 0]])
    torch.testing.assert_close(more, expected, rtol=1e-12, atol=1e-12)


def test_silhouettes_by_hand() -> None:
    """Items at 0, 2, 10, 12 on a line. Classes of neighbours have means 1 and 11: each item is 1 from its own and 9 or
    11 from the other. Classes of 0, 2, 10 and of 12 alone: mean 4, so 4, 2 and 6 from it and 12, 10 and 2 from the
    other; the item alone counts 0. One class for all: 0."""
    rows = tensor([[0.0], [2.0], [10.0], [12.0]])
    found = silhouettes(rows, np.array([[0, 0, 2, 2], [0, 0, 0, 1], [1, 1, 1, 1]]), 3)
    assert found == pytest.approx([(10 / 11 + 8 / 9) / 2, (8 / 12 + 8 / 10 - 4 / 6) / 4, 0])


def test_shares_by_rank_are_the_nearest_of_all_orders() -> None:
    """Of the six ways to give three shares to three classes, none has a lower KL divergence."""
    mean = torch.rand(3, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean /= mean.sum(0)

    def kl(prior: torch.Tensor) -> torch.Tensor:
        return (mean * (mean / prior).log()).sum(0)

    ways = torch.stack([kl(tensor(way)[:, None].expand(-1, 20)) for way in permutations(SHARES)])
    torch.testing.assert_close(kl(ranked(mean, SHARES)), ways.min(0).values, rtol=1e-12, atol=0)


def test_shares_are_sorted_and_brought_to_one_once_and_for_all() -> None:
    once = checked_shares([0.2, 0.3, 0.4995])
    assert math.fsum(once) == pytest.approx(1, abs=1e-15) and once[0] == pytest.approx(0.5, rel=2e-3)
    assert list(once) == sorted(once, reverse=True)
    assert checked_shares(once) == once
    thirds = checked_shares([1 / 3] * 3)
    assert checked_shares(thirds) == thirds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("share\n0.5\n0.6\n", "1.1"),
        ("share\n1.5\n-0.5\n", "-0.5"),
        ("share\n1\n0\n", "0.0"),
        ("class,share\na,0.5\nb,nan\n", "nan"),
        ("class,share\na,0.5\nb,half\n", "half"),
        ("class,size\na,0.5\nb,0.5\n", "share"),
        ("share\n1\n", "two classes"),
    ],
)
def test_a_file_that_is_no_list_of_shares_is_refused_by_name(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_prior(str(path))
    assert "sizes.csv" in str(caught.value) and says in str(caught.value) and "\n" not in str(caught.value)


def test_an_array_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "sizes.npy", np.full((2, 2), 0.25))
    with pytest.raises(InputError, match=r"sizes\.npy.*\(2, 2\)"):
        read_prior(tmp_path / "sizes.npy")
    with pytest.raises(InputError, match="uniform, free"):
        read_prior("unifrom")


def test_a_recipe_keeps_the_shares_and_reads_back_as_the_same_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([0.2, 0.5, 0.3]))
    (tmp_path / "b.csv").write_text("class,share\nsmall,0.2\nbig,0.3\nbigger,0.5\n")
    recipes = [
        override(DiscoverRecipe(name="x"), {"search.prior": read_prior(str(tmp_path / name))})
        for name in ("a.npy", "b.csv")
    ]
    assert recipes[0].search.prior == SHARES
    assert identity(recipes[0], {}) == identity(recipes[1], {})
    (tmp_path / "recipe.toml").write_text(to_toml(recipes[0].resolved()))
    again = load_recipe(str(tmp_path / "recipe.toml"), "discover")
    assert identity(again, {}) == identity(recipes[0], {})
    assert identity(again, {}) != identity(DiscoverRecipe(name="x"), {})
    for bad in ([0.5, 0.6], "free?", ["a", "b"], [0.5, True]):
        with pytest.raises(InputError, match=r"search\.prior"):
            override(recipes[0], {"search.prior": bad})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--prior", "sizes.csv"], ("3 class shares", "10")),
        (["--prior", "absent.csv"], ("absent.csv",)),
        (["--prior", "bad.csv"], ("bad.csv", "-0.5")),
        (["--prior", "free", "--set", "search.objective=turtle"], ("turtle", "prior")),
        (["--prior", "flee"], ("flee", "free")),
    ],
)
def test_wrong_sizes_are_refused_before_anything_is_written(
    hume: Callable, bare: Path, options: list[str], says: tuple[str, ...]
) -> None:
    (bare / "sizes.csv").write_text("share\n0.5\n0.3\n0.2\n")
    (bare / "bad.csv").write_text("share\n1.5\n-0.5\n")
    answer = hume("discover", "--images", "digits.npy", "--classes", "10", *options)
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert all(word in answer.err for word in says) and not (bare / "hume-run").exists()


def clouds(sizes: tuple[int, ...], d: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Items around as many axes as there are sizes: (n, d) float32, and which axis, (n,)."""
    truth = np.repeat(np.arange(len(sizes)), sizes)
    rows = 3 * np.eye(d)[truth] + np.random.default_rng(0).normal(size=(len(truth), d))
    return rows.astype(np.float32), truth


def sizes_found(prior: object, sizes: tuple[int, ...] = (90, 40, 20)) -> np.ndarray:
    """(r, 3) sorted sizes that eight short searches find in clouds of these sizes."""
    rows, _ = clouds(sizes)
    config = SearchConfig(searches=8, iterations=100, batch=8, prior=prior)  # type: ignore[arg-type]
    spaces = prepare_spaces(rows, [rows], np.ones(len(rows), dtype=bool), config)
    found = run_searches(spaces, 3, config)
    return np.sort([np.bincount(labels, minlength=3) for labels in found.labellings], axis=1)


def test_searches_keep_to_the_sizes_they_are_given_and_find_those_they_are_not() -> None:
    """Uniform breaks the cloud of 90 of 150 items; with the true shares its size comes out, free comes nearer to it."""
    shares, true = (0.6, 4 / 15, 2 / 15), np.array([20, 40, 90])
    off = {prior: np.abs(sizes_found(prior) - true).sum(1).mean() for prior in ("uniform", shares, "free")}
    assert off[shares] < 0.5 * off["uniform"]
    assert off["free"] < 0.7 * off["uniform"]


def test_free_takes_the_strength_whose_classes_lie_apart_and_a_run_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen once, by searches that count in the progress; more searches later use it and are all at once."""
    rows, _ = clouds((40, 20, 10))
    config = SearchConfig(searches=2, iterations=10, batch=2, prior="free")
    spaces = prepare_spaces(rows, [rows], np.ones(len(rows), dtype=bool), config)

    class Steps:
        done = 0

        def advance(self, n: int = 1, **_: str) -> None:
            self.done += n

    steps = Steps()
    two = run_searches(spaces, 3, config, progress=steps)
    assert steps.done == steps_to_do(2, 0, 3, config) == 10 * (1 + len(STRENGTHS))
    told = {}
    for strength in STRENGTHS:
        weight = config.settings().entropy_weight * strength
        alone = run_searches(spaces, 3, config.model_copy(update={"prior": "uniform", "entropy_weight": weight}))
        told[strength] = silhouettes(torch.from_numpy(rows), alone.labellings, 3).mean()  # no class is near the floor
    best = max(told, key=lambda strength: told[strength])
    assert two.strength == (best if told[best] > MARGIN * told[1.0] else 1.0)
    four = run_searches(spaces, 3, config.model_copy(update={"searches": 4}))
    monkeypatch.setattr(runner, "free_strength", None)
    later = run_searches(spaces, 3, config.model_copy(update={"searches": 4}), done=two)
    assert np.array_equal(later.labellings, four.labellings) and later.strength == four.strength
    assert steps_to_do(4, 2, 3, config) == 10


def test_a_free_run_writes_its_strength_and_its_recipe_repeats_it(hume: Callable, bare: Path) -> None:
    quick = "discover --images digits.npy --classes 10 --encoder kernel:rbf?dim=32 --encoder kernel:rbf?dim=48 --json"
    options = ["--set", "search.iterations=4", "--set", "search.batch=2", "--prior", "free"]
    answer = hume(*quick.split(), "--searches", "2", *options)
    assert answer.code == 0, answer.err
    assert answer.json["strength"] in STRENGTHS and len(answer.json["class_sizes"]) == 10
    assert hume(*quick.split(), "--searches", "4", *options, "--resume").json["strength"] == answer.json["strength"]
    again = hume("discover", "--recipe", "hume-run/recipe.toml", "--run", "again")
    assert again.code == 0, again.err
    assert "class sizes are free" in again.out
    first, second = (Path(run, "searches/labellings.npy").read_bytes() for run in ("hume-run", "again"))
    assert first == second
