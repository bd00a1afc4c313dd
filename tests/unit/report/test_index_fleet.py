# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Unused on every node: what one node says, another one denies, and a third one is too young to know."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.fleet import across, twins
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.unused import digest_of
from tests.unit.report.index_facts import DAY, NOW, database, index


def row(index: str = "idle", **changes: Any) -> dict[str, Any]:
    return {
        "schema": "public",
        "index": index,
        "table": "t",
        "size_bytes": 50 << 20,
        "since": NOW - 40 * DAY,
        "until": NOW,
        "why": "watched",
        "scans": 0,
        "probes": False,
        "guard": None,
        "writes_per_second": 1.5,
        "action": [f'DROP INDEX CONCURRENTLY "public"."{index}";'],
        "undo": [f"CREATE INDEX CONCURRENTLY {index} ON public.t USING btree (a);"],
        **changes,
    }


def node(
    *rows: dict[str, Any], standby: bool = False, standbys: tuple[str, ...] = (), port: int = 1
) -> dict[str, Any]:
    return {
        "node": {"system_id": "7", "host": "h", "port": port, "in_recovery": standby},
        "facts": {
            "databases": {"shop": {"unused": list(rows), "definitions": {"count": 0, "each": {}}}},
            "standbys": [{"name": name, "address": None, "state": "streaming"} for name in standbys],
        },
    }


def test_idle_on_all_for_long_enough_is_measured_with_its_action() -> None:
    (found,) = across([node(row()), node(row(), standby=True, port=2)], ["h:1", "h:2"])
    assert (found.grade, found.severity, found.missing) == ("measured", "medium", ())
    assert found.action and found.undo and found.nodes == ("h:1", "h:2")
    assert found.window is not None and found.window.seconds == 40 * DAY


def test_used_on_one_node_is_used() -> None:
    assert across([node(row()), node(standby=True, port=2)]) == []


def test_the_window_is_the_one_that_all_share() -> None:
    (found,) = across([node(row()), node(row(since=NOW - 36 * DAY), standby=True, port=2)])
    assert found.window is not None and found.window.seconds == 36 * DAY


@pytest.mark.parametrize(
    ("results", "options", "named"),
    [
        ([node(row())], {"expected_nodes": ["h:1", "h:2"]}, "h:2"),
        ([node(row())], {"expected_nodes": ["h:1"], "unseen": {"three": "unreachable"}}, "three"),
        ([node(row(), standbys=("reports",))], {}, "reports"),
        ([node(row(), standby=True)], {}, "primary"),
        ([node(row()), node(row(since=NOW - 3 * DAY, why="first-run"), standby=True, port=2)], {}, "h:2"),
    ],
    ids=["not-asked", "unreachable", "streams-unasked", "no-primary", "too-young"],
)
def test_whatever_is_missing_is_named_and_nothing_is_proposed(
    results: list[dict[str, Any]], options: dict[str, Any], named: str
) -> None:
    (found,) = across(results, **options)
    assert found.grade == "insufficient"
    assert named in {word.values["node"] for word in found.missing}
    assert found.action == found.undo == ()


@pytest.mark.parametrize(
    "guard", ["unique", "foreign-key", "cover", "identity", "clustered", "extension", "constraint"]
)
def test_what_is_needed_is_not_told_of(guard: str) -> None:
    assert across([node(row(guard=guard))]) == []


def test_an_expression_is_reviewed_and_not_measured() -> None:
    (found,) = across([node(row(guard="expression"))])
    assert (found.grade, found.says.key) == ("heuristic", "IX04_review")


def test_scans_that_may_be_the_planners_prove_neither_use_nor_its_absence() -> None:
    young = {"since": NOW - DAY, "scans": 3}
    (found,) = across([node(row(probes=True, **young))])
    assert (found.grade, found.says.key, found.action) == ("insufficient", "IX04_probes", ())
    assert across([node(row(probes=False, **young))]) == []


def test_orders_are_of_the_set_and_after_what_the_catalogs_prove() -> None:
    found = across([node(row("small", size_bytes=20 << 20), row("large", size_bytes=90 << 20))])
    assert {one.thing["name"]: one.order for one in found} == {"large": 1001, "small": 1002}


def shards(**forms: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    result = {}
    for name, each in forms.items():
        one = node()
        one["node"]["system_id"] = name
        one["facts"]["databases"]["shop"]["definitions"] = {"count": len(each), "each": each}
        result[name] = [one]
    return result


def test_an_index_that_one_of_three_shards_lacks_or_has_otherwise() -> None:
    found = twins(
        shards(
            one={"public.a": "1", "public.b": "1", "public.c": "1"},
            two={"public.a": "1", "public.b": "2", "public.c": "1"},
            three={"public.a": "1", "public.b": "1"},
        )
    )
    assert {one.thing["name"]: one.nodes for one in found} == {"b": ("two",), "c": ("three",)}
    assert twins(shards(one={"public.a": "1"}, two={"public.a": "1"})) == []
    assert twins(shards(one={"public.a": "1"})) == []


def test_of_too_many_indexes_the_tables_are_compared() -> None:
    facts = shards(one={"public.a": "1"}, two={"public.a": "1"}, three={"public.a": "1"})
    tables = {"one": {"public.t": "1", "public.u": "1"}, "two": {"public.t": "1", "public.u": "1"}}
    tables["three"] = {"public.t": "1", "public.u": "2"}
    for cluster, (result,) in facts.items():
        result["facts"]["databases"]["shop"]["definitions"] |= {"each": None, "tables": tables[cluster]}
    (found,) = twins(facts)
    assert (found.says.key, found.thing["kind"], found.thing["name"]) == ("IX13_table", "table", "u")
    assert found.nodes == ("three",)
    # One that tells of nothing that the others tell of is not called different.
    facts["one"][0]["facts"]["databases"]["shop"]["definitions"]["tables"] = None
    assert twins(facts) == []


def test_tables_are_told_of_where_there_are_many_indexes() -> None:
    few = database(*[index(number, 1) for number in range(10, 20)])
    assert digest_of(few)["tables"] is None and len(digest_of(few)["each"]) == 10
    many = [index(number, 1) for number in range(10, 5100)]
    told = digest_of(database(*many))
    assert told["each"] is None and set(told["tables"]) == {"public.t1"}
    assert digest_of(database(*reversed(many)))["tables"] == told["tables"]
    other = digest_of(database(*many[:-1], many[-1]._replace(unique=True)))
    assert other["tables"] != told["tables"]
