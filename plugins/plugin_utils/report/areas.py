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
    "objects",
    "health",
)
_BY_PREFIX = {"IX": "indexes", "QY": "queries"}
#: Health checks by the area that their class belongs to; one that is not listed is about health in general.
HEALTH: dict[str, str] = {
    f"HC{number:02}": area
    for area, numbers in {
        "connections": (1, 2, 3, 4, 5, 6, 7, 8),
        "replication": (12, 13, 14, 15, 32, 33, 34, 37),
        "vacuum": (17, 18, 19, 20, 21),
        "storage": (9, 10, 11, 25, 26, 29),
        "backup": (16, 35, 36),
        "settings": (27, 28, 30, 31),
        "objects": (22, 23, 24, 38),
    }.items()
    for number in numbers
}


def area_of(finding: Mapping[str, Any]) -> str:
    """The area of a finding, by its class."""
    name = str(finding["class"])
    return _BY_PREFIX.get(name[:2]) or HEALTH.get(name, "health")
