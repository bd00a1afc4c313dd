# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The place of a repository on another host is no path here, whatever lies below the current directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, KeeperError
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.leftovers import leftovers
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.opening import open_repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.remote import names

PLACE = "ssh://keeper@vault.example.com/srv/dbkeeper"


class Door:
    """What answers instead of one."""

    def __init__(self, answer: list[bytes] | KeeperError) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}

    def collect(self, verb: str, **values: Any) -> tuple[dict[str, Any], list[bytes], dict[str, Any]]:
        self.asked = {"verb": verb, **values}
        if isinstance(self.answer, KeeperError):
            raise self.answer
        return {"ok": True}, self.answer, {}


def found_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: Door, system_id: int | None
) -> list[dict[str, Any]] | None:
    base = tmp_path / PLACE.replace("//", "/", 1) / "main/base"
    (base / ".tmp-20261121T031500Z-full").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    ssh = {"identity_file": "/nonexistent/key", "known_hosts_file": "/nonexistent/hosts"}
    repository = open_repository(PLACE, "main", ssh, str(tmp_path / "state"))
    monkeypatch.setattr(repository, "line", door)
    return leftovers(repository, system_id, 0.0)


def test_leftovers_there_are_not_looked_for_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door([b'{"path": "/srv/a", "bytes": 1, "age_seconds": 9.0}\n{"path":', b' "/srv/b"}\n'])
    found = found_by(tmp_path, monkeypatch, door, 7)
    assert found == [{"path": "/srv/a", "bytes": 1, "age_seconds": 9.0}, {"path": "/srv/b"}]
    assert (door.asked["verb"], door.asked["system_id"]) == ("leftovers", "7")


def test_a_door_that_does_not_know_the_word_has_not_said_that_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Door(names.refused("there is no verb 'leftovers'"))
    assert found_by(tmp_path, monkeypatch, older, None) is None
    assert "system_id" not in older.asked


def test_a_door_that_does_not_answer_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Failed("repository-unreachable", attempted="a", happened="b", remedy="c")
    with pytest.raises(Failed):
        found_by(tmp_path, monkeypatch, Door(broken), None)
