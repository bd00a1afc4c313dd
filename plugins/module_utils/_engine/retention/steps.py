# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The steps of an expiry, by name: the journal's own list, in order.

A crash at any of them leaves more than is needed, never a backup that is listed and broken: what goes is marked
first, deleted then, and taken out of the catalog at the end; WAL goes last. What tells how old everything is is
remembered before, so that the next run judges as this one did.
"""

from __future__ import annotations

REMEMBER = "remember"
MARK = "mark"
CONFIRM = "confirm"
DELETE = "delete"
FORGET = "forget"
WAL = "wal"

EXPIRE = (REMEMBER, MARK, CONFIRM, DELETE, FORGET, WAL)

#: Begins the name of a directory that is no backup any more.
ASIDE = ".expired-"
