# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Restore to another host: the old one is gone, the repository is at hand, the new one has never seen the cluster."""

from __future__ import annotations

import json
import shutil
import socket
from datetime import datetime, timezone

import pytest

from .harness.sandbox import Sandbox
from .harness.spare import spare_for
from .harness.template import Kind
from .harness.workload import recovered_rows
from .harness.world import Frozen, World

CONFIRM = ("--confirm", "main")


@pytest.fixture
def lost(frozen: Frozen, sandbox: Sandbox) -> World:
    """A world whose host is gone: its data, its configuration and its state; only the repository is left."""
    world = frozen.thaw(sandbox, start=False)
    for path in (world.cluster.parent, world.cluster.config_path.parent, world.cluster.state_directory):
        shutil.rmtree(path)
    return world


@pytest.mark.parametrize("target", [("--latest",), ("--target-name", "beta")], ids=["latest", "a point"])
def test_a_host_that_never_saw_the_cluster_gets_all_of_it(
    lost: World, sandbox: Sandbox, target: tuple[str, ...]
) -> None:
    spare = spare_for(lost.cluster, sandbox)
    plan = spare.keeper("plan", *target).expect(0)["plan"]
    assert plan["live"] == {
        "exists": False,
        "stranger": None,
        "running": False,
        "timeline": None,
        "unarchived_segments": [],
    }
    assert list(spare.parent.iterdir()) == []
    answer = spare.keeper("restore", *target, *CONFIRM).expect(0)
    expected = lost.all_rows() if target == ("--latest",) else lost.rows_before(lost.points["beta"])
    assert recovered_rows(spare.dsn()) == expected
    assert spare.value("SELECT timeline_id FROM pg_control_checkpoint()") == 2
    assert spare.value("SHOW config_file") == str(spare.config_file)
    record = answer["record"]
    assert (spare.timeline_directory(2) / f"{record['archived_segment']}.zst").exists()
    [evidence] = (spare.repository / spare.name / "evidence").glob("*.json")
    kept = json.loads(evidence.read_text())
    assert (kept["result"], kept["host"], kept["kept_directory"]) == ("restored", socket.gethostname(), None)
    assert kept["replaced"]["exists"] is False and kept["new_backup"] == record["new_backup"]
    assert [path.name for path in spare.parent.iterdir()] == ["data"]
    # What it cost: the host is gone, so what it did last is not known, but no later than somebody asked.
    asked, opened = (datetime.fromisoformat(kept[name].rstrip("Z")) for name in ("begun", "ended"))
    assert 0 < kept["rto_seconds"] < (opened - asked).total_seconds() + 60
    commits = [end for end in lost.ends if end.committed]
    stop = lost.points["beta"] if target != ("--latest",) else 1 << 62
    restored, newest = [end for end in commits if end.lsn < stop][-1], commits[-1]
    cost = kept["rpo"]
    assert (cost["restored"]["xid"], cost["known"]["xid"]) == (restored.xid, newest.xid)
    assert (cost["complete"], cost["seconds"], cost["by_target"]) == (False, None, target != ("--latest",))
    at_most = asked.replace(tzinfo=timezone.utc) - restored.time
    assert abs(cost["at_most_seconds"] - at_most.total_seconds()) < 60

    # The same again does nothing; undone, nothing is removed and nothing runs.
    assert not spare.keeper("restore", *target, *CONFIRM).expect(0)["changed"]
    shown = spare.keeper("undo", "--check").expect(0)["plan"]
    undone = spare.keeper("undo", *CONFIRM).expect(0)["plan"]
    assert undone["put_back"] is None and shown["put_back"] is None
    assert not spare.data_directory.exists() and spare.pid is None
    [aside] = spare.parent.iterdir()
    assert str(aside) == undone["put_aside"] and aside.name.startswith("data.undone-")
    with spare.unchanged():
        assert not spare.keeper("undo", *CONFIRM).expect(0)["changed"]


def test_a_cluster_that_was_just_made_there_is_put_aside_only_when_that_is_wanted(
    lost: World, sandbox: Sandbox
) -> None:
    spare = spare_for(lost.cluster, sandbox, keep_data=True, kind=Kind(variant=1), archiving=False).start()
    theirs = spare.system_id
    with spare.unchanged():
        spare.keeper("plan", "--latest").refused("system-mismatch", theirs, "--accept-other-system")
        spare.keeper("restore", "--latest", *CONFIRM).refused("system-mismatch", theirs)
    options = ("--latest", "--accept-other-system", *CONFIRM)
    with spare.unchanged():
        plan = spare.keeper("plan", *options[:2]).expect(0)["plan"]
    assert plan["live"]["stranger"] == theirs and not plan["stop_first"]
    spare.set(
        archive_mode="on", archive_command=f"{spare.command} archive-push --config {spare.config_path} %p"
    )
    answer = spare.keeper("restore", *options).expect(0)
    assert spare.system_id == plan["system_id"] != theirs
    assert recovered_rows(spare.dsn()) == lost.all_rows()
    assert answer["record"]["lost"]["wal_bytes"] is None
    # Nothing of theirs was archived into our repository.
    assert [path.name for path in (spare.repository / spare.name / "wal").iterdir()] == [spare.system_id]
    spare.keeper("undo", *CONFIRM).expect(0)
    assert spare.running and spare.system_id == theirs


def test_what_is_no_cluster_is_not_touched(lost: World, sandbox: Sandbox) -> None:
    spare = spare_for(lost.cluster, sandbox)
    spare.data_directory.mkdir(mode=0o700)
    (spare.data_directory / "letters.txt").write_text("dear")
    with spare.unchanged():
        for command in (("plan",), ("restore", *CONFIRM)):
            spare.keeper(*command, "--latest").refused("directory-not-empty", str(spare.data_directory))
    (spare.data_directory / "letters.txt").unlink()
    spare.keeper("restore", "--latest", *CONFIRM).expect(0)
    assert recovered_rows(spare.dsn()) == lost.all_rows()


def test_a_host_without_the_servers_configuration_is_told_so(lost: World, sandbox: Sandbox) -> None:
    spare = spare_for(lost.cluster, sandbox)
    assert spare.config_file is not None
    spare.config_file.unlink()
    with spare.unchanged():
        spare.keeper("plan", "--latest").refused("server-configuration-missing", str(spare.config_file))
        spare.keeper("restore", "--latest", *CONFIRM).refused("server-configuration-missing")
