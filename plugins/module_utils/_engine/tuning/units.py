# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Sizes as PostgreSQL writes and reads them, and the steps that keep a value from following every wobble."""

from __future__ import annotations

import re

from ..core.errors import Refused

KB = 1024
MB = 1024 * KB
GB = 1024 * MB
TB = 1024 * GB

_FACTORS = {"B": 1, "kB": KB, "MB": MB, "GB": GB, "TB": TB}
_SIZE = re.compile(r"([-+]?\d+(?:\.\d*)?)\s*(B|kB|MB|GB|TB)?")
_DATA_SIZE = re.compile(r"(\d+(?:\.\d*)?)\s*(B|KB|MB|GB|TB)?", re.IGNORECASE)


def step_down(count: float, unit: int) -> int:
    """The largest of 1, 2, 3 … 8, 10, 12, 14, 16, 20, 24, 28, 32 … times ``unit`` that is not above ``count``.

    Three significant bits: a step is at most a quarter, so that hosts of one kind get one value. Never below
    one ``unit``.
    """
    whole = int(count) // unit
    if whole < 8:
        return max(1, whole) * unit
    shift = whole.bit_length() - 3
    return (whole >> shift << shift) * unit


def size_text(count: int) -> str:
    """Bytes as postgresql.conf writes them, in the largest unit that leaves no remainder: ``1792MB``.

    kB is the smallest that PostgreSQL's settings of this kind take; a broken kB is dropped.
    """
    for unit in ("TB", "GB", "MB"):
        if count >= _FACTORS[unit] and count % _FACTORS[unit] == 0:
            return f"{count // _FACTORS[unit]}{unit}"
    return f"{count // KB}kB"


def parse_size(name: str, text: str, bare: int) -> int:
    """A setting's value in bytes; ``bare`` is what 1 means without a unit. -1 stays -1: "as another setting".

    Raises :class:`Refused` (``setting-malformed``).
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise Refused(
            "setting-malformed",
            attempted=f"use the given value of {name}",
            happened=f"{text!r} is not a size",
            remedy="Write a number and one of B, kB, MB, GB, TB, as in postgresql.conf: 512MB.",
            details={"name": name},
        )
    number = float(match[1])
    return -1 if number < 0 else int(number * (_FACTORS[match[2]] if match[2] else bare))


def parse_count(name: str, text: str) -> int:
    """A setting's value as a whole number. Raises :class:`Refused` (``setting-malformed``)."""
    if not re.fullmatch(r"-?\d+", text.strip()):
        raise Refused(
            "setting-malformed",
            attempted=f"use the given value of {name}",
            happened=f"{text!r} is not a whole number",
            remedy="Write a whole number, as in postgresql.conf: 200.",
            details={"name": name},
        )
    return int(text)


def parse_data_size(text: str) -> int:
    """'200GB', '1.5 TB' or a bare number of bytes. Raises :class:`Refused` (``size-malformed``)."""
    match = _DATA_SIZE.fullmatch(text.strip())
    count = int(float(match[1]) * _FACTORS[_unit(match[2])]) if match else 0
    if count <= 0:
        raise Refused(
            "size-malformed",
            attempted="understand the size of the data",
            happened=f"{text!r} is not a size",
            remedy="Write a number and one of MB, GB, TB: 200GB. Leave it empty when it is not known.",
        )
    return count


def _unit(text: str | None) -> str:
    unit = (text or "B").upper()
    return "kB" if unit == "KB" else unit
