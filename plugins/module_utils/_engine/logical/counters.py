# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The server's own counters of rows: since when they are to be relied on, and when they are complete.

Up to version 14 they travelled in messages that could get lost. Since then a session's counters are complete when it
has ended, and pg_dump and pg_restore do not wait for theirs (the manual, "The Cumulative Statistics System").
"""

from __future__ import annotations

import time

from ..cluster.config import ClusterConfig
from ..cluster.psql import query

COUNTERS_SINCE = 15
_LEAVE_SECONDS, _POLL_SECONDS = 10.0, 0.05


def have_left(config: ClusterConfig, sessions: str, name: str) -> bool:
    """Whether they have all ended, waited for; ``sessions`` counts those that are left, by ``:'name'``.

    Raises what :func:`~..cluster.psql.query` raises.
    """
    deadline = time.monotonic() + _LEAVE_SECONDS
    while query(config, sessions, values={"name": name}) != [["0"]]:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
