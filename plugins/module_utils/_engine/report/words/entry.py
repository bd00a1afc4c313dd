# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The shape of what the report says: each text in English and in Japanese, with the same things filled in."""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """One text in each language."""

    en: str
    ja: str

    def of(self, language: str) -> str:
        """The text in a language; English for one that is not there."""
        return self.ja if language == "ja" else self.en


class Entry(NamedTuple):
    """What a finding is called, what was seen, why it matters, and what to do."""

    title: Pair
    what: Pair
    why: Pair
    remedy: Pair


class Blind(NamedTuple):
    """Why something could not be looked at, and what to do so that it can be."""

    why: Pair
    remedy: Pair
