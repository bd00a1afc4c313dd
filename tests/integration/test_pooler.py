# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Real clients through a real PgBouncer to a real server: who gets in, how, and how many at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from .harness.cluster import Cluster
from .harness.pooler import PASSWORDS, Pooler, a_program_a_day, programs
from .harness.waiting import wait_for

PREPARED_STATEMENTS = (1, 21)


@pytest.fixture(params=programs().values(), ids=programs().keys())
def each(request: pytest.FixtureRequest, make_cluster: Callable[..., Cluster]) -> Pooler:
    """A pooler that is still to be made, before a server that is ready, once for each version found."""
    return Pooler.with_server(make_cluster(archiving=False), request.param)


@pytest.fixture(params=a_program_a_day())
def pooler(request: pytest.FixtureRequest, make_cluster: Callable[..., Cluster]) -> Pooler:
    """The same, of the version whose turn it is."""
    return Pooler.with_server(make_cluster(archiving=False), request.param)


def refused(pooler: Pooler, **options: str) -> str:
    """What a client that must not get in is told."""
    with pytest.raises(psycopg.OperationalError) as caught:
        pooler.connect(**options)
    return str(caught.value)


def test_there_is_a_pooler_to_be_tried() -> None:
    assert programs(), "no PgBouncer: make test-integration installs the package"


def test_the_thinnest_path(each: Pooler) -> None:
    pooler = each
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


def test_who_gets_in(pooler: Pooler) -> None:
    server = pooler.cluster
    server.sql("CREATE ROLE late LOGIN PASSWORD 'sesame' VALID UNTIL '2020-01-01'")
    server.sql("CREATE ROLE root SUPERUSER LOGIN PASSWORD 'sesame'")
    server.sql("CREATE ROLE nearly LOGIN PASSWORD 'sesame' IN ROLE root")
    server.sql("CREATE ROLE reader LOGIN PASSWORD 'sesame' IN ROLE pg_read_server_files")
    server.sql("CREATE ROLE copier LOGIN REPLICATION PASSWORD 'sesame'")
    server.sql("CREATE ROLE idle NOLOGIN PASSWORD 'sesame'")
    with server.connect() as connection:
        connection.execute("SET password_encryption = 'md5'")
        connection.execute("CREATE ROLE old LOGIN PASSWORD 'sesame'")
    pooler.apply()
    for role, password in PASSWORDS.items():
        assert pooler.psql("SELECT current_user", user=role).stdout == f"{role}\n"
        with pooler.connect(user=role) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
        wrong = pooler.psql("SELECT 1", user=role, password=password + "x")
        assert wrong.returncode == 2 and "SASL authentication failed" in wrong.stderr
        assert "SASL authentication failed" in refused(pooler, user=role, password=password + "x")
    for role in (
        "late",
        "root",
        "nearly",
        "reader",
        "copier",
        "idle",
        "old",
        "nobody",
        "pgbouncer",
        "postgres",
    ):
        said = refused(pooler, user=role, password="sesame")
        assert "no such user" in said or "authentication failed" in said, (role, said)
    # The server would let them in, so it is the function that does not.
    assert server.sql("SELECT 1", database="app") == [(1,)]


def test_nobody_gets_in_without_encryption_or_into_the_console(pooler: Pooler) -> None:
    pooler.apply()
    plain = pooler.dsn().replace("verify-full", "disable")
    with pytest.raises(psycopg.OperationalError, match="SSL required"):
        psycopg.connect(plain)
    pid = pooler.pid
    # With a global auth_user, 1.18 ends itself here: everybody's connections with it.
    for database in ("pgbouncer", "postgres", "nowhere"):
        for role in ("alice", "pgbouncer", "nobody"):
            said = refused(pooler, database=database, user=role)
            assert any(words in said for words in ("not allowed", "authentication failed", "no such")), said
    assert pooler.pid == pid


def test_a_verifier_is_enough_where_nothing_is_looked_up(pooler: Pooler) -> None:
    """The very verifier of the server: another one of the same password lets the client in, but not the pooler."""
    server = pooler.cluster
    verifier = {
        role: server.value("SELECT rolpassword FROM pg_authid WHERE rolname = %s", role) for role in PASSWORDS
    }
    databases = [pooler.database("app", server_max_connections=40)]
    pooler.apply(lookup_role="", userlist=verifier, databases=databases)
    assert pooler.psql("SELECT current_user", user="bob").stdout == "bob\n"
    assert "authentication failed" in refused(pooler, user="alice", password="wrong")
    server.sql("ALTER ROLE alice PASSWORD 'opensesame'")
    assert pooler.psql("SELECT 1", user="bob").stdout == "1\n"
    pooler.console("RECONNECT")
    with pytest.raises(psycopg.OperationalError):
        pooler.connect().execute("SELECT 1")
    assert "authentication failed" in server.log()


def test_over_the_server_s_socket(pooler: Pooler) -> None:
    """The lookup role comes as the operating system's user, so neither TLS nor a certificate is needed."""
    host = str(pooler.cluster.socket_directory)
    settings = {name: value for name, value in pooler.settings().items() if not name.startswith("server_")}
    pooler.apply(databases=[pooler.database("app", host=host)], settings=settings)
    with pooler.connect() as connection:
        row = connection.execute("SELECT current_user, inet_client_addr() IS NULL").fetchone()
    assert row == ("alice", True)
    assert pooler.apply()["budgets"][0]["max_connections"] == 40


def test_session_pooling_keeps_a_session(pooler: Pooler) -> None:
    pooler.apply(settings=pooler.settings(pool_mode="session", default_pool_size=2, reserve_pool_size=0))
    with pooler.connect() as first, pooler.connect() as second:
        first.execute("CREATE TEMP TABLE mine (n int)")
        first.execute("SET work_mem = '5MB'")
        first.execute("SELECT pg_advisory_lock(1)")
        assert second.execute("SHOW work_mem").fetchone() != ("5MB",)
        assert second.execute("SELECT pg_try_advisory_lock(1)").fetchone() == (False,)
        assert first.execute("INSERT INTO mine VALUES (1) RETURNING n").fetchone() == (1,)
        assert first.execute("SHOW work_mem").fetchone() == ("5MB",)
    # What one leaves behind, the next does not find.
    with pooler.connect() as first, pooler.connect() as second:
        for connection in (first, second):
            assert connection.execute("SHOW work_mem").fetchone() != ("5MB",)
            assert connection.execute("SELECT to_regclass('pg_temp.mine')").fetchone() == (None,)


def test_transaction_pooling_shares_a_server_connection(pooler: Pooler) -> None:
    pooler.apply(settings=pooler.settings(default_pool_size=1, reserve_pool_size=0))
    with pooler.connect() as first, pooler.connect() as second:
        pids = {connection.execute("SELECT pg_backend_pid()").fetchone() for connection in (first, second)}
        assert len(pids) == 1
        entered = threading.Event()

        def wait() -> None:
            entered.set()
            second.execute("SELECT 1")

        with first.transaction():
            first.execute("CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT 1")
            waiting = threading.Thread(target=wait)
            waiting.start()
            entered.wait()
            wait_for(
                lambda: pooler.console("SHOW POOLS")[0]["cl_waiting"] == "1",
                "the second to wait for the first",
            )
        waiting.join(240)
        assert not waiting.is_alive()


def test_prepared_statements_in_transaction_pooling(each: Pooler) -> None:
    """From 1.21 on they follow the client to every server connection. Before, a driver must not prepare."""
    pooler = each
    pooler.apply(settings=pooler.settings(default_pool_size=4, reserve_pool_size=0))
    version = tuple(map(int, pooler.apply()["version"].split(".")))

    everybody = threading.Barrier(8)

    def work(number: int) -> set[int]:
        threshold = 0 if version >= PREPARED_STATEMENTS else None
        pids = set()
        with pooler.connect(prepare_threshold=threshold) as connection:
            everybody.wait(240)
            for step in range(30):
                row = connection.execute(
                    "SELECT %s::int + %s::int, pg_backend_pid(), pg_sleep(0.002)", (number, step)
                ).fetchone()
                assert row is not None and row[0] == number + step
                pids.add(row[1])
        return pids

    with ThreadPoolExecutor(8) as threads:
        used = list(threads.map(work, range(8)))
    assert len(set().union(*used)) <= 4
    assert any(len(pids) > 1 for pids in used), "every client had one server connection: nothing was tried"
    if version >= PREPARED_STATEMENTS:
        assert pooler.shown("max_prepared_statements") == "200"
        assert "PGBOUNCER_" in pooler.cluster.log()
    else:
        with pooler.connect(prepare_threshold=0) as one, pooler.connect(prepare_threshold=0) as other:
            with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
                for connection in (one, other):
                    connection.execute("SELECT %s::int", (1,))


def test_many_clients_over_twenty_server_connections(pooler: Pooler) -> None:
    pooler.apply(settings=pooler.settings(default_pool_size=20, reserve_pool_size=0, query_wait_timeout=240))
    assert pooler.apply()["budgets"][0]["wanted"] == 21
    clients = 120
    everybody = threading.Barrier(clients + 1)
    most: list[int] = []

    def work(number: int) -> int:
        with pooler.connect(prepare_threshold=None) as connection:
            everybody.wait(240)
            for step in range(10):
                with connection.transaction():
                    row = connection.execute(
                        "SELECT %s::int * %s::int, pg_sleep(0.005)", (number, step)
                    ).fetchone()
                    assert row is not None and row[0] == number * step
            return 10

    def count() -> int:
        return int(
            pooler.cluster.value(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice' AND backend_type = 'client backend'"
            )
        )

    with ThreadPoolExecutor(clients) as threads:
        jobs = [threads.submit(work, number) for number in range(clients)]
        everybody.wait(240)
        while not all(job.done() for job in jobs):
            most.append(count())
        assert sum(job.result() for job in jobs) == clients * 10
    assert max(most) == 20
    assert sum(int(row["total_xact_count"]) for row in pooler.console("SHOW STATS")) >= clients * 10


def test_several_databases_and_servers(pooler: Pooler, make_cluster: Callable[..., Cluster]) -> None:
    other = Pooler.with_server(make_cluster("other", archiving=False), pooler.params["program"])
    # Each server has the CA of its own pooler: trust both, and show the certificate that each of them knows.
    odd = 'o\'dd "name"'
    pooler.cluster.sql(f"CREATE DATABASE {psycopg.sql.Identifier(odd).as_string(None)}")
    (other.cluster.data_directory / "pg_hba.conf").write_text(
        "local all postgres trust\nlocal all all scram-sha-256\n"
    )
    other.cluster.reload()
    verifier = other.cluster.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'")
    pooler.cluster.sql(f"ALTER ROLE alice PASSWORD '{verifier}'")
    databases = [
        pooler.database("app", pool_size=3),
        pooler.database("odd-one", dbname=odd, pool_mode="session"),
        {
            "name": "far",
            "dbname": "app",
            "host": str(other.cluster.socket_directory),
            "port": other.cluster.port,
        }
        | {"server_max_connections": 40},
    ]
    verifiers = {"alice": verifier}
    pooler.apply(databases=databases, lookup_role="", userlist=verifiers)
    for name, server in (("app", pooler.cluster), ("odd-one", pooler.cluster), ("far", other.cluster)):
        with pooler.connect(name) as connection:
            row = connection.execute("SELECT current_database(), current_setting('port')").fetchone()
        assert row == ({"odd-one": odd}.get(name, "app"), str(server.port))
    shown = {row["name"]: row for row in pooler.console("SHOW DATABASES")}
    assert (shown["app"]["pool_size"], shown["app"]["max_connections"]) == ("3", "8")
    assert shown["odd-one"]["pool_mode"] == "session"


def test_a_client_can_cancel_through_the_pool(pooler: Pooler) -> None:
    pooler.apply()
    with pooler.connect() as connection:
        active = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"

        def cancel() -> None:
            wait_for(lambda: pooler.cluster.sql(active), "the statement at work")
            connection.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(600)")
        canceller.join()
