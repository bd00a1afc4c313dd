# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What follows from objectives: how often WAL must leave the host, and how often base backups are taken.

Controller only. A value given by hand always wins and is told as pinned.
"""

from __future__ import annotations

from typing import Any

from ..module_utils._engine.core.sizes import parse_duration

# One archive_timeout passes, then the segment has to travel, then it may have to travel again.
_SHARE_OF_RPO = 3
_LONGEST_ARCHIVE_TIMEOUT = 3600
# An assumption, replaced by measurement in drills: replay is at least this many times as fast as the server
# wrote the WAL in its usual mix of busy and idle hours, and may fill half of the objective.
_REPLAY_SPEED = 96
_INTERVALS_HOURS = (24, 12, 8, 6, 4, 3, 2, 1)
_FIRST_HOUR = 2


def backup_objectives(rpo: str, rto: str, archive_timeout: str = "", interval: str = "") -> dict[str, Any]:
    """Objectives and pinned values (durations such as ``15m``) as settings.

    ``hours`` are the hours of the day at which a base backup starts. An interval pinned to something that
    does
    not divide a day is rounded down to one that does, at least an hour. Raises Refused
    ``duration-malformed``.
    """
    rpo_seconds = parse_duration(rpo, attempted="read the objective backup_rpo")
    rto_seconds = parse_duration(rto, attempted="read the objective backup_rto")
    pinned = []
    if archive_timeout:
        archive_seconds = parse_duration(archive_timeout, attempted="read backup_archive_timeout")
        pinned.append("archive_timeout")
    else:
        archive_seconds = min(max(rpo_seconds // _SHARE_OF_RPO, 1), _LONGEST_ARCHIVE_TIMEOUT)
    if interval:
        longest_seconds = parse_duration(interval, attempted="read backup_interval")
        pinned.append("interval")
    else:
        longest_seconds = rto_seconds // 2 * _REPLAY_SPEED
    hours = next((step for step in _INTERVALS_HOURS if step * 3600 <= longest_seconds), _INTERVALS_HOURS[-1])
    return {
        "rpo_seconds": rpo_seconds,
        "rto_seconds": rto_seconds,
        "archive_timeout_seconds": archive_seconds,
        "interval_seconds": hours * 3600,
        "hours": sorted((_FIRST_HOUR + start) % 24 for start in range(0, 24, hours)),
        "pinned": pinned,
    }
