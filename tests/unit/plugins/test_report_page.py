# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The page, Markdown and JUnit hold whatever names and statements hold, and say it in both languages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
from datetime import date, datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.limits import (
    PROFILES,
    Limits,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.limits import SOURCES
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words import say
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words.entry import Entry, Pair
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report import page as page_module
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.areas import AREAS
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.drawn import drawn, unpacked
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.fields import FIELDS, SOURCES_JA
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.hosts import REPORTS, Host
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.junit import junit
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.labels import LABELS, catalogue
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.markdown import fenced, markdown, plain
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.merge import merge
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.operation import make
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.page import packed, page
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.page import unpacked as unpacked_page
from tests.report_hosts import (
    EVIL,
    LONG,
    MADE_AT,
    SINCE,
    Finding,
    Says,
    finding,
    fleet,
    node,
    placeholders,
    result,
)

GOLDEN = Path(__file__).with_name("report_golden")
WEB = Path(page_module.__file__).with_name("web")
JAPANESE = re.compile("[぀-ヿ一-鿿]")
SYSTEM = "7100000000000000001"


def document(*hosts: Host, **options: Any) -> dict[str, Any]:
    return merge(hosts, made_at=MADE_AT, today=date(2026, 11, 21), **options)


class Elements(HTMLParser):
    """The elements of a page as a browser without scripts finds them, with their attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = f"{tag} {dict(attrs).get('id') or ''}".strip()

    def handle_data(self, data: str) -> None:
        self.texts[self._open] = self.texts.get(self._open, "") + data


def evil() -> dict[str, Any]:
    """A document in which everything that people name is an attack."""
    thing = {"kind": "index", "schema": EVIL, "name": EVIL, "table": LONG}
    one = finding(
        1,
        SYSTEM,
        thing=thing,
        database=EVIL,
        action=(f"DROP INDEX {EVIL}", "```"),
        undo=(LONG,),
        grade="measured",
    )
    of = node(SYSTEM, EVIL)
    facts = {
        "statements": [
            {"text": LONG, "calls": 1, "mean_ms": 1.0, "total_ms": 1.0, "load_share": 1.0, "database": EVIL}
        ]
    }
    answers = {"index": result(of, [one]), "query": result(of, [], facts=facts), "health": {"msg": EVIL}}
    return document(Host(EVIL, answers), title=EVIL, fail_on=["low", "not_seen"])


def test_a_page_has_no_element_that_data_brought_and_asks_nobody() -> None:
    harmless, attacked = Elements(page(document(*fleet(2, 3)))), Elements(page(evil()))
    assert [tag for tag, dummy in attacked.found] == [tag for tag, dummy in harmless.found]
    for tag, attributes in attacked.found:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "action"):
                assert value in ("data:,", "#findings"), (tag, name, value)
    data = unpacked_page(attacked.texts["script data"])
    assert data["document"]["title"] == EVIL
    assert data["document"]["clusters"][0]["name"] == EVIL
    assert LONG in data["document"]["strings"]


def test_the_policy_allows_the_page_its_own_script_and_style_and_nothing_else() -> None:
    text = page(document(*fleet(1, 1)))
    elements = Elements(text)
    policy = (
        next(attributes["content"] for tag, attributes in elements.found if "http-equiv" in attributes) or ""
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for rule, pattern in (("style-src", r"<style>(.*?)</style>"), ("script-src", r"<script>(.*?)</script>")):
        (body,) = re.findall(pattern, text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


@given(st.text())
def test_what_is_embedded_is_the_same_and_cannot_end_its_element(text: str) -> None:
    made = packed({text: [text]})
    assert re.fullmatch("[A-Za-z0-9+/]+=*", made)
    kept = text.encode("utf-8", "replace").decode("utf-8")
    assert unpacked_page(made) == {kept: [kept]}


def test_scripts_set_texts_and_never_markup() -> None:
    for path in sorted(WEB.glob("*.js")):
        text = path.read_text(encoding="utf-8")
        for forbidden in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "fetch(",
        ):
            assert forbidden not in text, (path.name, forbidden)
        assert "</" not in text, path.name
    assert "@import" not in (WEB / "page.css").read_text(encoding="utf-8")
    assert "url(" not in (WEB / "page.css").read_text(encoding="utf-8")


def test_every_word_of_the_page_is_there_in_both_languages() -> None:
    for key, (english, japanese) in LABELS.items():
        assert english.strip() and japanese.strip(), key
        assert placeholders(english) == placeholders(japanese), key
    alike = {key for key, (english, japanese) in LABELS.items() if not JAPANESE.search(japanese)}
    assert alike == {"split_jit", "tps", "of", "area_vacuum"}
    for key, (english, japanese) in FIELDS.items():
        assert english.strip() and JAPANESE.search(japanese), key
    assert set(SOURCES.values()) == SOURCES_JA.keys()
    assert all(JAPANESE.search(text) for text in SOURCES_JA.values())
    assert catalogue("en").keys() == catalogue("ja").keys()
    words = catalogue("ja")
    for profile in PROFILES:
        for name, limit in Limits(profile, {"lag_bytes": {"warning": 1}}).to_dict().items():
            assert JAPANESE.search(words[f"source:{limit['source']}"]), name


def test_every_word_that_the_scripts_ask_for_is_there() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(WEB.glob("*.js")))
    words = catalogue("en")
    asked = set(re.findall(r'\bt\("(\w+)"', text))
    missing = asked - words.keys()
    assert not missing
    for prefix, names in {
        "area": AREAS,
        "term": (
            "critical",
            "high",
            "medium",
            "low",
            "info",
            "measured",
            "validated",
            "heuristic",
            "insufficient",
        ),
        "node_state": ("seen", "partly", "unreachable", "failed"),
    }.items():
        assert not {f"{prefix}_{name}" for name in names} - words.keys()
    used = asked | set(re.findall(r'"(\w+)"', text)) | set(re.findall(r"`(\w+)_\$\{", text))
    python = "\n".join(
        path.read_text(encoding="utf-8") for path in WEB.parent.glob("*.py") if path.name != "labels.py"
    )
    idle = [
        key
        for key in LABELS
        if key not in used and f'"{key}"' not in python and key.split("_")[0] not in used
    ]
    assert not [key for key in idle if not key.startswith(("node_state", "key_", "why_"))]


def test_texts_that_repeat_are_kept_once() -> None:
    told = document(*fleet(4, 200))
    made = drawn(told)
    assert len(made["strings"]) == len(set(made["strings"]))
    assert len({json.dumps(one) for one in made["values"]}) == len(made["values"])
    again = unpacked(made)
    assert len(again) == 200
    for finding_, of in zip(again, [one for cluster in told["clusters"] for one in cluster["findings"]]):
        for key in (
            "id",
            "class",
            "severity",
            "grade",
            "nodes",
            "window",
            "value",
            "object",
            "runs",
            "state",
        ):
            assert finding_.get(key) == (of[key] or None), key
        for language in ("en", "ja"):
            title, what, why, remedy, _gaps = (made["strings"][number] for number in finding_[language])
            assert {"title": title, "what": what, "why": why, "remedy": remedy}.items() <= of["texts"][
                language
            ].items()
        assert [made["strings"][number] for number in finding_["action"]] == of["action"]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_markdown_is_what_it_was(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden files: after a change that is meant, delete them and run this once; then read what it wrote."""
    pair = Pair(
        "of {index} on {table} and {cover}: {size_bytes}", "{table} の {index} と {cover}: {size_bytes}"
    )
    monkeypatch.setitem(
        say.FINDINGS, "IX02", Entry(Pair("Title", "題名"), pair, Pair("Why", "理由"), Pair("Do", "対処"))
    )
    gone = {"unreachable": True, "msg": "no route to host"}
    says = Says(
        "IX02",
        {"index": "orders_a_idx", "table": "orders", "cover": "orders_a_b_idx", "size_bytes": 12_345_678},
    )
    thing = {"kind": "index", "schema": "public", "name": "orders|a`_idx", "table": "orders"}
    told = [
        Finding(
            "IX02",
            SYSTEM,
            "high",
            "measured",
            "販売",
            thing,
            says,
            impact={"bytes": 12_345_678},
            first_seen=SINCE,
            action=('DROP INDEX CONCURRENTLY public."orders|a`_idx";',),
            undo=("CREATE INDEX …;",),
            order=1,
        ),
        Finding(
            "IX02",
            SYSTEM,
            "low",
            "measured",
            "app",
            {**thing, "name": "b"},
            says,
            state="known",
            first_seen=SINCE,
        ),
    ]
    of = node(SYSTEM, "db1")
    hosts = [Host("db1", {"index": result(of, told)}), Host("db2", dict.fromkeys(REPORTS, gone), "db1")]
    made = markdown(document(*hosts, fail_on=["new_high", "unreachable"], language=language), language)
    golden = GOLDEN / f"report.{language}.md"
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(made, encoding="utf-8")
        raise AssertionError(f"{golden.name} was missing and has been written: read it")
    assert made == golden.read_text(encoding="utf-8")


def test_markdown_holds_an_attack_as_text() -> None:
    for language in ("en", "ja"):
        text = markdown(evil(), language)
        outside = re.sub(r"(`{3,})sql\n.*?\n\1", "", text, flags=re.DOTALL)
        assert "<script" not in outside and "<img" not in outside
        tags = set(re.findall(r"<[^>]*>", outside))
        assert tags <= {"<details>", "<summary>", "</summary>", "</details>"}
        tables = [line for line in outside.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} <= {5, 6, 8}


@given(st.lists(st.text(alphabet=string.printable)))
def test_a_block_of_code_ends_where_it_should(lines: list[str]) -> None:
    made = fenced(lines)
    assert made[0] == made[-1] + "sql"
    assert made[-1] not in made[1]


@given(st.text())
def test_plain_text_is_one_line_without_markup(text: str) -> None:
    made = plain(text)
    assert len(made.splitlines()) <= 1
    assert "<" not in made
    assert not re.search(r"(?<!\\)[|`*_]", made.replace("\\\\", ""))


def test_junit_has_a_case_for_each_rule_and_cluster() -> None:
    made = document(*fleet(4, 60), fail_on=["new_low", "invalid_index"])
    suite = ElementTree.fromstring(junit(made, "ja"))
    cases = [(case.get("classname"), case.get("name"), [part.tag for part in case]) for case in suite]
    failed = {(failure["cluster"], failure["rule"]) for failure in made["gate"]["failures"]}
    for cluster in made["clusters"]:
        for rule in made["gate"]["fail_on"]:
            tags = ["failure"] if (cluster["name"], rule) in failed else []
            assert (cluster["name"], rule, tags) in cases
    assert int(suite.get("failures", "")) == len(failed) > 0
    assert int(suite.get("skipped", "")) == len(made["not_seen"]) == 1
    assert int(suite.get("tests", "")) == len(cases)


def test_junit_holds_an_attack_as_text() -> None:
    suite = ElementTree.fromstring(junit(evil(), "en"))
    assert {part.tag for part in suite.iter()} == {"testsuite", "testcase", "failure", "skipped"}
    nul = document(Host("a", {"index": {"msg": "broken \x00 \x1b[0m"}}))
    assert ElementTree.fromstring(junit(nul, "en")).find("testcase/skipped") is not None


def test_files_are_written_privately_and_a_second_report_with_the_same_news_is_no_change(
    tmp_path: Path,
) -> None:
    now = datetime(2026, 11, 21, 3, tzinfo=timezone.utc)
    hosts = fleet(3, 20)
    first = make(hosts, tmp_path / "new" / "report", now=now, fail_on=["unreachable"])
    assert first["changed"] is True
    assert first["gate"]["passed"] is False
    assert {
        name: (tmp_path / "new/report" / name).stat().st_mode & 0o777 for name in first["files"]
    } == dict.fromkeys(("report.html", "report.json", "report.md", "report.junit.xml"), 0o600)
    assert "report.html" in first["files"]
    again = make(hosts, tmp_path / "new/report", now=now.replace(hour=4), fail_on=["unreachable"])
    assert again["changed"] is False
    less = make(fleet(3, 19), tmp_path / "new/report", now=now, fail_on=["unreachable"])
    assert less["changed"] is True


def test_check_mode_writes_nothing_and_a_damaged_last_report_is_replaced(tmp_path: Path) -> None:
    now = datetime(2026, 11, 21, 3, tzinfo=timezone.utc)
    assert make(fleet(2, 3), tmp_path / "report", now=now, keep=False)["changed"] is True
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "report.json").write_text('{"format": 1, "clus', encoding="utf-8")
    assert make(fleet(2, 3), tmp_path, now=now)["changed"] is True
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["format"] == 1


def test_the_lines_for_a_terminal_name_what_is_gone_and_what_broke(tmp_path: Path) -> None:
    now = datetime(2026, 11, 21, 3, tzinfo=timezone.utc)
    made = make(fleet(4, 8), tmp_path, now=now, fail_on=["unreachable"], language="ja")
    assert made["lines"][0].startswith("未対応の指摘事項: 8 件 (")
    assert any(line.startswith("db02a: ホスト全体: Failed to connect") for line in made["lines"])
    assert made["lines"][-1].strip() == "unreachable:  db02a"
