# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a client of the door may name: every path of the door is made of texts that passed here, and of nothing else."""

from __future__ import annotations

import re
from typing import Any

from ...core.errors import Refused

#: A segment, a partial one, a backup history file, a timeline's history (PostgreSQL manual, "WAL Internals").
WAL = re.compile(r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history")
SEGMENT = re.compile(r"[0-9A-F]{24}")
LABEL = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,62}")
PART = re.compile(r"(base|[0-9]{1,10})\.tar\.zst|backup_manifest")
IDENTITY = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,127}")
SYSTEM = re.compile(r"[0-9]{1,20}")
DIGEST = re.compile(r"[0-9a-f]{64}")
KIND = re.compile(r"base|leases|evidence")
VERB = re.compile(r"[a-z]{2,16}(-[a-z]{2,16})?")
#: Who a key belongs to, and a cluster.
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,252}")
_SHOWN = 80


def shown(value: Any) -> str:
    """A client's text for a message or a log: one line of printable ASCII, and not long."""
    text = ascii(value if isinstance(value, (str, int, float)) else type(value).__name__)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def refused(happened: str, *, attempted: str = "answer a request at the door") -> Refused:
    """What a well-behaved client never hears (fault E03)."""
    return Refused(
        "door-refused",
        attempted=attempted,
        happened=happened,
        remedy="Nothing was changed. If dbkeeper asked for this, install the same version on both hosts; if it was "
        "not dbkeeper, find out who uses this key: door.log on the repository's host names his address.",
    )


def text(request: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    """A text of the request. Raises :class:`Refused` ``door-refused``."""
    value = request.get(key)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise refused(f"{key} is {shown(value)}, which is not allowed")
    return value


def number(request: dict[str, Any], key: str, most: int) -> int:
    """A whole number from 0 to ``most``. Raises :class:`Refused` ``door-refused``."""
    value = request.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise refused(f"{key} is {shown(value)}, which is not allowed")
    return value


def system(request: dict[str, Any]) -> int:
    """The system identifier. Raises :class:`Refused` ``door-refused``."""
    value = int(text(request, "system_id", SYSTEM))
    if not 0 < value < 1 << 64:
        raise refused(f"system_id is {value}, which is not allowed")
    return value


def mapping(request: dict[str, Any], key: str) -> dict[str, Any]:
    """An object of the request. Raises :class:`Refused` ``door-refused``."""
    value = request.get(key)
    if not isinstance(value, dict):
        raise refused(f"{key} is {shown(value)}, which is not allowed")
    return value
