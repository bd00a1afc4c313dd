# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is asked of the report on health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import Refused
from .limits import NAMES


@dataclass(frozen=True)
class HealthRequest:
    """``thresholds``: by name ``warning`` and ``critical``, instead of the profile's. Raises :class:`Refused`
    ``request-contradictory`` for a name that is none."""

    state_directory: str
    profile: str = "default"
    thresholds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    databases: Sequence[str] = ()
    exact_bloat: bool = False
    min_window_seconds: float = 600.0
    budget_seconds: float = 60.0
    accepted: Sequence[Mapping[str, Any]] = ()
    check: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.thresholds) - set(NAMES))
        if unknown:
            raise Refused(
                "request-contradictory",
                attempted="report on health",
                happened=f"there is no threshold {', '.join(unknown)}",
                remedy=f"Take some of {', '.join(NAMES)}.",
            )
