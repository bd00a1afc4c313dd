# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the configured place of a repository means, for those who need to know no more of it."""

from __future__ import annotations

_ELSEWHERE = "ssh://"


def is_elsewhere(place: str) -> bool:
    """Whether a configured place is on another host."""
    return place.startswith(_ELSEWHERE)


def host_and_directory(place: str) -> tuple[str, str]:
    """Of a place elsewhere, as a person would type them: the host without user and port, and the directory there."""
    address, _slash, path = place[len(_ELSEWHERE) :].partition("/")
    host = address.rpartition("@")[2]
    return host[: host.index("]") + 1] if host.startswith("[") else host.partition(":")[0], f"/{path}"
