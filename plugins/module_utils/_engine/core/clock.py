# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Time with a zone, always. A time without one is refused: it is nine hours of somebody's data (faults A05, A06)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from .errors import Refused

_FORM = re.compile(
    r"^(?P<date>\d{4}-\d{2}-\d{2})[T ](?P<time>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)"
    r"\s*(?P<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?|[A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+)?$"
)
_EXAMPLES = "'2026-11-21 03:04:05+09:00', '2026-11-20T18:04:05Z' or '2026-11-21 03:04:05 Asia/Tokyo'"


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(timezone.utc)


def format_utc(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and Z, the one form in all JSON."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_utc(text: str) -> datetime:
    """Back from :func:`format_utc`."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


def label_time(moment: datetime) -> str:
    """The form in labels: 20261121T031500Z."""
    return moment.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def parse_moment(text: str, *, attempted: str) -> datetime:
    """A moment that a person wrote, with an offset or a zone's name, as UTC.

    Raises :class:`Refused`: ``time-malformed`` (A07), ``time-without-zone`` (A05), ``zone-unknown``,
    ``time-ambiguous`` and ``time-nonexistent`` (A06, with both candidates in UTC). Abbreviations such as
    CET or JST are refused too: they mean different things in different places.
    """
    match = _FORM.match(text.strip())
    if not match:
        raise Refused(
            "time-malformed",
            attempted=attempted,
            happened=f"{text!r} is not a time this tool takes",
            remedy=f"Write date, time and zone: {_EXAMPLES}.",
        )
    clock = match["time"] if match["time"].count(":") == 2 else match["time"] + ":00"
    head, _dummy, fraction = clock.partition(".")
    try:
        local = datetime.strptime(f"{match['date']} {head}", "%Y-%m-%d %H:%M:%S")
    except ValueError as error:
        raise Refused(
            "time-malformed",
            attempted=attempted,
            happened=f"{text!r} is no date on the calendar: {error}",
            remedy=f"Write date, time and zone: {_EXAMPLES}.",
        ) from error
    local = local.replace(microsecond=int(fraction.ljust(6, "0")) if fraction else 0)
    zone = match["zone"]
    if zone is None:
        raise Refused(
            "time-without-zone",
            attempted=attempted,
            happened=f"{text!r} has no zone; servers and people would read it differently",
            remedy=f"Add an offset or a zone's name: {_EXAMPLES}.",
        )
    if zone in ("Z", "UTC"):
        return local.replace(tzinfo=timezone.utc)
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
        if offset >= timedelta(hours=24):
            raise Refused(
                "zone-unknown",
                attempted=attempted,
                happened=f"{zone} is no offset",
                remedy=f"Use an offset below 24 hours: {_EXAMPLES}.",
            )
        return local.replace(tzinfo=timezone(offset if zone[0] == "+" else -offset)).astimezone(timezone.utc)
    return _in_named_zone(local, zone, text, attempted)


def _in_named_zone(local: datetime, name: str, text: str, attempted: str) -> datetime:
    zone = _zone(name, attempted)
    early = local.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
    late = local.replace(tzinfo=zone, fold=1).astimezone(timezone.utc)
    if early == late:
        return early
    first, second = sorted((early, late))
    exists = early.astimezone(zone).replace(tzinfo=None) == local
    raise Refused(
        "time-ambiguous" if exists else "time-nonexistent",
        attempted=attempted,
        happened=(
            f"{text!r} happens twice in {name} (the clock goes back)"
            if exists
            else f"{text!r} does not happen in {name} (the clock goes forward)"
        ),
        remedy=f"Say which you mean in UTC: '{format_utc(first)}' or '{format_utc(second)}'.",
        details={"candidates": [format_utc(first), format_utc(second)]},
    )


def _zone(name: str, attempted: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Refused(
            "zone-unknown",
            attempted=attempted,
            happened=f"no time zone called {name!r} on this host",
            remedy=f"Use an offset, or a name from the tz database: {_EXAMPLES}.",
        ) from error
