# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the owner of the data wants kept: so many full backups, so long a window, WAL for so long."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
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


@dataclass(frozen=True)
class Generations:
    """How many of each; whatever one rule keeps is kept.

    ``daily`` and so on: the newest of so many days that have one. ``count``: so many of the newest.
    ``age_seconds``: all that ended so long or less before the newest did (None: no such rule). ``minimum``: so many of
    the newest stay in any case; at least one. Raises :class:`Refused` ``retention-invalid``.
    """

    daily: int = 7
    weekly: int = 4
    monthly: int = 3
    yearly: int = 0
    count: int = 0
    age_seconds: int | None = None
    minimum: int = 1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise _dumps_invalid(f"{name} is {value!r}")
        if self.minimum < 1:
            raise _dumps_invalid(f"minimum is {self.minimum}: the last dump is never deleted")

    @classmethod
    def names(cls) -> frozenset[str]:
        """The rules by name."""
        return frozenset(cls.__dataclass_fields__)


@dataclass(frozen=True)
class DumpPolicy:
    """Generations of dumps, and of those without rows (None: the same)."""

    dumps: Generations = field(default_factory=Generations)
    schemas: Generations | None = None

    def of(self, kind: str) -> Generations:
        """For ``dump`` or ``schema``."""
        return self.schemas if kind == "schema" and self.schemas is not None else self.dumps

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as the cluster's description has them."""
        schemas = {"schema": asdict(self.schemas)} if self.schemas is not None else {}
        return {**asdict(self.dumps), **schemas}


def _invalid(happened: str) -> Refused:
    return Refused(
        "retention-invalid",
        attempted="understand what is to be kept",
        happened=happened,
        remedy="Keep at least one full backup (full_count 1 or more); give durations in seconds, or none.",
    )


def _dumps_invalid(happened: str) -> Refused:
    return Refused(
        "retention-invalid",
        attempted="understand which dumps are to be kept",
        happened=happened,
        remedy="Give whole numbers from 0 on, minimum from 1 on, age in seconds or none.",
    )
