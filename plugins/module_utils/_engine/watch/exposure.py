# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The oldest commit that exists on this server only, read from its own pg_wal by its own pg_waldump.

Neither the age of the newest archived commit (an idle night is no loss) nor archive_timeout (a promise, no fact) says
what would be lost now; the first commit in WAL that is not archived does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ..backup.state import ready_segments
from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..core.errors import KeeperError
from ..core.run import run
from .judge import Exposure

_CURRENT = """
SELECT pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_insert_lsn()) END
"""
_COMMIT = re.compile(r"desc: COMMIT(?:_PREPARED)? (?:\d+: )?(\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) UTC")
_SEGMENT = re.compile(r"[0-9A-F]{24}")
#: Files to look into until a commit is found, and records to look at in each: aborts may come first.
_FILES = 8
_RECORDS = 64


def exposure(config: ClusterConfig, known: Mapping[str, Any]) -> Exposure:
    """Ask the server where it is, and its WAL what is in there; ``known`` is :func:`backup.info.information`'s."""
    newest = (known.get("newest_commit") or {}).get("time")
    if not known["server"].get("ready"):
        return Exposure(unknown="no server answers")
    streaming = known.get("streaming") or {}
    if streaming.get("active") and streaming.get("behind_seconds") is not None:
        return Exposure(behind_seconds=float(streaming["behind_seconds"]), newest_archived=newest)
    if known["freshness"]["unarchived_seconds"] is None:
        return Exposure(unknown="pg_wal/archive_status cannot be read")
    try:
        in_recovery, current = query(config, _CURRENT)[0]
        if in_recovery == "t":
            return Exposure(in_recovery=True)
        waiting = [name for name in ready_segments(config.data_directory) if _SEGMENT.fullmatch(name)]
        return Exposure(first_commit=first_commit(config, [*waiting, str(current)]), newest_archived=newest)
    except KeeperError as error:
        return Exposure(unknown=error.happened)


def first_commit(config: ClusterConfig, segments: Sequence[str]) -> datetime | None:
    """The time of the first commit in some finished segments and the current one; None when there is none.

    Only the first files are looked into; where these hold no commit, what follows is younger than they are.
    """
    directory = f"{config.data_directory}/pg_wal"
    for name in dict.fromkeys(segments[:_FILES] if len(segments) > _FILES else segments):
        # It ends with a complaint where WAL ends, and what was there before that is what we ask for.
        done = run(
            [
                config.program("pg_waldump"),
                "--rmgr=Transaction",
                f"--limit={_RECORDS}",
                f"--path={directory}",
                name,
            ],
            attempted="read which commits are not archived yet",
            accept=(0, 1),
        )
        found = _COMMIT.search(done.out)
        if found:
            return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
    return None
