"""What the user writes after --encoder: KIND:NAME[@WEIGHTS_FILE][?key=value&key=value].

| KIND | NAME | from |
|---|---|---|
| kernel | rbf | random features of the pixels, fitted to the data |
| pretrained | NETWORK@FILE | `hume-ssl pretrain` on the user's own images |
| torchvision | a classifier of torchvision | torchvision |
| timm | a network of PyTorch Image Models, hf-hub:OWNER/MODEL | extra `encoders` |
| open_clip | NETWORK/TAG, NETWORK@FILE, hf-hub:OWNER/MODEL | extra `encoders` |
| hub | REPO/ENTRY, as facebookresearch/dinov2/dinov2_vits14 | torch.hub |
| npy | a file (n, d) | the user |
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hume_ssl.errors import InputError

Option = int | float | bool

EXAMPLES = "kernel:rbf or torchvision:squeezenet1_1@FILE?size=128"
NETWORKS = ("torchvision", "timm", "open_clip", "hub", "pretrained")
HEAD_KINDS = ("torchvision", "timm", "open_clip")  # networks that can be rebuilt from their names alone
EXTRAS = {"timm": "encoders", "open_clip": "encoders"}  # which extra of ours brings the library of a kind


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder, as asked for.

    Attributes:
        kind: see the table above.
        name: the encoder within its kind; of npy the file.
        weights: file to take the weights from; None: the kind's own.
        options: the values after the question mark, checked and converted.
        text: the whole as written.
    """

    kind: str
    name: str
    weights: Path | None
    options: Mapping[str, Option]
    text: str

    @property
    def is_network(self) -> bool:
        """Whether it is a network, with a module of its kind in `hume_ssl.spaces.encoders`."""
        return self.kind in NETWORKS

    @property
    def without_path(self) -> str:
        """The text without the weights file: a path of this machine says nothing elsewhere."""
        return with_weights(self, None)


def with_weights(spec: EncoderSpec, path: str | None) -> str:
    """The text of an encoder with another path of its weights file, or none; as it is where it names no file."""
    if spec.weights is None:
        return spec.text
    before, _, rest = spec.text.partition("@")
    _, mark, options = rest.partition("?")
    return before + (f"@{path}" if path is not None else "") + mark + options


def parse_spec(text: str) -> EncoderSpec:
    """Take an encoder's text apart, and look its name up among those of its kind. No file is looked at: `check_spec`.

    Raises:
        InputError: as `split_spec`; an unknown name (the nearest one is offered); a kind whose library is missing.
    """
    spec = split_spec(text)
    if spec.kind in ("kernel", "torchvision", *EXTRAS):
        names = encoder_names(spec.kind, spec.name)
        if spec.name not in names and not (spec.kind == "open_clip" and spec.name.partition("/")[0] in names):
            raise InputError(f"unknown {spec.kind} encoder {spec.name!r}{nearest(spec.name, names)}")
    return spec


def split_spec(text: str) -> EncoderSpec:
    """Take an encoder's text apart, without asking any library; WEIGHTS_FILE may hold any character but '?'.

    Raises:
        InputError: not of this form, or an unknown kind or option (the nearest valid one is offered), or a value of
            the wrong type; weights where there can be none, or none where they are needed.
    """
    kind, colon, after = text.partition(":")
    kind = kind if colon else kind.partition("?")[0]
    rest, _, tail = (after, "", "") if kind == "npy" else after.partition("?")
    name, at, weights = (rest, "", "") if kind == "npy" else rest.partition("@")
    if kind not in _OPTIONS:
        raise InputError(f"unknown encoder kind {kind!r} in {text!r}{nearest(kind, _OPTIONS)}; write {EXAMPLES}")
    if not colon or not name:
        raise InputError(f"the encoder {text!r} names no {kind} encoder; write {EXAMPLES}")
    if at and not weights:
        raise InputError(f"the encoder {text!r} has an @ without a weights file after it")
    if weights and kind == "kernel":
        raise InputError(f"the encoder {text!r} gives weights {weights}; {kind} encoders have none: leave out the @")
    if kind == "pretrained" and not weights:
        raise InputError(f"the encoder {text!r} names no weights: write {kind}:{name}@FILE, made by hume-ssl pretrain")
    if kind == "open_clip" and not (weights or "/" in name):
        raise InputError(f"the encoder {text!r} names no weights: write open_clip:{name}/TAG or open_clip:{name}@FILE")
    if kind == "hub" and not all(name.rpartition("/")[::2]):
        raise InputError(f"the encoder {text!r} names no entry: write hub:OWNER/REPO/ENTRY")
    return EncoderSpec(kind, name, Path(weights) if weights else None, _parse_options(kind, tail, text), text)


def check_spec(spec: EncoderSpec) -> None:
    """Raise InputError where the weights file, or the array, does not exist."""
    file = Path(spec.name) if spec.kind == "npy" else spec.weights
    if file is not None and not file.expanduser().is_file():
        what = "array" if spec.kind == "npy" else "weights file"
        raise InputError(f"there is no {what} {file} (encoder {spec.text!r}); check its path")


def need(kind: str) -> None:
    """Raise InputError where the library of this kind of encoder is not installed, with the command that does it."""
    if kind in EXTRAS and find_spec(kind) is None:
        raise InputError(f"{kind} is not installed, and the encoder needs it: pip install 'hume_ssl[{EXTRAS[kind]}]'")


def encoder_names(kind: str, name: str = "") -> list[str]:
    """Names known within a kind, by the installed version of its library; of timm and open_clip those like `name`."""
    if kind == "kernel":
        return ["rbf"]
    need(kind)
    if kind == "torchvision":
        import torchvision

        return list(torchvision.models.list_models(module=torchvision.models))
    if kind == "timm":
        from hume_ssl.spaces import timm_encoder

        return timm_encoder.names(name)
    from hume_ssl.spaces import open_clip_encoder

    return open_clip_encoder.names(name)


def nearest(word: str, valid: Iterable[str]) -> str:
    """ ", did you mean 'x'?" for the valid word most like `word`, or the valid words where none is and they are few."""
    words = list(valid)
    close = difflib.get_close_matches(word, words, n=1) or [other for other in words if other.startswith(word or " ")]
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
    "timm": {"size": _count},
    "open_clip": {"size": _count},
    "hub": {"size": _count},
    "pretrained": {},
    "npy": {},
}
