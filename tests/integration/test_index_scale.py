# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""10,000 tables with 100,000 indexes: what one look costs the server, and that it waits for nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at

from .harness.cluster import Cluster
from .harness.lockwatch import held, watched
from .harness.sandbox import Sandbox
from .harness.template import SUPERUSER
from .harness.waiting import wait_for

TABLES = 10_000
MOST_SERVER_SECONDS, MOST_TEMPORARY_BYTES = 5.0, 64 << 20
_TABLE = """
CREATE TABLE t{n} (id int PRIMARY KEY, a int, b text, c int, d text, e int, f int, g int, h int, i text,
    parent int {fk});
INSERT INTO t{n} (id, a, b) SELECT g, g, g::text FROM generate_series(1, 20) g;
CREATE INDEX t{n}_a ON t{n} (a); CREATE INDEX t{n}_a_again ON t{n} (a); CREATE INDEX t{n}_b ON t{n} (b);
CREATE INDEX t{n}_bc ON t{n} (b, c); CREATE INDEX t{n}_lower ON t{n} (lower(d));
CREATE INDEX t{n}_part ON t{n} (e) WHERE f > 10 AND d = 'x'; CREATE INDEX t{n}_with ON t{n} (g) INCLUDE (h);
CREATE INDEX t{n}_hash ON t{n} USING hash (h); CREATE INDEX t{n}_desc ON t{n} (f DESC NULLS LAST, i);
"""


def server_seconds(cluster: Cluster) -> float:
    """Processor time of all of the server's processes that have ended, of it and of them (proc(5), 16 and 17)."""
    fields = Path(f"/proc/{cluster.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / 100


def sessions(cluster: Cluster) -> int:
    return int(
        cluster.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dbkeeper%%report%%'"
        )
    )


@pytest.mark.matrix
def test_the_cost_of_a_look_at_a_hundred_thousand_indexes(
    sandbox: Sandbox, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(
        sandbox, archiving=False, settings={"max_wal_size": "4GB", "shared_buffers": "256MB"}
    ).start()
    for begin in range(0, TABLES, 100):
        cluster.sql(
            "".join(
                _TABLE.format(n=n, fk=f"REFERENCES t{n - 1} (id)" if n % 2 else "")
                for n in range(begin, begin + 100)
            )
        )
    cluster.sql("VACUUM ANALYZE")
    assert cluster.value("SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                         "WHERE c.relnamespace = 'public'::regnamespace") == 10 * TABLES  # fmt: skip
    request = Request(
        {
            "login_unix_socket": str(cluster.socket_directory),
            "login_port": cluster.port,
            "login_user": SUPERUSER,
            "login_db": "postgres",
        },
        str(cluster.root / "report"),
        ("postgres",),
        budget_seconds=600.0,
    )
    look_at(request)
    before = server_seconds(cluster)
    result = look_at(request)
    wait_for(lambda: sessions(cluster) == 0, "the end of the look's sessions")
    spent = server_seconds(cluster) - before
    assert len([one for one in result["findings"] if one["class"] == "IX02"]) == 500
    assert {
        one["says"]["values"]["detail"] for one in result["not_seen"] if one["says"]["key"] == "bounded"
    } == {
        str(TABLES - 500),
        str(TABLES // 2 - 500),
    }
    assert result["changed"] is False
    assert spent <= MOST_SERVER_SECONDS
    assert result["cost"]["temp_bytes"] <= MOST_TEMPORARY_BYTES
    record_property("cell", {"server_seconds": round(spent, 2), **result["cost"]})
    with capsys.disabled():
        print(f"\n10,000 tables, 100,000 indexes: {spent:.2f} s of the server's processors, {result['cost']}")
    _under_locks(cluster, request)


def _under_locks(cluster: Cluster, request: Request) -> None:
    """One table held, one waited for by somebody: neither is waited for by us, both are named."""
    with held(cluster, table="t1", awaited="t2"), watched(cluster) as seen:
        result = look_at(request)
    assert seen.nothing, seen
    named = {one["what"] for one in result["not_seen"] if one["says"]["key"] == "locked"}
    assert named == {"public.t1 in database postgres", "public.t2 in database postgres"}
