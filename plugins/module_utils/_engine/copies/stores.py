# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a place for copies can do, whatever it is, and what goes wrong there.

``put`` comes back only when the object lies there whole: its digest was taken from what is stored, by reading it again
or by the store's own checksum (``checked`` says which).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ..core.errors import Failed, KeeperError, Refused

#: In a copy of one cluster: whose it is.
MARKER = "copy.json"
#: Begins the name of what is not finished.
COPYING = ".copying-"
#: Begins the name of what is being removed.
GOING = ".going-"
BLOCK = 1 << 20

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Stored:
    """An object as it lies there: length and SHA-256; ``checked``: ``read-back`` or ``store``."""

    bytes: int
    digest: str
    checked: str


class Source(Protocol):
    """Something to be sent, as often as is needed."""

    #: Roughly: what is known before it was read.
    size: int
    #: Whether reading it again gives the same bytes (not so when it is encrypted anew).
    repeatable: bool

    def blocks(self) -> Iterator[bytes]:
        """Its bytes."""

    def spend(self, count: int) -> None:
        """Wait until so many bytes may go on their way; asked for what is really sent, right before it is."""


class Store(Protocol):
    """A place for the copy of one cluster. Keys are relative, with slashes. Not for several threads."""

    #: For people.
    where: str
    #: Whether a directory can be renamed: what is not finished is then not seen.
    renames: bool

    def read(self, key: str) -> bytes | None:
        """A small object, or None when it is not there."""

    def write(self, key: str, data: bytes) -> None:
        """A small object, whole and durable, in place of what was there."""

    def names(self, prefix: str) -> dict[str, int]:
        """Key -> bytes of all finished objects below a directory."""

    def put(self, key: str, source: Source) -> Stored:
        """Store an object and make sure of it."""

    def look(self, key: str) -> Stored | None:
        """Digest of what lies there, taken now; None when it is not there."""

    def fetch(self, key: str) -> Iterator[bytes]:
        """The bytes of an object. Raises :class:`Failed` ``copy-object-missing``."""

    def delete(self, key: str) -> None:
        """Remove an object; no effect when it is not there."""

    def move(self, old: str, new: str) -> None:
        """Rename a directory, durably; where ``renames``."""

    def clear(self, directory: str) -> None:
        """Remove a directory with everything in it."""

    def tidy(self) -> list[str]:
        """Take away what was begun and will never be finished; asked when nothing is missing. What it was."""

    def close(self) -> None:
        """Let go of the connection."""


@dataclass(frozen=True)
class Patience:
    """How often something is tried, and how long the pauses between are: doubled each time, a little at random.

    ``connect_seconds``, ``silence_seconds``: so long an object store may take to be there, and to say anything.
    """

    tries: int = 6
    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    connect_seconds: float = 10.0
    silence_seconds: float = 60.0

    def pause(self, number: int) -> float:
        """Before try ``number`` (from 1 on)."""
        most = min(self.longest_seconds, self.first_seconds * 2.0 ** (number - 1))
        return most * (0.5 + random.random() / 2)


class Passing(Exception):
    """What may go over by itself: an overloaded store, a broken connection, bytes that arrived damaged."""

    def __init__(self, error: KeeperError) -> None:
        super().__init__(str(error))
        self.error = error


def patiently(
    action: Callable[[], _Found], patience: Patience, told: Callable[[str], None] | None = None
) -> _Found:
    """Do it, again and again while what goes wrong is :class:`Passing`; its error when it does not pass."""
    for number in range(1, patience.tries + 1):
        try:
            return action()
        except Passing as fault:
            if number == patience.tries:
                fault.error.details["tries"] = number
                raise fault.error from fault
            if told is not None:
                told(fault.error.code)
            time.sleep(patience.pause(number))
    raise ValueError("patience has no tries")


class Throttle:
    """No more than so many bytes a second, over everything that is sent (None: as fast as it goes)."""

    def __init__(self, kbytes_per_second: int | None) -> None:
        self._rate = kbytes_per_second * 1024 if kbytes_per_second else None
        self._due = time.monotonic()
        #: What really went on its way: without what was there already, with what had to go twice.
        self.spent_bytes = 0

    def spend(self, count: int) -> None:
        """Wait until so many bytes may have been sent."""
        self.spent_bytes += count
        if self._rate is None:
            return
        now = time.monotonic()
        # What was not used before is not saved up: a pause is not followed by a flood.
        self._due = max(self._due, now) + count / self._rate
        if self._due > now:
            time.sleep(self._due - now)


def wrong_digest(where: str, key: str, sent: str, found: str) -> KeeperError:
    """What lies there is not what was sent (fault F04)."""
    return Failed(
        "copy-digest-wrong",
        attempted=f"copy {key} to {where}",
        happened=f"what is stored there has the digest {found[:16]}…, what was sent {sent[:16]}…",
        remedy="Nothing there counts it as copied. Run the same command again; if it stays so, test the memory of both "
        "hosts and the network between them.",
        details={"key": key, "sent": sent, "stored": found},
    )


def denied(where: str, attempted: str, words: str) -> KeeperError:
    """It is there and does not let us (fault F02)."""
    return Refused(
        "copy-denied",
        attempted=attempted,
        happened=f"{where}: {words}",
        remedy="Give the key or user of this copy the right to list, read, write and delete below that place, and see "
        "that its clock and its credentials are right.",
        details={"place": where},
    )


def unreachable(where: str, attempted: str, words: str) -> KeeperError:
    """Nobody answers, or not as it should (fault F03)."""
    return Failed(
        "copy-unreachable",
        attempted=attempted,
        happened=f"{where}: {words}",
        remedy="Nothing is lost: what has arrived stays, and the next run sends the rest. See that the place is up and "
        "can be reached from here.",
        details={"place": where},
    )


def full(where: str, attempted: str) -> KeeperError:
    """No room."""
    return Failed(
        "copy-full",
        attempted=attempted,
        happened=f"{where} has no space left",
        remedy="Make space there, or let the copy keep less (its retention), then run the same command again.",
        details={"place": where},
    )


def object_missing(where: str, key: str) -> KeeperError:
    """A sheet names it and it is not there."""
    return Failed(
        "copy-object-missing",
        attempted=f"read {key} from {where}",
        happened="it is not there, and the copy's own list has it",
        remedy="Bring back from another copy, or without it (dbkeeper copy --list shows what there is). While the "
        "repository still has it, 'dbkeeper copy --check-all' sends it again.",
        details={"key": key},
    )


def marker(value: dict[str, Any]) -> str:
    """The identity that a marker tells."""
    return str(value.get("id"))
