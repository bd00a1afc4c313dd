# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A restore point's name is an identity: it is made once."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup import restore_point
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.restore_point import (
    KnownPoint,
    RestorePointRequest,
    create_restore_point,
    plan_restore_point,
    statements,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused

SEGMENT = "000000010000000000000003"
INDEXED = KnownPoint("before", "0/3000060", 1)
LISTED = KnownPoint("before", "0/30000C8", 1, "2026-11-21T05:00:00.000000Z")
OTHER = KnownPoint("after", "0/4000060", 1)


@pytest.mark.parametrize("name", ["", "x" * 64, "ä" * 32, "two\nlines", "nul\0"])
def test_names_that_postgresql_does_not_take(name: str) -> None:
    with pytest.raises(Refused) as caught:
        RestorePointRequest(name)
    assert caught.value.code == "restore-point-name-malformed"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([], None),
        ([OTHER], None),
        ([INDEXED], INDEXED),
        ([LISTED], LISTED),
        ([INDEXED, OTHER, LISTED], LISTED),
    ],
)
def test_what_is_there(known: list[KnownPoint], expected: KnownPoint | None) -> None:
    assert plan_restore_point(RestorePointRequest("before"), known) == expected


def test_a_name_used_twice_is_no_name() -> None:
    twice = [INDEXED, KnownPoint("before", "0/5000060", 1)]
    with pytest.raises(Refused) as caught:
        plan_restore_point(RestorePointRequest("before"), twice)
    assert caught.value.code == "restore-point-ambiguous"
    assert caught.value.details == {"lsns": ["0/3000060", "0/5000060"]}


def test_the_sql_is_quoted() -> None:
    assert statements(RestorePointRequest("it's")) == [
        "SELECT pg_create_restore_point('it''s')",
        "SELECT pg_switch_wal()",
    ]
    assert len(statements(RestorePointRequest("x", archive=False))) == 1


class Server:
    """Answers what is asked of it, and keeps the points that were made; ``dies`` with the point made."""

    def __init__(self, dies: bool = False) -> None:
        self.made: list[str] = []
        self.dies = dies

    def rows(
        self, connection: Any, statement: str, values: tuple[Any, ...] = (), *, attempted: str
    ) -> list[Any]:
        if "pg_create_restore_point" in statement:
            self.made.append(values[0])
            if self.dies:
                raise KeyboardInterrupt
            return [("0/3000060", SEGMENT, datetime(2026, 11, 22, tzinfo=timezone.utc))]
        if "system_identifier" in statement:
            return [(42, False)]
        return [(SEGMENT,)]


class Archive:
    """Of a repository what is asked here: whether a segment is there."""

    def __init__(self) -> None:
        self.archived = True
        self.points: list[KnownPoint] = []

    def has_wal(self, system_id: int, names: list[str]) -> set[str]:
        return set(names) if self.archived else set()


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Archive:
    made = Archive()
    monkeypatch.setattr(restore_point, "connect", lambda options: nullcontext())
    monkeypatch.setattr(restore_point, "repository_named_by", lambda config: made)
    monkeypatch.setattr(restore_point, "_PATIENCE_SECONDS", 0.0)
    listed = restore_point._listed

    def known(config: Any, repository: Archive, system_id: int) -> list[KnownPoint]:
        own = [KnownPoint(one["name"], one["lsn"], 1, one["made_at"]) for one in listed(config)]
        return [*repository.points, *own]

    monkeypatch.setattr(restore_point, "known_points", known)
    return made


def test_a_killed_run_does_not_make_the_next_one_make_it_twice(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A09: of two points of one name none can be restored."""
    config: Any = SimpleNamespace(state_directory=str(tmp_path))
    request = RestorePointRequest("before")
    server = Server(dies=True)
    monkeypatch.setattr(restore_point, "rows", server.rows)
    with pytest.raises(KeyboardInterrupt):
        create_restore_point({}, request, config=config)
    server.dies = False
    # Not archived yet: nobody can tell.
    archive.archived = False
    with pytest.raises(Refused) as caught:
        create_restore_point({}, request, config=config)
    assert caught.value.code == "restore-point-unsettled" and SEGMENT in caught.value.happened
    # It is found there, or it is not there and so was never made.
    archive.archived = True
    archive.points = [INDEXED]
    assert create_restore_point({}, request, config=config)["lsn"] == INDEXED.lsn
    assert server.made == ["before"]
    archive.points = []
    assert create_restore_point({}, request, config=config)["changed"] is True
    assert create_restore_point({}, request, config=config)["changed"] is False
    assert server.made == ["before", "before"]


def test_where_the_list_cannot_be_written_nothing_is_made(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config: Any = SimpleNamespace(state_directory=str(tmp_path))
    server = Server()
    monkeypatch.setattr(restore_point, "rows", server.rows)
    write, full = restore_point.write_json, OSError(28, "No space left on device")
    allowed = 0

    def limited(path: str, value: Any) -> None:
        nonlocal allowed
        if not allowed:
            raise full
        allowed -= 1
        write(path, value)

    monkeypatch.setattr(restore_point, "write_json", limited)
    with pytest.raises(Failed) as caught:
        create_restore_point({}, RestorePointRequest("before"), config=config)
    assert caught.value.code == "restore-point-list-unwritable" and server.made == []
    # Full just afterwards: it is made, and says so.
    allowed = 1
    result = create_restore_point({}, RestorePointRequest("before"), config=config)
    assert result["executed"] is True and "No space left" in result["warnings"][-1]
    archive.points = [INDEXED]
    assert create_restore_point({}, RestorePointRequest("before"), config=config)["changed"] is False
    assert server.made == ["before"]
