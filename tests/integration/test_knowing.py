# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The history that real runs leave behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .harness.world import World


def runs(cluster: Cluster, *options: str) -> list[dict[str, Any]]:
    """What the host command tells of its own runs."""
    found: list[dict[str, Any]] = cluster.keeper("history", *options).expect(0)["runs"]
    return found


def test_every_run_leaves_its_mark(cluster: Cluster) -> None:
    made = cluster.keeper("backup").expect(0)["backup"]
    cluster.keeper("backup", "--max-age", "1h").expect(0)
    cluster.keeper("backup", "--check").expect(0)
    cluster.keeper("restore", "--target-name", "never", "--confirm", cluster.name).refused(
        "restore-point-unknown"
    )
    cluster.keeper("expire").refused("retention-not-set")
    cluster.keeper("backup", kill_at="copy:begun")
    first, second, restore, expire, killed = runs(cluster)
    assert (first["operation"], first["result"], first["changed"]) == ("backup", "ok", True)
    for name in ("label", "start_lsn", "stop_lsn", "plain_bytes", "stored_bytes", "timeline"):
        assert first["facts"][name] == made[name]
    assert 0 < first["seconds"] < 120 and first["who"]["door"] == "command" and first["who"]["user"]
    assert (second["operation"], second["result"]) == ("backup", "unchanged")
    assert (restore["operation"], restore["result"], restore["code"]) == (
        "restore",
        "refused",
        "restore-point-unknown",
    )
    assert "never" in restore["error"]["happened"] and restore["error"]["remedy"]
    assert (expire["operation"], expire["code"]) == ("expire", "retention-not-set")
    assert (killed["operation"], killed["result"]) == ("backup", "interrupted")
    assert [run["operation"] for run in runs(cluster, "--operation", "restore")] == ["restore"]
    assert [run["id"] for run in runs(cluster, "--last", "1")] == [killed["id"]]
    assert len(runs(cluster, "--since", "1h")) == 5


def test_archiving_that_fails_is_one_line(cluster: Cluster) -> None:
    cluster.archive_all()
    aside = cluster.repository.with_name("aside")
    shutil.move(cluster.repository, aside)
    cluster.repository.write_text("no directory")
    cluster.switch_wal()
    wait_for(lambda: [run for run in runs(cluster) if run["facts"].get("failures", 0) >= 2], "two failures")
    (stretch,) = runs(cluster)
    assert (stretch["operation"], stretch["result"], stretch["facts"]["ended"]) == (
        "archive-push",
        "failed",
        False,
    )
    cluster.repository.unlink()
    shutil.move(aside, cluster.repository)
    cluster.archive_all()
    wait_for(lambda: runs(cluster)[0]["facts"]["ended"], "the end of the stretch")
    lines = (cluster.state_directory / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["operation"] for line in lines] == ["archive-push"]


@pytest.mark.matrix
def test_every_operation_is_on_record_with_what_it_was_about(world: World, sandbox: Sandbox) -> None:
    """One of each, in the order of a life."""
    cluster = world.cluster
    place = sandbox.root / "disk"
    place.mkdir()
    cluster.write_config(
        dumps=[{"label": "all", "database": "postgres"}],
        copies={"disk": {"to": str(place)}},
        retention={"full_count": 2},
    )
    cluster.keeper("copy", "--prepare").expect(0)
    before = len(runs(cluster, "--last", "1000"))
    cluster.keeper("backup", "--kind", "full").expect(0)
    cluster.keeper("dump").expect(0)
    cluster.keeper("copy").expect(0)
    cluster.keeper("verify").expect(0)
    cluster.keeper("verify", "--trial", "postgres").expect(0)
    cluster.keeper("expire").expect(0)
    cluster.keeper("load", "--database", "postgres", "--into", "loaded").expect(0)
    cluster.keeper("restore", "--target-name", "beta", "--confirm", cluster.name).expect(0)
    cluster.keeper("undo", "--confirm", cluster.name).expect(0)
    wait_for(
        lambda: [run for run in runs(cluster) if run["operation"] == "timeline"], "the new timeline's history"
    )
    found = {run["operation"]: run for run in runs(cluster, "--last", "1000")[before:]}
    assert set(found) == {
        *("backup", "dump", "copy", "verify", "trial", "expire", "load", "restore", "undo", "timeline")
    }
    for operation, run in found.items():
        assert run["result"] in ("ok", "unchanged"), run
        if operation != "timeline":
            assert run["who"]["user"] and run["seconds"] > 0, run
    facts = {operation: run["facts"] for operation, run in found.items()}
    assert {"label", "kind", "plain_bytes", "stored_bytes", "start_lsn", "stop_lsn"} <= set(facts["backup"])
    assert {"label", "database", "stored_bytes"} <= set(facts["dump"]), facts["dump"]
    assert {"name", "to", "bytes", "objects"} <= set(facts["copy"]), facts["copy"]
    assert facts["load"]["database"] and facts["trial"]["database"] == "postgres"
    assert {"lsn", "timeline"} <= set(facts["restore"]), facts["restore"]
    assert facts["timeline"]["timeline"] == 2 and facts["timeline"]["lsn"]
    assert "freed_bytes" in facts["expire"], facts["expire"]
    assert "bytes" in facts["verify"] or "files" in facts["verify"], facts["verify"]
    usual = cluster.keeper("history").expect(0)["trends"]
    assert "backup/full" in usual
    argv = [word for word in cluster.keeper_argv("history", "--lang", "ja") if word != "--json"]
    japanese = subprocess.run(
        argv, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
    ).stdout.decode()
    assert "タイムラインの切り替え" in japanese and "復元の取り消し" in japanese
