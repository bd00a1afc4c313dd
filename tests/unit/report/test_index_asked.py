# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the texts of statements tell of a column (IX09): who speaks of it, who asks for nulls or for all in order."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.asked import judged


@pytest.mark.parametrize(
    ("statement", "whole"),
    [
        ("SELECT id FROM claim WHERE closed_by = $1", False),
        ("SELECT id FROM public.claim c WHERE c.closed_by = ANY($1)", False),
        ("SELECT id FROM claim WHERE CLOSED_BY IS NOT NULL", False),
        ("SELECT id FROM claim WHERE closed_by is /* x */ null", True),
        ('SELECT id FROM "claim" WHERE "closed_by" IS NULL', True),
        ("SELECT id FROM claim ORDER BY closed_by LIMIT $1", True),
        ("SELECT id FROM claim WHERE id = $1 ORDER BY id, claim.closed_by DESC", True),
        ("SELECT closed_by, count(*) FROM claim GROUP BY closed_by", False),
        ("SELECT max(closed_by) FROM claim WHERE id IN (SELECT x FROM y ORDER BY z)", False),
        ("UPDATE claim SET closed_by = $1 WHERE id = $2", False),
    ],
)
def test_what_a_statement_asks_of_a_column(statement: str, whole: bool) -> None:
    said = judged(statement, 7, "claim", "closed_by")
    assert said is not None
    assert (said.calls, said.whole, len(said.name)) == (7, whole, 16)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT closed_by FROM other WHERE closed_by IS NULL",
        "SELECT id FROM claim WHERE note = 'closed_by IS NULL'",
        'SELECT id FROM claim WHERE "Closed_by" IS NULL',
        "CREATE INDEX ON claim (closed_by)",
        "",
    ],
)
def test_what_does_not_speak_of_it(statement: str) -> None:
    assert judged(statement, 1, "claim", "closed_by") is None
