"""Recipes: TOML in, flags over it, a resolved copy out.

Precedence, lowest first: preset and model defaults, the recipe file, flags and `--set`.
"""

from __future__ import annotations

import difflib
import json
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, overload

from pydantic import BaseModel, ValidationError

from hume_ssl.errors import InputError
from hume_ssl.pretrain_config import PretrainConfig, PretrainRecipe
from hume_ssl.schema import (
    NOT_IDENTITY,
    PRESETS,
    ConsensusConfig,
    DataConfig,
    DiscoverRecipe,
    SearchConfig,
    SpacesConfig,
    TrainRecipe,
    preset_values,
)
from hume_ssl.train_config import TrainConfig

__all__ = [
    "PRESETS",
    "ConsensusConfig",
    "DataConfig",
    "DiscoverRecipe",
    "PretrainConfig",
    "PretrainRecipe",
    "Recipe",
    "SearchConfig",
    "SpacesConfig",
    "TrainConfig",
    "TrainRecipe",
    "flatten",
    "identity",
    "load_recipe",
    "nearest",
    "override",
    "recipe_kind",
    "recipe_names",
    "recipe_path",
    "to_toml",
]

Kind = Literal["discover", "train", "pretrain"]
Recipe = DiscoverRecipe | TrainRecipe | PretrainRecipe
R = TypeVar("R", DiscoverRecipe, TrainRecipe, PretrainRecipe)
M = TypeVar("M", bound=BaseModel)
COMMANDS = {"discover": "discover", "train": "train-fixmatch", "pretrain": "pretrain"}
MODELS: dict[Kind, type[Recipe]] = {"discover": DiscoverRecipe, "train": TrainRecipe, "pretrain": PretrainRecipe}


def recipe_names(kind: Kind | None = None) -> list[str]:
    """The built-in recipes, sorted; of one kind if asked."""
    names = sorted(path.stem for path in _recipes_folder().glob("*.toml"))
    return [name for name in names if kind is None or recipe_kind(_read_toml(recipe_path(name))) == kind]


def recipe_path(name: str) -> Path:
    """The file of a built-in recipe. Raises InputError, offering the nearest name, if there is none."""
    path = _recipes_folder() / f"{name}.toml"
    if Path(name).name != name or not path.is_file():
        names = [file.stem for file in _recipes_folder().glob("*.toml")]
        raise InputError(f"no recipe {name!r}: {nearest(name, names)} (a file of your own ends in .toml)")
    return path


def recipe_kind(table: Mapping[str, Any]) -> Kind:
    """Which command a recipe is for: one with a table [train] trains."""
    return "train" if "train" in table else "pretrain" if "pretrain" in table else "discover"


@overload
def load_recipe(name_or_path: str, kind: Literal["discover"]) -> DiscoverRecipe: ...


@overload
def load_recipe(name_or_path: str, kind: Literal["train"]) -> TrainRecipe: ...


@overload
def load_recipe(name_or_path: str, kind: Literal["pretrain"]) -> PretrainRecipe: ...


def load_recipe(name_or_path: str, kind: Kind) -> Recipe:
    """Read a recipe by the name of a built-in one, or from a file (`.toml`, or anything with a folder in it).

    Raises InputError: no such recipe; no such file; broken TOML (file and line); unknown key or wrong value
    (dotted key, nearest valid key); a recipe of the other kind.
    """
    is_file = name_or_path.endswith(".toml") or "/" in name_or_path or "\\" in name_or_path
    path = Path(name_or_path) if is_file else recipe_path(name_or_path)
    table = _read_toml(path)
    if recipe_kind(table) != kind:
        other = COMMANDS[recipe_kind(table)]
        raise InputError(
            f"recipe {name_or_path!r} is for {other}, not {COMMANDS[kind]}: try one of {', '.join(recipe_names(kind))}"
        )
    return _validate(MODELS[kind], {"name": path.stem, **table}, f"{path}: ")


def override(recipe: R, sets: Mapping[str, object]) -> R:
    """A copy of `recipe` with dotted keys replaced, as in `{"search.searches": 8, "data.split": "0.2"}`.

    A text is read as a TOML value if the key takes that, else as it stands; None means that a flag was not given.
    Where `search.preset` or `search.objective` is set, keys that only repeat the old preset's values make way for the
    new one's, so that `--preset` also works on a resolved recipe. Raises InputError: unknown key (nearest valid one
    offered), or a value of the wrong type (value and expected type).
    """
    model = type(recipe)
    table = recipe.model_dump()
    given = {key: value for key, value in sets.items() if value is not None}
    for key in given:
        if key not in _keys(model):
            raise InputError(f"unknown key {key!r}: {nearest(key, _keys(model))}")
    if given.keys() & {"search.preset", "search.objective"}:
        old = preset_values(table["search"]["preset"], table["search"]["objective"])
        table["search"].update({key: None for key, value in old.items() if table["search"][key] == value})
    for key, value in given.items():
        room, leaf = _leaf(table, key)
        readings = _readings(value)
        for room[leaf] in readings:
            if key not in _faulty(model, table):
                break
        else:
            room[leaf] = readings[0]
    return _validate(model, table)


def to_toml(recipe: BaseModel) -> str:
    """The recipe as TOML that reads back equal: keys in the models' order, None left out."""
    table = recipe.model_dump()
    lines = [f"{k} = {_toml_value(v)}" for k, v in table.items() if v is not None and not isinstance(v, dict)]
    for name, room in table.items():
        if isinstance(room, dict):
            lines += ["", f"[{name}]"]
            lines += [f"{k} = {_toml_value(v)}" for k, v in room.items() if v is not None]
    return "\n".join(lines) + "\n"


def identity(recipe: Recipe, inputs: Mapping[str, str]) -> dict[str, object]:
    """What makes two runs the same run, by dotted key: inputs and resolved recipe, less searches and device.

    `inputs` are sha256 of what was read; one under a recipe key, such as "data.images", stands in for the path
    there, so that another path to the same content is the same run.
    """
    flat = flatten(recipe.resolved().model_dump(mode="json"))
    return {**{k: v for k, v in flat.items() if k not in NOT_IDENTITY}, **inputs}


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat


def nearest(name: str, valid: list[str]) -> str:
    """`did you mean 'x'?`, or all valid names where none is near: the fix in an error message."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    if not close and "." not in name:  # "iterations" for "search.iterations"
        close = [key for key in valid if key.rpartition(".")[2] == name][:1]
    return f"did you mean {close[0]!r}?" if close else f"valid are {', '.join(sorted(valid))}"


def _recipes_folder() -> Path:
    """hume_ssl/recipes of an installed wheel, else recipes/ beside the package of an editable install."""
    package = Path(__file__).resolve().parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error  # the error names line and column
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 (byte {error.start})") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits; lists in lists without end
        raise InputError(f"{path}: not a recipe: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read the recipe {path}: {error.strerror}") from error


def _validate(model: type[M], table: dict[str, Any], where: str = "") -> M:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise InputError(where + _explain(error, model)) from error


def _faulty(model: type[BaseModel], table: dict[str, Any]) -> set[str]:
    """The keys whose values the model refuses; a fault between keys, such as a > b, is nobody's."""
    try:
        model.model_validate(table)
    except ValidationError as error:
        return {_known_key(fault["loc"], _keys(model)) for fault in error.errors()}
    return set()


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault pydantic found, in one line: dotted key, value, and what it should be."""
    faults = error.errors(include_url=False)
    first, keys = faults[0], _keys(model)
    key = _known_key(first["loc"], keys)
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}: {nearest(key, [*keys, *(key.partition('.')[0] for key in keys)])}"
    if first["type"] == "model_type":
        return f"{key} = {first['input']!r}: expected a table, [{key}]"
    # A union gives one fault for each of its types.
    wanted = " or ".join(dict.fromkeys(_wanted(f["msg"]) for f in faults if _known_key(f["loc"], keys) == key))
    if key not in keys:  # a rule between several keys: its message says all
        return wanted
    value = first["input"]
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool | int | float) else str(value)
    return f"{key} = {shown}: expected {wanted}"


def _wanted(message: str) -> str:
    for start in ("Value error, ", "Input should be a valid ", "Input should be "):
        message = message.removeprefix(start)
    words = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
    return words.get(message, message)


def _known_key(loc: tuple[int | str, ...], keys: list[str]) -> str:
    """The recipe key of a fault: pydantic appends union members and list positions to it."""
    dotted = [".".join(str(part) for part in loc[:end]) for end in range(len(loc), 0, -1)]
    return next((key for key in dotted if key in keys), dotted[0] if dotted else "")


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        room = _submodel(field.annotation)
        keys += _keys(room, f"{prefix}{name}.") if room else [prefix + name]
    return keys


def _submodel(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) in (Union, types.UnionType):
        return next((found for part in get_args(annotation) if (found := _submodel(part))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _leaf(table: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    *rooms, leaf = key.split(".")
    for room in rooms:
        table = table[room]
    return table, leaf


def _readings(value: object) -> list[object]:
    """What a value given on the command line may mean, most likely first."""
    if not isinstance(value, str):
        return [value]
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # no TOML; a number of thousands of digits; lists in lists without end
        return [value]
    return [parsed["value"], value] if len(parsed) == 1 else [value]


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, str):
        if "\n" not in value:
            return f'"{_toml_text(value)}"'
        return '"""\n' + "\n".join(_toml_text(line) for line in value.split("\n")) + '"""'
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    raise TypeError(f"a recipe holds no {type(value).__name__}")


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")
