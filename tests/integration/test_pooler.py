# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Real clients through a real PgBouncer to a real server: who gets in, how, and how many at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .harness.cluster import Cluster
from .harness.pooler import Pooler, programs


@pytest.fixture(params=programs().values(), ids=programs().keys())
def pooler(request: pytest.FixtureRequest, make_cluster: Callable[..., Cluster]) -> Pooler:
    """A pooler that is still to be made, before a server that is ready, once for each version found."""
    return Pooler.with_server(make_cluster(archiving=False), request.param)


def test_there_is_a_pooler_to_be_tried() -> None:
    assert programs(), "no PgBouncer: make test-integration installs the package"


def test_the_thinnest_path(pooler: Pooler) -> None:
    result = pooler.apply()
    assert (result["changed"], result["plan"], result["running"]) == (True, ["place", "start"], True)
    with pooler.connect() as connection:
        row = connection.execute("SELECT current_user, current_database()").fetchone()
        # Between pooler and server as well.
        tls = connection.execute(
            "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).fetchone()
    assert row == ("alice", "app") and tls is not None and tls[0] is True and tls[1] in ("TLSv1.2", "TLSv1.3")
    again = pooler.apply()
    assert (again["changed"], again["plan"]) == (False, [])
