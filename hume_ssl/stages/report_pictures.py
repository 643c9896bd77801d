"""The pictures of a report: the gallery of each class, and the map of items, within a number of bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus import reliable_items
from hume_ssl.items import Items
from hume_ssl.progress import track
from hume_ssl.report.confused import second_choice
from hume_ssl.report.gallery import Card, Tile, colour
from hume_ssl.report.shown import galleries, map_items, plane, tiles_a_class
from hume_ssl.report.thumbnails import fitting, thumbnails
from hume_ssl.run import RunFolder
from hume_ssl.stages.answer_file import DEFAULT_NAME
from hume_ssl.stages.table import Found, stored_spaces
from hume_ssl.stages.votes import Votes

Ids = NDArray[np.int64]

GALLERY_BYTES, MAP_BYTES = 14_000_000, 4_000_000  # of pictures; with all else a report stays under 25 MB
MAP_SIDE = 48  # pixels of the pictures on the map


def cards_of(
    run: RunFolder, found: Found, votes: Votes, items: Items | None, selected: Ids, shares: Any, *, show: bool
) -> list[Card]:
    """A card for each of k classes, with as many train items as there is room for.

    Args:
        items: None: no pictures.
        selected: (m,) items of the label file.
        shares: (k, k) of `confusion`.
    """
    k, train = len(found.names), found.train
    labels = np.where(train, found.labels, -1)
    room = tiles_a_class(k)
    shown = galleries(labels, found.agreement, found.neighbour_agreement, k, selected, room)
    every = np.unique(np.concatenate([np.concatenate([one.certain, one.doubtful]) for one in shown]))
    if items is not None and len(every):
        fits = fitting(items, every.tolist(), GALLERY_BYTES) // (2 * k)
        if fits < room:
            shown = galleries(labels, found.agreement, found.neighbour_agreement, k, selected, max(1, fits))
            every = np.unique(np.concatenate([np.concatenate([one.certain, one.doubtful]) for one in shown]))
    pictures = _pictures(items, every, "pictures of the classes", show=show)
    rival, share = second_choice(votes.labellings, votes.matching, votes.weights, found.labels, every, k)
    place = {int(item): at for at, item in enumerate(every)}
    chosen = set(selected.tolist())

    def tile(item: int) -> Tile:
        at = place[item]
        return Tile(
            item=item,
            picture=pictures.get(item),
            name=found.filepaths[item],
            agreement=float(found.agreement[item]),
            neighbour_agreement=float(found.neighbour_agreement[item]),
            rival=int(rival[at]),
            rival_share=float(share[at]),
            selected=item in chosen,
        )

    sizes, tests = (np.bincount(found.labels[mask], minlength=k) for mask in (train, ~train))
    sums = np.bincount(found.labels[train], found.agreement[train], minlength=k)
    reliable = train & reliable_items(found.agreement, found.neighbour_agreement)
    sure = np.bincount(found.labels[reliable], minlength=k)
    beside = shares * (1 - np.eye(k))
    return [
        Card(
            label=label,
            name=name,
            named=not DEFAULT_NAME.fullmatch(name),
            size=int(sizes[label]),
            test_size=int(tests[label]),
            reliable=int(sure[label]),
            agreement=float(sums[label] / max(1, sizes[label])),
            rival=int(beside[label].argmax()) if beside[label].max() > 0 else -1,
            rival_share=float(beside[label].max()),
            certain=[tile(item) for item in shown[label].certain.tolist()],
            doubtful=[tile(item) for item in shown[label].doubtful.tolist()],
        )
        for label, name in enumerate(found.names)
    ]


def map_of(run: RunFolder, found: Found, items: Items | None, layout: str, *, show: bool) -> dict[str, Any]:
    """`map`, what the page draws, and `map_words`, what it is called: items by their place in the labeller space."""
    k = len(found.names)
    rows = map_items(found.labels, k)
    labeller, _ = stored_spaces(run)
    places = plane(labeller, rows, layout)
    pictures: dict[int, str] = {}
    if items is not None:
        fits = fitting(items, rows.tolist(), MAP_BYTES, side=MAP_SIDE)
        pictured = rows[:: -(-len(rows) // max(1, fits))]
        pictures = _pictures(items, pictured, "pictures of the map", side=MAP_SIDE, show=show)
    which = f"{len(rows):,} of {len(found.labels):,} items" if len(rows) < len(found.labels) else f"{len(rows):,} items"
    how = "by the first two principal directions" if layout == "pca" else "by UMAP"
    return {
        "map": {
            "x": np.round(places[:, 0], 4).tolist(),
            "y": np.round(places[:, 1], 4).tolist(),
            "item": rows.tolist(),
            "label": found.labels[rows].tolist(),
            "agreement": np.rint(100 * found.agreement[rows]).astype(int).tolist(),
            "name": [found.filepaths[row] for row in rows],
            "picture": [pictures.get(row) for row in rows.tolist()],
            "colours": [colour(label, k) for label in range(k)],
        },
        "map_words": f"{which} {how} of the labeller space, coloured by class.",
    }


def _pictures(items: Items | None, rows: Ids, what: str, *, show: bool, side: int | None = None) -> dict[int, str]:
    if items is None or not len(rows):
        return {}
    with track(len(rows), what, show=show and len(rows) > 500) as progress:
        return thumbnails(items, rows.tolist(), progress, **({"side": side} if side else {}))
