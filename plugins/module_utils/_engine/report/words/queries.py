# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says about statements and their regressions, in both languages."""

from __future__ import annotations

from .entry import Blind, Entry, Pair

FINDINGS: dict[str, Entry] = {}

MISSING: dict[str, Pair] = {}

NOT_SEEN: dict[str, Blind] = {}
