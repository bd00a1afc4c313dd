# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The role's tasks for roles, databases and what is in them, against a real server; and where secrets do not show."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox

GIVEN = "Given-by-vault-31415926"
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Keep what is in the server",
                "ansible.builtin.include_role": {"name": "dbkeeper.ops.postgresql", "tasks_from": "objects"},
            }
        ],
    }
]
WANTED: dict[str, Any] = {
    "postgresql_databases": [{"name": "shop"}, {"name": "plain", "groups": False, "comment": "no groups"}],
    "postgresql_roles": [
        {
            "name": "app",
            "member_of": ["shop_readwrite"],
            "settings": {"statement_timeout": "30s", "jit": False, "geqo_effort": 7},
        },
        {"name": "viewer", "password": GIVEN, "member_of": ["shop_readonly"], "connection_limit": 3},
        {"name": "deploy", "member_of": ["shop_admin"], "createdb": True},
        {"name": "staff", "login": False},
    ],
    "postgresql_extensions": [{"name": "plpgsql", "database": "shop"}],
}


ONLY_INDEXES: dict[str, Any] = {
    "postgresql_databases": [],
    "postgresql_roles": [],
    "postgresql_extensions": [],
}


class Site:
    """A server, and a controller with an inventory and a secret store."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.root = cluster.root / "controller"
        self.root.mkdir(mode=0o755)
        self.store = self.root / "secrets"
        (self.root / "play.json").write_text(json.dumps(PLAY))
        self.seen: set[str] = set()
        (cluster.data_directory / "pg_hba.conf").write_text(
            "local all postgres trust\nlocal all all scram-sha-256\n"
        )
        cluster.set(log_statement="all", log_min_messages="debug1")
        cluster.start()

    def run(self, *options: str, **wanted: Any) -> tuple[int, dict[str, int], str]:
        """Exit status, the counts of the recap, the output. Processes are looked at meanwhile."""
        place = {name: self.cluster.config[name] for name in ("cluster", "version", "data_directory", "port")}
        place |= {
            name: self.cluster.config[name] for name in ("bin_directory", "socket_directory", "superuser")
        }
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            # Whoever runs the tests is the owner already.
            "ansible_become": False,
            "ansible_pkg_mgr": "apt",
            "ansible_facts_are": "not needed",
            "postgresql_cluster": self.cluster.name,
            "postgresql_location": {**place, "service": {"manager": "pg_ctl"}},
            "postgresql_secret_store": str(self.store),
            "__postgresql_owner": getpass.getuser(),
            "__postgresql_host": {"missing": []},
            **{**WANTED, **wanted},
        }
        inventory = self.root / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"db1": host}}}))
        inventory.chmod(0o600)
        argv = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "play.json",
            "-i",
            "hosts.json",
            *options,
        ]
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,))
        watcher.start()
        environment = {**os.environ, "ANSIBLE_HOME": str(self.root / ".ansible"), "ANSIBLE_NOCOLOR": "1"}
        try:
            done = subprocess.run(
                argv, cwd=self.root, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
        finally:
            over.set()
            watcher.join()
        recap = done.stdout.rpartition("PLAY RECAP")[2].split()
        counts = {
            name: int(value) for name, equals, value in (part.partition("=") for part in recap) if equals
        }
        return done.returncode, counts, done.stdout + done.stderr

    def _watch(self, over: threading.Event) -> None:
        """Every command line that can be seen, several times a second."""
        while not over.wait(0.1):
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    with contextlib.suppress(OSError):
                        self.seen.add(Path(f"/proc/{entry}/cmdline").read_text(errors="replace"))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    sandbox = Sandbox()
    yield Site(Cluster(sandbox, "objects", archiving=False))
    sandbox.close()


@pytest.fixture(scope="module")
def first(site: Site) -> str:
    """What the first run said."""
    status, counts, output = site.run("-vvv", "--diff")
    assert status == 0, output
    assert counts["changed"] > 0
    return output


def test_check_mode_before_anything_is_there(site: Site) -> None:
    if site.store.exists():
        pytest.fail("this test must come first")
    status, counts, output = site.run("--check", "--diff")
    assert status == 0, output
    assert counts["changed"] >= 3
    assert not site.store.exists()
    assert site.cluster.value("SELECT count(*) FROM pg_roles WHERE rolname = 'app'") == 0


def test_what_was_asked_for_is_there(site: Site, first: str) -> None:
    rows = site.cluster.sql(
        "SELECT rolname, rolcanlogin, rolcreatedb, rolsuper, rolconnlimit, rolconfig FROM pg_roles"
        " WHERE rolname IN ('app', 'viewer', 'deploy', 'staff') ORDER BY rolname"
    )
    assert rows == [
        ("app", True, False, False, -1, ["statement_timeout=30s", "jit=off", "geqo_effort=7"]),
        ("deploy", True, True, False, -1, None),
        ("staff", False, False, False, -1, None),
        ("viewer", True, False, False, 3, None),
    ]
    owner = site.cluster.value("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'")
    assert owner == "shop_admin"
    members = site.cluster.sql(
        "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members"
        " WHERE member::regrole::text IN ('app', 'viewer', 'deploy') ORDER BY 2"
    )
    assert members == [("shop_readwrite", "app"), ("shop_admin", "deploy"), ("shop_readonly", "viewer")]


def test_passwords_let_in(site: Site, first: str) -> None:
    made = (site.store / "db1/objects/app").read_text().strip()
    for user, password in (("app", made), ("viewer", GIVEN)):
        psycopg.connect(site.cluster.dsn("shop", user), password=password).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(site.cluster.dsn("shop", user), password="wrong")
    assert site.cluster.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'staff'") is None


def test_the_second_run_changes_nothing_and_no_secret_is_shown(site: Site, first: str) -> None:
    # Also with nothing censored as a whole: what is secret is hidden one by one. With nothing to do it looks once.
    status, counts, output = site.run("-vvv", "--diff", postgresql_secure_logging=False)
    assert (status, counts["changed"], counts["ok"]) == (0, 0, 2), output
    assert_no_secret(site, first)
    assert_no_secret(site, output)
    assert any("sleep 0" in line for line in site.seen), "no module was seen at work, so this proves nothing"
    assert_no_secret(site, "\n".join(site.seen))
    log = site.cluster.server_log.read_text(errors="replace")
    assert "ALTER DATABASE" in log, "the server does not log statements, so this proves nothing"
    assert_no_secret(site, log, verifiers=False)
    for path in site.root.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o077:
            assert_no_secret(site, path.read_text(errors="replace"))


# Statement, database that it is said in, and whether its effect is undone. In tests/unit each one is seen alone.
DAMAGE = [
    ("ALTER ROLE app CREATEDB", "postgres", "SELECT NOT rolcreatedb FROM pg_roles WHERE rolname = 'app'"),
    (
        "ALTER ROLE viewer CONNECTION LIMIT 9",
        "postgres",
        "SELECT rolconnlimit = 3 FROM pg_roles WHERE rolname = 'viewer'",
    ),
    (
        "ALTER ROLE app SET jit = on",
        "postgres",
        "SELECT 'jit=off' = ANY (rolconfig) FROM pg_roles WHERE rolname = 'app'",
    ),
    (
        "ALTER ROLE deploy PASSWORD NULL",
        "postgres",
        "SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'deploy'",
    ),
    ("REVOKE shop_admin FROM deploy", "postgres", "SELECT pg_has_role('deploy', 'shop_admin', 'member')"),
    (
        "COMMENT ON DATABASE plain IS 'changed'",
        "postgres",
        "SELECT shobj_description(oid, 'pg_database') = 'no groups' FROM pg_database WHERE datname = 'plain'",
    ),
    (
        "DROP EXTENSION plpgsql",
        "shop",
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'plpgsql')",
    ),
    (
        "REVOKE CONNECT ON DATABASE shop FROM shop_readonly",
        "postgres",
        "SELECT has_database_privilege('shop_readonly', 'shop', 'CONNECT')",
    ),
]


def test_what_somebody_changed_is_seen_and_changed_back(site: Site, first: str) -> None:
    for statement, database, healed in DAMAGE:
        site.cluster.sql(statement, database=database)
        assert site.cluster.value(healed, database=database) is False, statement
    status, counts, output = site.run()
    # Roles, databases, extensions, groups, memberships: a task each.
    assert (status, counts["changed"]) == (0, 5), output
    for statement, database, healed in DAMAGE:
        assert site.cluster.value(healed, database=database) is True, statement


def assert_no_secret(site: Site, text: str, *, verifiers: bool = True) -> None:
    made = [
        path.read_text().strip() for path in site.store.rglob("*") if path.is_file() and path.name[0] != "."
    ]
    assert len(made) >= 3
    for secret in [GIVEN, *made]:
        assert secret not in text
    if verifiers:
        assert "SCRAM-SHA-256$4096" not in text


def test_a_changed_password_is_a_change(site: Site, first: str) -> None:
    roles = [
        {**role, **({"password": "another-27182818"} if role["name"] == "viewer" else {})}
        for role in WANTED["postgresql_roles"]
    ]
    status, counts, output = site.run("--check", postgresql_roles=roles)
    assert (status, counts["changed"]) == (0, 1), output
    psycopg.connect(site.cluster.dsn("shop", "viewer"), password=GIVEN).close()
    status, counts, output = site.run(postgresql_roles=roles)
    assert (status, counts["changed"]) == (0, 1), output
    psycopg.connect(site.cluster.dsn("shop", "viewer"), password="another-27182818").close()
    assert not [text for text in (output, *site.seen) if "another-27182818" in text]


def test_an_index_that_failed_is_built_again(site: Site, first: str) -> None:
    cluster = site.cluster
    cluster.sql("CREATE TABLE orders (id int, customer int)", database="shop")
    cluster.sql("INSERT INTO orders VALUES (1, 1), (1, 2)", database="shop")
    wanted = {
        **ONLY_INDEXES,
        "postgresql_indexes": [
            {"name": "one", "database": "shop", "table": "orders", "columns": ["id"], "unique": True}
        ],
    }
    status, dummy_counts, output = site.run(**wanted)
    assert status != 0
    assert "could not create unique index" in output
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'one'::regclass"
    assert cluster.value(valid, database="shop") is False
    cluster.sql("DELETE FROM orders WHERE customer = 2", database="shop")
    status, counts, output = site.run("--check", **wanted)
    assert (status, counts["changed"]) == (0, 1), output
    status, counts, output = site.run(**wanted)
    assert status == 0, output
    assert cluster.value(valid, database="shop") is True


def test_an_index_that_somebody_builds_is_left_to_them(site: Site, first: str) -> None:
    cluster = site.cluster
    cluster.sql("CREATE TABLE IF NOT EXISTS busy (id int)", database="shop")
    wanted = {
        **ONLY_INDEXES,
        "postgresql_indexes": [{"name": "slow", "database": "shop", "table": "busy", "columns": ["id"]}],
    }
    with cluster.connect("shop") as reader:
        # A build without locks waits for whoever has seen the table before.
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("LOCK TABLE busy IN ROW EXCLUSIVE MODE")
        builder = threading.Thread(
            target=cluster.sql,
            args=("CREATE INDEX CONCURRENTLY slow ON busy (id)",),
            kwargs={"database": "shop"},
        )
        builder.start()
        building = "SELECT count(*) FROM pg_stat_progress_create_index WHERE index_relid <> 0"
        while not cluster.value(building, database="shop"):
            assert builder.is_alive()
        oid = cluster.value("SELECT 'slow'::regclass::oid", database="shop")
        status, counts, output = site.run(**wanted)
        assert (status, counts["changed"]) == (0, 0), output
        reader.execute("ROLLBACK")
    builder.join(timeout=240)
    assert cluster.value("SELECT 'slow'::regclass::oid", database="shop") == oid


def test_what_is_to_go_goes(site: Site, first: str) -> None:
    cluster = site.cluster
    cluster.sql("CREATE TABLE IF NOT EXISTS old (id int)", database="shop")
    cluster.sql("CREATE INDEX IF NOT EXISTS old_id ON old (id)", database="shop")
    gone: dict[str, Any] = {
        "postgresql_databases": [{"name": "plain", "state": "absent"}],
        "postgresql_roles": [{"name": "staff", "state": "absent", "password": GIVEN}],
        "postgresql_extensions": [],
        "postgresql_indexes": [{"name": "old_id", "database": "shop", "state": "absent"}],
    }
    status, counts, output = site.run("--check", **gone)
    assert (status, counts["changed"]) == (0, 3), output
    assert cluster.value("SELECT count(*) FROM pg_database WHERE datname = 'plain'") == 1
    status, counts, output = site.run("-vvv", **gone)
    assert (status, counts["changed"]) == (0, 3), output
    assert GIVEN not in output
    assert cluster.value("SELECT count(*) FROM pg_database WHERE datname = 'plain'") == 0
    assert cluster.value("SELECT count(*) FROM pg_roles WHERE rolname = 'staff'") == 0
    assert cluster.value("SELECT to_regclass('old_id') IS NULL", database="shop") is True
