"""What the user writes after --encoder: KIND:NAME[@WEIGHTS_FILE][?key=value&key=value]."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hume_ssl.errors import InputError

Option = int | float | bool

EXAMPLES = "kernel:rbf or torchvision:squeezenet1_1@FILE?size=128"


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder, as asked for.

    Attributes:
        kind: "kernel" or "torchvision".
        name: the encoder within its kind.
        weights: file to take the weights from; None: the kind's own.
        options: the values after the question mark, checked and converted.
        text: the whole as written.
    """

    kind: str
    name: str
    weights: Path | None
    options: Mapping[str, Option]
    text: str


def parse_spec(text: str) -> EncoderSpec:
    """Take an encoder's text apart; WEIGHTS_FILE may hold any character but '?'. No file is looked at: `check_spec`.

    Raises:
        InputError: not of this form, or an unknown kind, name or option (the nearest valid one is offered), or a value
            of the wrong type.
    """
    head, _, tail = text.partition("?")
    kind, colon, rest = head.partition(":")
    name, at, weights = rest.partition("@")
    if kind not in _OPTIONS:
        raise InputError(f"unknown encoder kind {kind!r} in {text!r}{nearest(kind, _OPTIONS)}; write {EXAMPLES}")
    if not colon or not name:
        raise InputError(f"the encoder {text!r} names no {kind} encoder; write {EXAMPLES}")
    names = encoder_names(kind)
    if name not in names:
        raise InputError(f"unknown {kind} encoder {name!r}{nearest(name, names)}")
    if at and not weights:
        raise InputError(f"the encoder {text!r} has an @ without a weights file after it")
    if weights and kind == "kernel":
        raise InputError(f"the encoder {text!r} gives weights {weights}; {kind} encoders have none: leave out the @")
    return EncoderSpec(kind, name, Path(weights) if weights else None, _parse_options(kind, tail, text), text)


def check_spec(spec: EncoderSpec) -> None:
    """Raise InputError where the weights file does not exist."""
    if spec.weights is not None and not spec.weights.expanduser().is_file():
        raise InputError(f"there is no weights file {spec.weights} (encoder {spec.text!r}); check its path")


def encoder_names(kind: str) -> list[str]:
    """Names known within a kind; those of torchvision are the classifiers the installed version has."""
    if kind == "kernel":
        return ["rbf"]
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def nearest(word: str, valid: Iterable[str]) -> str:
    """ ", did you mean 'x'?" for the valid word most like `word`, or the valid words where none is and they are few."""
    words = list(valid)
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f", did you mean {close[0]!r}?"
    return f" (known: {', '.join(words)})" if len(words) <= 10 else ""


def _parse_options(kind: str, tail: str, text: str) -> dict[str, Option]:
    known = _OPTIONS[kind]
    options: dict[str, Option] = {}
    for part in filter(None, tail.split("&")):
        key, equals, value = part.partition("=")
        if key not in known:
            raise InputError(f"unknown option {key!r} in {text!r}{nearest(key, known)}")
        if key in options:
            raise InputError(f"the option {key!r} stands twice in {text!r}; keep one")
        try:
            options[key] = known[key](value if equals else "")
        except ValueError as error:
            raise InputError(f"the option {key!r} in {text!r} is {value!r}; it takes {error}") from None
    return options


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError("a whole number from 1 up")
    return int(value)


def _seed(value: str) -> int:
    if not value.isdecimal():
        raise ValueError("a whole number from 0 up")
    return int(value)


def _positive(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError("a number above 0")
    return number


def _share(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 0.5:
        raise ValueError("a share of the side from 0 to 0.5")
    return number


def _switch(value: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if value.lower() not in words:
        raise ValueError("true or false")
    return words[value.lower()]


_OPTIONS: dict[str, dict[str, Callable[[str], Option]]] = {
    "kernel": {"width": _positive, "dim": _count, "size": _count, "centre": _switch, "seed": _seed, "shift": _share},
    "torchvision": {"size": _count},
}
