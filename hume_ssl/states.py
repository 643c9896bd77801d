"""The table of what a command does about a stage's output, as one pure function.

| state            | no flag             | --resume                                         | --overwrite |
|------------------|---------------------|--------------------------------------------------|-------------|
| absent           | start               | start                                            | start       |
| unfinished, same | refuse, both flags  | continue                                         | start       |
| finished, same   | finished            | finished; more searches: continue; fewer: refuse | start       |
| other inputs     | refuse, differences | refuse, differences                              | start       |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from hume_ssl.errors import InputError

Decision = Literal["start", "continue", "finished"]


def next_step(
    where: str,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    *,
    changed: list[str],
    resume: bool,
    overwrite: bool,
    searches: int | None,
    resumable: bool,
    elsewhere: str = "name another folder with --run",
) -> Decision:
    """The cell of the table for a stage with this record in run.json ({} if absent).

    `where` begins the messages, `elsewhere` is how to keep both outputs. `changed` says of artefacts of a
    finished stage that they are gone or others now, as "lacks consensus.csv": it counts as unfinished.
    """
    if resume and overwrite:
        raise InputError("--resume and --overwrite contradict each other: give one of them")
    if not record or overwrite:
        return "start"
    differ = differences(record["identity"], identity)
    if differ:
        raise InputError(
            f"{where} was made from other inputs: {'; '.join(differ)}: {elsewhere}, or give --overwrite to start again"
        )
    if record["status"] != "finished" or changed:
        if resume:
            return "continue"
        what = changed[0] if changed else "is unfinished"
        ways = "--resume to go on with it, or --overwrite to start again" if resumable else "--overwrite to start again"
        raise InputError(f"{where} {what}: give {ways}")
    done = record.get("searches")
    if resume and searches is not None and done is not None:
        if searches > done:
            return "continue"
        if searches < done:
            raise InputError(
                f"{where} has {done} searches, --searches {searches} is fewer: "
                f"give --searches {done} or more, or --overwrite to start again"
            )
    return "finished"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, key by key: `search.seed was 1, is now 2`; [] where nothing does."""
    pairs = [(key, old.get(key), new.get(key)) for key in dict.fromkeys([*new, *old])]
    return [f"{key} was {_short(was)}, is now {_short(now)}" for key, was, now in pairs if was != now]


def _short(value: object) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value, ensure_ascii=False)
    is_hash = isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
    return f"{value[:12]}..." if is_hash and isinstance(value, str) else text
