# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Changes of a running pooler: proven, brought into effect by the gentlest way, undone when they fail."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import (
    Failed,
    KeeperError,
    Refused,
)

from .harness.cluster import Cluster
from .harness.keeper import ENGINE_PARENT
from .harness.pooler import PASSWORDS, Pooler, a_program_a_day
from .harness.waiting import wait_for
from .slices import points, sliced


@pytest.fixture(params=a_program_a_day())
def fresh(request: pytest.FixtureRequest, make_cluster: Callable[..., Cluster]) -> Pooler:
    """A pooler that is still to be made."""
    return Pooler.with_server(make_cluster(archiving=False), request.param)


@pytest.fixture
def pooler(fresh: Pooler) -> Pooler:
    """A pooler that runs."""
    fresh.apply()
    return fresh


def unchanged(pooler: Pooler, kind: type[KeeperError], code: str, **params: Any) -> KeeperError:
    """The error of something that must not go through, and must leave everything as it was."""
    before, files, pid, shown = dict(pooler.params), pooler.files(), pooler.pid, pooler.console("SHOW CONFIG")
    with pooler.connect() as connection, pytest.raises(kind) as caught:
        pooler.apply(**params)
    pooler.params = before
    assert caught.value.code == code, caught.value.to_text()
    assert (pooler.files(), pooler.console("SHOW CONFIG")) == (files, shown)
    if kind is Refused:
        assert pooler.pid == pid
    assert connection.closed
    with pooler.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert pooler.apply()["plan"] == []
    return caught.value


def test_a_reload_is_enough_for_most(pooler: Pooler) -> None:
    pid = pooler.pid
    with pooler.connect() as connection:
        databases = [pooler.database("app", pool_size=7), pooler.database("twin", dbname="app", pool_size=5)]
        result = pooler.apply(databases=databases, user_settings={"bob": {"pool_mode": "session"}})
        assert (result["plan"], result["pending_restart"]) == (["place", "reload"], {})
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert pooler.pid == pid
    assert {row["name"]: row["pool_size"] for row in pooler.console("SHOW DATABASES")} == {
        "app": "7",
        "twin": "5",
        "pgbouncer": "2",
    }
    assert pooler.set(query_wait_timeout=42)["plan"] == ["place", "reload"]
    assert (pooler.pid, pooler.shown("query_wait_timeout")) == (pid, "42")
    # What is gone from the file is gone.
    pooler.apply(databases=[pooler.database("app")], user_settings={})
    assert pooler.apply()["changed"] is False
    assert "twin" not in {row["name"] for row in pooler.console("SHOW DATABASES")}


def test_a_restart_only_where_it_is_needed_and_allowed(pooler: Pooler) -> None:
    pid = pooler.pid
    port = pooler.cluster.sandbox.ports.take()
    result = pooler.set(listen_port=port, query_wait_timeout=41)
    assert result["plan"] == ["place", "reload"]
    assert list(result["pending_restart"]) == ["listen_port"]
    assert any("listen_port" in warning for warning in result["warnings"])
    assert (pooler.pid, pooler.shown("query_wait_timeout")) == (pid, "41")
    again = pooler.apply()
    assert (again["changed"], list(again["pending_restart"])) == (False, ["listen_port"])
    with pooler.connect() as connection:
        connection.execute("SELECT 1")
        assert pooler.apply(restart="when_idle")["plan"] == []
    assert pooler.pid == pid
    result = wait_for(lambda: pooler.apply(restart="when_idle"), "the client to be gone")
    while not result["plan"]:
        result = pooler.apply()
    assert (result["plan"], result["pending_restart"]) == (["restart"], {})
    pooler.port = port
    assert pooler.pid not in (pid, None)
    with pooler.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        # Allowed means allowed: also with a client.
        assert pooler.apply(restart="allowed", settings=pooler.settings(listen_backlog=256))["plan"] == [
            "place",
            "restart",
        ]
    assert pooler.shown("listen_backlog") == "256"
    assert pooler.apply()["plan"] == []


def test_a_transaction_may_end_before_a_restart(pooler: Pooler) -> None:
    with pooler.connect() as connection, pooler.cluster.connect("app") as watcher:
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS t (n int)")
        script = "import sys, psycopg; c = psycopg.connect(sys.argv[1]); c.execute('SELECT pg_sleep(1)'); c.commit()"
        client = subprocess.Popen([sys.executable, "-c", script, pooler.dsn()])
        wait_for(
            lambda: watcher.execute(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
            ).fetchone(),
            "the client's transaction",
        )
        assert pooler.apply(state="restarted")["plan"] == ["restart"]
        assert client.wait(240) == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"no_such_setting": "1"}, "unknown parameter: pgbouncer/no_such_setting"),
        ({"pool_mode": "sideways"}, 'invalid value "sideways" for parameter pool_mode'),
        ({"server_tls_protocols": "tlsv9"}, "tlsv9"),
        ({"client_tls_key_file": "/nowhere/key"}, "/nowhere/key"),
        ({"client_tls_sslmode": "verify-full", "client_tls_ca_file": ""}, "TLS setup failed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_pgbouncer_refuses_is_refused_before_anything_changes(
    pooler: Pooler, settings: dict[str, str], words: str
) -> None:
    """A RELOAD of the first of these answers with success."""
    error = unchanged(pooler, Refused, "candidate-refused", settings=pooler.settings(**settings))
    assert words in error.happened or "TLS setup failed" in error.happened, error.happened


def test_pools_that_the_server_cannot_hold(pooler: Pooler) -> None:
    databases = [pooler.database("app", pool_size=15), pooler.database("twin", dbname="app", pool_size=10)]
    error = unchanged(pooler, Refused, "pools-exceed-server", databases=databases)
    # 15 + 5 + 1 and 10 + 5 + 1; the server has 40, 3 of them reserved, and 3 are kept.
    assert "app 21 + twin 16 = 37" in error.happened and "has 34 for them" in error.happened
    assert "max_connections to 43" in error.remedy
    pooler.cluster.set(max_connections="43")
    pooler.cluster.restart()
    assert pooler.apply(databases=databases)["budgets"][0]["wanted"] == 37
    shared = [{**database, "poolers": 2} for database in databases]
    error = unchanged(pooler, Refused, "pools-exceed-server", databases=shared)
    assert "2 x (app 21 + twin 16) = 74" in error.happened


def test_a_lookup_that_the_server_refuses(pooler: Pooler) -> None:
    server = pooler.cluster
    server.sql("REVOKE EXECUTE ON FUNCTION dbkeeper_pooler.lookup FROM pgbouncer", database="app")
    changed = {"settings": pooler.settings(query_wait_timeout=40)}
    with pytest.raises(Refused) as caught:
        pooler.apply()
    assert caught.value.code == "lookup-refused" and "permission denied" in caught.value.happened
    server.sql("GRANT EXECUTE ON FUNCTION dbkeeper_pooler.lookup TO pgbouncer", database="app")
    pooler.certificates.make("stranger", "alice")
    path = pooler.certificates.path
    stranger = {"server_tls_cert_file": path("stranger.crt"), "server_tls_key_file": path("stranger.key")}
    error = unchanged(pooler, Refused, "lookup-refused", settings=pooler.settings(**stranger))
    assert "certificate authentication failed" in error.happened
    without = {"server_tls_cert_file": "", "server_tls_key_file": ""}
    error = unchanged(pooler, Refused, "lookup-refused", settings=pooler.settings(**without))
    assert "certificate" in error.happened
    # A server that is down is no reason to leave the pooler as it is.
    server.stop()
    result = pooler.apply(**changed)
    assert result["plan"] == ["place", "reload"] and "was not asked" in result["warnings"][0]
    server.start()
    pooler.console("RECONNECT")
    with pooler.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_restart_that_fails_is_undone(pooler: Pooler) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = pooler.settings(listen_port=other.getsockname()[1])
        # 1.18 goes on without the address, 1.24 ends itself.
        code = (
            "pooler-did-not-start" if int(pooler.apply()["version"].split(".")[1]) > 18 else "pooler-differs"
        )
        error = unchanged(pooler, Failed, code, settings=settings, restart="allowed")
        assert "ddress already in use" in error.happened, error.happened
        assert "the previous files are back in effect" in error.happened
    settings = pooler.settings(listen_addr="nosuch.invalid")
    error = unchanged(pooler, Failed, "pooler-did-not-start", settings=settings, restart="allowed")
    assert "nosuch.invalid" in error.happened


def test_a_first_start_that_fails_leaves_nothing(fresh: Pooler) -> None:
    with pytest.raises(Failed) as caught:
        fresh.apply(settings=fresh.settings(listen_addr="nosuch.invalid"))
    assert caught.value.code == "pooler-did-not-start" and "nosuch.invalid" in caught.value.happened
    assert (fresh.files(), fresh.pid) == ({}, None)
    assert fresh.apply(settings=fresh.settings())["plan"] == ["place", "start"]


def test_what_somebody_changed_is_put_back(pooler: Pooler) -> None:
    pooler.console("SET query_wait_timeout = 99")
    result = pooler.apply()
    assert (result["plan"], pooler.shown("query_wait_timeout")) == (["reload"], "30")
    text = pooler.config_file.read_text()
    pooler.config_file.write_text(text.replace("pool_size=20", "pool_size=2"))
    pooler.console("RELOAD")
    pooler.config_file.chmod(0o666)
    assert pooler.apply()["plan"] == ["place", "reload"]
    assert (pooler.config_file.read_text(), pooler.config_file.stat().st_mode & 0o777) == (text, 0o640)
    assert pooler.console("SHOW DATABASES")[0]["pool_size"] == "20"
    assert pooler.apply()["changed"] is False


def test_states(pooler: Pooler) -> None:
    pid = pooler.pid
    assert pooler.apply(state="reloaded")["plan"] == ["reload"]
    assert pooler.apply(state="restarted")["plan"] == ["restart"] and pooler.pid not in (pid, None)
    files = pooler.files()
    stopped = pooler.apply(state="stopped")
    assert (stopped["plan"], stopped["running"], pooler.pid, pooler.files()) == (["stop"], False, None, files)
    assert pooler.apply(state="stopped")["changed"] is False
    assert pooler.apply()["plan"] == ["start"]


@pytest.mark.parametrize("whose", ["stranger", "nobody", "nonsense"])
def test_a_pid_file_that_was_left_behind(pooler: Pooler, whose: str) -> None:
    """PgBouncer itself takes a stranger for another instance, and does not start."""
    pid = pooler.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pooler.pid is None, "the end of the pooler")
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        number = {"stranger": str(stranger.pid), "nobody": str(pid), "nonsense": "what"}[whose]
        (pooler.socket_directory / "pgbouncer.pid").write_text(number)
        assert pooler.apply()["plan"] == ["start"]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_check_mode_tells_and_touches_nothing(fresh: Pooler) -> None:
    result = fresh.apply(check=True)
    assert (result["plan"], result["executed"], result["validated"]) == (["place", "start"], False, True)
    assert (fresh.files(), fresh.pid) == ({}, None)
    fresh.apply()
    files = fresh.files()
    changed = fresh.settings(query_wait_timeout=40)
    result = fresh.apply(check=True, settings=changed)
    assert (result["plan"], result["executed"], fresh.files()) == (["place", "reload"], False, files)
    assert "+query_wait_timeout" not in json.dumps(files["pgbouncer.ini"].decode())
    assert "query_wait_timeout = 40" in result["diff"][0]["after"]
    with pytest.raises(Refused):
        fresh.apply(check=True, settings=fresh.settings(nonsense=1))
    absent = fresh.apply(check=True, program="/nowhere/pgbouncer", settings=changed)
    assert (absent["validated"], absent["version"]) == (False, None)


def test_no_secret_is_written_or_told(fresh: Pooler) -> None:
    verifier = fresh.cluster.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'")
    fresh.auth_file.write_text('"alice" "clear as day"\n"bob" "md5abcdef"\n')
    databases = [fresh.database("app", server_max_connections=40)]
    result = fresh.apply(lookup_role="", userlist={"alice": verifier}, databases=databases)
    told = json.dumps(result)
    for secret in (verifier, verifier.split("$")[2], "clear as day", "abcdef", *PASSWORDS.values()):
        assert secret not in told
    assert '\\"alice\\" \\"...\\"' in told
    with fresh.connect() as connection:
        connection.execute("SELECT 1")
    written = [
        path.read_text() for path in fresh.root.rglob("*") if path.is_file() and path.suffix not in (".key",)
    ]
    assert not any(password in text for password in PASSWORDS.values() for text in written)
    assert {path.stat().st_mode & 0o007 for path in fresh.config_file.parent.iterdir()} == {0}
    argv = Path(f"/proc/{fresh.pid}/cmdline").read_text()
    assert argv.split("\0")[1:] == ["-d", str(fresh.config_file), ""]


_KILLED = """
import json, os, signal, sys
sys.path.insert(0, {parent!r})
from _engine.pooling import execute
from _engine.pooling.request import PoolerRequest
wish = json.loads(sys.stdin.read())
inner = getattr(execute, wish["at"])

def outer(*given, **named):
    if wish["after"]:
        inner(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(execute, wish["at"], outer)
execute.converge(PoolerRequest.from_dict(wish["params"]), check=False)
"""


def killed(pooler: Pooler, at: str, *, after: bool, **params: Any) -> None:
    wish = {"at": at, "after": after, "params": pooler.params | params}
    argv = [sys.executable, "-I", "-B", "-c", _KILLED.format(parent=str(ENGINE_PARENT))]
    done = subprocess.run(
        argv, input=json.dumps(wish), text=True, capture_output=True, check=False, timeout=240
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


_DEEDS = ("_keep", "_write", "_bring_into_effect", "_prove", "_forget")
_DANGEROUS = (("_write", "after"), ("_bring_into_effect", "before"))


@pytest.mark.parametrize(("at", "when"), sliced(points(_DEEDS, ("before", "after")), _DANGEROUS, 4))
def test_a_run_that_was_killed_is_finished_by_the_next(pooler: Pooler, at: str, when: str) -> None:
    after = when == "after"
    settings = pooler.settings(query_wait_timeout=40)
    killed(pooler, at, after=after, settings=settings)
    with pooler.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    result = pooler.apply(settings=settings)
    assert result["changed"] or (at, after) == ("_forget", True)
    assert pooler.shown("query_wait_timeout") == "40"
    assert set(pooler.files()) == {"pgbouncer.ini", "userlist.txt"}
    assert pooler.apply()["changed"] is False


def test_a_run_that_was_killed_still_knows_the_way_back(pooler: Pooler) -> None:
    """Files that were placed, but never proven, are not what a later failure goes back to."""
    proven = pooler.files()
    settings = pooler.settings(listen_addr="nosuch.invalid")
    killed(pooler, "_bring_into_effect", after=False, settings=settings, restart="allowed")
    assert pooler.files() != proven
    with pytest.raises(Failed) as caught:
        pooler.apply(settings=settings, restart="allowed")
    assert "the previous files are back in effect" in caught.value.happened
    assert pooler.files() == proven
    with pooler.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_two_at_a_time(pooler: Pooler) -> None:
    import fcntl

    with open(pooler.config_file.parent / ".dbkeeper.lock", "r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(Refused) as caught:
            pooler.apply()
    assert caught.value.code == "busy"


#: Another root, as a container has it, with the same things at the same paths; the user is the same again inside.
_CONTAINER = """
set -e
mount -t tmpfs none "$1"
for entry in /*; do
    if [ -L "$entry" ]; then cp -P "$entry" "$1"; continue; fi
    if [ -d "$entry" ]; then mkdir "$1$entry"; mount --rbind "$entry" "$1$entry"; fi
done
mkdir "$1/.old"
cd "$1"
pivot_root . .old
exec unshare --user --map-user="$2" --map-group="$3" "$4" "$5"
"""


def test_a_pooler_in_a_container_is_left_alone(fresh: Pooler) -> None:
    """Its process is seen, with the same path on its command line, which is another file there."""
    root = fresh.root / "container"
    root.mkdir()
    fresh.apply()
    fresh.apply(state="stopped")
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _CONTAINER, "sh", str(root)]
    argv += [str(os.getuid()), str(os.getgid()), fresh.params["program"], str(fresh.config_file)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
        try:
            # The directory of the socket is the same, so the other one can be asked.
            wait_for(
                lambda: fresh.socket_directory.joinpath(f".s.PGSQL.{fresh.port}").exists(), "the other one"
            )
            command = Path(f"/proc/{other.pid}/cmdline").read_text().split("\0")
            assert command[:2] == [fresh.params["program"], str(fresh.config_file)]
            assert fresh.pid is None
            assert fresh.apply(state="stopped")["plan"] == []
            assert fresh.apply(check=True)["plan"] == ["start"]
            assert other.poll() is None
        finally:
            other.kill()


def test_a_pooler_of_somebody_else_is_taken_over_only_when_idle(fresh: Pooler) -> None:
    fresh.config_file.write_text(
        f"[databases]\napp = host=127.0.0.1 port={fresh.cluster.port} auth_user=pgbouncer\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {fresh.port}\nunix_socket_dir = {fresh.root}\n"
        "auth_type = scram-sha-256\nauth_query = SELECT role_name, verifier FROM dbkeeper_pooler.lookup($1)\n"
        f"server_tls_sslmode = require\nserver_tls_cert_file = {fresh.certificates.path('pooler.crt')}\n"
        f"server_tls_key_file = {fresh.certificates.path('pooler.key')}\n"
        f"pidfile = {fresh.root}/pid\nlogfile = {fresh.log_file}\n"
    )
    subprocess.run([fresh.params["program"], "-d", str(fresh.config_file)], check=True)
    place = fresh.root / f".s.PGSQL.{fresh.port}"
    wait_for(place.exists, "the pooler of somebody else")
    pid = fresh.pid
    with psycopg.connect(fresh.dsn().replace("verify-full", "disable")) as connection:
        result = fresh.apply()
        assert result["plan"] == ["place", "reload"] and "unix_socket_dir" in result["pending_restart"]
        assert fresh.pid == pid and connection.execute("SELECT 1").fetchone() == (1,)
    assert fresh.apply()["plan"] == []
    assert fresh.apply(restart="allowed")["plan"] == ["restart"]
    assert fresh.apply()["plan"] == [] and fresh.pid not in (pid, None)
