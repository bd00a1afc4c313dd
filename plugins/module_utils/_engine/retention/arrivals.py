# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What came through a door is not older than since it came, whatever it and those after it say of their times. Pure.

Ages are told by what a cluster says of its own life (:mod:`.ages`). A host with a stolen key can say that weeks have
passed since the last good backup, and every expiry would believe it: the promise of the window would be kept for his
backups, and not for those that were there before. The door notes with its own clock when it took a backup in, and no
client can change that. This keeps more, never less; a clock that is behind keeps more, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..core.clock import parse_utc
from ..repository.catalog import Backup

WINDOW = "window"
ANCHOR = "anchor"


def arrived_at(backup: Backup, now: datetime) -> datetime | None:
    """When the door began to take it in; None for what came by no door, and for a clock that was ahead then."""
    if not backup.owner.get("door"):
        return None
    try:
        moment = parse_utc(str(backup.owner.get("since")))
    except ValueError:
        return None
    return moment if moment <= now else None


def arrivals(backups: Iterable[Backup], now: datetime, seconds: float) -> dict[str, str]:
    """Label -> why it stays: of each system what came within so many seconds, and the last that came before these."""
    systems: dict[int, list[tuple[datetime, str]]] = {}
    for backup in backups:
        moment = arrived_at(backup, now)
        if moment is not None:
            systems.setdefault(backup.system_id, []).append((moment, backup.label))
    found: dict[str, str] = {}
    for came in systems.values():
        young = [label for moment, label in came if (now - moment).total_seconds() <= seconds]
        older = [one for one in came if (now - one[0]).total_seconds() > seconds]
        found.update(dict.fromkeys(young, WINDOW))
        if young and older:
            found[max(older)[1]] = ANCHOR
    return found
