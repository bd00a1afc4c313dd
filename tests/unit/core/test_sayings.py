# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Texts that are filled in: one thing has other words than many, and a name is never taken for words."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core import check_words
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.sayings import Both, fill, numbered
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch import words

TEXTS = ("{count} [count:file waits|files wait] for {who}", "{count} 個のファイルが {who} で待っています")


@pytest.mark.parametrize(
    ("count", "language", "said"),
    [
        (0, "en", "0 files wait for [count:a|b]"),
        (1, "en", "1 file waits for [count:a|b]"),
        (2, "en", "2 files wait for [count:a|b]"),
        (1, "ja", "1 個のファイルが [count:甲|乙] で待っています"),
    ],
)
def test_one_thing_has_other_words_than_many(count: int, language: str, said: str) -> None:
    assert fill(TEXTS, language, {"count": count, "who": Both("[count:a|b]", "[count:甲|乙]")}) == said


def test_what_is_in_brackets_otherwise_stays() -> None:
    text = "[dbkeeper] {count} a[1:2] [x|y]"
    assert numbered(text, {"count": 1}) == text


def test_every_choice_is_by_something_that_is_filled_in() -> None:
    tables = [value for module in (check_words, words) for value in vars(module).values()]
    seen = 0
    for table in [one for one in tables if isinstance(one, dict)]:
        for english, japanese in [one for one in table.values() if isinstance(one, tuple) and len(one) == 2]:
            seen += numbered(english, {}) != english
            for name in ("count", "days"):
                assert f"[{name}:" not in english or f"{{{name}}}" in english
            assert numbered(japanese, {}) == japanese
    assert seen > 10
