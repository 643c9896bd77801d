"""The labels that an export writes: some items of a run with their classes, and what the searches voted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError

if TYPE_CHECKING:
    from hume_ssl.items import Items
    from hume_ssl.stages.votes import Votes

Ids = NDArray[np.int64]
Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """m items of a run of n items, in its order; of a selection in that of the label file.

    Classes of one name are one: `label` is the run's id of the first of them, `target` counts them 0..k-1 without gaps,
    as other tools want it.
    """

    index: Ids  # (m,) items of the run
    filepaths: Sequence[str]  # (m,) as items.csv has them; "" where there are no files
    split: Sequence[str]  # (m,) train or test
    label: Ids  # (m,) the run's class ids
    target: Ids  # (m,) classes 0..k-1 of `names`
    names: Sequence[str]  # (k,) no two alike
    place: Ids  # which of them each of the run's classes has
    agreement: Shares  # (m,) in [0, 1]
    neighbour_agreement: Shares  # (m,) in [0, 1]
    reliable: NDArray[np.bool_]  # (m,)
    selected: NDArray[np.bool_]  # (m,) it is in the latest label file
    what: str  # "consensus", "reliable" or "selection"
    train: Ids  # (t,) all train items of the run, ascending
    seed: int  # of the searches
    open_images: Callable[[], Items]  # of the whole run; what there is no need of is not looked for
    votes: Callable[[], Votes]  # of the whole run, in the run's class ids

    def __len__(self) -> int:
        return len(self.index)

    @property
    def class_names(self) -> list[str]:
        """(m,) the class name of each item."""
        return [self.names[target] for target in self.target]

    def images(self) -> Items:
        """The run's images. Raises InputError where it has none, or they are gone."""
        items = self.open_images()
        if not items.has_images:
            raise InputError("this format is about images, and the run has none: run discover again with --images")
        return items


@dataclass(frozen=True)
class How:
    """What the user chose about an export."""

    copy: bool = False  # files, where links to them would do
    prefix: str = "/data/local-files/?d="  # before a file's path, in Label Studio


def merged(names: Sequence[str]) -> tuple[list[str], Ids]:
    """The names without repetition, in order of first appearance, and (k,) which of them each class has."""
    place: dict[str, int] = {}
    where = [place.setdefault(name, len(place)) for name in names]
    return list(place), np.array(where, dtype=np.int64)


def need(module: str, extra: str, form: str) -> None:
    """Raise InputError, naming what installs it, unless a module can be imported."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise InputError(f"--to {form} needs {module}: pip install 'hume_ssl[{extra}]'")


def table_columns(labelled: Labelled) -> dict[str, Any]:
    """The columns of the plain table."""
    return {
        "index": labelled.index,
        "filepath": list(labelled.filepaths),
        "split": list(labelled.split),
        "label": labelled.label,
        "class_name": labelled.class_names,
        "agreement": labelled.agreement,
        "neighbour_agreement": labelled.neighbour_agreement,
        "reliable": labelled.reliable,
        "selected": labelled.selected,
    }


def vote_shares_of(labelled: Labelled) -> tuple[NDArray[Any], Shares]:
    """(r, m) the class 0..k-1 that each search gives each item, and (r,) the weight of its vote; 0 = not counted."""
    votes = labelled.votes()
    matching = labelled.place[votes.matching]
    given = np.stack([matching[s][np.asarray(votes.labellings[s])[labelled.index]] for s in range(len(matching))])
    return given.astype(np.int32), votes.weights
