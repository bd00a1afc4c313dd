# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Many nodes become one document: clusters, joined findings, what is missing, acceptance, and the published schema."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.finding import NotSeen, Says
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.gate import checked, known_rules
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.hosts import Host, grouped
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.merge import merge
from tests.report_hosts import MADE_AT, SINCE, finding, fleet, node, result

CHECKOUT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((CHECKOUT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
TODAY = date(2026, 11, 21)
ONE, TWO = "7100000000000000001", "7100000000000000002"
GONE = {"unreachable": True, "msg": "no route to host"}


def host(name: str, system_id: str = ONE, *, standby: bool = False, primary: str = "", **more: Any) -> Host:
    of = node(system_id, name, standby=standby)
    findings = more.pop("findings", [])
    return Host(name, {"index": result(of, findings, **more)}, primary)


def lost(name: str, primary: str = "", label: str = "") -> Host:
    return Host(name, dict.fromkeys(("index", "query", "health"), GONE), primary, label)


def document(*hosts: Host, **options: Any) -> dict[str, Any]:
    return merge(hosts, made_at=MADE_AT, today=options.pop("today", TODAY), **options)


def only(made: dict[str, Any]) -> dict[str, Any]:
    (one,) = [each for cluster in made["clusters"] for each in cluster["findings"]]
    return dict(one)


def test_a_fleet_is_valid_against_the_published_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    made = document(*fleet(7, 120), fail_on=["critical", "not_seen", "new_unindexed_fk"])
    jsonschema.validate(json.loads(json.dumps(made)), SCHEMA)
    assert len(made["clusters"]) == 3
    assert sum(len(cluster["findings"]) for cluster in made["clusters"]) == 120


def test_the_schema_refuses_what_is_no_report() -> None:
    made = document(*fleet(2, 3))
    del made["clusters"][0]["findings"][0]["texts"]["ja"]
    with pytest.raises(jsonschema.ValidationError, match="'ja' is a required property"):
        jsonschema.validate(made, SCHEMA)


def test_nodes_of_one_system_identifier_are_one_cluster_named_after_its_primary() -> None:
    groups = grouped([host("c", standby=True), host("a", standby=True), host("b"), host("z", TWO)])
    assert [(group.name, [each.name for each in group.hosts]) for group in groups] == [
        ("b", ["b", "a", "c"]),
        ("z", ["z"]),
    ]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([host("a"), lost("b", primary="a")], [("a", ["a", "b"])]),
        ([lost("a"), host("b", standby=True, primary="a")], [("a", ["a", "b"])]),
        ([lost("a"), lost("b", primary="a")], [("a", ["a", "b"])]),
        ([host("b", standby=True, primary="a"), lost("c", primary="a")], [("a", ["b", "c"])]),
        ([lost("a"), lost("b")], [("a", ["a"]), ("b", ["b"])]),
        ([host("a"), host("b", TWO), lost("c", primary="b")], [("a", ["a"]), ("b", ["b", "c"])]),
    ],
    ids=["standby", "primary", "both", "sibling", "strangers", "two clusters"],
)
def test_a_host_that_is_gone_stands_where_the_inventory_puts_it(hosts: list[Host], expected: Any) -> None:
    assert [(group.name, [each.name for each in group.hosts]) for group in grouped(hosts)] == expected


def test_a_copy_with_the_name_of_its_original_stays_a_cluster_of_its_own() -> None:
    first = Host("a", host("a").results, "", "shop")
    second = Host("b", host("b", TWO).results, "", "shop")
    assert [group.name for group in grouped([first, second])] == ["shop", "shop (2)"]


def test_what_several_nodes_say_is_said_once_with_the_worst_of_it() -> None:
    mild = finding(1, ONE, severity="low", state="known", first_seen=MADE_AT, value={"size_bytes": 1})
    bad = finding(1, ONE, severity="high", state="new", first_seen=SINCE, value={"size_bytes": 2})
    made = only(document(host("a", findings=[mild]), host("b", standby=True, findings=[bad])))
    assert made["nodes"] == ["a", "b"]
    assert made["severity"] == "high"
    assert made["state"] == "known"
    assert made["first_seen"] == SINCE
    assert made["values"] == {"a": {"size_bytes": 1}, "b": {"size_bytes": 2}}


def test_the_same_object_in_two_clusters_is_two_findings() -> None:
    made = document(host("a", findings=[finding(1, ONE)]), host("b", TWO, findings=[finding(1, TWO)]))
    assert [len(cluster["findings"]) for cluster in made["clusters"]] == [1, 1]
    assert made["clusters"][0]["findings"][0]["id"] != made["clusters"][1]["findings"][0]["id"]


@pytest.mark.parametrize(
    ("until", "state", "expired"),
    [
        ("2026-11-22", "accepted", False),
        ("2026-11-21", "accepted", False),
        ("2026-11-20", "known", True),
        ("", "accepted", False),
    ],
)
def test_an_acceptance_lasts_until_its_day(until: str, state: str, expired: bool) -> None:
    one = finding(1, ONE, severity="critical")
    entry = {"id": one.id, "owner": "ops", "reason": "年末処理", "until": until}
    made = document(host("a", findings=[one]), accepted=[entry], fail_on=["critical", "expired"])
    assert only(made)["state"] == state
    assert only(made)["expired"] is expired
    assert made["gate"]["passed"] is not expired
    assert made["summary"]["accepted"] == (state == "accepted")
    if not expired:
        assert only(made)["accepted"]["reason"] == "年末処理"


def test_an_acceptance_that_the_host_still_keeps_ends_on_the_controller_too() -> None:
    kept = {"id": "x", "owner": "ops", "reason": "r", "until": "2026-11-01"}
    one = finding(1, ONE, state="accepted", accepted=kept)
    made = only(document(host("a", findings=[one])))
    assert (made["state"], made["accepted"], made["expired"]) == ("known", None, True)


def test_what_could_not_be_seen_is_said_with_its_place_and_reason() -> None:
    blind = {"what": "public.orders", "why": "held", "remedy": "wait", "says": {"key": "none", "values": {}}}
    of = node(ONE, "a")
    partly = Host("a", {"index": result(of, [], not_seen=[blind]), "query": {"msg": "no extension"}})
    made = document(partly, lost("b", primary="a"), Host("c", {"index": {"msg": "login refused"}}, "a"))
    assert [(gap["node"], gap["report"], gap["what"], gap["why"]) for gap in made["not_seen"]] == [
        ("a", "index", "public.orders", "held"),
        ("a", "query", "its statements", "no extension"),
        ("b", None, "the whole host", "no route to host"),
        ("c", None, "the whole host", "login refused"),
    ]
    assert [each["state"] for each in made["clusters"][0]["nodes"]] == ["partly", "unreachable", "failed"]
    assert made["not_seen"][1]["texts"]["ja"]["what"] == "SQL 文の統計"
    assert made["summary"]["nodes_seen"] == 1


def test_a_standby_that_no_inventory_names_is_expected_and_missed() -> None:
    standbys = [
        {"name": "db_2", "address": "192.0.2.2"},
        {"name": "elsewhere", "address": "192.0.2.9"},
    ]
    made = document(host("db-1", facts={"standbys": standbys}), host("db-2", standby=True, primary="db-1"))
    assert made["clusters"][0]["expected_nodes"] == ["db-1", "db-2", "elsewhere"]
    assert [gap["node"] for gap in made["not_seen"]] == ["elsewhere"]


def test_rules_are_held_against_findings_by_name_class_severity_and_novelty() -> None:
    told = [
        finding(1, ONE, name="IX07", severity="high", state="new", grade="measured"),
        finding(2, ONE, name="IX07", severity="low", state="known", grade="measured"),
        finding(3, ONE, name="QY02", severity="medium", state="known", grade="measured"),
        finding(4, ONE, name="IX02", severity="critical", state="accepted", accepted={"owner": "ops"}),
        finding(5, ONE, name="IX04", severity="critical", grade="insufficient"),
    ]
    expected = {
        "critical": 0,
        "high": 1,
        "medium": 2,
        "low": 3,
        "new_high": 1,
        "new_low": 1,
        "unindexed_fk": 2,
        "IX07": 2,
        "new_unindexed_fk": 1,
        "new_IX07": 1,
        "regression": 1,
        "new_regression": 0,
        "duplicate_index": 0,
        "unused_index": 0,
        "new": 1,
        "expired": 0,
        "not_seen": 3,
        "unreachable": 1,
    }
    made = document(
        host("a", findings=told),
        lost("b", primary="a"),
        host("c", TWO, not_seen=[{"what": "one"}, {"what": "two"}]),
    )
    for rule, broken in expected.items():
        gate = document(
            host("a", findings=told),
            lost("b"),
            host("c", TWO, not_seen=[{"what": "one"}, {"what": "two"}]),
            fail_on=[rule],
        )["gate"]
        assert len(gate["failures"]) == broken, rule
        assert gate["passed"] is (broken == 0)
        assert {failed["rule"] for failed in gate["failures"]} <= {rule}
    assert made["gate"] == {"fail_on": [], "passed": True, "failures": []}


def test_a_rule_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(Refused) as refused:
        checked(["new_unindexed_fks"])
    assert refused.value.code == "report-rule-unknown"
    assert "Did you mean 'new_unindexed_fk'?" in refused.value.remedy
    for rule in ("new_not_seen", "ix07", "", "info7"):
        with pytest.raises(Refused):
            checked([rule])
    assert checked([*known_rules(), "critical"]) == known_rules()


def test_the_summary_counts_what_is_open() -> None:
    thing = {"schema": "public", "name": "twice"}
    told = [
        finding(1, ONE, name="IX02", grade="measured", impact={"bytes": 1000}, thing=thing, database="app"),
        finding(1, ONE, name="IX04", grade="measured", impact={"bytes": 900}, thing=thing, database="app"),
        finding(2, ONE, name="IX04", grade="insufficient", impact={"bytes": 1000}),
        finding(3, ONE, name="IX07", grade="measured", impact={"bytes": 1000}),
        finding(4, ONE, name="IX02", state="accepted", accepted={"owner": "ops"}),
    ]
    summary = document(host("a", findings=told))["summary"]
    assert summary["findings"] == 4
    assert summary["accepted"] == 1
    assert summary["reclaimable_bytes"] == 1000
    assert sum(summary["by_severity"].values()) == 4


def test_an_error_of_a_module_is_told_in_both_languages() -> None:
    said = {"code": "server-unreachable", "happened": "connection refused", "remedy": "See pg_hba.conf."}
    broken = {"failed": True, "msg": "connect: connection refused. See pg_hba.conf.", "error": said}
    made = document(Host("db1", dict.fromkeys(("index", "query"), broken)), host("db2", TWO))
    (gap,) = [one for one in made["not_seen"] if one["node"] == "db1"]
    assert gap["texts"]["en"]["why"] == "The server cannot be reached: connection refused"
    assert gap["texts"]["ja"]["why"] == "サーバに接続できません: connection refused"
    assert "pg_hba.conf" in gap["texts"]["ja"]["remedy"]
    never = document(Host("db3"), host("db2", TWO))
    assert "問い合わせていません。" in [one["texts"]["ja"]["why"] for one in never["not_seen"]]


def test_an_invalid_index_is_told_once_by_who_knows_how_it_is_mended() -> None:
    thing = {"kind": "index", "schema": "public", "name": "half", "table": "orders"}
    other = {**thing, "name": "another"}
    by_health = [finding(1, ONE, key="HC23", thing=each, database="app") for each in (thing, other)]
    by_indexes = finding(2, ONE, key="IX01", thing=thing, database="app")
    of = node(ONE, "db1")
    made = document(
        Host("db1", {"index": result(of, [by_indexes]), "health": result(of, by_health)}),
    )
    told = sorted(
        (each["class"], each["object"]["name"])
        for cluster in made["clusters"]
        for each in cluster["findings"]
    )
    assert told == [("HC23", "another"), ("IX01", "half")]


@pytest.mark.parametrize("why", ["first-run", "watched", "reset", "counters", "promotion", "clock"])
def test_what_is_short_of_evidence_is_advised_with_care_and_says_why_in_words(why: str) -> None:
    """Nobody drops an index on the first day because the page says so, and no slug is left in a sentence."""
    gap = Says("window", {"node": "db1", "seen_seconds": 0.0, "needed_seconds": 3024000, "why": why})
    bare = finding(1, ONE, key="IX04", grade="measured")
    short = finding(1, ONE, key="IX04", grade="insufficient", missing=(gap,), action=(), undo=())
    for language, start in (("en", "Nothing yet"), ("ja", "まだ対処しないでください")):
        advice = only(document(host("db1", findings=[bare])))["texts"][language]["remedy"]
        text = only(document(host("db1", findings=[short])))["texts"][language]
        assert text["remedy"].startswith(start) and text["remedy"].endswith(advice)
        assert not advice.startswith(start)
        assert "db1" in text["missing"] and "first-run" not in text["missing"]
        assert language == "en" or why not in text["missing"]


def test_what_only_the_controller_tells_comes_and_goes_without_being_new_again() -> None:
    """A standby that is missing: no host's baseline knows of that finding, the last document does."""
    health = {"capacity": {}, "standbys": [], "settings": {}}

    def run(previous: dict[str, Any] | None, *, there: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
        told = [{"application_name": "db2", "state": "streaming"}] if there else []
        primary = Host("db1", {"health": result(node(ONE, "db1"), [], facts={**health, "standbys": told})})
        made = document(primary, Host("db2", {"health": GONE}, "db1"), previous=previous, fail_on=["new"])
        jsonschema.validate(json.loads(json.dumps(made)), SCHEMA)
        found = [one for one in made["clusters"][0]["findings"] if one["class"] == "HC34"]
        return made, found[0] if found else None

    first, told = run(None, there=False)
    assert told and (told["state"], told["runs"]["values"]) == ("new", [1.0]) and not first["gate"]["passed"]
    gone, nothing = run(first, there=True)
    assert nothing is None and gone["gate"]["passed"]
    back, again = run(gone, there=False)
    assert again and (again["state"], again["first_seen"]) == ("known", told["first_seen"])
    assert (again["runs"]["seen"], again["runs"]["of"], back["gate"]["passed"]) == (2, 3, True)
    for _run in range(5):
        back, nothing = run(back, there=True)
    settled, new = run(back, there=False)
    assert new and new["state"] == "new" and not settled["gate"]["passed"]
    for _run in range(30):
        settled, nothing = run(settled, there=True)
    assert settled["remembered"] == {}


def test_a_run_that_did_not_ask_tells_nothing_of_what_it_did_not_see() -> None:
    """Any number of runs of one report alone leave the findings of another as they were; so do runs without answer."""
    lone = Host(
        "db1",
        {"health": result(node(ONE, "db1"), [], facts={"capacity": {}, "standbys": [], "settings": {}})},
    )
    gone = Host("db2", {"health": GONE}, "db1")
    made = document(lone, gone)
    (told,) = [one for one in made["clusters"][0]["findings"] if one["class"] == "HC34"]
    before = made["remembered"]
    for number in range(40):
        only_one = {"index": result(node(ONE, "db1"), [])} if number % 2 else {"health": GONE}
        made = document(Host("db1", only_one), previous=made)
        assert made["remembered"] == before
        jsonschema.validate(json.loads(json.dumps(made)), SCHEMA)
    again = document(lone, gone, previous=made)
    (known,) = [one for one in again["clusters"][0]["findings"] if one["class"] == "HC34"]
    assert (known["state"], known["first_seen"]) == ("known", told["first_seen"])


def test_two_reports_that_are_kept_from_the_same_thing_are_one_gap() -> None:
    of = node(ONE, "db1")
    shut = NotSeen(Says("refused", {"what": "database sealed", "detail": "too many connections"})).to_dict()
    other = NotSeen(Says("refused", {"what": "database other", "detail": "too many connections"})).to_dict()
    made = document(
        Host(
            "db1",
            {"index": result(of, [], not_seen=[shut]), "health": result(of, [], not_seen=[shut, other])},
        )
    )
    told = [(gap["report"], gap["what"]) for gap in made["not_seen"]]
    assert told == [("index", "database sealed"), ("health", "database other")]
