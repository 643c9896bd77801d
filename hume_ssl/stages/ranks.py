"""The work of a run spread over the processes that torchrun started: what the first asks, what the others do.

Batches go in rounds, one a process, in the order of their seeds; a batch follows from the run folder and its first
search alone, so that it is the same wherever it runs. All processes read the run folder; the first alone writes it,
but for the state of a batch in hand, which belongs to the process that runs it. In a training all of them take part in
every step (hume_ssl/train/together.py).
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hume_ssl import distributed
from hume_ssl.errors import InputError
from hume_ssl.progress import Progress
from hume_ssl.run import RunFolder
from hume_ssl.search import Searches

if TYPE_CHECKING:
    from hume_ssl.train.together import Together

PATIENCE = 60.0  # seconds in which the first process ends all of them after wrong input that each one meets


class Ranks:
    """The first process's view of the others: it spreads batches over them, and shows the progress of all."""

    def __init__(self, run: RunFolder, device: str, progress: Progress) -> None:
        self.run, self.device, self.progress = run, device, progress
        self.at_work = 1  # processes in this round

    def advance(self, n: int = 1, **info: str) -> None:
        """Count the steps of the others as this process's own: they run beside it."""
        self.progress.advance(n * self.at_work, **info)

    def spread(self, one: Callable[[int], Searches], starts: Sequence[int]) -> Iterator[Searches]:
        """The batches that begin with these searches, in order; this process runs the first of each round."""
        from hume_ssl.stages.artefacts import unpacked

        world = distributed.world()
        for first in range(0, len(starts), world):
            mine, *theirs = starts[first : first + world]
            self.at_work = 1 + len(theirs)
            for other, start in enumerate(theirs, 1):
                where = str(self.run.path.absolute())
                distributed.ask(other, {"run": where, "device": self.device, "start": start})
            yield one(mine)
            for other in range(1, 1 + len(theirs)):
                yield unpacked(*distributed.answer(other))


def processes() -> Together:
    """Which of the processes this is, and how many train together."""
    from hume_ssl.train.together import Together

    return Together(distributed.rank(), distributed.world())


@contextmanager
def all_train(question: Mapping[str, Any]) -> Iterator[None]:
    """Have the others train as this one does in the block; `question` is what `join` of hume_ssl.stages.fit, or of
    hume_ssl.stages.pretrain, takes.

    After an error they stay at work, or wait in vain, and torchrun ends them.
    """
    others = range(1, distributed.world())
    for other in others:
        distributed.ask(other, question)
    yield
    for other in others:
        distributed.answer(other)


def follow() -> NoReturn:
    """What every process but the first does: what it is asked for, until it ends with the first's exit code."""
    for sign in (signal.SIGINT, signal.SIGTERM):  # at once, also while it waits; the first tells the user
        signal.signal(sign, signal.SIG_DFL)
    distributed.join()
    for question in distributed.questions():
        if "train" in question or "pretrain" in question:
            _train(question)
            continue
        if "embed" in question:
            from hume_ssl.stages.embed_ranks import join_embedding

            join_embedding(question)
            continue
        from hume_ssl.stages.artefacts import packed

        batch = _batches(question["run"], question["device"])(question["start"])
        distributed.send(0, *packed(batch))
    raise AssertionError("there is always a last question")


def _train(question: Mapping[str, Any]) -> None:
    if "pretrain" in question:
        from hume_ssl.stages.pretrain import join
    else:
        from hume_ssl.stages.fit import join

    try:
        join(question)
    except InputError as error:
        time.sleep(PATIENCE)  # the first meets the same, says so, and its end is ours
        print(f"error in process {distributed.rank()}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    distributed.send(0, {}, {})


@lru_cache(maxsize=1)
def _batches(path: str, device: str) -> Callable[[int], Searches]:
    """Runs the batch that begins with a search, as the run folder's recipe and spaces have it."""
    from hume_ssl.search import prepare_spaces
    from hume_ssl.search.runner import batch_runner
    from hume_ssl.stages.artefacts import batch_in_hand
    from hume_ssl.stages.table import stored_recipe, stored_spaces

    run = RunFolder(Path(path))
    recipe = stored_recipe(run)
    labeller, judges = stored_spaces(run)
    train = (run.read_csv(run.items_csv)["split"] == "train").to_numpy(dtype=bool)
    spaces = prepare_spaces(labeller, judges, train, recipe.search, distributed.local_device(device))
    assert recipe.data.classes is not None  # a resolved recipe
    run_batch = batch_runner(spaces, recipe.data.classes, recipe.search)
    return lambda start: run_batch(start, None, batch_in_hand(run, start))
