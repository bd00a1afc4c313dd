# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The archiver goes on whatever a test does: before "nothing changed" is shown, it must have come to rest."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from .cluster import Cluster


def at_rest(cluster: Cluster, patience: float = 10.0) -> None:
    """Until nothing waits to be archived, or what waits does not get away (for so many seconds)."""
    seen, since = None, time.monotonic()
    while left := sorted(path.name for path in cluster.archive_status.glob("*.ready")):
        if left != seen:
            seen, since = left, time.monotonic()
        elif time.monotonic() - since > patience or not _works(cluster):
            return
        time.sleep(0.02)


def _works(cluster: Cluster) -> bool:
    """Whether there is an archiver whose last try did not fail."""
    settings = cluster.settings
    if settings.get("archive_mode") not in ("on", "always") or not settings.get("archive_command"):
        return False
    failing = "SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)"
    with contextlib.suppress(psycopg.Error):
        return not cluster.value(f"{failing} OR pg_is_in_recovery() FROM pg_stat_archiver")
    return False
