# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The SQL that makes the role of base backups."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.replication_role import plan_role


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("dbkeeper", None, ['CREATE ROLE "dbkeeper" LOGIN REPLICATION']),
        ("dbkeeper", (True, True), []),
        ("dbkeeper", (True, False), ['ALTER ROLE "dbkeeper" LOGIN REPLICATION']),
        ("dbkeeper", (False, True), ['ALTER ROLE "dbkeeper" LOGIN REPLICATION']),
        ('a"; DROP ROLE x; --', None, ['CREATE ROLE "a""; DROP ROLE x; --" LOGIN REPLICATION']),
    ],
)
def test_only_what_is_missing(name: str, found: tuple[bool, bool] | None, expected: list[str]) -> None:
    assert plan_role(name, found) == expected
