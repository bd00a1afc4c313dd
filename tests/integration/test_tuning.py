# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Settings that were chosen, held against servers of every major: accepted, started with, in effect as meant."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster import host, host_others
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.facts import HostFacts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.inputs import inputs_line
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.request import INTENTS, Request
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.rules import RULES
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.tune import tune
from tests.unit.tuning.cases import LEAST

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations, run
from .harness.sandbox import Sandbox

KB, MB, GB, TB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
#: Memory, CPUs, disk.
HOSTS = [(512 * MB, 1, 100 * GB), (2 * GB, 2, 40 * GB), (32 * GB, 8, 500 * GB), (512 * GB, 64, 8 * TB)]
HOSTS += [(2 * TB, 256, 500 * TB)]
#: What a test machine surely has: shared buffers beyond it are scaled down before a server is started.
MOST_BUFFERS = 128 * MB
UNITS = {None: 1, "": 1, "B": 1, "8kB": 8 * KB, "kB": KB, "MB": MB, "ms": 1, "s": 1000, "min": 60000}
WRITTEN = {"kB": KB, "MB": MB, "GB": GB, "TB": TB, "min": 60000}

Make = Callable[..., Cluster]


def facts_of(major: int, size: tuple[int, int, int], methods: tuple[str, ...] = ("lz4",)) -> HostFacts:
    memory, cpus, disk = size
    return HostFacts(
        memory_bytes=memory,
        cpus=cpus,
        version=major,
        disk="nvme",
        data_filesystem_bytes=disk,
        wal_filesystem_bytes=disk,
        wal_compression_methods=methods,
        huge_page_bytes=2 * MB,
    )


def plain(text: str) -> float | str:
    """A value from the file as a number in bytes, in milliseconds or without unit; else the text."""
    for unit, factor in WRITTEN.items():
        if text.endswith(unit) and text[: -len(unit)].isdigit():
            return float(int(text[: -len(unit)]) * factor)
    try:
        return float(text)
    except ValueError:
        return text


def in_effect(cluster: Cluster, names: list[str]) -> dict[str, float | str]:
    """What the server says, as :func:`plain` says it."""
    rows = cluster.sql("SELECT name, setting, unit FROM pg_settings WHERE name = ANY (%s)", names)
    return {
        name: setting if isinstance(plain(setting), str) else float(setting) * UNITS[unit]
        for name, setting, unit in rows
    }


def write(path: Path, settings: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{item['name']} = '{item['value']}'\n" for item in settings))


@pytest.mark.parametrize("major", a_major_a_day())
def test_every_choice_for_every_host_is_accepted(major: int, sandbox: Sandbox) -> None:
    """The server's own program reads the file: an unknown name or a value out of its range ends it."""
    installation = installations()[major]
    for size in HOSTS:
        for intent in INTENTS:
            settings = tune(Request.build(intent), facts_of(major, size))["settings"]
            write(sandbox.root / "postgresql.conf", settings)
            argv = [installation.program("postgres"), "-D", str(sandbox.root), "-C", "max_connections"]
            said = run(argv, environment=installation.environment)
            assert said.strip() == next(
                item["value"] for item in settings if item["name"] == "max_connections"
            )


@pytest.mark.parametrize("size", HOSTS, ids=lambda size: f"{size[0] // MB}MB")
@pytest.mark.parametrize("major", a_major_a_day())
def test_a_server_starts_with_what_was_chosen(
    major: int, size: tuple[int, int, int], make_cluster: Make
) -> None:
    intent = "dw" if size[1] >= 64 else "oltp"
    settings = tune(Request.build(intent), facts_of(major, size))["settings"]
    chosen = {item["name"]: item["value"] for item in settings}
    buffers = plain(chosen["shared_buffers"])
    if isinstance(buffers, float) and buffers > MOST_BUFFERS:
        chosen["shared_buffers"] = f"{MOST_BUFFERS // MB}MB"
    cluster = make_cluster(installation=installations()[major], settings=chosen)
    expected = {name: plain(value) for name, value in chosen.items()}
    assert in_effect(cluster, list(chosen)) == expected
    assert cluster.value("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == 0
    assert cluster.value("SELECT count(*) FROM generate_series(1, 100000)") == 100000


@pytest.mark.parametrize("major", a_major_a_day())
def test_rules_know_what_the_server_knows(major: int, make_cluster: Make) -> None:
    """Names, units, least values, and what needs a restart, held against pg_settings."""
    cluster = make_cluster(installation=installations()[major])
    known = {
        name: (unit, least, context)
        for name, unit, least, context in cluster.sql("SELECT name, unit, min_val, context FROM pg_settings")
    }
    for rule in RULES:
        if rule.name in ("io_method", "io_workers") and major < 18:
            assert rule.name not in known
            continue
        unit, least, context = known[rule.name]
        assert rule.takes_effect(major) == ("restart" if context == "postmaster" else "reload"), rule.name
        if rule.kind == "bytes":
            assert UNITS[unit] == rule.unit, rule.name
        # What the properties hold is enough for this server.
        if rule.name in LEAST:
            assert LEAST[rule.name] >= int(least) * UNITS[unit], rule.name


@pytest.mark.parametrize("major", a_major_a_day(least=15))
@pytest.mark.parametrize("connections", [100, 1000])
def test_the_count_of_huge_pages_is_near_the_servers(
    major: int, connections: int, make_cluster: Make
) -> None:
    request = Request.build("oltp", connections=connections, pinned={"shared_buffers": "2GB"})
    result = tune(request, facts_of(major, HOSTS[2]))
    chosen = {item["name"]: item["value"] for item in result["settings"]}
    cluster = make_cluster(installation=installations()[major], settings=chosen)
    exact = int(cluster.value("SHOW shared_memory_size_in_huge_pages"))
    page = int(cluster.value("SHOW shared_memory_size").removesuffix("MB")) * MB / exact
    assert page == pytest.approx(2 * MB, rel=0.01)
    # Too few would leave all of them unused; a few too many cost little.
    assert exact <= result["budget"]["huge_pages"]["needed"] <= exact * 1.06


# -- facts -------------------------------------------------------------------------------------------------


def config_of(cluster: Cluster) -> ClusterConfig:
    return ClusterConfig.load(str(cluster.config_path))


@pytest.mark.parametrize("major", a_major_a_day())
def test_build_options_are_the_servers(major: int, make_cluster: Make) -> None:
    cluster = make_cluster(installation=installations()[major])
    found = host.build_options(config_of(cluster))
    known = {
        name: set(values or ())
        for name, values in cluster.sql(
            "SELECT name, enumvals FROM pg_settings WHERE name IN ('wal_compression', 'io_method')"
        )
    }
    if major < 15:
        assert found == {"wal_compression": [], "io_method": []}
        return
    assert set(found["wal_compression"]) == known["wal_compression"] & {"lz4", "zstd"}
    assert set(found["io_method"]) == known.get("io_method", set())


def test_facts_of_a_running_server(cluster: Cluster) -> None:
    cluster.sql("CREATE TABLE filler AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 20000)")
    cluster.sql("CHECKPOINT")
    found = host.host_facts(config_of(cluster))
    assert HostFacts.from_dict(found).to_dict() == found
    assert found["version"] == cluster.installation.major
    assert found["wal_segment_bytes"] == cluster.kind.segment_mb * MB
    size = cluster.value("SELECT sum(pg_database_size(oid))::bigint FROM pg_database")
    assert found["data_bytes"] == pytest.approx(size, rel=0.02)
    space = os.statvfs(cluster.data_directory)
    assert found["data_filesystem_bytes"] == space.f_blocks * space.f_frsize
    assert found["wal_separate"] is False


def test_the_server_is_looked_at_not_who_asks(cluster: Cluster) -> None:
    assert cluster.pid is not None
    os.sched_setaffinity(cluster.pid, {min(os.sched_getaffinity(0))})
    assert host.host_facts(config_of(cluster))["cpus"] == 1


def test_wal_on_another_file_system(cluster: Cluster, tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if os.stat(elsewhere).st_dev == os.stat(cluster.data_directory).st_dev:
        pytest.fail("/dev/shm is no file system of its own here")
    cluster.stop()
    wal = elsewhere / f"dbkeeper-test-wal-{os.getpid()}"
    try:
        shutil.move(cluster.data_directory / "pg_wal", wal)
        (cluster.data_directory / "pg_wal").symlink_to(wal)
        found = host.host_facts(config_of(cluster))
        space = os.statvfs(elsewhere)
        assert found["wal_separate"] is True
        assert found["wal_filesystem_bytes"] == space.f_blocks * space.f_frsize
    finally:
        shutil.rmtree(wal)


def other_with(config: ClusterConfig, pid: int | None) -> host_others.Other | None:
    return next((other for other in host_others.others(config) if other.pid == pid), None)


def test_other_clusters_are_asked_what_they_were_promised(make_cluster: Make) -> None:
    mine = make_cluster("mine")
    theirs = make_cluster(
        "theirs", external_config=True, settings={"work_mem": "8MB", "autovacuum_work_mem": "2MB"}
    )
    found = other_with(config_of(mine), theirs.pid)
    assert found is not None
    # 16 MB of buffers, 20 of 40 connections, 3 workers.
    assert host_others.promise(found) == 16 * MB + 20 * 8 * MB + 3 * 2 * MB
    assert other_with(config_of(mine), mine.pid) is None
    assert 182 * MB in [count for _group, count in host_others.promises(config_of(mine))]


def test_another_cluster_that_cannot_be_asked_counts_with_what_it_shares(make_cluster: Make) -> None:
    mine, theirs = make_cluster("mine"), make_cluster("theirs")
    found = other_with(config_of(mine), theirs.pid)
    assert found is not None
    (theirs.data_directory / "postgresql.conf").unlink()
    assert 16 * MB <= host_others.promise(found) <= 64 * MB


def test_what_is_staged_beside_a_cluster_is_no_other(make_cluster: Make) -> None:
    """A restore or a drill runs for a while with a copy: the cluster's settings must not follow it."""
    mine = make_cluster("mine")
    mine.stop()
    staged = Path(f"{mine.data_directory}.restore-1")
    shutil.copytree(mine.data_directory, staged)
    start = ["start", "-w", "-s", "-D", str(staged), "-l", f"{mine.root}/log/staged.log"]
    mine.program("pg_ctl", *start, "-o", f"-c port={mine.sandbox.ports.take()}")
    pid = int((staged / "postmaster.pid").read_text().split()[0])
    assert other_with(config_of(mine), pid) is None
    beside = config_of(make_cluster("theirs"))
    assert other_with(beside, pid) is not None


# -- as a whole --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("major", a_major_a_day())
def test_a_host_is_tuned_once_and_stays_so(major: int, make_cluster: Make) -> None:
    """Facts of this machine, settings, a server that runs with them, facts again: the same file."""
    cluster = make_cluster(installation=installations()[major])
    config = config_of(cluster)
    request = Request.build("mixed", connections=60, pinned={"shared_buffers": "64MB"})
    facts = HostFacts.from_dict(host.host_facts(config))
    first = tune(request, facts)
    cluster.set(**{item["name"]: item["value"] for item in first["settings"]})
    cluster.restart()
    previous = json.loads(json.dumps(first["inputs"]))
    # Tests that run at the same time are clusters that come and go.
    others = facts.other_clusters_memory_bytes
    again = replace(HostFacts.from_dict(host.host_facts(config)), other_clusters_memory_bytes=others)
    assert tune(request, again, previous) == first
    names = [item["name"] for item in first["settings"]]
    assert in_effect(cluster, names) == {item["name"]: plain(item["value"]) for item in first["settings"]}


def test_the_command_shows_what_suits_and_what_is_there(cluster: Cluster) -> None:
    result = cluster.keeper("tune", "--intent", "web", "--connections", "50").expect(0)
    assert (result["changed"], result["inputs"]["request"]["intent"]) == (False, "web")
    settings = {item["name"]: item for item in result["settings"]}
    assert (settings["max_connections"]["value"], settings["max_connections"]["now"]) == ("50", "40")
    assert (settings["shared_buffers"]["now"], settings["jit"]["now"]) == ("16MB", "off")
    assert result["facts"]["version"] == cluster.installation.major


def test_the_command_takes_up_what_the_settings_file_came_from(cluster: Cluster) -> None:
    request = Request.build("dw", connections=33, data_size="5GB", pinned={"work_mem": "9MB"})
    facts = HostFacts.from_dict(host.host_facts(config_of(cluster)))
    included = cluster.data_directory / "conf.d"
    included.mkdir()
    chosen = tune(request, facts)
    (included / "10-dbkeeper.conf").write_text(f"# ours\n{inputs_line(chosen['inputs'])}\n")
    result = cluster.keeper("tune").expect(0)
    for inputs in (result["inputs"], chosen["inputs"]):
        # Clusters of other tests come and go meanwhile.
        del inputs["facts"]["other_clusters_memory_bytes"]
    assert result["inputs"] == chosen["inputs"]
    settings = {item["name"]: item for item in result["settings"]}
    assert (settings["work_mem"]["value"], settings["work_mem"]["pinned"]) == ("9MB", True)
    changed = cluster.keeper("tune", "--intent", "oltp", "--pin", "work_mem=5MB").expect(0)
    assert {item["name"]: item["value"] for item in changed["settings"]}["work_mem"] == "5MB"
    assert changed["inputs"]["request"]["connections"] == 33
    anew = cluster.keeper("tune", "--anew").expect(0)
    assert anew["inputs"]["request"]["intent"] == "mixed"


def test_the_command_without_a_server(cluster: Cluster) -> None:
    cluster.stop()
    result = cluster.keeper("tune").expect(0)
    assert {item["now"] for item in result["settings"]} == {None}


def test_the_command_refuses_what_cannot_be_meant(cluster: Cluster) -> None:
    cluster.keeper("tune", "--pin", "work_mem").refused("pin-malformed", "--pin work_mem=16MB")
    cluster.keeper("tune", "--pin", "work_mem=lots").refused("setting-malformed", "work_mem")
    cluster.keeper("tune", "--connections", "200000").refused("connections-exceed-memory", "PgBouncer")


@pytest.mark.parametrize(("language", "words"), [("en", "takes effect"), ("ja", "自動バキューム")])
def test_the_command_prints_a_table(cluster: Cluster, language: str, words: str) -> None:
    argv = [str(cluster.command), "tune", "--config", str(cluster.config_path), "--lang", language]
    text = run(argv, environment={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert words in text
    assert "120 %" in text
    for name in ("shared_buffers", "max_wal_size", "autovacuum_work_mem"):
        assert name in text
