# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""pg_controldata's lines, as PostgreSQL 15 wrote them on a running cluster."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.controldata import (
    parse_control_data,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed

LINES = """
pg_control version number:            1300
Catalog version number:               202209061
Database system identifier:           7710488911203086354
Database cluster state:               in production
pg_control last modified:             Sat Nov 21 05:14:58 2026
Latest checkpoint location:           1/A9000060
Latest checkpoint's REDO location:    1/A9000028
Latest checkpoint's REDO WAL file:    0000000B00000001000000A9
Latest checkpoint's TimeLineID:       11
Latest checkpoint's PrevTimeLineID:   11
Minimum recovery ending location:     0/0
Min recovery ending loc's timeline:   0
Backup start location:                0/0
Backup end location:                  0/0
wal_level setting:                    replica
max_connections setting:              40
max_worker_processes setting:         8
max_wal_senders setting:              5
max_prepared_xacts setting:           10
max_locks_per_xact setting:           64
Database block size:                  8192
Bytes per WAL segment:                67108864
Data page checksum version:           1
"""


def test_every_value_has_its_type() -> None:
    control = parse_control_data(LINES)
    assert control.system_id == 7710488911203086354
    assert (control.state, control.shut_down) == ("in production", False)
    # 1/A9000060 by hand: 2**32 + 0xA9000060
    assert control.checkpoint_lsn == 4294967296 + 2835349600
    assert control.checkpoint_lsn - control.redo_lsn == 0x60 - 0x28
    assert (control.timeline, control.wal_segment_size, control.block_size) == (11, 64 * 1024 * 1024, 8192)
    assert control.data_checksums
    assert control.to_dict()["checkpoint_lsn"] == "1/A9000060"


def test_the_primary_s_limits_have_the_names_of_settings() -> None:
    assert parse_control_data(LINES).settings == {
        "wal_level": "replica",
        "max_connections": "40",
        "max_worker_processes": "8",
        "max_wal_senders": "5",
        "max_prepared_transactions": "10",
        "max_locks_per_transaction": "64",
    }


@pytest.mark.parametrize(
    ("state", "expected"),
    [("shut down", True), ("shut down in recovery", True), ("in archive recovery", False)],
)
def test_an_orderly_end(state: str, expected: bool) -> None:
    assert parse_control_data(LINES.replace("in production", state)).shut_down is expected


def test_an_answer_that_lacks_something() -> None:
    with pytest.raises(Failed) as caught:
        parse_control_data(LINES.replace("Bytes per WAL segment", "Bytes per segment"))
    assert caught.value.code == "control-file-unreadable"
    assert "Bytes per WAL segment" in caught.value.happened
