# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The host of a repository, by itself: it copies, looks, tells, and brings back when its own disk was lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness.cluster import Cluster
from tests.integration.harness.elsewhere import Elsewhere
from tests.integration.harness.keeper import Answer, Running
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.workload import recovered_rows
from tests.integration.harness.world import SETTINGS, World

_TELL = """#!/usr/bin/python3
import json, sys
with open({path!r}, "a") as handle:
    handle.write(json.dumps(json.load(sys.stdin)) + "\\n")
"""


class Host:
    """The host that the repository lies on, with a description and somebody who is told."""

    def __init__(self, vault: Elsewhere) -> None:
        self.vault = vault
        self.description = vault.root / "description.json"
        self._told = vault.root / "told.jsonl"
        program = vault.root / "tell"
        program.write_text(_TELL.format(path=str(self._told)))
        program.chmod(0o755)
        self.channels = vault.root / "channels.json"
        channel = {"type": "command", "argv": [str(program)], "language": "ja"}
        self.channels.write_text(json.dumps({"format": 1, "channels": {"dba": channel}}))
        self.channels.chmod(0o600)
        self.describe()

    def describe(self, **more: Any) -> None:
        """Write the description."""
        value = {
            "format": 1,
            "cluster": self.vault.cluster,
            "repository": str(self.vault.repository),
            "notify": {"file": str(self.channels)},
            **more,
        }
        self.description.write_text(json.dumps(value))

    def run(self, command: str, *argv: str, described: bool = True) -> Answer:
        """A command there."""
        there = ["--root", str(self.vault.repository), "--cluster", self.vault.cluster]
        there += ["--config", str(self.description)] if described else []
        words = [str(self.vault.command), command, "--json", *there, *argv]
        return Running(words, dict(os.environ), None).wait()

    @property
    def told(self) -> list[dict[str, Any]]:
        """What arrived."""
        return (
            [json.loads(line) for line in self._told.read_text().splitlines()] if self._told.exists() else []
        )


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[Elsewhere]:
    """Another host."""
    place = Elsewhere(sandbox).start()
    yield place
    place.stop()


@pytest.fixture
def host(vault: Elsewhere) -> Host:
    """The same, described."""
    return Host(vault)


@pytest.fixture
def away(make_cluster: Callable[..., Cluster], vault: Elsewhere) -> Cluster:
    """A cluster whose repository is there."""
    return make_cluster(settings=SETTINGS, elsewhere=vault)


def states(answer: dict[str, Any]) -> dict[str, str]:
    """Check -> state."""
    return {item["name"]: item["state"] for item in answer["checks"]}


def test_copies_of_a_repository_are_made_on_its_host_and_bring_it_back_when_it_is_lost(
    away: Cluster, vault: Elsewhere, host: Host, sandbox: Sandbox
) -> None:
    world = World.begin(away).work().backup().work().point("alpha").work().finish()
    place = sandbox.root / "disk"
    place.mkdir()
    # From the host of the database: refused, and told where.
    away.write_config(copies={"disk": {"to": str(place)}})
    said = away.keeper("copy").refused("repository-elsewhere")
    assert "dbkeeper copy --root" in said["remedy"]
    host.run("copy", described=False).refused("repository-not-described")
    host.describe(copies={"disk": {"to": str(place)}})
    host.run("copy", "--prepare").expect(0)
    assert host.run("copy", "--dry-run").expect(0)["executed"] is False
    done = host.run("copy").expect(0)
    assert f"base/{world.backups[0].label}" in done["copies"]["disk"]["sent"]["groups"]
    assert host.run("copy").expect(0)["changed"] is False
    assert states(host.run("check").data)["copies"] == "ok"
    listed = host.run("copy", "--list").expect(0)["copies"]["disk"]
    assert [one["label"] for one in listed["backups"]] == [world.backups[0].label]
    # The disk of that host is lost; what lies beside it comes back, and the database host restores from it.
    shutil.rmtree(vault.repository)
    away.keeper("plan", "--target-name", "alpha").refused("repository-missing")
    host.run("copy", "disk", "--back", str(vault.repository)).expect(0)
    away.keeper("restore", "--target-name", "alpha", "--confirm", "main").expect(0)
    assert recovered_rows(away.dsn()) == world.rows_before(world.points["alpha"])


def test_scheduled_runs_there_tell_when_they_fail_and_when_they_work_again(
    away: Cluster, vault: Elsewhere, host: Host, sandbox: Sandbox
) -> None:
    away.keeper("backup").expect(0)
    place = sandbox.root / "disk"
    place.mkdir()
    host.describe(copies={"disk": {"to": str(place)}}, language="ja")
    host.run("copy", "--prepare").expect(0)
    gone = place.with_name("unplugged")
    place.rename(gone)
    for _again in range(2):
        assert host.run("copy", "--scheduled").status == 3
    (told,) = host.told
    assert (told["event"], told["code"], told["key"]) == ("failure", "copy-missing", "run:copy")
    assert "異常" in told["subject"] and str(place) in told["text"]
    gone.rename(place)
    host.run("copy", "--scheduled").expect(0)
    assert [one["event"] for one in host.told] == ["failure", "recovery"]
    # Expiry without a policy: whoever set the schedule up hears of it, too.
    host.run("expire", "--scheduled").refused("retention-not-set")
    assert host.told[-1]["code"] == "retention-not-set"
    programs = ("--bin-directory", str(away.config["bin_directory"]))
    host.run("expire", "--scheduled", "--full-count", "2", *programs).expect(0)
    host.run("verify", "--scheduled", *programs).expect(0)
    assert [one["event"] for one in host.told][2:] == ["failure", "recovery"]
    # A database host that has died says nothing: what should have come in is missed here.
    assert host.run("check", "--scheduled").status == 0
    count = len(host.told)
    for path in vault.archive.glob("wal/*/*/*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    host.describe(objectives={"backup_age_seconds": 3600}, language="ja")
    found = host.run("check", "--scheduled").expect(3)
    assert states(found)["received"] == "failed" and states(found)["backup"] == "ok"
    assert [one["key"] for one in host.told[count:]] == ["check:received"]
    assert "稼働しているか" in host.told[-1]["text"]
    host.run("notify", "--summary").expect(0)
    summary = host.told[-1]
    assert summary["event"] == "summary" and "届いた WAL" in summary["text"]
    assert host.run("notify", "--summary").expect(0)["changed"] is False
    assert set(host.run("notify").expect(0)["problems"]) == {"check:received"}
    history = host.run("history", "--last", "50").expect(0)["runs"]
    assert {"copy", "expire", "verify", "notify"} <= {run["operation"] for run in history}


def test_a_description_of_another_repository_is_refused(vault: Elsewhere, host: Host) -> None:
    value = json.loads(host.description.read_text())
    host.description.write_text(json.dumps({**value, "cluster": "other"}))
    host.run("check").refused("repository-other")
    host.description.write_text(json.dumps({**value, "repositry": "/x"}))
    said = host.run("check").refused("config-malformed")
    assert "repositry" in said["happened"]
    Path(host.description).unlink()
    host.run("check").refused("config-missing")
