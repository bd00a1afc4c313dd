# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From what a check or a run found to what a real program is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.finding import Finding
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.notify import (
    is_open,
    standing,
    summarize,
    tell_check,
    tell_run,
)

ERROR = {"code": "disk-full", "attempted": "a", "happened": "b", "remedy": "c"}


def silent(text: str) -> None:
    raise AssertionError(text)


class Desk:
    """A cluster whose notifications a program writes down, one a line."""

    def __init__(self, root: Path, **file: Any) -> None:
        self.told_file = root / "told"
        program = root / "tell"
        program.write_text(f"#!/bin/sh\n{{ cat; echo; }} >>{self.told_file}\n")
        program.chmod(0o755)
        path = root / "notify.json"
        channels = {"desk": {"type": "command", "argv": [str(program)]}}
        path.write_text(json.dumps({"format": 1, "channels": channels, **file}))
        path.chmod(0o600)
        self.config = ClusterConfig.from_dict(
            {
                "format": 1,
                "cluster": "main",
                "version": "15",
                "data_directory": f"{root}/data",
                "bin_directory": "/usr/lib/postgresql/15/bin",
                "socket_directory": "/run/postgresql",
                "service": {"manager": "pg_ctl"},
                "state_directory": f"{root}/state",
                "notify": {"file": str(path)},
            },
            source="a test",
        )

    def check(self, *found: Finding, known: bool = True) -> None:
        """A scheduled check that found this."""
        checks = [one.to_dict() for one in found]
        tell_check(self.config, {"checks": checks, "information": {} if known else None}, silent)

    @property
    def told(self) -> list[tuple[str, str]]:
        """Event and key of everything that was told."""
        lines = self.told_file.read_text().splitlines() if self.told_file.exists() else []
        values = [json.loads(line) for line in lines]
        return [(value["event"], value["key"]) for value in values]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


BAD = Finding("receive", "failed", "the receiver is gone", "受信が止まっています")
WARNS = Finding("rto", "warning", "never measured", "未計測")
FINE = Finding("server", "ok", "runs", "稼働中")


def test_a_check_that_is_not_made_any_more_is_no_problem_any_more(desk: Desk) -> None:
    desk.check(FINE, BAD)
    desk.check(FINE, BAD)
    assert desk.told == [("failure", "check:receive")]
    # With a repository that is gone, much is not looked at, and nothing of that is well.
    desk.check(FINE, known=False)
    assert desk.told == [("failure", "check:receive")]
    desk.check(FINE)
    assert desk.told == [("failure", "check:receive"), ("recovery", "check:receive")]
    assert standing(desk.config, silent)["problems"] == {}


def test_warnings_are_told_to_those_who_want_them(desk: Desk, tmp_path: Path) -> None:
    desk.check(WARNS)
    assert desk.told == []
    (tmp_path / "other").mkdir()
    other = Desk(tmp_path / "other", warnings=True)
    other.check(WARNS)
    assert other.told == [("failure", "check:rto")]


def test_one_that_only_had_to_wait_has_neither_failed_nor_worked(desk: Desk) -> None:
    tell_run(desk.config, "run:backup", ERROR, silent)
    tell_run(desk.config, "run:backup", {**ERROR, "code": "busy"}, silent)
    assert desk.told == [("failure", "run:backup")] and is_open(desk.config, "run:backup")
    tell_run(desk.config, "run:backup", None, silent)
    assert desk.told[1:] == [("recovery", "run:backup")] and not is_open(desk.config, "run:backup")


def test_a_state_that_cannot_be_read_is_begun_anew(desk: Desk, tmp_path: Path) -> None:
    tell_run(desk.config, "run:backup", ERROR, silent)
    (tmp_path / "state/notify/state.json").write_text("{")
    tell_run(desk.config, "run:backup", ERROR, silent)
    assert desk.told == [("failure", "run:backup")] * 2


def test_a_summary_comes_once_a_day(desk: Desk) -> None:
    result = {"checks": [BAD.to_dict(), FINE.to_dict()], "information": {}}
    assert summarize(desk.config, result, silent)["changed"] is True
    assert summarize(desk.config, result, silent)["changed"] is False
    assert summarize(desk.config, result, silent, again=True)["changed"] is True
    assert desk.told == [("summary", "summary")] * 2


def test_nobody_else_reads_what_waits(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "tell").write_text("#!/bin/sh\nexit 1\n")
    said: list[str] = []
    tell_run(desk.config, "run:backup", ERROR, said.append)
    assert said and "tried again" in said[0]
    (item,) = (tmp_path / "state/notify/outbox").iterdir()
    assert item.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state/notify/state.json").stat().st_mode & 0o777 == 0o600
