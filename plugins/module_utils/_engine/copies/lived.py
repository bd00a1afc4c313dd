# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How old things in a copy are, without believing any clock: as in the repository (:mod:`..retention.ages`), from what
sheets tell. Pure.

Signs of life are the ends of backups and the moments at which segments were archived, in the order of WAL; these tell,
too, when a clock was set right. Where an archive was moved and its files have the date of that day, what is older
counts from that day on: it stays for a window longer. What an expiry deletes is remembered on a sheet of its own: by
that a silence is told from a leap of the clock, and what was deleted and comes again with another date is no younger.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone

from ..core.clock import format_utc, parse_utc
from ..core.errors import KeeperError
from ..retention.ages import Age, Chronicle, Place, Sign
from .branches import Branches, Held
from .sheets import WHOLE, Sheet

#: The sheet's group and its kind; it names no objects.
LIVED = "lived"
#: So many signs are remembered that no age comes of any more.
_BYGONE = 1000


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
    known = recall(sheets)
    return Chronicle(_as_remembered(signs, [*known, *bygone(sheets)]), window_seconds, known)


def _as_remembered(signs: Iterable[Sign], known: Iterable[Sign]) -> list[Sign]:
    """Signs from places whose life is remembered, at moments that fit into it: between two signs that are remembered
    life went on evenly (:meth:`Chronicle.memory`), so that nothing there came later than what was written after it, and
    nothing from before the first one of a timeline came later than that one."""
    order = sorted(known)
    places = [place for place, _moment in order]

    def moment_at(number: int, place: Place) -> datetime | None:
        of_line = 0 <= number < len(places) and places[number][:2] == place[:2]
        return order[number][1] if of_line else None

    found: list[Sign] = []
    stretch: tuple[int, int] | None = None
    for place, moment in sorted(signs, reverse=True):
        # Of a place that is remembered itself both are that place's.
        around = bisect_left(places, place), bisect_right(places, place) - 1
        before, after = moment_at(min(around), place), moment_at(max(around), place)
        if after is not None:
            low, high = (moment, after) if before is None else (min(before, after), max(before, after))
            if around == stretch and (before is None or before <= after):
                high = min(high, found[-1][1])
            moment = min(max(moment, low), high)
            stretch = around
        found.append((place, moment))
    return found


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
    return _signs(sheets, "signs")


def _signs(sheets: Mapping[str, Sheet], name: str) -> tuple[Sign, ...]:
    sheet = sheets.get(LIVED)
    with contextlib.suppress(KeeperError, KeyError, TypeError, ValueError):
        return tuple(
            (Place(int(system), int(timeline), int(lsn)), parse_utc(moment))
            for system, timeline, lsn, moment in (sheet.facts[name] if sheet else ())
        )
    return ()


def bygone(sheets: Mapping[str, Sheet]) -> tuple[Sign, ...]:
    """Signs from before all that was there at the last expiry, if they can be read: no age comes of them, but what was
    deleted and comes again is known by them."""
    return _signs(sheets, "before")


def forgotten(life: Chronicle, sheets: Mapping[str, Sheet]) -> list[Sign]:
    """What :func:`bygone` tells after the next expiry: the newest ones, some years of an even life."""
    signs = sorted({*bygone(sheets), *recall(sheets)})
    return [sign for sign in signs if life.said(sign[0]) is None][-_BYGONE:]


def remembered(signs: Iterable[Sign], before: Iterable[Sign] = ()) -> Sheet:
    """The sheet that tells the same to the next expiry."""
    return Sheet(LIVED, LIVED, WHOLE, {"signs": _told(signs), "before": _told(before)})


def _told(signs: Iterable[Sign]) -> list[list[object]]:
    return [
        [str(place.system), place.timeline, place.lsn, format_utc(moment)] for place, moment in sorted(signs)
    ]
