# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A restore point's name is an identity: it is made once."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.restore_point import (
    KnownPoint,
    RestorePointRequest,
    plan_restore_point,
    statements,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

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
