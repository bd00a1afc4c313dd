# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a replication connection's errors come to: known by SQLSTATE, as the words are in the server's language."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.replication import (
    ReplicationConnection,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed


def server(root: Path, words: str, status: int = 1) -> ReplicationConnection:
    """One whose psql says just that."""
    (root / "words").write_text(words, encoding="utf-8")
    program = root / "psql"
    program.write_text(f'#!/bin/sh\ncat "{root}/words" >&2\nexit {status}\n')
    program.chmod(0o755)
    return ReplicationConnection(str(root), {"host": "db1", "user": "dbkeeper"})


@pytest.mark.parametrize(
    "words",
    [
        'ERROR:  42710: replication slot "dbkeeper" already exists\nLOCATION:  ReplicationSlotCreate, slot.c:293\n',
        "FEHLER:  42710: Replikations-Slot »dbkeeper« existiert bereits\nORT:  ReplicationSlotCreate, slot.c:293\n",
        'ОШИБКА:  42710: слот репликации "dbkeeper" уже существует\nПОЛОЖЕНИЕ:  ReplicationSlotCreate\n',
        "NOTICE:  00000: something before it\nERREUR:  42710: le slot existe déjà\n",
        '错误:  42710: 复制槽名 "dbkeeper" 已经存在\n',
    ],
    ids=["English", "German", "Russian", "after a notice", "Chinese"],
)
def test_a_slot_that_is_there_is_used_whatever_the_servers_language(tmp_path: Path, words: str) -> None:
    assert server(tmp_path, words).make_slot("dbkeeper") is False


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("ERROR:  53400: all replication slots are in use\nHINT:  Free one\n", "53400"),
        ("FEHLER:  42501: keine Berechtigung\n", "42501"),
        # Names and words may hold anything; only the place behind the severity tells.
        ('ERROR:  42602: replication slot name "42710: x" contains invalid character\n', "42602"),
        ("ERROR:  XX000: could not write\nDETAIL:  42710: is what a slot that exists would say\n", "XX000"),
        ("no state at all: 42710\n", None),
        ("psql: error: something of the client's own, 42710:\n", None),
        ("", None),
    ],
)
def test_what_cannot_be_judged_is_told_and_not_taken_for_a_slot_that_is_there(
    tmp_path: Path, words: str, state: str | None
) -> None:
    with pytest.raises(Failed) as caught:
        server(tmp_path, words).make_slot("dbkeeper")
    error = caught.value
    assert error.code == "replication-command-failed" and error.details == {"sqlstate": state}
    assert error.attempted == "have the server do CREATE_REPLICATION_SLOT"
    assert error.happened == (" ".join(words.split()) or "psql gave no reason")
    assert "max_replication_slots" in error.remedy


def test_a_server_that_cannot_be_reached_has_no_slot(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        server(tmp_path, "psql: error: connection refused\n", status=2).make_slot("dbkeeper")
    assert caught.value.code == "server-unreachable"
