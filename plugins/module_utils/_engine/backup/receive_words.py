# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Why pg_receivewal ended: whether the server no longer has what comes next, or has given its slot up. Pure.

What the server says comes in the server's own language (``lc_messages``), which a role that only replicates cannot
choose, and pg_receivewal shows no SQLSTATE. It does say, in the language that we gave it, at which command the server
said no; and what the server names is the same in all languages: a segment, a position, a timeline, the slot.
Source: walsender.c (XLogSendPhysical, StartReplication), xlogutils.c (WALReadRaiseError), receivelog.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_STREAMING = re.compile(r"unexpected termination of replication stream: (.*)")
_BEGINNING = re.compile(r'could not send replication command "START_REPLICATION": (.*)')
_SEGMENT = re.compile(r"(?<![0-9A-F])[0-9A-F]{24}(?![0-9A-F])")
_LSN = re.compile(r"(?<![0-9A-F])[0-9A-F]{1,8}/[0-9A-F]{1,8}(?![0-9A-F])")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Ended:
    """``gone``: the server has not, or no longer, what comes next. ``slot_lost``: the slot keeps nothing any more."""

    gone: bool
    slot_lost: bool


def why_ended(lines: Iterable[str], slot: str) -> Ended:
    """From all that pg_receivewal said; what is understood for neither of them is tried again as it is."""
    gone = lost = False
    for line in lines:
        if streaming := _STREAMING.search(line):
            gone = gone or _removed(streaming[1])
        if beginning := _BEGINNING.search(line):
            gone = gone or _elsewhere(beginning[1])
            lost = lost or _given_up(beginning[1], slot)
    return Ended(gone or lost, lost)


def _removed(said: str) -> bool:
    """ "requested WAL segment … has already been removed"; a file that cannot be read has its path, offset or size."""
    rest, segments = _SEGMENT.subn("", said)
    return segments == 1 and not _NUMBER.search(rest) and "/" not in rest


def _elsewhere(said: str) -> bool:
    """ "requested starting point … on timeline … is not in this server's history"; one ahead of the server has two."""
    rest, positions = _LSN.subn("", said)
    return positions == 1 and len(_NUMBER.findall(rest)) == 1


def _given_up(said: str, slot: str) -> bool:
    """ "can no longer get changes from replication slot …"; one that somebody uses has the process' number."""
    return slot in said and not _NUMBER.search(said.replace(slot, ""))
