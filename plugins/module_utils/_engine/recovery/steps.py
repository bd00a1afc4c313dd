# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The steps of a restore and of its undoing, by name: the journal's own list, in order.

Everything up to ``settle`` happens beside the live cluster; from ``stop-live`` to ``start-new`` it is down.
"""

from __future__ import annotations

LEASE = "lease"
STAGE = "stage"
COMBINE = "combine"
CONFIGURE = "configure"
REPLAY = "replay"
VERIFY = "verify"
SETTLE = "settle"
STOP_LIVE = "stop-live"
KEEP_OLD = "keep-old"
PLACE_NEW = "place-new"
START_NEW = "start-new"
PROVE_ARCHIVING = "prove-archiving"
BACKUP = "backup"
CLEAN_UP = "clean-up"

RESTORE = (
    LEASE,
    STAGE,
    COMBINE,
    CONFIGURE,
    REPLAY,
    VERIFY,
    SETTLE,
    STOP_LIVE,
    KEEP_OLD,
    PLACE_NEW,
    START_NEW,
    PROVE_ARCHIVING,
    BACKUP,
    CLEAN_UP,
)

UNDO_STOP = "undo-stop"
UNDO_PUT_ASIDE = "undo-put-aside"
UNDO_PUT_BACK = "undo-put-back"
UNDO_START = "undo-start"
UNDO_CLEAN_UP = "undo-clean-up"
UNDO_GIVE_UP = "undo-give-up"

UNDO = (UNDO_STOP, UNDO_PUT_ASIDE, UNDO_PUT_BACK, UNDO_START, UNDO_CLEAN_UP, UNDO_GIVE_UP)
