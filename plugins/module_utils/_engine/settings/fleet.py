# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Five settings of which a standby must not have less than its primary (manual, 26.4.1). Pure.

To raise one, standbys come first; to lower one, the primary does. A standby knows what its primary has from
what it has replayed (its control file): until the primary has less, it keeps as much itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .text import parse, quote

#: With the values that a server has when no file says anything (guc_tables.c).
AT_LEAST = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}


def held_up(text: str, floor: Mapping[str, int]) -> tuple[str, dict[str, int]]:
    """A settings file with every one of the five at least as high as the primary has it, and which were raised."""
    lines = text.split("\n")
    raised: dict[str, int] = {}
    for line in parse(text)[0]:
        least = floor.get(line.name, 0)
        if line.name in AT_LEAST and line.value.isdigit() and int(line.value) < least:
            lines[line.number - 1] = _line(line.name, least)
            raised[line.name] = least
    return "\n".join(lines), raised


def missing(named: Iterable[str], floor: Mapping[str, int]) -> dict[str, int]:
    """Settings that no file names, and whose default is less than the primary has."""
    known = set(named)
    return {
        name: floor[name]
        for name, default in AT_LEAST.items()
        if name not in known and floor.get(name, 0) > default
    }


def with_lines(text: str, values: Mapping[str, int]) -> str:
    """The file with more lines at its end."""
    return text + "".join(f"{_line(name, least)}\n" for name, least in sorted(values.items()))


def _line(name: str, least: int) -> str:
    return f"{name} = {quote(str(least))}  # as much as the primary has, until that has less"
