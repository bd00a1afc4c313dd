# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Real clients through the pooler: psql and psycopg, both pool modes, wrong passwords, many clients."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.playbook_runs import Run, playbook
from tests.server_hosts import Server, servers, store

each = pytest.mark.parametrize("server", servers(), ids=lambda server: server.name)
CLIENTS = 110


def connect(server: Server, password: str | None = None, **options: Any) -> psycopg.Connection[Any]:
    given = {
        "host": server.address,
        "port": 6432,
        "dbname": "app",
        "user": "web",
        "password": server.password("web") if password is None else password,
        "sslmode": "verify-full",
        "sslrootcert": str(store() / "ca" / "ca.crt"),
        "autocommit": True,
        # 1.18 keeps no prepared statements in transaction pooling.
        "prepare_threshold": None if server.name == "deb12" else 1,
        "connect_timeout": 20,
        **options,
    }
    return psycopg.connect(**given)


def pooled(**variables: Any) -> Run:
    """The part of the playbook site that configures poolers."""
    return playbook("site", "--tags", "pgbouncer", "-e", json.dumps(variables))


@each
def test_through_the_pool_encrypted_on_both_ways(server: Server) -> None:
    with connect(server) as connection:
        for _round in range(8):
            row = connection.execute(
                "SELECT current_user, s.ssl FROM pg_stat_ssl s WHERE pid = pg_backend_pid() AND %s = 1", (1,)
            ).fetchone()
            assert row == ("web", True)


@each
def test_psql_through_the_pool(server: Server, tmp_path: Path) -> None:
    script = f"PGPASSFILE=/root/.pool psql -XAt 'host={server.address} port=6432 user=web dbname=app sslmode=require'"
    # As a file: sudo would write a command line with the password into the journal.
    entry = tmp_path / "pool"
    entry.write_text(f"{server.address}:6432:app:web:{server.password('web')}\n", encoding="utf-8")
    copied = server.host.ansible("copy", f"src={entry} dest=/root/.pool mode=0600", check=False, become=True)
    assert "failed" not in copied, copied
    done = server.host.run(f"{script} -c 'SELECT current_user'")
    assert (done.rc, done.stdout.strip()) == (0, "web"), done.stderr
    server.host.run("rm -f /root/.pool")


@each
def test_wrong_passwords_and_superusers_stay_outside(server: Server) -> None:
    for user, password in (
        ("web", "wrong"),
        ("postgres", "postgres"),
        ("nobody_at_all", "x"),
        ("dbkeeper", ""),
    ):
        with pytest.raises(psycopg.OperationalError):
            connect(server, password, user=user)
    with pytest.raises(psycopg.OperationalError):
        connect(server, sslmode="disable", sslrootcert="")


@each
def test_sessions_are_kept_in_session_mode(server: Server) -> None:
    with connect(server, dbname="app_session") as connection:
        connection.execute("CREATE TEMP TABLE kept (n int)")
        connection.execute("SET application_name = 'session'")
        for number in range(5):
            connection.execute("INSERT INTO kept VALUES (%s)", (number,))
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (5,)


@each
def test_many_clients_share_few_connections(server: Server) -> None:
    """Every client is connected at once; each transaction is its own, and nobody is turned away."""
    barrier = threading.Barrier(CLIENTS)

    def client(number: int) -> int:
        with connect(server) as connection:
            barrier.wait(timeout=120)
            with connection.transaction():
                row = connection.execute("SELECT %s::int, pg_sleep(0.02)", (number,)).fetchone()
            assert row is not None
            return int(row[0])

    server.sql("SELECT pg_stat_reset()", "app")
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = sorted(pool.map(client, range(CLIENTS)))
    assert answers == list(range(CLIENTS))
    backends = int(
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'web' AND datname = 'app'")
    )
    assert 0 < backends <= 20 + 3


def test_pools_that_do_not_fit_are_refused_with_the_sum() -> None:
    before = [server.host.check_output("sha256sum /etc/pgbouncer/pgbouncer.ini") for server in servers()]
    run = pooled(pgbouncer_pool_size=100)
    assert run.status != 0
    for server in servers():
        told = run.out.partition(f"fatal: [{server.name}]")[2]
        assert "max_connections" in told and "100" in told, run.out
    assert [
        server.host.check_output("sha256sum /etc/pgbouncer/pgbouncer.ini") for server in servers()
    ] == before
    for server in servers():
        with connect(server) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_reload_disturbs_nobody() -> None:
    open_ones = [connect(server) for server in servers()]
    pids = [server.host.check_output("systemctl show -p MainPID --value pgbouncer") for server in servers()]
    run = pooled(pgbouncer_settings={"query_wait_timeout": 77})
    assert run.status == 0, run.out
    for connection in open_ones:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        connection.close()
    assert [
        server.host.check_output("systemctl show -p MainPID --value pgbouncer") for server in servers()
    ] == pids
    assert pooled().status == 0
