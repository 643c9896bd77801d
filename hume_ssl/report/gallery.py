"""The part of the report in which a person sees the classes, names them, and marks items that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hume_ssl.report.document import text

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#8c564b", "#6a5acd", "#7f7f7f", "#c0392b")


@dataclass(frozen=True)
class Tile:
    """One item of the gallery."""

    item: int
    picture: str | None  # data URI
    name: str  # of its file; "" = none
    agreement: float  # shares in [0, 1]
    neighbour_agreement: float
    rival: int  # the class it may be as well; -1 = none
    rival_share: float  # of the votes
    selected: bool  # it is in the label file


@dataclass(frozen=True)
class Card:
    """One class of the gallery."""

    label: int
    name: str
    named: bool  # by a person
    size: int
    test_size: int
    reliable: int
    agreement: float  # mean over train items
    rival: int  # the class that its items are most taken for; -1 = none
    rival_share: float
    certain: Sequence[Tile]
    doubtful: Sequence[Tile]


def colour(label: int, k: int) -> str:
    """A class's colour: ten that colour-blind people can tell apart, and beyond ten evenly spread hues."""
    if k <= len(PALETTE):
        return PALETTE[label]
    return f"hsl({label * 137.508 % 360:.0f} {60 + label % 3 * 12}% {42 + label % 4 * 5}%)"


def gallery(cards: Sequence[Card], names: Sequence[str], select: str, answer: str) -> str:
    """All classes with their items and name fields, and the two downloads.

    Args:
        names: (k,) of all classes.
        select, answer: the commands that take classes.csv and answers.csv.
    """
    links = "".join(
        f'<a href="#class-{card.label}" style="--class:{colour(card.label, len(names))}">'
        f'<span data-shows="{card.label}">{text(card.name)}</span></a>'
        for card in cards
    )
    return (
        f'<nav class="classes" aria-label="Classes">{links}</nav>'
        '<div class="actions" role="group" aria-label="What you have said">'
        '<button type="button" id="save-names">Download classes.csv</button>'
        '<button type="button" id="save-answers" disabled>Download answers.csv (<span id="wrong-count">0</span> wrong)'
        "</button>"
        f'<details class="how"><summary>How to use them</summary><p>Names: <code>{text(select)}</code></p>'
        f"<p>Wrong items: <code>{text(answer)}</code></p><p>What you type and mark stays in this browser until you "
        "download it.</p></details></div>"
        '<p id="said" class="note" role="status" aria-live="polite"></p>'
        + "".join(_card(card, names) for card in cards)
    )


def _card(card: Card, names: Sequence[str]) -> str:
    label = card.label
    facts = [f"{card.size:,} items" + (f" and {card.test_size:,} of test" if card.test_size else "")]
    if card.size:
        facts += [f"{card.reliable:,} reliable", f"mean agreement {card.agreement:.2f}"]
    taken = ""
    if card.rival >= 0:
        taken = (
            f'; {card.rival_share:.1%} of its votes say <a href="#class-{card.rival}">'
            f'<span data-shows="{card.rival}">{text(names[card.rival])}</span></a>'
        )
    rows = ""
    if card.certain:
        rows += f"<h4>Most certain</h4>{_tiles(card.certain, names)}"
    if card.doubtful:
        rows += f"<h4>Most doubtful</h4>{_tiles(card.doubtful, names)}"
    value = f' value="{text(card.name)}"' if card.named else ""
    return (
        f'<article class="card" id="class-{label}" style="--class:{colour(label, len(names))}" '
        f'aria-labelledby="class-{label}-title"><header><h3 id="class-{label}-title">Class {label}</h3>'
        f'<label>Name <input data-class="{label}" placeholder="{text(card.name)}"{value} maxlength="200" '
        f'autocomplete="off" spellcheck="false"></label><p class="facts">{", ".join(facts)}{taken}</p>'
        f'<p class="merges" id="merges-{label}" hidden></p></header>{rows or "<p>No item.</p>"}</article>'
    )


def _tiles(tiles: Sequence[Tile], names: Sequence[str]) -> str:
    return f'<div class="tiles">{"".join(_tile(tile, names) for tile in tiles)}</div>'


def _tile(tile: Tile, names: Sequence[str]) -> str:
    what = tile.name or f"item {tile.item}"
    words = f"{what}: {tile.agreement:.0%} of the votes, {tile.neighbour_agreement:.0%} of its neighbours agree"
    caption = f"{tile.agreement:.0%}"
    if tile.rival >= 0 and tile.agreement < 1:
        words += f"; {tile.rival_share:.0%} say {names[tile.rival]}"
    if tile.selected:
        words += "; selected"
        caption += ' <span class="star" aria-hidden="true">★</span>'
    inside = (
        f'<img src="{tile.picture}" alt="" loading="lazy" decoding="async">'
        if tile.picture
        else f'<span class="bare">{text(_end(what))}</span>'
    )
    return (
        f'<button type="button" class="tile" aria-pressed="false" data-item="{tile.item}" '
        f'data-file="{text(tile.name)}" aria-label="{text(words)}" title="{text(words)}">'
        f"{inside}<small>{caption}</small></button>"
    )


def _end(name: str, length: int = 22) -> str:
    """The end of a file name, which tells more than its beginning."""
    return name if len(name) <= length else "…" + name[1 - length :]
