# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the configured place of a repository means, for those who need to know no more of it."""

from __future__ import annotations

_ELSEWHERE = "ssh://"


def is_elsewhere(place: str) -> bool:
    """Whether a configured place is on another host."""
    return place.startswith(_ELSEWHERE)
