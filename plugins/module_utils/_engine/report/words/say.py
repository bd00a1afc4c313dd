# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Keys with values become texts: the one place where a report's words and figures meet a language.

A placeholder's name carries its unit: ``_bytes``, ``_seconds``, ``_share`` (of one), ``_per_second`` and ``_ms`` are
written as people read them; lists are joined; everything else is shown as it is. Nothing here escapes for HTML.
In English one thing and many have words of their own: ``{scans} [scans:scan|scans]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...core.sayings import numbered
from . import health, indexes, plain, queries, shared, terms, upkeep
from .entry import Blind, Entry, Pair

LANGUAGES = ("en", "ja")
#: Every finding by its key; a key that is there twice is refused by a test.
FINDINGS: dict[str, Entry] = {**indexes.FINDINGS, **queries.FINDINGS, **health.FINDINGS, **upkeep.FINDINGS}
#: Evidence that is missing, by its key.
MISSING: dict[str, Pair] = {**indexes.MISSING, **queries.MISSING, **health.MISSING}
#: What could not be looked at, by its key.
NOT_SEEN: dict[str, Blind] = {
    **shared.NOT_SEEN,
    **indexes.NOT_SEEN,
    **queries.NOT_SEEN,
    **health.NOT_SEEN,
}
#: Severities, grades, states and other single words.
TERMS: dict[str, Pair] = terms.TERMS

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_SECONDS = {
    "en": ("{:.3g} s", "{:.0f} min", "{:.1f} h", "{:.1f} days"),
    "ja": ("{:.3g} 秒", "{:.0f} 分", "{:.1f} 時間", "{:.1f} 日"),
}


def finding(key: str, values: Mapping[str, Any], language: str) -> dict[str, str]:
    """Title, what, why and remedy of a finding."""
    filled = _shown(values, language)
    return {part: _said(pair, filled, language) for part, pair in FINDINGS[key]._asdict().items()}


def missing(key: str, values: Mapping[str, Any], language: str) -> str:
    """What evidence is missing, as a sentence."""
    told, why = values, values.get("why")
    if isinstance(why, str):
        known = terms.WHY.get(why)
        told = {**values, "why": known.of(language) if known else plain.reason(why, language)}
    return _said(MISSING[key], _shown(told, language), language)


def not_seen(key: str, values: Mapping[str, Any], language: str) -> dict[str, str]:
    """What could not be looked at (``what`` of the values), why, and what to do."""
    filled = _shown(values, language)
    for name, in_words in (("what", plain.thing), ("detail", plain.reason)):
        if isinstance(values.get(name), str):
            filled[name] = in_words(values[name], language)
    blind = NOT_SEEN[key]
    return {
        "what": filled.get("what", ""),
        "why": _said(blind.why, filled, language),
        "remedy": _said(blind.remedy, filled, language),
    }


def term(key: str, language: str) -> str:
    """A single word: a severity, a grade, a state."""
    return TERMS[key].of(language)


def bytes_text(count: float) -> str:
    """Bytes in the unit that people read them in (powers of 1024, three figures): ``1.23 GB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TB" if abs(size) < 1000 else f"{size:.0f} TB"


def seconds_text(seconds: float, language: str) -> str:
    """A time span in the unit that people read it in."""
    small, minutes, hours, days = _SECONDS["ja" if language == "ja" else "en"]
    if abs(seconds) < 2 * _MINUTE:
        return small.format(seconds)
    if abs(seconds) < 2 * _HOUR:
        return minutes.format(seconds / _MINUTE)
    return hours.format(seconds / _HOUR) if abs(seconds) < 2 * _DAY else days.format(seconds / _DAY)


def _said(pair: Pair, filled: Mapping[str, str], language: str) -> str:
    return numbered(pair.of(language), filled).format_map(filled)


def _shown(values: Mapping[str, Any], language: str) -> dict[str, str]:
    return {name: shown(name, value, language) for name, value in values.items()}


def shown(name: str, value: Any, language: str) -> str:
    """One value as text, by the unit in its name."""
    if value is None:
        return "不明" if language == "ja" else "unknown"
    if isinstance(value, bool):
        return term("yes" if value else "no", language)
    if isinstance(value, (int, float)):
        return _figure(name, value, language)
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        # A sentence that was made elsewhere, in both languages.
        return str(value.get(language) or value.get("en") or "")
    if isinstance(value, Iterable):
        return ("、" if language == "ja" else ", ").join(shown(name, part, language) for part in value)
    return str(value)


def _figure(name: str, value: float, language: str) -> str:
    if name.endswith("_bytes"):
        return bytes_text(value)
    if name.endswith("_per_second"):
        return f"{value:.3g}/{'秒' if language == 'ja' else 's'}"
    if name.endswith("_seconds"):
        return seconds_text(value, language)
    if name.endswith("_ms"):
        return f"{value:.3g} ms" if value < 1000 else seconds_text(value / 1000, language)
    if name.endswith("_share"):
        return f"{100 * value:.3g} %"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.3g}"
