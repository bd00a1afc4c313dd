# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Findings: ids that stay, JSON that comes back, an order that does not depend on the order of looking."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.finding import (
    GRADES,
    SEVERITIES,
    Finding,
    NotSeen,
    Says,
    Window,
    identify,
    ranked,
)

FULL = Finding(
    name="IX02",
    system_id="7412345678901234567",
    severity="medium",
    grade="measured",
    database='日本 "db"',
    thing={"kind": "index", "schema": "public", "name": "i'1", "table": "t"},
    says=Says("IX02", {"index": "i'1", "size_bytes": 8192}),
    nodes=("a",),
    window=Window("2026-11-01T00:00:00Z", "2026-11-21T00:00:00Z", 1728000.0, "reset"),
    value={"size_bytes": 8192},
    threshold={"value": 1, "source": "rule"},
    impact={"bytes": 8192},
    action=("DROP INDEX CONCURRENTLY a;",),
    undo=("CREATE INDEX a ON t (b);",),
    order=3,
    missing=(Says("size", {"what": "a", "why": "b"}),),
)


def test_the_id_is_of_names_and_of_nothing_that_changes() -> None:
    assert FULL.id.startswith("ix02-") and len(FULL.id) == 17
    later = replace(FULL, value={"size_bytes": 1}, nodes=("b",), grade="heuristic", severity="low", order=9)
    assert later.id == FULL.id
    turned = dict(reversed(list(FULL.thing.items())))
    assert replace(FULL, thing=turned).id == FULL.id


@pytest.mark.parametrize(
    "other",
    [
        {"name": "IX03"},
        {"system_id": "1"},
        {"database": "b"},
        {"thing": {**FULL.thing, "schema": "other"}},
        {"thing": {**FULL.thing, "name": "i'2"}},
    ],
)
def test_another_object_has_another_id(other: dict[str, object]) -> None:
    assert replace(FULL, **other).id != FULL.id  # type: ignore[arg-type]


def test_names_cannot_be_moved_into_each_other() -> None:
    """``a.b`` in ``c`` is not ``a`` in ``b.c``."""
    one = identify("IX02", "1", "d", {"schema": "a", "name": "b.c"})
    assert one != identify("IX02", "1", "d", {"schema": "a.b", "name": "c"})


def test_a_finding_comes_back_from_json() -> None:
    kept = FULL.stand(
        "2026-11-01T00:00:00Z", known=True, accepted={"owner": "o", "reason": "r", "until": None}
    )
    assert kept.state == "accepted"
    data = json.loads(json.dumps(kept.to_dict()))
    assert Finding.from_dict(data) == replace(
        kept, impact={"bytes": 8192, "writes_per_second": None, "load_share": None}
    )
    assert Finding.from_dict(data).to_dict() == data


@pytest.mark.parametrize(
    "wrong",
    [{"severity": "bad"}, {"grade": "sure"}, {"state": "old"}, {"grade": "insufficient", "missing": ()}],
)
def test_what_a_finding_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="IX02"):
        replace(FULL, **wrong)  # type: ignore[arg-type]


def test_the_rank_does_not_depend_on_the_order_of_looking() -> None:
    findings = [
        replace(FULL, severity=severity, grade=grade, thing={"name": str(number)})
        for severity in SEVERITIES
        for grade in GRADES
        for number in range(3)
    ]
    expected = ranked(findings)
    assert [finding.severity for finding in expected] == [s for s in SEVERITIES for _number in range(12)]
    mixed = findings[:]
    random.Random(4).shuffle(mixed)
    assert ranked(mixed) == expected


def test_what_was_not_seen_says_so_in_english_and_by_key() -> None:
    data = NotSeen(Says("locked", {"what": 'table "t"'})).to_dict()
    assert data["what"] == 'table "t"'
    assert "lock" in data["why"] and data["remedy"]
    assert data["says"] == {"key": "locked", "values": {"what": 'table "t"'}}
