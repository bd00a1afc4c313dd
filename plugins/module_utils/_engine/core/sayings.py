# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Texts for people in two languages: a table has both of each, and what is filled in may differ by language, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .sizes import format_duration

ENGLISH, JAPANESE = LANGUAGES = ("en", "ja")
Table = Mapping[str, "tuple[str, str]"]
_CHOICE = re.compile(r"\[(\w+):([^|\]]*)\|([^\]]*)\]")


@dataclass(frozen=True)
class Both:
    """Something to be filled in that is not the same in both languages."""

    en: str
    ja: str

    def within(self, language: str) -> str:
        """In one of them."""
        return self.ja if language == JAPANESE else self.en


def numbered(text: str, shown: Mapping[str, Any]) -> str:
    """English has words of their own for one thing and for many: ``{count} [count:file waits|files wait]``.

    The words are chosen before anything is filled in: a name may have any letter in it.
    """
    return _CHOICE.sub(lambda found: found[2 if str(shown.get(found[1])) == "1" else 3], text)


def fill(texts: tuple[str, str], language: str, values: Mapping[str, Any]) -> str:
    """One text, filled in."""
    shown = {name: one.within(language) if isinstance(one, Both) else one for name, one in values.items()}
    return numbered(texts[LANGUAGES.index(language)], shown).format(**shown)


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
