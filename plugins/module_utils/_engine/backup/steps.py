# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The steps of a base backup, by name, in order. A killed backup is begun anew."""

from __future__ import annotations

DISCARD = "discard"
REGISTER = "register"
COPY = "copy"
WAL = "wal"
SEAL = "seal"

BACKUP = (DISCARD, REGISTER, COPY, WAL, SEAL)
