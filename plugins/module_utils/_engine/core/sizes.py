# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Bytes and durations, for people and back."""

from __future__ import annotations

import re

from .errors import Refused

_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def format_bytes(count: float) -> str:
    """1536 -> '1.5 kB': PostgreSQL's units, 1024 to the next."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


def format_duration(seconds: float) -> str:
    """95 -> '1 min 35 s'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def parse_duration(text: str, *, attempted: str) -> int:
    """'15m', '36h', '7d' or a bare number of seconds -> seconds. Raises :class:`Refused` (``duration-malformed``)."""
    match = re.fullmatch(r"\s*(\d+)\s*(s|m|min|h|d|w)?\s*", str(text))
    if not match:
        raise Refused(
            "duration-malformed",
            attempted=attempted,
            happened=f"{text!r} is not a duration",
            remedy="Write a whole number and a unit: 90s, 15m, 36h, 7d or 2w.",
        )
    return int(match[1]) * _UNITS[match[2] or ""]
