# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says about the health checks, in both languages."""

from __future__ import annotations

from .entry import Blind, Entry, Pair

FINDINGS: dict[str, Entry] = {}

MISSING: dict[str, Pair] = {}

NOT_SEEN: dict[str, Blind] = {}
