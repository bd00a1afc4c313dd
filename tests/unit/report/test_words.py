# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Every text of the report in both languages, with the same things filled in, in the language that it says."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words import (
    health,
    indexes,
    plain,
    queries,
    say,
    shared,
    upkeep,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words.entry import Pair

JAPANESE = re.compile("[぀-ヿ一-鿿]")
PARTS = ("FINDINGS", "MISSING", "NOT_SEEN")


def pairs() -> Iterator[tuple[str, Pair]]:
    for part in (say.FINDINGS, say.NOT_SEEN):
        for key, entry in part.items():
            for name, pair in entry._asdict().items():
                yield f"{key}.{name}", pair
    yield from say.MISSING.items()
    for pair in (*plain.THINGS, *plain.REASONS):
        yield f"plain.{pair.en}", pair
    for code, parts in plain.ERRORS.items():
        for name, pair in zip(("why", "remedy"), parts):
            yield f"{code}.{name}", pair
    yield from say.TERMS.items()


def fields(text: str) -> set[str]:
    return {name for _text, name, _spec, _conversion in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize(("name", "pair"), list(pairs()), ids=[name for name, _pair in pairs()])
def test_every_text_is_there_in_both_languages_with_the_same_values(name: str, pair: Pair) -> None:
    assert pair.en.strip() == pair.en
    assert pair.ja.strip() == pair.ja
    assert pair.en and not JAPANESE.search(pair.en)
    assert JAPANESE.search(pair.ja), f"{name} is not Japanese"
    assert fields(pair.en) == fields(pair.ja)
    for text in pair:
        for _literal, field, spec, conversion in string.Formatter().parse(text):
            assert not spec and not conversion, (
                f"{name}: figures are written by their unit, not by {field}:{spec}"
            )
            assert field is None or field.isidentifier()


@pytest.mark.parametrize("part", PARTS)
def test_no_key_is_there_twice(part: str) -> None:
    """A second table would hide the first one's text."""
    tables = [getattr(module, part, {}) for module in (shared, indexes, queries, health, upkeep)]
    assert len(getattr(say, part)) == sum(len(table) for table in tables)


@pytest.mark.parametrize(
    ("name", "value", "english", "japanese"),
    [
        ("size_bytes", 0, "0 B", "0 B"),
        ("size_bytes", 1 << 30, "1 GB", "1 GB"),
        ("size_bytes", 1000 * 1024, "0.977 MB", "0.977 MB"),
        ("size_bytes", 5 << 50, "5120 TB", "5120 TB"),
        ("age_seconds", 1.5, "1.5 s", "1.5 秒"),
        ("age_seconds", 119, "119 s", "119 秒"),
        ("age_seconds", 120, "2 min", "2 分"),
        ("age_seconds", 86400 * 35, "35.0 days", "35.0 日"),
        ("mean_ms", 12.345, "12.3 ms", "12.3 ms"),
        ("mean_ms", 61_000, "61 s", "61 秒"),
        ("load_share", 0.1234, "12.3 %", "12.3 %"),
        ("writes_per_second", 0.5, "0.5/s", "0.5/秒"),
        ("count", 9999, "9999", "9999"),
        ("count", 10000, "10,000", "10,000"),
        ("count", 1234.5, "1,234.5", "1,234.5"),
        ("when", None, "unknown", "不明"),
        ("unique", True, "yes", "はい"),
        ("columns", ["a", "b"], "a, b", "a、b"),
        ("name", "{braces} <b>", "{braces} <b>", "{braces} <b>"),
    ],
)
def test_figures_are_written_by_the_unit_in_their_name(
    name: str, value: object, english: str, japanese: str
) -> None:
    assert say.shown(name, value, "en") == english
    assert say.shown(name, value, "ja") == japanese


def test_a_name_with_braces_is_text_and_nothing_else() -> None:
    values = {"index": "{0.__class__}", "table": "t", "cover": "{cover}", "size_bytes": 1}
    said = say.finding("IX02", values, "en")
    assert said["what"].startswith("{0.__class__} on t ")
    assert "{cover}" in said["remedy"]


@pytest.mark.parametrize(
    ("key", "values", "one", "many"),
    [
        ("HC07", {"deadlocks": 1}, "1 deadlock in d in 1 s.", "2 deadlocks in d in 1 s."),
        ("HC03", {"sessions": 1}, "1 session of u (a) in d is idle", "2 sessions of u (a) in d are idle"),
        ("QY13", {"count": 1}, "1 of 9 statements has no text", "2 of 9 statements have no text"),
        ("IX03_ordered", {"scans": 1}, "It was scanned 1 time.", "It was scanned 2 times."),
    ],
)
def test_one_thing_has_other_words_than_many(key: str, values: dict[str, int], one: str, many: str) -> None:
    about = {name: "x" for pair in say.FINDINGS[key] for text in pair for name in fields(text)}
    about |= {"database": "d", "user": "u", "application": "a"}
    for told, number in ((one, 1), (many, 2)):
        filled = {**about, "over_seconds": 1, "entries": 9, **dict.fromkeys(values, number)}
        assert told in " ".join(say.finding(key, filled, "en").values())
        assert "[" not in "".join(say.finding(key, filled, "ja").values())


def test_a_name_with_brackets_is_text_and_nothing_else() -> None:
    values = {"index": "[scans:a|b]", "table": "t", "cover": "c", "size_bytes": 1, "scans": 1}
    assert say.finding("IX02", values, "en")["what"].startswith("[scans:a|b] on t ")


CHOICE = re.compile(r"\[(\w+):([^|\]]*)\|([^\]]*)\]")
#: What is counted, by the name of its placeholder.
COUNTED = {found[1] for _name, pair in pairs() for found in CHOICE.finditer(pair.en)}
#: What follows one thing and is no plural.
VERBS = {"is", "has", "was", "does", "takes", "waits", "speaks", "asks", "looks"}


@pytest.mark.parametrize(("name", "pair"), list(pairs()), ids=[name for name, _pair in pairs()])
def test_one_of_what_is_counted_stands_before_no_plural(name: str, pair: Pair) -> None:
    assert {found[1] for found in CHOICE.finditer(pair.en)} <= fields(pair.en)
    assert not CHOICE.search(pair.ja)
    said = CHOICE.sub(lambda found: found[2], pair.en)
    said = said.format_map({field: "1" if field in COUNTED else "x" for field in fields(said)})
    for found in re.finditer(r"(?<!of )\b1 (?:[a-z]+ )?([a-z]+s)\b", said):
        assert found[1] in VERBS, (name, found[0])


ENGINE = Path(say.__file__).parents[2]
#: What names itself: extensions, views, paths, and what the server or the system said.
NAMES = {"pg_stat_statements", "pg_stat_statements_info", "pgstattuple", "hypopg"}
#: Calls that take what is looked at, and the argument that it is.
LOOKS = {"ask": "what", "read": "what", "copy": "what", "rows": -1, "_with_values": -1, "miss": 0}


def written(node: ast.expr) -> str | None:
    """A text as it is in the code, with ``{}`` for what is filled in; None for what is no text there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    places = [*(ENGINE / "report" / part for part in ("index", "query", "health", "missing"))]
    files = [*(ENGINE / "report").glob("*.py"), *(file for place in places for file in place.glob("*.py"))]
    for file in sorted(files):
        for call in [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            yield f"{file.name}:{call.lineno}", call, name


def matches(phrases: tuple[Pair, ...], text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern, _pair in plain.patterns(phrases))


def test_whatever_the_modules_look_at_has_a_name_in_japanese() -> None:
    seen = 0
    for place, call, name in calls():
        wanted = LOOKS.get(name)
        found = [word.value for word in call.keywords if word.arg == "what"]
        # facts.rows(...) takes a key and no phrase.
        if isinstance(wanted, int) and not (name == "rows" and len(call.args) < 3):
            found += call.args[wanted:][:1]
        for text in filter(None, map(written, found)):
            plainly = text.replace("{}", "x")
            if plainly in NAMES or not re.sub(r"\W|x", "", plainly):
                continue
            assert matches(plain.THINGS, plainly) and JAPANESE.search(plain.thing(plainly, "ja")), (
                place,
                text,
            )
            seen += 1
    assert seen > 50


def test_whatever_reason_the_modules_give_is_there_in_japanese() -> None:
    seen = 0
    for place, call, name in calls():
        given = call.args[2:3] if name == "miss" else []
        if name == "Says" and len(call.args) > 1 and isinstance(call.args[1], ast.Dict):
            pairs_of = zip(call.args[1].keys, call.args[1].values)
            given = [value for key, value in pairs_of if key is not None and written(key) == "why"]
        for text in filter(None, map(written, given)):
            plainly = text.replace("{}", "x")
            # A command, or a file and what the system says of it, is the same in every language.
            if re.fullmatch(r"CREATE EXTENSION \w+|x: x", plainly):
                continue
            assert matches(plain.REASONS, plainly) and JAPANESE.search(plain.reason(plainly, "ja")), (
                place,
                text,
            )
            seen += 1
    assert seen > 5


def test_whatever_error_ends_a_report_is_told_in_japanese() -> None:
    files = [ENGINE / "cluster" / "sql.py", ENGINE / "cluster" / "config.py", ENGINE / "core" / "files.py"]
    codes = {
        str(written(call.args[0]))
        for file in files
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("Refused", "Failed") and call.args
    }
    codes |= {
        str(written(call.args[0]))
        for _place, call, name in calls()
        if name in ("Refused", "Failed") and call.args
    }
    assert codes - {"None"} <= plain.ERRORS.keys()
    assert {"server-unreachable", "sql-failed"} <= codes


@pytest.mark.parametrize(
    ("english", "japanese"),
    [
        ("tables in database 販売", "データベース 販売: テーブル"),
        ("exact bloat of public.a b in database x", "データベース x: public.a b の肥大化の実測"),
        ("public.t in database x", "データベース x: public.t"),
        ('public."we""ird"', 'public."we""ird"'),
        ("statements of other users (12)", "他のユーザーの SQL 文 12 件"),
    ],
)
def test_what_is_looked_at_is_said_with_its_names(english: str, japanese: str) -> None:
    assert plain.thing(english, "ja") == japanese
    assert plain.thing(english, "en") == english


def test_what_the_server_said_is_quoted() -> None:
    said = say.not_seen(
        "denied", {"what": "tables", "detail": "permission denied for table t in database d"}, "ja"
    )
    assert said["why"] == "ロールに参照権限がありません: permission denied for table t in database d"
