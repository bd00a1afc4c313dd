# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report of a primary and two standbys that are worked on: what it says, of whom, and that it changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree

import jsonschema
import pytest

from tests.fleet_hosts import (
    NAMES,
    PROJECT,
    Report,
    age,
    apply,
    ask,
    benchmark,
    caught_up,
    host,
    kept,
    report,
    scratch,
    state,
    work,
)
from tests.playbook_runs import Run

SCHEMA = json.loads((PROJECT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
READING = "SELECT sum(l_quantity) FROM lineitem WHERE l_shipdate = '2021-02-03' AND l_partkey < 100"


@dataclass(frozen=True)
class Told:
    """The runs in their order, with what was there before and after."""

    tried: Run
    foretold: Report
    stored: bool
    untouched: bool
    first: dict[str, object]
    later: Report
    document: dict[str, object]
    again: Report
    repeated: dict[str, object]
    accepted: Report


@pytest.fixture(scope="module")
def told() -> Told:
    work()
    tried = benchmark()
    before = state()
    shutil.rmtree(scratch() / "report", ignore_errors=True)
    readings = kept()
    foretold = report("--check", report_fail_on=["new_unindexed_fk"])
    stored = kept() != readings or (scratch() / "report").exists()
    first = report()
    assert first.run.status == 0, first.run.out
    document = first.document
    # Five weeks later; and only now somebody reads on a standby.
    for name in NAMES:
        age(name, 40)
    for _round in range(3):
        ask("reader", READING)
    later = report(report_fail_on=["invalid_index"])
    # Each run writes over the files of the one before.
    seen = later.document
    again = report(report_fail_on=["invalid_index"])
    repeated = again.document
    accepted = report(report_fail_on=["invalid_index", "expired"], report_accepted=agreed(repeated))
    return Told(tried, foretold, stored, state() == before, document, later, seen, again, repeated, accepted)


#: What somebody says who takes a risk.
REASON = "日曜日に再作成します <b>Sunday</b>"


def agreed(document: dict[str, object]) -> list[dict[str, str]]:
    """The invalid index is accepted until next month, its neighbour was until long ago."""
    (invalid,), (twin,) = findings(document, "IX01"), findings(document, "IX02")
    until = (datetime.now(timezone.utc) + timedelta(days=30)).date().isoformat()
    return [
        {"id": invalid["id"], "owner": "hana", "reason": REASON, "until": until},
        {"id": twin["id"], "owner": "taro", "reason": "was needed in spring", "until": "2026-05-31"},
    ]


def findings(document: dict[str, object], name: str) -> list[dict[str, object]]:
    (cluster,) = document["clusters"]
    return [finding for finding in cluster["findings"] if finding["class"] == name]


def test_1_check_mode_says_what_would_be_said_and_stores_nothing(told: Told) -> None:
    assert told.foretold.run.status == 2, told.foretold.run.out
    assert "What breaks the rules of report_fail_on: 1;" in told.foretold.run.out
    assert not told.stored


def test_2_nothing_changes_on_the_hosts(told: Told) -> None:
    assert told.untouched


def test_3_the_four_files_say_the_same(told: Told) -> None:
    document = told.repeated
    jsonschema.validate(document, SCHEMA)
    assert told.again.states == dict.fromkeys(NAMES, "seen")
    assert document["not_seen"] == [], document["not_seen"]
    page, text = told.again.text("report.html"), told.again.text("report.md")
    for finding in told.again.cluster["findings"]:
        # The page has its findings packed; its own tests open it in a browser.
        assert finding["id"] in text
    assert "http://" not in page.replace("http://www.w3.org/", "") and "https://" not in page
    assert ElementTree.fromstring(told.again.text("report.junit.xml")).tag == "testsuite"


def test_4_what_is_short_of_evidence_at_first(told: Told) -> None:
    """No index is unused on the first day, and one that is invalid may be one that is being built."""
    unused = {finding["object"]["name"]: finding for finding in findings(told.first, "IX04")}
    assert set(unused) == {"lineitem_shipped", "lineitem_returned"}
    for finding in [*unused.values(), *findings(told.first, "IX01")]:
        assert (finding["grade"], finding["action"], finding["undo"]) == ("insufficient", [], [])
        assert finding["missing"]


def test_5_an_index_that_only_a_standby_uses_is_not_called_unused(told: Told) -> None:
    (unused,) = findings(told.document, "IX04")
    assert unused["object"]["name"] == "lineitem_returned"
    assert (unused["grade"], sorted(unused["nodes"])) == ("measured", sorted(NAMES))
    assert unused["action"] == ['DROP INDEX CONCURRENTLY "public"."lineitem_returned";']
    assert unused["undo"][0].startswith("CREATE INDEX CONCURRENTLY lineitem_returned ON public.lineitem")
    assert unused["says"]["values"]["window_seconds"] > 35 * 86400


def test_6_what_the_catalogs_prove(told: Told) -> None:
    (twin,) = told.later.findings("IX02")
    assert twin["object"]["name"] in ("customer_nation", "customer_nation_again")
    assert {finding["object"]["name"] for finding in told.later.findings("IX03")} == {
        "orders_date",
        "orders_date_again",
        "events_device",
    }
    (parent,) = told.later.findings("IX07")
    assert parent["object"]["name"] == "orders" and "o_custkey" in parent["action"][0]
    # Customers are updated, never deleted, and no update changes their key.
    assert (parent["severity"], parent["grade"]) == ("medium", "measured")


def test_7_an_invalid_index_closes_the_gate_at_the_second_sight(told: Told) -> None:
    (invalid,) = told.later.findings("IX01")
    assert (invalid["object"]["name"], invalid["grade"]) == ("lineitem_part", "measured")
    assert told.later.run.status == 2, told.later.run.out
    assert invalid["id"] in told.later.run.out
    # One thing is told once.
    assert told.later.findings("HC23") == []


def test_8_a_standby_is_not_asked_for_backups_of_its_own(told: Told) -> None:
    assert {node for finding in told.later.findings("HC35") for node in finding["nodes"]} <= {"primary"}


def test_9_a_run_that_finds_nothing_new_changes_nothing(told: Told) -> None:
    """Neither on the hosts nor in the report; the gate's word is the same as before."""
    assert told.again.run.status == 2, told.again.run.out
    assert set(NAMES) <= set(told.again.run.recap)
    assert set(told.again.run.recap.values()) == {0}, told.again.run.out
    assert told.again.run.changed == set(), told.again.run.out
    assert told.later.run.changed != set()


def test_an_accepted_finding_opens_the_gate_until_its_day(told: Told) -> None:
    """What was accepted until a day that is over is open again, and a rule may ask for it."""
    invalid, twin = agreed(told.repeated)
    run = told.accepted.run
    assert run.status == 2, run.out
    assert "What breaks the rules of report_fail_on: 1;" in run.out and f"expired: {twin['id']}" in run.out
    assert f"invalid_index: {invalid['id']}" in told.again.run.out
    (kept,) = told.accepted.findings("IX01")
    assert (kept["state"], kept["accepted"]) == ("accepted", invalid)
    (over,) = told.accepted.findings("IX02")
    assert (over["state"], over["accepted"], over["expired"]) == ("known", None, True)
    words = told.accepted.page["labels"]
    assert words["ja"]["accepted_by"].format(**invalid) == f"hana が {invalid['until']} まで許容: {REASON}"
    assert (
        words["en"]["accepted_by"].format(**invalid) == f"Accepted by hana until {invalid['until']}: {REASON}"
    )
    assert REASON in json.dumps(told.accepted.page["document"], ensure_ascii=False)
    assert "<b>Sunday" not in told.accepted.text("report.html")
    assert "## Accepted findings" in told.accepted.text("report.md")
    open_ones = [one for one in told.accepted.cluster["findings"] if one["state"] != "accepted"]
    assert told.accepted.document["summary"]["findings"] == len(open_ones)


def test_a_workload_test_is_on_the_page_both_ways(told: Told) -> None:
    assert told.tried.status == 0, told.tried.out
    nodes = {node["name"]: node for node in told.again.cluster["nodes"]}
    runs = nodes["primary"]["reports"]["benchmark"]["facts"]["runs"]
    ways = [(run["workload"], run["way"]) for run in runs]
    assert ways == [(what, way) for what in ("read_only", "read_write") for way in ("direct", "pgbouncer")]
    assert all(run["tps"] > 0 and run["failed"] == 0 for run in runs), runs
    assert (
        ask("primary", "SELECT count(*) FROM pg_class WHERE relname ~ '^pgbench'", "dbkeeper_benchmark")
        == "0"
    )


def test_an_approved_index_is_dropped_watched_and_brought_back(told: Told) -> None:
    (unused,) = told.again.findings("IX04")
    (invalid,) = told.again.findings("IX01")
    there = "SELECT pg_get_indexdef(to_regclass('lineitem_returned'))"
    before = ask("primary", there)
    assert before
    foretold = apply(unused["id"], check=True)
    assert (foretold.status, ask("primary", there)) == (0, before), foretold.out
    assert f"{unused['id']} would-be-done" in foretold.out
    done = apply(unused["id"])
    assert done.status == 0 and f"{unused['id']} done" in done.out, done.out
    caught_up()
    assert [ask(name, there) for name in NAMES] == ["", "", ""]
    repeated = apply(unused["id"])
    assert (repeated.status, repeated.changed) == (0, set()), repeated.out
    record = host("primary").check_output("cat /var/lib/dbkeeper/report/*/applied.json")
    assert json.loads(record)["steps"][unused["id"]]["status"] == "done"
    undone = apply(unused["id"], state="undone")
    assert undone.status == 0 and ask("primary", there) == before, undone.out
    assert invalid["id"] not in record
