# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The signs of life of what was deleted, kept in the repository: by them a quiet time is told from a leap of the clock.

A weekly backup whose WAL stays for a day is not the work of a clock that leaps every week; and an expiry that was
killed must judge as it did before. Without the file everything is younger than it is: more is kept, nothing is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from ..core.clock import format_utc, parse_utc
from ..core.errors import KeeperError
from ..core.files import read_json, write_json
from ..repository.layout import Repository
from .ages import Place, Sign

_FORMAT = 1


def recall(repository: Repository) -> tuple[Sign, ...]:
    """What was remembered; nothing where that cannot be read, the next expiry that deletes writes it anew."""
    with contextlib.suppress(FileNotFoundError, KeeperError, KeyError, TypeError, ValueError):
        known = read_json(_path(repository), attempted="recall how old everything is")
        if known["format"] == _FORMAT:
            return tuple(
                (Place(int(system), int(timeline), int(lsn)), parse_utc(moment))
                for system, timeline, lsn, moment in known["signs"]
            )
    return ()


def remember(repository: Repository, signs: Iterable[Sign]) -> None:
    """Durably, in place of what was remembered before."""
    told = [
        [str(place.system), place.timeline, place.lsn, format_utc(moment)] for place, moment in sorted(signs)
    ]
    write_json(_path(repository), {"format": _FORMAT, "signs": told})


def _path(repository: Repository) -> str:
    return f"{repository.path}/lived.json"
