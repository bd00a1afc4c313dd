# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The playbook report against real servers: it changes nothing in them, survives what is down, fails by its gate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema

from .harness.cluster import SUPERUSER, Cluster
from .report_help import standby_of

CHECKOUT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((CHECKOUT / "docs" / "report.schema.json").read_text(encoding="utf-8"))


def report(folder: Path, hosts: dict[str, Any], *options: str, **variables: Any) -> tuple[int, str]:
    """Run it without becoming anybody; its status and what it said."""
    inventory = folder / "hosts.yml"
    common = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_remote_tmp": str(folder / "tmp"),
        # The distribution's, with the distribution's psycopg, as on a managed host.
        "ansible_python_interpreter": "/usr/bin/python3",
        "report_state_directory": str(folder / "state"),
        "report_directory": str(folder / "report"),
        **variables,
    }
    inventory.write_text(
        json.dumps({"postgresql": {"hosts": {name: {**common, **of} for name, of in hosts.items()}}}),
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "dbkeeper.ops.report", "-i", str(inventory), *options],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PG"))},
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build"),
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(folder),
        },
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_primary_its_standby_and_what_is_down_are_one_page(make_cluster: Any, tmp_path: Path) -> None:
    primary: Cluster = make_cluster(
        archiving=False, settings={"shared_preload_libraries": "pg_stat_statements"}
    )
    primary.sql("CREATE EXTENSION pg_stat_statements")
    primary.sql("CREATE TABLE orders (id int PRIMARY KEY, customer int, state text)")
    primary.sql("CREATE INDEX one ON orders (state)")
    primary.sql("CREATE INDEX two ON orders (state)")
    primary.sql("INSERT INTO orders SELECT g, g % 7, 'done' FROM generate_series(1, 5000) g")
    primary.sql("ANALYZE orders")
    standby = standby_of(primary, "db2", shared_preload_libraries="pg_stat_statements")
    hosts = {
        name: {
            "postgresql_port": of.port,
            "report_login": {"login_unix_socket": str(of.socket_directory), "login_user": SUPERUSER},
            **({"postgresql_primary": "db1"} if name != "db1" else {}),
        }
        for name, of in (("db1", primary), ("db2", standby))
    }
    hosts["db3"] = {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": 9,
        "postgresql_primary": "db1",
    }
    hosts["db4"] = {"postgresql_port": 9, "report_login": {"login_host": "127.0.0.1"}}
    before = primary.sql("SELECT oid, relname, relfilenode FROM pg_class ORDER BY 1")

    status, out = report(tmp_path, hosts)
    assert status == 0, out
    document = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, SCHEMA)
    nodes = {each["name"]: each for cluster in document["clusters"] for each in cluster["nodes"]}
    states = {name: each["state"] for name, each in nodes.items()}
    expected = {"db1": "seen", "db2": "seen", "db3": "unreachable", "db4": "failed"}
    assert states == expected, out
    (cluster,) = [each for each in document["clusters"] if each["system_id"]]
    assert (cluster["name"], cluster["system_id"]) == ("db1", str(primary.system_id))
    assert [each["name"] for each in cluster["nodes"]] == ["db1", "db2", "db3"]
    twins = [each for each in cluster["findings"] if each["class"] == "IX02"]
    assert [each["nodes"] for each in twins] == [["db1", "db2"]]
    assert twins[0]["object"]["name"] in ("one", "two")
    missing = [each for each in cluster["findings"] if each["class"] == "HC34"]
    assert [each["object"]["name"] for each in missing] == ["db3"]
    assert {gap["node"] for gap in document["not_seen"] if gap["report"] is None} == {"db3", "db4"}
    assert primary.sql("SELECT oid, relname, relfilenode FROM pg_class ORDER BY 1") == before

    kept = {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    pages = {path: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    rules = {"report_fail_on": ["duplicate_index", "unreachable"], "report_what": "index"}
    status, out = report(tmp_path, {name: hosts[name] for name in ("db1", "db3")}, "--check", **rules)
    assert status == 2, out
    assert "What breaks the rules of report_fail_on: 2;" in out
    assert {path: path.read_bytes() for path in kept} == kept
    assert {path: path.read_bytes() for path in (tmp_path / "report").iterdir()} == pages
