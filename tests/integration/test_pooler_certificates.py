# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The certificate that a pooler shows: renewed by a reload, and told of in time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import timedelta

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import utc_now
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.certificates import judge, look

from .harness.cluster import Cluster
from .harness.pooler import Pooler, a_program_a_day


@pytest.fixture(params=a_program_a_day())
def pooler(request: pytest.FixtureRequest, make_cluster: Callable[..., Cluster]) -> Pooler:
    """A pooler that runs."""
    made = Pooler.with_server(make_cluster(archiving=False), request.param)
    made.apply()
    return made


def test_a_new_certificate_is_a_reload(pooler: Pooler) -> None:
    def serial() -> str:
        argv = ["openssl", "s_client", "-starttls", "postgres", "-connect", f"127.0.0.1:{pooler.port}"]
        said = subprocess.run(argv, input="", capture_output=True, text=True, check=False, timeout=240)
        return said.stdout.partition("-----BEGIN CERTIFICATE")[2].partition("-----END")[0]

    def told(later: timedelta = timedelta(0)) -> tuple[str, str]:
        doors = look(str(pooler.config_file.parent), set())
        assert [door.port for door in doors] == [pooler.port]
        (check,) = judge(doors, utc_now() + later)
        return check["state"], check["text"]

    before, pid = serial(), pooler.pid
    # dbkeeper check is told in time of what clients are shown, which is two days old at most.
    assert told()[0] == "ok" and told()[1].startswith(f"port {pooler.port}: server until ")
    assert told(timedelta(hours=40))[0] == "warning" and told(timedelta(hours=47))[0] == "failed"
    assert "has passed: run the role pgbouncer" in told(timedelta(days=3))[1]
    pooler.certificates.make("server", "server.renewed", days=9)
    # Not the file, but what is shown: the pooler has not read it yet.
    assert "server until " in told()[1] and told(timedelta(days=3))[0] == "failed"
    assert pooler.apply()["plan"] == ["place", "reload"]
    assert serial() not in ("", before) and pooler.pid == pid
    assert "server.renewed until " in told()[1] and told(timedelta(days=3))[0] == "ok"
    assert pooler.apply()["changed"] is False
    pooler.apply(state="stopped")
    assert look(str(pooler.config_file.parent), set()) == []
