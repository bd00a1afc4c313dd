# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Thresholds in three profiles, each with where it comes from. Published tools disagree by factors of ten to thousands,
so a figure without its source is worth nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

PROFILES = ("default", "strict", "relaxed")
GIVEN = "option thresholds"
_MB, _GB = 1 << 20, 1 << 30
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True)
class Limit:
    """From ``warning`` on it is worth a look, from ``critical`` on it is urgent; None: never. Units are in the name."""

    name: str
    warning: float | None
    critical: float | None
    source: str

    def level(self, value: float | None) -> str | None:
        """``critical``, ``warning`` or None."""
        if value is None:
            return None
        if self.critical is not None and value >= self.critical:
            return "critical"
        return "warning" if self.warning is not None and value >= self.warning else None

    def below(self, value: float | None) -> str | None:
        """The same where less is worse."""
        if value is None:
            return None
        if self.critical is not None and value <= self.critical:
            return "critical"
        return "warning" if self.warning is not None and value <= self.warning else None

    def to_dict(self) -> dict[str, Any]:
        """As in a finding."""
        return {self.name: self.warning, f"critical_{self.name}": self.critical, "source": self.source}


_OURS = "dbkeeper.ops"
#: Name -> source, then (warning, critical) of default, strict and relaxed.
_TABLE: dict[str, tuple[str, tuple[tuple[float | None, float | None], ...]]] = {
    "connections_share": ("pgMonitor", ((0.75, 0.9), (0.6, 0.8), (0.9, 0.97))),
    "idle_in_transaction_seconds": (
        "pgMonitor",
        ((5 * _MINUTE, 15 * _MINUTE), (_MINUTE, 5 * _MINUTE), (30 * _MINUTE, 2 * _HOUR)),
    ),
    "transaction_seconds": (
        f"{_OURS}; relaxed: pgMonitor",
        ((5 * _MINUTE, _HOUR), (_MINUTE, 10 * _MINUTE), (12 * _HOUR, _DAY)),
    ),
    "blocked_seconds": (
        "check_postgres, eased",
        ((_MINUTE, 5 * _MINUTE), (10.0, _MINUTE), (5 * _MINUTE, 30 * _MINUTE)),
    ),
    "lock_table_share": ("postgres_exporter mixin", ((0.2, 0.5), (0.1, 0.3), (0.4, 0.7))),
    "prepared_seconds": (_OURS, ((5 * _MINUTE, _HOUR), (_MINUTE, 10 * _MINUTE), (_HOUR, _DAY))),
    "deadlocks_per_hour": ("awesome-prometheus-alerts", ((1.0, 300.0), (0.01, 60.0), (60.0, 600.0))),
    "rollback_share": ("awesome-prometheus-alerts, eased", ((0.05, 0.2), (0.02, 0.1), (0.2, 0.5))),
    "temp_bytes_per_hour": (_OURS, ((_GB, 10.0 * _GB), (256.0 * _MB, 2.0 * _GB), (10.0 * _GB, 100.0 * _GB))),
    "forced_checkpoint_share": ("postgres_exporter mixin", ((0.3, 0.6), (0.15, 0.4), (0.5, 0.9))),
    "lag_bytes": (
        "pgMonitor, eased",
        ((64.0 * _MB, 1.0 * _GB), (16.0 * _MB, 256.0 * _MB), (1.0 * _GB, 10.0 * _GB)),
    ),
    "lag_seconds": (_OURS, ((10.0, 60.0), (2.0, 10.0), (_HOUR, 6 * _HOUR))),
    "slot_inactive_seconds": (
        _OURS,
        ((10 * _MINUTE, _DAY), (_MINUTE, _HOUR), (6 * _HOUR, 7 * _DAY)),
    ),
    "slot_retained_share": (_OURS, ((0.2, 0.5), (0.1, 0.3), (0.4, 0.8))),
    "slot_retained_bytes": (
        _OURS,
        ((5.0 * _GB, 50.0 * _GB), (1.0 * _GB, 10.0 * _GB), (50.0 * _GB, 500.0 * _GB)),
    ),
    "archive_ready": ("check_postgres, eased", ((10.0, 100.0), (5.0, 20.0), (50.0, 1000.0))),
    "xid_share": ("pgMonitor", ((0.5, 0.75), (0.25, 0.5), (0.7, 0.85))),
    "freeze_share": ("pgMonitor", ((1.25, None), (1.1, 1.5), (1.5, None))),
    "xmin_age": (_OURS, ((50e6, 200e6), (10e6, 50e6), (200e6, 1e9))),
    "dead_share": ("awesome-prometheus-alerts, eased", ((0.2, 0.4), (0.1, 0.2), (0.4, 0.6))),
    "dead_bytes": (_OURS, ((100.0 * _MB, None), (10.0 * _MB, None), (1.0 * _GB, None))),
    "bloat_share": (_OURS, ((0.4, 0.7), (0.3, 0.5), (0.6, 0.8))),
    "bloat_bytes": ("check_postgres", ((1.0 * _GB, None), (128.0 * _MB, None), (10.0 * _GB, None))),
    "sequence_share": ("pgMonitor, PgHero", ((0.7, 0.9), (0.5, 0.75), (0.85, 0.95))),
    "disk_share": ("check_postgres, pgMonitor", ((0.75, 0.9), (0.6, 0.8), (0.85, 0.95))),
    "disk_days": (_OURS, ((14.0, 3.0), (30.0, 7.0), (7.0, 2.0))),
    "certificate_days": (_OURS, ((30.0, 7.0), (60.0, 14.0), (14.0, 3.0))),
}
NAMES = tuple(_TABLE)


class Limits:
    """The thresholds of a profile, with what was given by hand."""

    def __init__(
        self, profile: str = "default", given: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        number = PROFILES.index(profile)
        self.profile = profile
        self._limits = {
            name: Limit(name, *values[number], f"{source} ({profile})")
            for name, (source, values) in _TABLE.items()
        }
        for name, values in (given or {}).items():
            old = self._limits[name]
            self._limits[name] = replace(
                old,
                warning=_number(values.get("warning", old.warning)),
                critical=_number(values.get("critical", old.critical)),
                source=GIVEN,
            )

    def __getitem__(self, name: str) -> Limit:
        return self._limits[name]

    def to_dict(self) -> dict[str, Any]:
        """All of them, for the page."""
        return {
            name: {"warning": one.warning, "critical": one.critical, "source": one.source}
            for name, one in self._limits.items()
        }


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
