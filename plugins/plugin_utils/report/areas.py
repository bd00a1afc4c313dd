# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The columns of the heat table: what a finding is about, as a person who is on duty would sort it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: In the order of the page.
AREAS = (
    "indexes",
    "queries",
    "connections",
    "replication",
    "vacuum",
    "storage",
    "backup",
    "settings",
    "health",
)
_BY_PREFIX = {"IX": "indexes", "QY": "queries"}
#: Health checks by the area that their class belongs to; one that is not listed is about health in general.
HEALTH: dict[str, str] = {}


def area_of(finding: Mapping[str, Any]) -> str:
    """The area of a finding, by its class."""
    name = str(finding["class"])
    return _BY_PREFIX.get(name[:2]) or HEALTH.get(name, "health")
