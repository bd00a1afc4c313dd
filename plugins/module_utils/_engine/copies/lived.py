# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How old things in a copy are, without believing any clock: as in the repository (:mod:`..retention.ages`), from what
sheets tell. Pure.

Signs of life are the ends of backups and the moments at which segments were archived, in the order of WAL; these tell,
too, when a clock was set right. Where an archive was moved and its files have the date of that day, what is older
counts from that day on: it stays for a window longer. What an expiry deletes is remembered on a sheet of its own: by
that a silence is told from a leap of the clock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone

from ..core.clock import format_utc, parse_utc
from ..core.errors import KeeperError
from ..retention.ages import Age, Chronicle, Place, Sign
from .branches import Branches, Held
from .sheets import WHOLE, Sheet

#: The sheet's group and its kind; it names no objects.
LIVED = "lived"


def chronicle(
    backups: Iterable[Held],
    branches: Mapping[str, Branches],
    sheets: Mapping[str, Sheet],
    window_seconds: float,
) -> Chronicle:
    """The life of all that the copy holds. WAL that is on no sheet tells nothing: nobody has noted when it came."""
    signs: list[Sign] = [(place_of(one), one.ended) for one in backups]
    for system, mine in branches.items():
        for one, at in mine.files.items():
            if at > 0:
                signs.append((_end_of(system, mine, *one), datetime.fromtimestamp(at, timezone.utc)))
    return Chronicle(signs, window_seconds, recall(sheets))


def place_of(one: Held) -> Place:
    """Where a backup ended."""
    return Place(int(one.system), one.timeline, one.stop)


def last_places(
    backups: Iterable[Held], branches: Mapping[str, Branches], sheets: Mapping[str, Sheet]
) -> dict[tuple[str, int], Place]:
    """(system, timeline) -> the last sign of life on the timeline itself, also where it is only remembered."""
    places = [place_of(one) for one in backups]
    for system, mine in branches.items():
        places += [_end_of(system, mine, *one) for one, at in mine.files.items() if at > 0]
    places += [place for place, _moment in recall(sheets) if str(place.system) in branches]
    found: dict[tuple[str, int], Place] = {}
    for place in places:
        line = (str(place.system), place.timeline)
        found[line] = max(found.get(line, place), place)
    return found


def unsure(last: Mapping[tuple[str, int], Place], life: Chronicle) -> set[tuple[str, int]]:
    """Timelines whose last segment nobody could date: how long they lived is not known."""
    return {line for line, place in last.items() if not life.knows(place)}


def _end_of(system: str, mine: Branches, timeline: int, number: int) -> Place:
    return Place(int(system), timeline, (number + 1) * mine.segment_bytes - 1)


def present(last: Mapping[tuple[str, int], Place], life: Chronicle) -> set[tuple[str, int]]:
    """The lines that may be alive: of the system that was made last (its identifier begins with the time of initdb) and
    of the one of the latest time, the timeline of the highest number, as promotions count upwards, and the one of the
    latest time, as an undone restore leaves a higher one that does not go on."""
    # What is remembered from before everything that is there has no place in a life any more.
    said = {line: moment for line, place in last.items() if (moment := life.said(place)) is not None}
    if not said:
        return set()
    systems = {max(said, key=lambda line: int(line[0]))[0], max(said, key=lambda line: said[line])[0]}
    found = set()
    for system in systems:
        mine = [line for line in said if line[0] == system]
        found |= {max(mine, key=lambda line: line[1]), max(mine, key=lambda line: said[line])}
    return found


def ages_of(leading: Sequence[Held], life: Chronicle) -> list[Age]:
    """Of backups of one line in the order of their positions: none is younger than one after it."""
    ages: list[Age] = []
    for one in reversed(leading):
        age = life.age(place_of(one))
        ages.append(max(age, ages[-1]) if ages else age)
    return ages[::-1]


def recall(sheets: Mapping[str, Sheet]) -> tuple[Sign, ...]:
    """What was remembered; nothing where that cannot be read: everything is younger then, and more is kept."""
    sheet = sheets.get(LIVED)
    with contextlib.suppress(KeeperError, KeyError, TypeError, ValueError):
        return tuple(
            (Place(int(system), int(timeline), int(lsn)), parse_utc(moment))
            for system, timeline, lsn, moment in (sheet.facts["signs"] if sheet else ())
        )
    return ()


def remembered(signs: Iterable[Sign]) -> Sheet:
    """The sheet that tells the same to the next expiry."""
    told = [
        [str(place.system), place.timeline, place.lsn, format_utc(moment)] for place, moment in sorted(signs)
    ]
    return Sheet(LIVED, LIVED, WHOLE, {"signs": told})
