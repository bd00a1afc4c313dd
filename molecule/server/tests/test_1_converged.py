# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What ten lines of inventory give: tuned, guarded, logged; and a second run that changes nothing, quickly."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.playbook_runs import converge_runs, playbook
from tests.server_hosts import Server, servers, store

each = pytest.mark.parametrize("server", servers(), ids=lambda server: server.name)


def connect(server: Server, role: str, password: str, **options: Any) -> psycopg.Connection[Any]:
    given = {"host": server.address, "port": 5432, "dbname": "app", "connect_timeout": 10, **options}
    return psycopg.connect(user=role, password=password, **given)


def test_check_mode_foretold_what_happened_on_bare_hosts() -> None:
    foretold, happened, again = converge_runs()
    assert again.changed == set()
    assert foretold.changed <= happened.changed
    # What is inside a server cannot be foretold before there is one.
    missed = {task.split(" : ", 1)[-1] for _host, task in happened.changed - foretold.changed}
    assert {task.split(" | ")[0] for task in missed} <= {"Objects", "Server"}, missed


@each
def test_every_setting_of_the_file_is_in_effect(server: Server) -> None:
    wrong = server.sql(
        "SELECT f.name, f.error, s.sourcefile, s.pending_restart FROM pg_file_settings f"
        " LEFT JOIN pg_settings s ON lower(s.name) = lower(f.name)"
        f" WHERE f.sourcefile = '{server.settings_file}' AND (f.error IS NOT NULL OR s.pending_restart"
        # The files of the roles backup and pgbouncer sort later.
        " OR s.sourcefile !~ '/conf[.]d/[123]0-dbkeeper[a-z-]*[.]conf$')"
    )
    assert wrong == ""
    count = server.sql(f"SELECT count(*) FROM pg_file_settings WHERE sourcefile = '{server.settings_file}'")
    assert int(count) > 50


@each
def test_values_have_reasons_and_given_ones_win(server: Server) -> None:
    text = server.host.file(server.settings_file).content_string
    assert "# dbkeeper inputs: {" in text
    assert (server.show("shared_buffers"), server.show("max_connections")) == ("256MB", "100")
    known = json.loads(server.host.check_output("dbkeeper tune --cluster main --json"))
    assert known["changed"] is False
    assert all(item["reason"] for item in known["settings"])


@each
def test_passwords_and_encryption(server: Server) -> None:
    assert server.sql("SELECT count(*) FROM pg_authid WHERE rolpassword !~ '^SCRAM-SHA-256'") == "0"
    password = server.password("web")
    ca = str(store() / "ca" / "ca.crt")
    with connect(server, "web", password, sslmode="verify-full", sslrootcert=ca) as connection:
        version = connection.execute(
            "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).fetchone()
        assert version is not None and version[0] in ("TLSv1.2", "TLSv1.3")
    with pytest.raises(psycopg.OperationalError, match="no pg_hba.conf entry|no encryption"):
        connect(server, "web", password, sslmode="disable")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(server, "web", "wrong", sslmode="require")


@each
def test_groups_have_what_their_names_say(server: Server) -> None:
    with connect(server, "web", server.password("web"), sslmode="require") as connection:
        server.sql("SET ROLE app_admin; CREATE TABLE IF NOT EXISTS of_the_admins (n int)", "app")
        connection.execute("INSERT INTO of_the_admins VALUES (1)")
        connection.commit()
    with connect(server, "report", server.password("report"), sslmode="require") as connection:
        assert connection.execute("SELECT n FROM of_the_admins LIMIT 1").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO of_the_admins VALUES (2)")
    assert server.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'report'") == "5"


@each
def test_the_host_command_is_content(server: Server) -> None:
    checks = server.check()
    assert {item["state"] for item in checks.values()} <= {"ok", "warning"}, checks
    for name in ("settings", "restart", "access", "overrides", "certificate", "pooler-certificate"):
        assert checks[name]["state"] == "ok", checks
    # As its schedule runs it: by the cluster's owner, who is not the pooler's user.
    said = server.host.run("runuser -u postgres -- dbkeeper check --cluster main --json")
    by_owner = {item["name"]: item["text"] for item in json.loads(said.stdout)["checks"]}
    assert by_owner["pooler-certificate"].startswith("port 6432: pgbouncer until "), by_owner


@each
def test_statistics_of_statements(server: Server) -> None:
    assert int(server.sql("SELECT count(*) FROM pg_stat_statements", "app")) > 0


@each
def test_pgbadger_reads_every_line_of_the_log(server: Server, tmp_path: Path) -> None:
    server.host.run("runuser -u postgres -- psql -XAtc 'SELECT no_such_column'")
    server.sql("SELECT pg_sleep(1.1)")
    server.sql("CHECKPOINT")
    current = server.sql("SELECT pg_current_logfile()")
    log, deadline = tmp_path / "postgresql.log", time.monotonic() + 120
    # What the server has said comes into the file by another process, a moment later.
    while "pg_sleep(1.1)" not in (said := server.host.file(current).content_string):
        assert time.monotonic() < deadline, said
    log.write_text(said + "\n", encoding="utf-8")
    argv = ["pgbadger", "--quiet", "--format", "stderr", "--outfile", str(tmp_path / "report.json")]
    prefix = server.show("log_line_prefix")
    done = subprocess.run([*argv, "--prefix", prefix, str(log)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot" not in done.stderr.lower() and "unknown" not in done.stderr.lower(), done.stderr
    report = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "pg_sleep" in report and "no_such_column" in report


def test_a_second_run_is_quick() -> None:
    """Measured, not judged: the ratio goes into build/reports/second-run.json."""
    yardstick = str(Path(__file__).resolve().parents[1] / "yardstick.yml")
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    argv = ["ansible-playbook", yardstick, "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    seconds = {"site": 0.0, "yardstick": 0.0}
    begun = time.monotonic()
    run = playbook("site")
    seconds["site"] = time.monotonic() - begun
    assert run.status == 0 and run.changed == set(), run.out
    begun = time.monotonic()
    done = subprocess.run(argv, env=environment, check=False, capture_output=True, text=True)
    seconds["yardstick"] = time.monotonic() - begun
    assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout
    place = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"], "build", "reports")
    place.mkdir(parents=True, exist_ok=True)
    tasks = run.out.count("\nTASK [")
    record = {
        **seconds,
        "tasks": tasks,
        "hosts": 2,
        "ratio": round(seconds["site"] / seconds["yardstick"], 2),
    }
    (place / "second-run.json").write_text(json.dumps(record), encoding="utf-8")
