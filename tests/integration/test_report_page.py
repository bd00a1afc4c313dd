# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report's page in a real browser: what a person does with it, by mouse and by keyboard, in both languages."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.labels import catalogue
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.merge import merge
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.page import page
from tests.headless import DIM, Browser, browser
from tests.report_hosts import MADE_AT, fleet

#: What stands before the steps of a finding in the plan.
MARK = re.compile(r"-- [a-z]{2}\d\d[a-z]?-[0-9a-f]{12}: ")
SEVERITIES = ["critical", "high", "medium", "low", "info"]
#: What is read of the list: (severity's class, title, id) of each row that is there.
ROWS = """[...document.querySelectorAll('#list tbody tr[data-id]')].map((row) =>
  [row.querySelector('.badge').className.slice('badge bg-'.length), row.querySelector('.title').textContent,
   row.dataset.id])"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A fleet of three clusters, and its page."""
    made = merge(
        fleet(7, 130),
        made_at=MADE_AT,
        today=date(2026, 11, 21),
        fail_on=["new_high", "unreachable"],
        title="Fleet <b>",
    )
    path = tmp_path_factory.mktemp("small") / "report.html"
    path.write_text(page(made), encoding="utf-8")
    return path, made


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as one:
        one.ask(
            "Page.addScriptToEvaluateOnNewDocument",
            source="if (location.protocol === 'file:') localStorage.clear()",
        )
        yield one


@pytest.fixture
def view(opened: Browser, small: tuple[Path, dict[str, Any]]) -> Iterator[Browser]:
    """The page as it is opened for the first time. Whatever a test does: no request, no complaint, no attack."""
    opened.requests.clear()
    opened.errors.clear()
    opened.size(1280, 900)
    opened.prefer("light")
    opened.ask("Page.navigate", url="about:blank")
    opened.open(small[0])
    yield opened
    assert {url for url in opened.requests if url != "about:blank"} == {small[0].as_uri()}
    assert opened.errors == []
    assert opened.run("typeof window.hacked") == "undefined"


def findings(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for cluster in document["clusters"] for finding in cluster["findings"]]


def shown(view: Browser) -> list[list[str]]:
    return list(view.run(ROWS))


def choose(view: Browser, name: str, value: str) -> None:
    view.run(
        f"""(() => {{ const field = document.querySelector('.filters [name={name}]'); field.value = {json.dumps(value)};
        field.dispatchEvent(new Event('input')); field.dispatchEvent(new Event('change')); }})()"""
    )


def test_a_page_of_a_large_fleet_draws_what_is_looked_at(opened: Browser, tmp_path: Path) -> None:
    """50 nodes, 5,000 findings. How long it took is printed; what makes it quick is asserted."""
    path = tmp_path / "report.html"
    made = merge(fleet(50, 5000), made_at=MADE_AT, today=date(2026, 11, 21))
    path.write_text(page(made), encoding="utf-8")
    opened.open(path)
    print(
        f"{path.stat().st_size / 1e6:.1f} MB, drawn after {opened.run('document.documentElement.dataset.drawn')} ms"
    )
    assert len(shown(opened)) == 100
    assert opened.run("document.querySelectorAll('*').length") < 12_000
    assert opened.run("document.querySelectorAll('.heat tbody tr').length") == 50 + 17
    assert "5,000" in opened.run("document.getElementById('count').textContent")
    begun = float(opened.run("performance.now()"))
    choose(opened, "search", "order_items_77_idx")
    print(f"filtered in {float(opened.run('performance.now()')) - begun:.0f} ms")
    assert len(shown(opened)) == len(
        [one for one in findings(made) if "order_items_77_idx" in json.dumps(one)]
    )
    opened.run("document.getElementById('clear').click()")
    opened.run("document.querySelector('#under button').click()")
    assert len(shown(opened)) == 600


def test_it_speaks_the_language_of_its_reader_and_switches(
    view: Browser, small: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    reports = Path(os.environ.get("DBKEEPER_REPORT_DIR", str(tmp_path)))
    first = {one["id"]: one for one in findings(small[1])}
    for language in ("en", "ja", "en"):
        view.run(f"document.querySelector('[data-choice={language}]').click()")
        words = catalogue(language)
        assert view.run("document.documentElement.lang") == language
        assert view.run("document.querySelector('#findings h2').textContent") == words["findings"]
        assert view.run(f"document.activeElement.dataset.choice === '{language}'")
        for severity, title, name in shown(view)[:20]:
            assert title == first[name]["texts"][language]["title"]
            assert severity == first[name]["severity"]
        heads = view.run("[...document.querySelectorAll('#list thead th')].map((one) => one.textContent)")
        assert heads == [
            words[key] for key in ("severity", "finding", "nodes", "grade", "impact", "first_seen")
        ]
        view.run("document.querySelector('#list .title').click()")
        view.picture(reports / f"report-{language}.png", whole=False)
    agent = view.run("navigator.userAgent")
    view.ask("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="ja-JP,ja;q=0.9,en;q=0.5")
    view.reload()
    view.until("document.documentElement.lang === 'ja'")
    view.ask("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="en-US,en")


def test_findings_are_filtered_and_the_address_keeps_it(
    view: Browser, small: tuple[Path, dict[str, Any]]
) -> None:
    everything = findings(small[1])
    for name, value, wanted in (
        ("severity", "critical", [one for one in everything if one["severity"] == "critical"]),
        ("area", "indexes", [one for one in everything if one["area"] == "indexes"]),
        ("grade", "insufficient", [one for one in everything if one["grade"] == "insufficient"]),
        ("state", "new", [one for one in everything if one["state"] == "new"]),
        ("search", "注文明細 DROP", [one for one in everything if "注文明細" in one["object"]["table"]]),
        ("search", 'WE"IRD', [one for one in everything if 'we"ird' in one["object"]["table"]]),
        ("search", "nothing is called so", []),
    ):
        choose(view, name, value)
        view.run("document.querySelector('#under button')?.click()")
        assert {row[2] for row in shown(view)} == {one["id"] for one in wanted}, (name, value)
        assert view.run("document.getElementById('empty').hidden") is bool(wanted)
        if wanted:
            address = view.run("location.hash")
            view.reload()
            assert view.run("location.hash") == address
            assert {row[2] for row in shown(view)} == {one["id"] for one in wanted}
        view.run("document.getElementById('clear').click()")
    assert view.run("location.hash") == ""


def test_findings_are_sorted_by_each_column_both_ways(
    view: Browser, small: tuple[Path, dict[str, Any]]
) -> None:
    by_id = {one["id"]: one for one in findings(small[1])}
    view.run("document.querySelector('#under button')?.click()")
    for column, key in (
        ("severity", lambda one: SEVERITIES.index(one["severity"])),
        ("grade", lambda one: ["measured", "validated", "heuristic", "insufficient"].index(one["grade"])),
        ("impact", lambda one: -one["impact"]["load_share"]),
        ("place", lambda one: one["nodes"][0][:4]),
    ):
        for direction in ("ascending", "descending"):
            head = f"document.querySelector('#list th[data-sort={column}]')"
            while view.run(f"{head}.getAttribute('aria-sort')") != direction:
                view.run(f"{head}.querySelector('button').click()")
            values = [key(by_id[row[2]]) for row in shown(view)]
            assert len(values) == len(by_id)
            assert values == sorted(values, reverse=direction == "descending"), (column, direction)
        assert view.run("document.querySelectorAll('#list th[aria-sort]').length") == 1


def test_a_cell_of_the_heat_table_leads_to_what_it_counts(
    view: Browser, small: tuple[Path, dict[str, Any]]
) -> None:
    cell = "document.querySelector('.heat td button')"
    label, number = view.run(f"[{cell}.getAttribute('aria-label'), Number({cell}.textContent)]")
    node = label.split(",")[0]
    view.run(f"{cell}.click()")
    wanted = [
        one
        for one in findings(small[1])
        if node in one["nodes"] and one["area"] == view.run("document.querySelector('[name=area]').value")
    ]
    assert len(shown(view)) == number == len(wanted)
    path = view.run("[...document.querySelectorAll('.path button')].map((one) => one.textContent)")
    assert path == [catalogue("en")["fleet"], small[1]["clusters"][0]["name"], node]
    view.run("document.querySelector('.path button').click()")
    view.run("document.getElementById('clear').click()")
    assert len(shown(view)) == 100


def test_a_finding_opens_by_keyboard_and_its_sql_is_copied_exactly(
    view: Browser, small: tuple[Path, dict[str, Any]]
) -> None:
    view.key("Tab")
    assert view.run("document.activeElement.id") == "skip"
    view.run("document.querySelector('#list .title').focus()")
    view.key("Enter")
    assert view.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    name = shown(view)[0][2]
    (finding,) = [one for one in findings(small[1]) if one["id"] == name]
    told = view.run("document.querySelector('#list tbody').innerText.slice(0, 5000)")
    for text in (*finding["texts"]["en"].values(), finding["database"], *finding["nodes"], "profile default"):
        assert " ".join(text.split()) in " ".join(told.split())
    view.ask("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    for place, key in enumerate(("action", "undo")):
        button = f"document.querySelectorAll('#detail-{name} .sql button')[{place}]"
        assert view.run(f"{button}.getAttribute('aria-label')") == f"Copy: {catalogue('en')[key]}"
        view.run(f"{button}.click()")
        view.until(f"{button}.textContent === 'Copied'")
        assert view.run("navigator.clipboard.readText()") == "\n".join(finding[key])
    view.key("Enter")
    assert view.run(f"document.getElementById('detail-{name}')") is None


def test_the_plan_has_every_action_in_order_and_its_undo_backwards(
    view: Browser, small: tuple[Path, dict[str, Any]]
) -> None:
    choose(view, "search", "db01")
    view.run("document.querySelector('#plan summary').click()")
    view.until("document.querySelectorAll('#plan pre').length === 2")
    do, undo = view.run("[...document.querySelectorAll('#plan pre')].map((one) => one.textContent)")
    good = [one for one in small[1]["clusters"][0]["findings"] if one["grade"] != "insufficient"]
    good.sort(key=lambda one: (one["database"].encode("utf-16-be"), one["order"]))
    by_database: dict[str, list[str]] = {}
    for one in good:
        by_database.setdefault(one["database"], []).append(one["id"])
    ids = [line[3:20] for line in do.splitlines() if MARK.match(line)]
    assert sorted(ids) == sorted(one["id"] for one in good)
    for names in by_database.values():
        assert [name for name in ids if name in names] == names
    assert [line[3:20] for line in undo.splitlines() if MARK.match(line)] == ids[::-1]


def test_a_finding_has_an_address_of_its_own(view: Browser, small: tuple[Path, dict[str, Any]]) -> None:
    wanted = findings(small[1])[-1]["id"]
    view.run(f"location.hash = '{wanted}'")
    view.until(f"document.getElementById('detail-{wanted}')")
    assert [row[2] for row in shown(view)] == [wanted]


def test_what_could_not_be_seen_has_its_place(view: Browser, small: tuple[Path, dict[str, Any]]) -> None:
    told = view.run("document.querySelector('#not_seen tbody').innerText")
    for gap in small[1]["not_seen"]:
        assert gap["node"] in told and " ".join(gap["why"].split()) in " ".join(told.split())
    assert view.run("document.querySelectorAll('.heat .gap').length") > 0
    assert "unreachable: db03a" in view.run("document.querySelector('.gate').innerText")


def test_a_screen_reader_finds_its_way(view: Browser) -> None:
    view.run("document.querySelector('#list .title').click()")
    assert (
        view.run(
            "['header', 'nav', 'main', 'footer'].map((tag) => document.querySelectorAll(`body > ${tag}`).length)"
        )
        == [1] * 4
    )
    assert view.run("document.querySelectorAll('h1').length") == 1
    assert view.run("document.querySelector('nav').getAttribute('aria-label')")
    view.run(
        "window.named = (one) => (one.getAttribute('aria-label') || one.innerText || one.title"
        " || one.closest('label')?.innerText || '').trim()"
    )
    for selector in ("button", "input", "select", "a[href]", "[role=button]", "[role=img]"):
        unnamed = f"[...document.querySelectorAll('{selector}')].filter((one) => !named(one))"
        assert view.run(f"{unnamed}.map((one) => one.outerHTML)") == [], selector
    for selector, wrong in (
        ("th", "!one.scope"),
        ("table", "!one.caption"),
        ("section", "!document.getElementById(one.getAttribute('aria-labelledby'))"),
        ("[id]", "document.querySelectorAll('#' + one.id).length > 1"),
    ):
        assert (
            view.run(f"[...document.querySelectorAll('{selector}')].filter((one) => {wrong}).length") == 0
        ), selector
    assert view.run("document.querySelector('[role=status]').textContent")


def test_tab_goes_through_the_page_in_its_order_and_once_to_all_points(view: Browser) -> None:
    """As many stops as the page has controls, in the order of the page, and the points of the chart are one of them."""
    view.run("window.stops = []; addEventListener('focusin', (event) => stops.push(event.target))")
    stop = "a[href], button:not(:disabled), input, select, summary, pre, [tabindex='0']"
    wanted = view.run(
        f"[...document.querySelectorAll(`{stop}`)].filter((one) => one.getClientRects().length).length"
    )
    for _press in range(wanted):
        view.key("Tab")
    assert view.run("stops.length") == wanted
    assert view.run("new Set(stops).size") == wanted
    follows = "stops[place - 1].compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING"
    assert view.run(f"stops.every((one, place) => place === 0 || {follows})")
    assert view.run("stops.filter((one) => one.classList.contains('point')).length") == 1
    view.run("document.querySelector('.point[tabindex=\"0\"]').focus()")
    heaviest = view.run("document.activeElement.getAttribute('aria-label')")
    view.key("ArrowRight")
    second = view.run("document.activeElement.getAttribute('aria-label')")
    assert second != heaviest
    assert view.run("[...document.querySelectorAll('.point[tabindex=\"0\"]')].length") == 1
    view.key("Enter")
    assert view.run("document.querySelector('#picked pre').textContent")[:20] == second[:20]
    view.key("ArrowLeft")
    assert view.run("document.activeElement.getAttribute('aria-label')") == heaviest


def test_what_comes_and_goes_says_how_often_it_was_there_and_draws_it(
    view: Browser, small: tuple[Path, dict[str, Any]]
) -> None:
    flapping = next(one for one in findings(small[1]) if one["runs"]["seen"] < one["runs"]["of"])
    for language, words in (("en", "in 15 of the last 20 runs"), ("ja", "直近 20 回中 15 回")):
        view.run(f"document.querySelector('[data-choice={language}]').click()")
        view.run("document.getElementById('clear').click()")
        choose(view, "search", flapping["id"])
        assert words in view.run("document.querySelector('#list tbody').innerText")
        view.run("document.querySelector('#list .title').click()")
        curve = f"document.querySelector('#detail-{flapping['id']} svg.line')"
        told = view.run(f"{curve}.getAttribute('aria-label')")
        absent = catalogue(language)["absent"]
        assert [part.strip() == absent for part in told.partition(": ")[2].split(",")] == [
            value is None for value in flapping["runs"]["values"]
        ]
        assert view.run(f"{curve}.querySelectorAll('polyline, circle').length") == 6
    view.run("document.querySelector('[data-choice=en]').click()")
    view.run("document.querySelector('#load details summary').click()")
    view.until("document.querySelectorAll('#load details tbody tr').length > 20")
    rows = view.run("document.querySelectorAll('#load details tbody tr').length")
    assert f"({rows})" in view.run("document.querySelector('#load details summary').textContent")
    assert view.run("document.querySelectorAll('#load details svg.line').length") == 2 * rows
    assert view.run("document.querySelectorAll('#nodes svg.line').length") == 2 * 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(view: Browser, scheme: str) -> None:
    view.prefer(scheme)
    view.run("document.querySelector('#list .title').click()")
    view.run("document.querySelector('.point').dispatchEvent(new MouseEvent('click'))")
    assert view.run(DIM) == []
    view.run(f"document.querySelector('[data-choice={'light' if scheme == 'dark' else 'dark'}]').click()")
    assert view.run(DIM) == []


def test_it_fits_a_telephone_and_prints(view: Browser, tmp_path: Path) -> None:
    view.size(390, 800)
    assert view.run("document.documentElement.scrollWidth") <= 390
    # A table may be moved; what is said of it, and the names of its rows, stay.
    for moved in (0, 300):
        view.run(f"document.querySelector('#heat .scroll').scrollLeft = {moved}")
        for part in ("caption span", "tbody tr:not(.of) th"):
            box = f"document.querySelector('.heat {part}').getBoundingClientRect()"
            assert view.run(f"{box}.left") >= 0 and view.run(f"{box}.right") <= 390, (part, moved)
    # Nothing of what could not be seen, and of the statements, is out of sight, and each part says what it is.
    reports = Path(os.environ.get("DBKEEPER_REPORT_DIR", str(tmp_path)))
    for language in ("ja", "en"):
        view.run(f"document.querySelector('[data-choice={language}]').click()")
        view.run("document.querySelector('#load details summary').click()")
        view.until("document.querySelectorAll('#load details tbody td').length > 20")
        for table, first in (("#not_seen", "cluster"), ("#load details", "database")):
            cells = f"[...document.querySelectorAll('{table} tbody :is(th, td)')]"
            assert view.run(f"{cells}.length") > 0
            assert view.run(f"{cells}.filter((one) => one.getBoundingClientRect().right > 390).length") == 0
            label = f"getComputedStyle(document.querySelector('{table} tbody td'), '::before').content"
            assert view.run(label) == f'"{catalogue(language)[first]}"'
            assert view.run(f"document.querySelector('{table} tbody td').getAttribute('role')") == "cell"
        view.run("document.querySelector('#load details').scrollIntoView()")
        view.picture(reports / f"report-telephone-{language}.png", whole=False)
    view.size(1280, 900)
    printed = view.ask("Page.printToPDF", printBackground=True)
    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF-")
    view.prefer("dark", media="print")
    assert view.run("getComputedStyle(document.querySelector('.filters')).display") == "none"
    assert view.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    view.prefer("light")
