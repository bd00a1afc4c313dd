# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What one check found: a state, a sentence in both languages, and the figures that it was judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .words import say

OK, WARNING, FAILED = "ok", "warning", "failed"
#: From harmless to bad.
STATES = (OK, WARNING, FAILED)


@dataclass(frozen=True)
class Measure:
    """A figure. ``name`` carries its unit (``_seconds``, ``_bytes``, ``_days``, ``_ratio``, or a plain count);
    ``most`` or ``least`` is the objective that it was held against; ``about`` tells apart several of a name."""

    name: str
    value: float
    most: float | None = None
    least: float | None = None
    about: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without what is not set."""
        return {name: value for name, value in self.__dict__.items() if value is not None}


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    state: str
    text: str
    japanese: str
    measures: tuple[Measure, ...] = field(default=())

    @classmethod
    def told(cls, check: str, state: str, word: str, /, *measures: Measure | None, **values: Any) -> Finding:
        """With a text of the table."""
        kept = tuple(measure for measure in measures if measure is not None)
        return cls(check, state, say(word, "en", **values), say(word, "ja", **values), kept)

    @classmethod
    def of(cls, check: Mapping[str, str]) -> Finding:
        """One that was made where its facts are."""
        return cls(check["name"], check["state"], check["text"], check["text_ja"])

    def said(self, language: str) -> str:
        """Its sentence."""
        return self.japanese if language == "ja" else self.text

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "name": self.name,
            "state": self.state,
            "text": self.text,
            "text_ja": self.japanese,
            "measures": [measure.to_dict() for measure in self.measures],
        }


def worst(states: list[str]) -> str:
    """The worst of some states; ``ok`` when there are none."""
    return max(states, key=STATES.index, default=OK)
