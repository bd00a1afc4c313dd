# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How far a cluster's WAL is known to reach, from its control file alone."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.live_end import known_end

from .world import control

#: (state, last checkpoint, minimum recovery end, known end), with segments of 16 MB: 0/3000000, 0/4000000, …
CASES = [
    ("in production", 0x3000028, 0, 0x3000000),
    ("in production", 0x3ABCDE0, 0, 0x3000000),
    # A server that archives has ended its segment: the checkpoint is the first record of the next one.
    ("shut down", 0x4000028, 0, 0x4000000),
    # One that does not writes on: what lies before the checkpoint is nowhere else.
    ("shut down", 0x4000060, 0, 0x4000060),
    ("shut down", 0x3FFFF00, 0, 0x3FFFF00),
    ("in crash recovery", 0x3ABCDE0, 0, 0x3000000),
    ("shut down in recovery", 0x3ABCDE0, 0x5000148, 0x5000148),
    # Promoted just now, before its first checkpoint: what it says of its recovery is over.
    ("in production", 0x3ABCDE0, 0x5000148, 0x3000000),
    ("in archive recovery", 0x5ABCDE0, 0x4000148, 0x5000000),
]


@pytest.mark.parametrize(("state", "checkpoint", "replayed", "expected"), CASES)
def test_what_is_known_of_the_end(state: str, checkpoint: int, replayed: int, expected: int) -> None:
    found = control(
        state=state, checkpoint_lsn=checkpoint, min_recovery_end_lsn=replayed, wal_segment_size=16 << 20
    )
    assert known_end(found) == expected
