"""Recipes: what reads back equal, who wins, and what an error says."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from hume_ssl.config import (
    PRESETS,
    DiscoverRecipe,
    SearchConfig,
    flatten,
    identity,
    load_recipe,
    override,
    recipe_names,
    recipe_path,
    to_toml,
)
from hume_ssl.errors import InputError


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def message(text: str, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_recipe(write(folder, text), "discover")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["digits", "images", "cifar10", "cifar100-20", "stl10", "imagenet1k"])
def test_discover_recipes_load_and_say_what_they_promise(name: str) -> None:
    recipe = load_recipe(name, "discover")
    assert recipe.name == name
    for word in ("Expected:", "Hours:", "Launch: hume-ssl discover", "arXiv 2311.02940"):
        assert word in recipe.about
    assert name in recipe_names("discover")
    assert name not in recipe_names("train")


@pytest.mark.parametrize("name", ["fixmatch", "flexmatch", "freematch", "softmatch", "supervised"])
def test_the_train_recipes_load(name: str) -> None:
    recipe = load_recipe(name, "train")
    assert (recipe.name, recipe.train.algorithm) == (name, name)
    for word in ("Paper:", "arXiv", "Expected:", "Hours:", f"Launch: hume-ssl train-fixmatch --recipe {name}"):
        assert word in recipe.about
    assert name in recipe_names("train")
    assert name not in recipe_names("discover")


def test_digits_are_what_the_contract_says() -> None:
    recipe = load_recipe("digits", "discover")
    assert (recipe.data.images, recipe.data.classes, recipe.data.split, recipe.data.split_seed) == (
        "digits",
        10,
        0.2,
        0,
    )
    assert recipe.search.searches == 64
    assert not recipe.data.flip
    assert len(recipe.spaces.encoders) == 2


def test_published_values_and_the_imagenet_command() -> None:
    """facts of the published code: both columns of its settings."""
    paper = load_recipe("cifar10", "discover").resolved().search
    values = (paper.inner_lr, paper.outer_lr, paper.temperature, paper.entropy_weight, paper.iterations)
    assert values == (0.001, 0.001, 0.1, 10.0, 1000)
    assert (paper.inner_steps, paper.subsets, paper.subset_size, paper.train_fraction) == (300, 20, 10_000, 0.9)
    assert (paper.schedule, paper.random_init) == ("published", True)
    imagenet = load_recipe("imagenet1k", "discover").resolved().search
    assert (imagenet.inner_lr, imagenet.outer_lr, imagenet.inner_steps) == (0.1, 0.1, 100)
    assert (imagenet.subset_size, imagenet.train_fraction) == (20_000, 0.7)
    assert (imagenet.schedule, imagenet.random_init) == ("fixed", False)


def test_presets_fill_every_open_key_and_only_those() -> None:
    open_keys = {key for key, value in SearchConfig().model_dump().items() if value is None}
    for preset, values in PRESETS.items():
        assert set(values) == open_keys
        SearchConfig.model_validate({"preset": preset, **values})
    resolved = SearchConfig(preset="paper", subsets=3, centre=True).resolved()
    assert (resolved.subsets, resolved.centre) == (3, True)
    assert resolved.iterations == PRESETS["paper"]["iterations"]
    assert None not in resolved.model_dump().values()
    assert resolved.resolved() == resolved


@pytest.mark.parametrize("name", ["digits", "imagenet1k"])
def test_a_resolved_recipe_reads_back_equal(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, "discover").resolved()
    again = load_recipe(write(tmp_path, to_toml(recipe)), "discover")
    assert again == recipe
    assert to_toml(again) == to_toml(recipe)


def test_awkward_values_survive_toml(tmp_path: Path) -> None:
    recipe = override(
        load_recipe("images", "discover"),
        {
            "name": 'a "b" \\ c\td\x7f ü',
            "about": '\nlines """\nwith \\n and \r ends\\',
            "data.judges": ["x y.npy", "it's.npy"],
            "search.outer_lr": 1e-07,
            "search.ridge": 3,
            "search.centre": False,
        },
    )
    text = to_toml(recipe)
    assert load_recipe(write(tmp_path, text), "discover") == recipe
    assert tomllib.loads(text)["search"]["outer_lr"] == 1e-07
    assert "labeller" not in tomllib.loads(text)["data"]  # None is left out


def test_flags_beat_the_file_which_beats_the_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "[search]\nsearches = 7\nseed = 5"), "discover")
    assert recipe.name == "mine"
    assert (recipe.search.searches, recipe.search.seed, recipe.consensus.neighbours) == (7, 5, 20)
    recipe = override(recipe, {"search.searches": "9", "consensus.neighbours": None})
    assert (recipe.search.searches, recipe.search.seed, recipe.consensus.neighbours) == (9, 5, 20)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("search.searches", "12", 12),
        ("search.outer_lr", "1e-2", 0.01),
        ("search.outer_lr", "1", 1.0),
        ("search.centre", "false", False),
        ("search.preset", "paper", "paper"),
        ("search.preset", '"paper"', "paper"),
        ("data.split", "0.25", 0.25),
        ("data.split", "split.csv", "split.csv"),
        ("data.images", "2024", "2024"),  # a folder may be called like a number
        ("data.images", "true", "true"),
        ("data.images", "a\nsplit = 3", "a\nsplit = 3"),
        ("data.images", "1\nsplit = 3", "1\nsplit = 3"),  # one value, not a second key
        ("data.judges", '["a.npy", "b.npy"]', ("a.npy", "b.npy")),
        ("data.judges", "a.npy", ("a.npy",)),
    ],
)
def test_a_text_from_the_command_line_is_read_as_the_key_wants(key: str, text: str, value: object) -> None:
    recipe = override(load_recipe("images", "discover"), {key: text})
    found = flatten(recipe.model_dump())[key]
    assert found == value
    assert type(found) is type(value)


def test_another_preset_replaces_what_the_old_one_wrote_out() -> None:
    """`discover --recipe RUN/recipe.toml --preset paper` must not keep the fast values under the name paper."""
    fast = override(load_recipe("digits", "discover"), {"search.subsets": 77}).resolved()
    paper = override(fast, {"search.preset": "paper"}).resolved()
    assert paper.search.iterations == PRESETS["paper"]["iterations"]
    assert paper.search.subsets == 77
    kept = override(fast, {"search.iterations": 5, "search.preset": "paper"}).resolved()
    assert kept.search.iterations == 5
    assert override(fast, {"search.preset": "fast"}).resolved() == fast


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"search.serches": 3}, ["'search.serches'", "'search.searches'"]),
        ({"iterations": 3}, ["'iterations'", "'search.iterations'"]),
        ({"search": 3}, ["'search'"]),
        ({"zzz": 3}, ["'zzz'", "valid are", "data.images"]),
        ({"search.searches": "ten"}, ['search.searches = "ten"', "a whole number"]),
        ({"search.searches": "1.5"}, ["search.searches = 1.5", "a whole number"]),
        ({"search.searches": 0}, ["search.searches = 0", "greater than or equal to 1"]),
        ({"search.centre": "1"}, ["search.centre = 1", "true or false"]),
        ({"search.preset": "quick"}, ['search.preset = "quick"', "'fast' or 'paper'"]),
        ({"search.outer_lr": "nan"}, ["search.outer_lr = NaN", "finite number"]),
        ({"data.classes": "1"}, ["data.classes = 1", "greater than or equal to 2"]),
        ({"data.split": "1.5"}, ["data.split", "1.5", "between 0 and 1"]),
        ({"data.judges": [3]}, ["data.judges", "3", "text"]),
        ({"search.seed": 1, "search.subsets": "x"}, ['search.subsets = "x"']),
    ],
)
def test_a_wrong_override_names_key_value_and_fix(sets: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        override(load_recipe("images", "discover"), sets)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_file_names_itself_and_the_fault(tmp_path: Path) -> None:
    assert "mine.toml: unknown key 'search.itarations': did you mean 'search.iterations'?" in message(
        "[search]\nitarations = 3", tmp_path
    )
    assert "unknown key 'serch': did you mean 'search'?" in message("[serch]\nseed = 3", tmp_path)
    assert "line 2" in message("[search]\nseed = = 3", tmp_path)
    assert 'search.seed = "3": expected a whole number' in message('[search]\nseed = "3"', tmp_path)
    assert "expected a table, [search]" in message("search = 3", tmp_path)
    assert "mine.toml" in message("[search]\nseed = -1", tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name, word in (("bytes.toml", "UTF-8"), ("absent.toml", "absent.toml")):
        with pytest.raises(InputError, match=word):
            load_recipe(str(tmp_path / name), "discover")


def test_names_are_offered_and_kinds_kept_apart() -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        load_recipe("digit", "discover")
    with pytest.raises(InputError, match="cifar10, cifar100-20"):
        load_recipe("qqqqqqqq", "discover")
    with pytest.raises(InputError, match="'fixmatch' is for train-fixmatch, not discover: try one of"):
        load_recipe("fixmatch", "discover")
    with pytest.raises(InputError, match="is for discover"):
        load_recipe("digits", "train")
    for name in ("", "..", "../recipes/digits", "sub\\digits"):
        with pytest.raises(InputError):
            recipe_path(name)


def test_recipes_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_recipe("digits", "discover").search.seed = 3  # type: ignore[misc]


def test_identity_is_inputs_and_resolved_recipe_less_searches_and_device() -> None:
    recipe = load_recipe("digits", "discover")
    inputs = {"data.images": "aa", "data.labeller": "bb"}
    base = identity(recipe, inputs)
    same = {"search.searches": 3, "search.device": "cuda", "about": "x", "name": "y", "data.images": "other/path"}
    assert identity(override(recipe, same), inputs) == base
    assert identity(recipe.resolved(), inputs) == base
    for change in ({"search.seed": 1}, {"search.iterations": 3}, {"data.classes": 9}, {"search.preset": "paper"}):
        assert identity(override(recipe, change), inputs) != base
    assert identity(recipe, {**inputs, "data.images": "cc"}) != base
    assert base["data.images"] == "aa"


def test_models_without_a_file() -> None:
    assert DiscoverRecipe(name="x").search.searches == 100


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000])
def test_toml_that_its_reader_trips_over(value: str, tmp_path: Path) -> None:
    assert "not a recipe" in message(f"[data]\nclasses = {value}", tmp_path)
    with pytest.raises(InputError, match=r"data\.classes"):
        override(load_recipe("digits", "discover"), {"data.classes": value})
