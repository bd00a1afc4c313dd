# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Every text in both languages, with the same things filled in; messages in both languages."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.error_words import ERRORS
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.faults.catalogue import by_code
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.sayings import LANGUAGES, span
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.notify_decide import Event
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.notify_text import compose
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.words import WORDS

CHECKOUT = Path(__file__).resolve().parents[3]
ENGINE = CHECKOUT / "plugins/module_utils/_engine"
JAPANESE = re.compile("[぀-ヿ一-鿿]")
NOW = datetime(2026, 11, 21, 3, 15, tzinfo=timezone.utc)


def fields(text: str) -> set[str]:
    return {name for _text, name, _spec, _conversion in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("name", WORDS)
def test_every_text_is_there_in_both_languages(name: str) -> None:
    english, japanese = WORDS[name]
    assert len(WORDS[name]) == len(LANGUAGES)
    assert english and not JAPANESE.search(english)
    assert JAPANESE.search(japanese)
    assert fields(english) == fields(japanese)


#: Where checks are made and told; reports have a catalogue of their own.
PACKAGES = ("backup", "settings", "pooling", "watch", "cli")


def nodes(package: str) -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted((ENGINE / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


def test_no_check_has_a_sentence_of_its_own() -> None:
    """What is said comes from the table: nobody makes a check of a text."""
    found = [
        f"{path.name}:{node.lineno}"
        for package in PACKAGES
        for path, node in nodes(package)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Check", "Finding")
        and any(
            isinstance(part, ast.JoinedStr)
            or (isinstance(part, ast.Constant) and isinstance(part.value, str))
            for part in [*node.args[2:], *(word.value for word in node.keywords)]
        )
    ]
    assert found == []


@pytest.mark.parametrize(
    ("seconds", "english", "japanese"),
    [
        (4.25, "4.2 s", "4.2秒"),
        (95, "1 min 35 s", "1分35秒"),
        (120, "2 min 0 s", "2分"),
        (93600, "26 h 0 min", "26時間"),
    ],
)
def test_how_long_in_both_languages(seconds: float, english: str, japanese: str) -> None:
    assert (span(seconds).en, span(seconds).ja) == (english, japanese)


def test_every_text_that_is_asked_for_is_there_and_none_is_idle() -> None:
    used: set[str] = set()
    tables = (ENGINE / "watch/words.py", ENGINE / "core/check_words.py")
    for package in PACKAGES:
        for path, node in nodes(package):
            if path not in tables and isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.add(node.value)
    prefixes = ("check_", "operation_", "label_", "result_", "kind_")
    idle = {name for name in WORDS if name not in used and not name.startswith(prefixes)}
    assert idle == set()


def test_every_check_has_a_name_in_words() -> None:
    """Whatever a check is called anywhere in the engine, but for findings of reports, which have words of their own."""
    named: set[str] = set()
    for path in ENGINE.rglob("*.py"):
        if path.relative_to(ENGINE).parts[0] == "report":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if called in ("Check", "told", "Finding", "_several", "guarded"):
                named.add(str(node.args[0].value))
    assert {"rpo", "settings", "certificate", "copies", "received", "repository"} <= named
    assert {f"check_{name}" for name in named} <= set(WORDS)


ERROR = {"attempted": "copy", "happened": "no space", "remedy": "make room"}
SUMMARY = {
    "problems": [{"name": "rpo", "text": "WAL waits", "text_ja": "WAL が待っています"}],
    "warnings": [],
    "runs": [{"series": "backup/full", "ok": 2, "bad": 1}],
    "backup": "20261121T031500Z-full is 3 h old",
    "backup_ja": "20261121T031500Z-full は 3時間 前のものです",
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["failure", "still", "recovery", "summary", "test"])
def test_every_message_in_every_language(kind: str, language: str) -> None:
    event = Event(
        kind, "run:dump/app\nx", NOW, "repository-full", NOW - timedelta(hours=30), 3, ERROR, SUMMARY
    )
    message = compose(event, cluster="main", host="db1", language=language)
    assert "\n" not in message.subject and message.subject.startswith("[dbkeeper] ")
    assert "db1" in message.subject and "main" in message.subject
    assert bool(JAPANESE.search(message.text)) is (language == "ja")
    assert "{" not in message.text + message.subject
    assert message.data["event"] == ("failure" if kind == "still" else kind)
    assert message.good is (kind in ("recovery", "test"))
    if kind == "summary":
        assert (SUMMARY["backup_ja"] in message.text) is (language == "ja")
        assert (SUMMARY["backup"] in message.text) is (language == "en")
    if kind in ("failure", "still", "recovery"):
        assert all(text in message.text for text in ERROR.values())


def test_a_fault_of_the_catalogue_is_told_in_japanese_and_in_the_programs_words() -> None:
    event = Event("failure", "run:restore", NOW, "segment-zero-filled", NOW, 1, ERROR)
    text = compose(event, cluster="main", host="db1", language="ja").text
    assert "対処: " in text and "プログラムの出力" in text and "no space" in text


def test_a_check_that_speaks_japanese_is_told_in_it() -> None:
    error = {"happened": "late", "happened_ja": "遅れています"}
    event = Event("failure", "check:copies", NOW, "failed", NOW, 1, error)
    japanese = compose(event, cluster="main", host="db1", language="ja")
    assert "遅れています" in japanese.text and "late" not in japanese.text
    assert "コピー" in japanese.subject
    english = compose(event, cluster="main", host="db1", language="en")
    assert "late" in english.text and not JAPANESE.search(english.text)


#: Where what runs on a schedule lies; errors of the others are met by a person at a terminal.
SCHEDULED = ("core", "wal", "repository", "retention", "cluster", "backup", "logical", "copies", "watch")


def raised_by_schedules() -> set[str]:
    """Codes that those packages raise: the first argument of an error, or of a function that makes one."""
    found = set()
    for package in SCHEDULED:
        for path in (ENGINE / package).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") in (
                    "Refused",
                    "Failed",
                    "_refused",
                ):
                    first = call.args[0] if call.args else None
                    choices = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                    found |= {str(one.value) for one in choices if isinstance(one, ast.Constant)}
    return found


def test_every_error_of_a_scheduled_run_has_japanese_words() -> None:
    raised = raised_by_schedules()
    assert len(raised) > 150
    assert raised - set(by_code()) - set(ERRORS) == set()
    # Said once; words of its own has only what ends several faults, none of which tells it all.
    assert all(len(by_code()[code]) > 1 for code in set(ERRORS) & set(by_code()))
    for code, words in ERRORS.items():
        assert all(JAPANESE.search(text) and text.endswith("。") for text in words), code


def test_an_error_that_nobody_put_into_words_is_shown_as_it_is() -> None:
    message = compose(
        Event(
            "failure", "run:dump/app", NOW, "never-heard-of", None, 1, {"happened": "odd", "remedy": "look"}
        ),
        cluster="main",
        host="db1",
        language="ja",
    )
    assert "起きたこと: 処理がエラーで終了しました" in message.text and "  odd\n  look\n" in message.text


@pytest.mark.parametrize(
    "code", ["dump-lock-timeout", "repository-full", "copy-unreachable", "server-unreachable"]
)
def test_a_japanese_message_says_what_happened_and_what_to_do_in_japanese(code: str) -> None:
    error = {"attempted": "take a dump", "happened": "a table stayed locked", "remedy": "See who holds it."}
    text = compose(
        Event("failure", "run:dump/app", NOW, code, None, 1, error), cluster="main", host="db1", language="ja"
    ).text
    told, _label, original = text.partition("プログラムの出力:")
    for label in ("起きたこと: ", "対処: "):
        (line, *_more) = [line for line in told.splitlines() if line.startswith(label)]
        assert JAPANESE.search(line.removeprefix(label))
    assert not any(words in told for words in error.values())
    assert all(words in original for words in error.values())
