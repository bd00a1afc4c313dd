# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the owner of the data wants kept: so many full backups, so long a window, WAL for so long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.errors import Refused


@dataclass(frozen=True)
class Policy:
    """Whatever one of the rules keeps is kept.

    ``full_count`` newest full backups and everything after the oldest of them; every moment of the last
    ``window_seconds`` (None: no such promise). ``wal_seconds`` shortens the WAL: moments older than that can
    be restored only as the backups ended (None: WAL for as long as backups). Durations in seconds.
    Raises :class:`Refused` ``retention-invalid``.
    """

    full_count: int = 2
    window_seconds: int | None = None
    wal_seconds: int | None = None

    def __post_init__(self) -> None:
        if self.full_count < 1:
            raise _invalid(f"full_count is {self.full_count}: the last backup is never deleted")
        for name, value in (("window_seconds", self.window_seconds), ("wal_seconds", self.wal_seconds)):
            if value is not None and value < 0:
                raise _invalid(f"{name} is {value}")

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "full_count": self.full_count,
            "window_seconds": self.window_seconds,
            "wal_seconds": self.wal_seconds,
        }


def _invalid(happened: str) -> Refused:
    return Refused(
        "retention-invalid",
        attempted="understand what is to be kept",
        happened=happened,
        remedy="Keep at least one full backup (full_count 1 or more); give durations in seconds, or none.",
    )
