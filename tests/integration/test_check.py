# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Each check on a real server: provoked, seen, mended, and seen gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .harness.cluster import Cluster
from .harness.waiting import wait_for

#: As the engine writes moments.
FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    """One whose archive_timeout meets its objective, with a backup."""
    made = make_cluster(settings={"archive_timeout": "300", "track_commit_timestamp": "on"})
    made.keeper("backup").expect(0)
    return made


def checks(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """What is found now, by name."""
    return {item["name"]: item for item in cluster.keeper("check").data["checks"]}


def state(cluster: Cluster, name: str, *words: str) -> str:
    """The state of one check, after making sure of what it says."""
    found = checks(cluster)[name]
    for word in words:
        assert word in found["text"], found
    return str(found["state"])


def ago(**back: float) -> str:
    """A moment in the past, as the engine writes it."""
    return (datetime.now(timezone.utc) - timedelta(**back)).strftime(FORM)


def age(path: Path, **back: float) -> None:
    """Let what an entry tells have ended longer ago."""
    value = json.loads(path.read_text())
    value["started_at"] = value["stopped_at"] = ago(**back)
    path.write_text(json.dumps(value))


def newest(cluster: Cluster) -> Path:
    """The entry of the newest backup."""
    return max((cluster.repository / cluster.name / "base").glob("*/backup.json"))


def command(cluster: Cluster, archive_command: str) -> None:
    """Give the server another archive_command."""
    cluster.set(archive_command=archive_command)
    cluster.reload()
    wait_for(
        lambda: cluster.value("SELECT current_setting('archive_command')") == archive_command, "the setting"
    )


def test_all_is_well_and_every_figure_is_for_prometheus(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "dbkeeper.prom"
    cluster.write_config(metrics_file=str(path))
    cluster.archive_all()
    result = cluster.keeper("check").expect(0)
    assert result["healthy"] and result["counts"]["failed"] == 0
    assert len({item["name"] for item in result["checks"]}) == len(result["checks"]) >= 30
    families = {family.name: family for family in text_string_to_metric_families(path.read_text())}
    assert path.stat().st_mode & 0o777 == 0o644
    assert not list(tmp_path.glob(".*")), "a temporary file was left"
    for family in families.values():
        assert family.name.startswith("dbkeeper_") and family.type == "gauge" and family.documentation
        assert all(sample.labels["cluster"] == cluster.name for sample in family.samples)
    states = {one.labels["check"]: one.value for one in families["dbkeeper_check_state"].samples}
    assert states == {item["name"]: {"ok": 0, "warning": 1}[item["state"]] for item in result["checks"]}
    (backup,) = result["information"]["backups"]

    def figure(name: str, **labels: str) -> float:
        found = [one.value for one in families[name].samples if labels.items() <= one.labels.items()]
        assert len(found) == 1
        return float(found[0])

    assert figure("dbkeeper_healthy") == 1
    assert figure("dbkeeper_backups", status="verified") == 1
    assert figure("dbkeeper_newest_backup_size_bytes") == backup["plain_bytes"]
    assert figure("dbkeeper_repository_free_bytes") > 0 and figure("dbkeeper_rpo_now_seconds") == 0
    ended = datetime.strptime(backup["stopped_at"], FORM).replace(tzinfo=timezone.utc).timestamp()
    assert figure("dbkeeper_recovery_window_start_seconds") == pytest.approx(ended, abs=0.001)
    # Figures that cannot be written any more are a failure of their own, and hide nothing.
    cluster.write_config(metrics_file=str(tmp_path / "gone/dbkeeper.prom"))
    assert state(cluster, "metrics", "metrics-not-writable") == "failed"
    cluster.write_config(metrics_file=str(path))
    # Nobody has measured a restore here: a warning, and Nagios hears of it.
    answer = cluster.keeper("check", "--nagios")
    assert answer.status == 1
    line = json.loads(answer.out)
    assert line["exit_status"] == 1


def test_for_nagios_it_is_one_line_with_figures(cluster: Cluster) -> None:
    def nagios() -> tuple[int, str]:
        argv = [one for one in cluster.keeper_argv("check", "--nagios") if one != "--json"]
        import subprocess

        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.stdout.count("\n") == 1
        return done.returncode, done.stdout.rstrip("\n")

    status, line = nagios()
    said, _bar, figures = line.partition(" | ")
    assert status == 1 and said.startswith(f"DBKEEPER WARNING - {cluster.name}: rto: ")
    values = dict(item.split("=", 1) for item in figures.split(" "))
    assert values["'wal_waiting_files'"].split(";")[0] == "0"
    assert values["'repository_free_bytes'"].split(";")[0].endswith("B")
    cluster.write_config(objectives={"rpo_seconds": 900, "rto_seconds": 1800, "backup_age_seconds": 1})
    wait_for(lambda: nagios()[0] == 2, "an old backup")
    assert nagios()[1].startswith(f"DBKEEPER CRITICAL - {cluster.name}: backup: ")
    away = cluster.repository.with_name("away")
    cluster.repository.rename(away)
    status, line = nagios()
    # A repository that is gone is no riddle.
    assert status == 2 and "repository-missing" in line
    away.rename(cluster.repository)
    cluster.config_path.write_text("{")
    status, line = nagios()
    assert status == 3 and line.startswith("DBKEEPER UNKNOWN - ") and "file-damaged" in line


def test_what_would_be_lost_now_is_read_from_the_servers_own_wal(cluster: Cluster) -> None:
    cluster.archive_all()
    assert state(cluster, "rpo-now", "every commit has left the server") == "ok"
    cluster.sql("CREATE TABLE first_unarchived (n int)")
    first = cluster.value("SELECT timestamp FROM pg_last_committed_xact()")
    cluster.sql("CREATE TABLE second_unarchived (n int)")
    found = checks(cluster)["rpo-now"]
    assert found["state"] == "ok" and first.astimezone(timezone.utc).strftime(FORM) in found["text"]
    cluster.write_config(objectives={"rpo_seconds": 1, "rto_seconds": 1800})
    wait_for(lambda: state(cluster, "rpo-now") == "failed", "a second to pass")
    last = cluster.value("SELECT timestamp FROM pg_last_committed_xact()")
    cluster.archive_all()
    assert state(cluster, "rpo-now", last.astimezone(timezone.utc).strftime(FORM)) == "ok"


def test_archiving_that_fails_or_goes_elsewhere(cluster: Cluster) -> None:
    cluster.archive_all()
    right = cluster.value("SELECT current_setting('archive_command')")
    assert state(cluster, "arrival") == "ok"
    command(cluster, "false")
    # The archiver may still take one with the command of before.
    failed = "SELECT failed_count FROM pg_stat_archiver"
    before = cluster.value(failed)
    wait_for(lambda: cluster.switch_wal() and cluster.value(failed) > before, "a failure", interval=0.2)
    for number in range(3):
        cluster.sql(f"CREATE TABLE waits_{number} (n int)")
        newest = cluster.switch_wal()
    wait_for(lambda: state(cluster, "archiving") == "failed", "the archiver's failure")
    found = checks(cluster)
    backlog = {one["name"]: one["value"] for one in found["backlog"]["measures"]}
    waiting = len(list(cluster.archive_status.glob("*.ready")))
    assert backlog["wal_waiting_files"] == waiting >= 3
    assert backlog["wal_waiting_bytes"] == waiting * 16 * 1024 * 1024 or backlog["wal_waiting_bytes"] > 0
    # One that says yes and stores nothing.
    command(cluster, "test -f %p")
    wait_for(lambda: not list(cluster.archive_status.glob("*.ready")), "the archiver")
    last = "SELECT last_archived_wal FROM pg_stat_archiver"
    wait_for(lambda: cluster.value(last) == newest, "the archiver's word")
    assert state(cluster, "arrival", newest, "the repository does not have it") == "failed"
    command(cluster, right)
    cluster.archive_all()
    assert state(cluster, "arrival") == "ok" and state(cluster, "archiving") == "ok"
    assert state(cluster, "backlog", "0 files wait") == "ok"


def test_a_backup_that_is_missing_raises_its_hand_the_same_day(cluster: Cluster) -> None:
    assert (state(cluster, "backup"), state(cluster, "full-backup")) == ("ok", "ok")
    age(newest(cluster), hours=31)
    assert state(cluster, "backup", "31 h 0 min old, the objective is 30 h") == "failed"
    assert state(cluster, "full-backup") == "ok"
    age(newest(cluster), days=15)
    assert state(cluster, "full-backup", "the objective is 336 h") == "failed"
    assert state(cluster, "verification", "nothing has ever been verified") == "failed"
    cluster.keeper("verify").expect(0)
    assert state(cluster, "verification", "last good") == "ok"
    # What a killed run leaves is told until one has worked.
    cluster.keeper("backup", kill_at="copy:begun")
    assert state(cluster, "runs", "backup failed at", "interrupted") == "failed"
    assert state(cluster, "stuck", "backup was interrupted") == "warning"
    cluster.keeper("backup").expect(0)
    found = checks(cluster)
    for name in ("backup", "full-backup", "runs", "stuck"):
        assert found[name]["state"] == "ok", found[name]


def test_a_backup_that_shrinks_raises_its_hand_the_same_day(cluster: Cluster) -> None:
    cluster.sql("CREATE TABLE most AS SELECT n, repeat('x', 500) AS text FROM generate_series(1, 70000) AS n")
    cluster.keeper("backup").expect(0)
    history = cluster.state_directory / "history.jsonl"
    line = json.loads(history.read_text().splitlines()[-1])
    with history.open("a") as handle:
        for number in range(2):
            handle.write(json.dumps({**line, "id": f"again-{number}"}) + "\n")
    cluster.sql("DROP TABLE most")
    cluster.sql("CHECKPOINT")
    small = cluster.keeper("backup").expect(0)["backup"]["plain_bytes"]
    found = checks(cluster)["size"]
    factor = small / line["facts"]["plain_bytes"]
    assert factor < 0.5 and found["state"] == "failed" and "is data missing?" in found["text"]
    assert found["measures"][0]["value"] == pytest.approx(factor, abs=0.001)
    trends = cluster.keeper("history").expect(0)["trends"]["backup/full"]
    assert trends["bytes"]["newest"] == small and trends["runs"] == 4
    cluster.sql("CREATE TABLE most AS SELECT n, repeat('x', 500) AS text FROM generate_series(1, 70000) AS n")
    cluster.keeper("backup").expect(0)
    assert state(cluster, "size", "as usual") == "ok"


def test_something_that_stands_still_is_seen(cluster: Cluster) -> None:
    running = cluster.keeper_start("backup", pause_at="seal:begun")
    running.wait_paused()
    assert state(cluster, "stuck") == "ok"
    path = cluster.state_directory / "progress.json"
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "at": ago(hours=2)}))
    pid = value["owner"]["pid"]
    assert state(cluster, "stuck", "has shown no progress for 2 h", f"pid {pid}") == "failed"
    running.resume()
    running.wait().expect(0)
    assert state(cluster, "stuck") == "ok"


def test_a_disk_that_fills_up_is_seen_before_it_is_full(cluster: Cluster) -> None:
    disk = cluster.keeper("info").expect(0)["disk"]
    path = cluster.state_directory / "space.json"

    def pace(days_left: float) -> None:
        each = disk["free_bytes"] / days_left
        samples = [
            {"at": ago(days=day), "free_bytes": int(disk["free_bytes"] + day * each)}
            for day in range(9, 0, -1)
        ]
        path.write_text(json.dumps(samples))

    pace(5)
    found = checks(cluster)["space"]
    days = {one["name"]: one["value"] for one in found["measures"]}["repository_full_in_days"]
    # Other tests write to the same disk meanwhile.
    assert found["state"] == "warning" and 3 < days < 7 and "the objective is 14" in found["text"]
    pace(1)
    assert state(cluster, "space") == "failed"
    pace(10000)
    assert state(cluster, "space", "does not fill up") == "ok"


def test_dumps_and_copies_that_are_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    assert (state(cluster, "dumps"), state(cluster, "copies")) == ("ok", "ok")
    cluster.sql('CREATE DATABASE "売上/2026"')
    place = cluster.root / "elsewhere"
    cluster.write_config(
        dumps=[{"label": "nightly", "database": "売上/2026"}],
        copies={"second": {"to": str(place), "lag_seconds": 1}},
    )
    assert state(cluster, "dumps", "there is no verified dump") == "failed"
    wait_for(lambda: state(cluster, "copies", "second is ") == "failed", "a second to pass")
    cluster.keeper("dump").expect(0)
    cluster.keeper("copy").expect(3)
    assert state(cluster, "copies", "second fails: copy-missing") == "failed"
    assert state(cluster, "runs", "copy/second failed at") == "failed"
    place.mkdir()
    cluster.keeper("copy", "--prepare").expect(0)
    cluster.keeper("copy").expect(0)
    assert state(cluster, "runs") == "ok"
    found = checks(cluster)
    assert found["dumps"]["state"] == "ok" and found["copies"]["state"] == "ok", found["copies"]
    (entry,) = (cluster.repository / cluster.name / "dump").glob("*/*/dump.json")
    age(entry, hours=40)
    assert state(cluster, "dumps", "40 h 0 min old, the objective is 30 h") == "failed"
    cluster.keeper("dump").expect(0)
    assert state(cluster, "dumps") == "ok"
    told = cluster.keeper("history", "--operation", "dump").expect(0)["runs"]
    assert [(run["result"], run["facts"]["database"]) for run in told] == [("ok", "売上/2026")] * 2


def test_a_repository_that_is_gone_hides_nothing_else(cluster: Cluster) -> None:
    away = cluster.repository.with_name("away")
    cluster.repository.rename(away)
    result = cluster.keeper("check").expect(3)
    found = {item["name"]: item for item in result["checks"]}
    assert found["repository"]["state"] == "failed" and "repository-missing" in found["repository"]["text"]
    japanese = found["repository"]["text_ja"]
    # The cause and what to do in Japanese; the program's own words stand behind.
    assert japanese.index("マウント") < japanese.index("(repository-missing: ")
    assert "Mount the file system" not in japanese
    assert found["settings"]["state"] == "ok" and "runs" in found and result["information"] is None
    away.rename(cluster.repository)
    assert state(cluster, "repository") == "ok"
