# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The history that real runs leave behind."""

from __future__ import annotations

import json
import shutil
from typing import Any

from .harness.cluster import Cluster
from .harness.waiting import wait_for


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
