# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Pages of their own in a real browser: workload tests, paper, and names that are attacks."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.hosts import Host
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.merge import merge
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.page import page
from tests.headless import Browser, browser
from tests.report_hosts import EVIL, MADE_AT, finding, fleet, node, query_facts, result


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


def test_workload_tests_have_a_curve_over_those_that_can_be_compared(opened: Browser, tmp_path: Path) -> None:
    kinds = [("read_only", "direct", 100), ("read_only", "direct", 10), ("read_write", "direct", 100)]
    runs = [
        {
            **{
                "made_at": f"2026-11-{20 - day:02d}T03:00:00Z",
                "workload": workload,
                "way": way,
                "scale": scale,
            },
            **{"clients": 8, "tps": 1000.0 + day, "latency_seconds": 0.008, "failed": 0},
            **({"error": "it did not run", "error_code": "program-failed", "tps": None} if day == 2 else {}),
        }
        for day in range(4)
        for workload, way, scale in (kinds if day < 3 else kinds[:2])
    ]
    of = node("7100000000000000001", "db1")
    made = merge(
        [Host("db1", {"benchmark": result(of, [], facts={"runs": runs})})],
        made_at=MADE_AT,
        today=date(2026, 11, 21),
    )
    path = tmp_path / "report.html"
    path.write_text(page(made), encoding="utf-8")
    opened.open(path)
    curves = opened.run(
        "[...document.querySelectorAll('#benchmarks tbody tr')].map("
        "(row) => row.querySelector('svg.line')?.getAttribute('aria-label') ?? null)"
    )
    told = [one.partition(": ")[2].split(", ") for one in curves if one]
    # Oldest first; a run that failed is a gap.
    assert len(curves) == len(runs) and None not in curves[:3] and set(curves[3:]) == {None}
    assert told == [["1,003", "not there", "1,001", "1,000"]] * 2 + [["not there", "1,001", "1,000"]]
    # Why it did not run is said in the reader's language, and what the program said is quoted.
    for language, words in (
        ("en", "A program ended with an error: it did not run"),
        ("ja", "プログラムがエラーで終了しました: it did not run"),
    ):
        opened.run(f"document.querySelector('[data-choice={language}]').click()")
        failed = opened.run(
            "[...document.querySelectorAll('#benchmarks td.about p')].map((one) => one.textContent)"
        )
        assert failed[::2] == [words] * 3 and len(failed) == 6, failed
    opened.run("document.querySelector('[data-choice=en]').click()")


@pytest.mark.matrix
def test_paper_has_every_row_that_the_filters_leave(opened: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(merge(fleet(4, 2400), made_at=MADE_AT, today=date(2026, 11, 21))), encoding="utf-8")
    opened.open(path)
    count = "document.querySelectorAll('#list tbody tr').length"
    for moment, rows in (("beforeprint", 2400), ("afterprint", 100)):
        opened.run(f"dispatchEvent(new Event('{moment}'))")
        assert opened.run(count) == rows
    # The browser says so itself, on its way to paper.
    opened.run("document.querySelector('.tile.critical').click()")
    opened.run("document.querySelector('#list tbody').replaceChildren()")
    opened.run(f"addEventListener('beforeprint', () => {{ window.onpaper = {count} }})")
    pdf = base64.b64decode(opened.ask("Page.printToPDF", printBackground=True)["data"])
    assert opened.run("window.onpaper") > 200
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 5


def test_names_and_statements_of_64_kilobytes_that_are_attacks_are_texts(
    opened: Browser, tmp_path: Path
) -> None:
    long = (EVIL * (65536 // len(EVIL) + 1))[:65536]
    of = node("7100000000000000001", long)
    thing = {"kind": "index", "schema": long, "name": long, "table": long}
    told = [
        finding(
            1, of["system_id"], thing=thing, database=long, action=(long,), undo=(long,), grade="measured"
        )
    ]
    statement = {
        **query_facts(1, 1)["statements"][0],
        "text": long,
        "database": long,
        "user": long,
        "calls": 2,
    }
    facts = {**query_facts(1, 1), "statements": [statement]}
    gap = {"what": long, "why": long, "remedy": long}
    answers = {
        "index": result(of, told, not_seen=[gap]),
        "query": result(of, [], facts=facts),
        "health": {"msg": long},
    }
    made = merge(
        [Host(long, answers)], made_at=MADE_AT, today=date(2026, 11, 21), title=long, fail_on=["low"]
    )
    path = tmp_path / "report.html"
    path.write_text(page(made), encoding="utf-8")
    opened.requests.clear()
    opened.errors.clear()
    opened.size(1280, 900)
    opened.open(path)
    for language in ("ja", "en"):
        opened.run(f"document.querySelector('[data-choice={language}]').click()")
        opened.run("document.querySelector('#list .title[aria-expanded=false]')?.click()")
        opened.run("document.querySelector('#plan summary').click()")
        opened.run("document.querySelector('#load details summary').click()")
        opened.run("document.querySelector('.bars .name').click()")
        opened.until("document.querySelectorAll('#plan pre').length === 2")
        assert opened.run("document.querySelector('.sqls pre').textContent.length") == 65536
        assert opened.run("document.querySelectorAll('img, main script, iframe').length") == 0
        assert opened.run("document.documentElement.scrollWidth") <= 1280
    assert opened.run("document.querySelector('#picked pre').textContent.length") == 65536
    assert opened.run("typeof window.hacked") == "undefined"
    assert (opened.errors, set(opened.requests)) == ([], {path.as_uri()})
