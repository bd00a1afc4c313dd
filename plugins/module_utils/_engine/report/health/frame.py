# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What all checks share: the facts with what was known before, and how a check becomes a finding. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..finding import CRITICAL, HIGH, MEASURED, MEDIUM, Finding, Says, Window
from .limits import Limit, Limits

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What was seen, None for what was not. ``before``: counters of the window's beginning, ``seconds`` its length."""

    system_id: str
    node: str
    in_recovery: bool
    instance: Mapping[str, Any]
    databases: list[Mapping[str, Any]]
    limits: Limits
    block_bytes: int = 8192
    disks: list[Mapping[str, Any]] = field(default_factory=list)
    certificate: Mapping[str, Any] | None = None
    keeper: Mapping[str, Any] | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    window: Window | None = None
    seconds: float | None = None

    def setting(self, name: str) -> str:
        """A setting's text; empty where it is not known."""
        return next(
            (str(row["setting"]) for row in self.instance["settings"] or [] if row["name"] == name), ""
        )

    def number(self, name: str) -> int:
        """A setting as a number, in its own unit; 0 where it is not known."""
        text = self.setting(name)
        return int(text) if text.lstrip("-").isdigit() else 0

    def rows(self, name: str) -> list[Row]:
        """What was asked of the instance, empty where it could not be had."""
        return list(self.instance.get(name) or [])


def tell(
    facts: Facts,
    name: str,
    severity: str,
    thing: Mapping[str, Any],
    value: Mapping[str, Any],
    *,
    limit: Limit | None = None,
    database: str = "",
    says: Mapping[str, Any] | None = None,
    key: str | None = None,
    window: Window | None = None,
    **more: Any,
) -> Finding:
    """A finding. ``thing`` holds names only; what is said has them, the value, and ``says``."""
    return Finding(
        name,
        facts.system_id,
        severity,
        more.pop("grade", MEASURED),
        database,
        thing,
        Says(key or name, {**thing, "database": database, **value, **(says or {})}),
        nodes=(facts.node,),
        window=window,
        value=value,
        threshold=limit.to_dict() if limit else {},
        **more,
    )


def severity_of(level: str, *, urgent: bool = False) -> str:
    """Of a level of a limit; ``urgent`` is for what breaks the server when it goes on."""
    if level == "critical":
        return CRITICAL if urgent else HIGH
    return MEDIUM
