# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The steps of a dump, by name: the journal's own list, in order.

A crash at any of them leaves an entry that says ``running`` with a maker that is dead, and all older dumps whole.
"""

from __future__ import annotations

DISCARD = "discard"
REGISTER = "register"
DUMP = "dump"
GLOBALS = "globals"
LIST = "list"
SEAL = "seal"

STEPS = (DISCARD, REGISTER, DUMP, GLOBALS, LIST, SEAL)
