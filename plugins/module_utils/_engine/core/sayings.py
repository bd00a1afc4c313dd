# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Texts for people in two languages: a table has both of each, and what is filled in may differ by language, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .sizes import format_duration

ENGLISH, JAPANESE = LANGUAGES = ("en", "ja")
Table = Mapping[str, "tuple[str, str]"]


@dataclass(frozen=True)
class Both:
    """Something to be filled in that is not the same in both languages."""

    en: str
    ja: str

    def within(self, language: str) -> str:
        """In one of them."""
        return self.ja if language == JAPANESE else self.en


def fill(texts: tuple[str, str], language: str, values: Mapping[str, Any]) -> str:
    """One text, filled in."""
    shown = {name: one.within(language) if isinstance(one, Both) else one for name, one in values.items()}
    return texts[LANGUAGES.index(language)].format(**shown)


def both(table: Table, word: str, /, **values: Any) -> Both:
    """One entry of a table, as something to be filled in."""
    return Both(fill(table[word], ENGLISH, values), fill(table[word], JAPANESE, values))


def joined(parts: list[Both]) -> Both:
    """Several sentences as one."""
    return Both("; ".join(one.en for one in parts), "; ".join(one.ja for one in parts))


def span(seconds: float) -> Both:
    """How long: ``95`` is '1 min 35 s' and '1分35秒'."""
    return Both(format_duration(seconds), _japanese(seconds))


def _japanese(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f}秒"
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}時間{minutes}分" if minutes else f"{hours}時間"
    if minutes:
        return f"{minutes}分{left}秒" if left else f"{minutes}分"
    return f"{left}秒"
