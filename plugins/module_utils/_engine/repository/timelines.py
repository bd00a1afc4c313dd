# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Numbers of timelines that a promotion may take (fault D13).

PostgreSQL takes the first number above its target's for which ``restore_command`` has no history file (source:
findNewestTimeLine in timeline.c): the first hole, in the archive as it sees it at that moment. So two recoveries at
the same time take one number, and a number whose history was lost, while its WAL was not, is taken again (B11).
Here a number is handed out once: above all that the repository knows of, and reserved before the server hears of it.

Reservations stay, also those of restores that were abandoned or undone. Given back, a number could mean two histories,
and nobody here can know that none of this happens: the data directory of an undone restore, which is
kept aside, is started by somebody; a copy was made of the staged one; a host that was thought to be gone comes back and
goes on with its restore, which looks only whether its number was archived. A clock cannot expire them either: how long
a disk stays in a drawer is not known. What they cost is a file of 100 bytes, and one question at later promotions.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ..core.clock import format_utc, utc_now
from ..core.errors import Failed
from ..core.files import TEMPORARY_PREFIX, fsync_directory, make_directory, read_json
from .layout import Repository


def take_number(repository: Repository, system_id: int | str, timeline: int, holder: str) -> bool:
    """Reserve ``timeline`` for ``holder`` (one restore on one host) and for nobody else; False when it is taken.

    Taken is every number up to the highest that the archive has a history or WAL of, or that another restore has
    reserved; what a holder has reserved stays its own as long as nobody archived it. A reservation is never given
    back: the data directory of a restore that was undone may still be started by somebody.
    Raises :class:`Failed` ``repository-not-writable``, and ``file-damaged`` for a reservation that cannot be read.
    """
    if repository.elsewhere:
        return repository.take_timeline(system_id, timeline, holder)
    directory = repository.timelines(system_id)
    attempted = f"reserve the number of timeline {timeline}"
    try:
        make_directory(directory)
        if timeline <= max(_archived(repository, system_id), default=0):
            return False
        reserved = _numbers(directory, ".json")
        if timeline in reserved:
            return bool(_holder(f"{directory}/{timeline:08X}.json", attempted) == holder)
        if timeline < max(reserved, default=0):
            return False
        return _reserve(f"{directory}/{timeline:08X}.json", holder, attempted)
    except OSError as error:
        raise Failed(
            "repository-not-writable",
            attempted=attempted,
            happened=f"{error.filename or directory}: {error.strerror}",
            remedy=f"Let the cluster's owner write below {repository.path}, and see that it has space.",
        ) from error


def highest(repository: Repository, system_id: int | str) -> int:
    """The highest number that is taken."""
    reserved = _numbers(repository.timelines(system_id), ".json")
    return max(_archived(repository, system_id) | reserved, default=0)


def _archived(repository: Repository, system_id: int | str) -> set[int]:
    """Of which the archive has a history, or a directory of segments."""
    directory = repository.wal(system_id)
    return _numbers(directory, ".history") | _numbers(directory, "")


def _numbers(directory: str, suffix: str) -> set[int]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return set()
    heads = (name[: len(name) - len(suffix)] for name in names if name.endswith(suffix))
    return {int(head, 16) for head in heads if len(head) == 8 and not set(head) - set("0123456789ABCDEF")}


def _holder(path: str, attempted: str) -> Any:
    return read_json(path, attempted=attempted).get("holder")


def _reserve(path: str, holder: str, attempted: str) -> bool:
    """Whole and at once, so that of two who try one is told that the other was first."""
    temporary = f"{os.path.dirname(path)}/{TEMPORARY_PREFIX}{os.uname().nodename}-{os.getpid()}"
    text = json.dumps({"holder": holder, "host": os.uname().nodename, "since": format_utc(utc_now())})
    try:
        with open(temporary, "w", encoding="utf-8") as handle:
            handle.write(f"{text}\n")
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return bool(_holder(path, attempted) == holder)
        fsync_directory(os.path.dirname(path))
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return True
