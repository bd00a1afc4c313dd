# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is asked of the report on statements, and from when on something is worth a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .regress import Gate
from .text import NORMALISED


@dataclass(frozen=True)
class Limits:
    """From when on a statement is worth a finding. Sources: research of published tools, and our own choice."""

    #: What took less time in the window is worth nobody's time.
    least_ms: float = 1000.0
    dominant_share: float = 0.25
    new_share: float = 0.05
    relevant_share: float = 0.01
    temp_bytes_per_hour: float = 1 << 30
    variation: float = 3.0
    planning_share: float = 0.5
    jit_share: float = 0.1
    workers_share: float = 0.8
    io_share: float = 0.5
    coverage_share: float = 0.8
    #: Coverage of a shorter or quieter window tells nothing.
    coverage_seconds: float = 600.0


@dataclass(frozen=True)
class QueryRequest:
    """``text`` is a level of :mod:`.text`; ``min_window_seconds``: a shorter window is not taken as the next one's
    beginning; ``plans``: of how many of the worst statements the generic plan is asked for (0: of none)."""

    state_directory: str
    text: str = NORMALISED
    text_length: int = 2000
    top: int = 20
    plans: int = 0
    min_window_seconds: float = 600.0
    budget_seconds: float = 60.0
    accepted: Sequence[Mapping[str, Any]] = ()
    check: bool = False
    gate: Gate = field(default_factory=Gate)
    limits: Limits = field(default_factory=Limits)
