# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Every text of the report in both languages, with the same things filled in, in the language that it says."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words import (
    health,
    indexes,
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
