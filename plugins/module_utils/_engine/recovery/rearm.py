# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""After the swap: a restored cluster that is not archived and not backed up is the next disaster.

So the restore ends only when one segment of the new timeline has been seen in the repository, and a base
backup of the new timeline has been taken.
"""

from __future__ import annotations

import time

from ..backup.base import take_backup
from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..core.errors import Failed
from ..core.progress import Progress
from ..repository.layout import Repository
from .plan import RestorePlan

_PATIENCE_SECONDS = 120.0


def prove_archiving(plan: RestorePlan, config: ClusterConfig, repository: Repository) -> str:
    """Finish a segment on the new timeline and see it arrive; its name.

    Raises :class:`Failed` (``archiving-not-proven``).
    """
    rows = query(config, "SELECT current_setting('archive_mode'), pg_is_in_recovery()")
    if rows[0][0] not in ("on", "always") or rows[0][1] != "f":
        raise _not_proven(f"archive_mode is {rows[0][0]}", config)
    # An empty segment is not switched: write a record that means nothing first.
    query(config, "SELECT pg_logical_emit_message(false, 'dbkeeper', 'archiving is proven by this segment')")
    name = str(query(config, "SELECT pg_walfile_name(pg_switch_wal())")[0][0])
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not repository.has_wal(plan.system_id, [name]):
        if time.monotonic() > deadline:
            rows = query(
                config, "SELECT last_failed_wal, last_failed_time, failed_count FROM pg_stat_archiver"
            )
            raise _not_proven(
                f"{name} did not arrive within {_PATIENCE_SECONDS:.0f} s (archiver: {rows[0]})", config
            )
        time.sleep(0.5 if repository.elsewhere else 0.05)
    return name


def new_backup(config: ClusterConfig, repository: Repository, progress: Progress) -> str:
    """A base backup of the restored cluster; its label."""
    result = take_backup(config, repository, progress=progress)
    return str(result["backup"]["label"])


def _not_proven(why: str, config: ClusterConfig) -> Failed:
    return Failed(
        "archiving-not-proven",
        attempted="see one segment of the new timeline arrive in the repository",
        happened=f"{why}; the restored cluster is running, but it is NOT protected",
        remedy=(
            f"Read the server's log for the words of archive_command, mend it, and run the same restore command "
            f"again: it only finishes what is left (dbkeeper check --cluster {config.cluster} shows the archiver)."
        ),
    )
