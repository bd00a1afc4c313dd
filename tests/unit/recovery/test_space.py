# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Room for a restore: bytes and inodes on each file system (C08)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.host import tablespace_moves
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.space import disk_needs

from . import world

HERE, FAST = "/var/lib/postgresql/15", "/mnt/fast"
OID = 16400


def needs(
    here: int | None, fast: int | None, inodes: dict[int, int], *, devices: tuple[int, int] = (1, 2)
) -> list[int]:
    """The inodes needed where so many are free: of the data directory's file system, then of the tablespace's."""
    backup = world.with_tablespace()
    disks = {
        HERE: replace(world.disk(HERE, device=devices[0]), free_inodes=here),
        FAST: replace(world.disk(FAST, device=devices[1]), free_inodes=fast),
    }
    state = world.state(backup, disks=disks)
    found = disk_needs([backup], world.proof(), tablespace_moves(backup, {}, "0" * 12), state, inodes)
    return [item["needed_inodes"] for item in found]


def test_inodes_are_counted_where_the_files_go() -> None:
    # By hand: 1000 files, 4 segments, 8 fetched ahead, 64 of our own; 10 % more. The tablespace's lie elsewhere.
    assert needs(10**6, 10**6, {0: 1000, OID: 500}) == [round(1076 * 1.1), round(500 * 1.1)]
    assert needs(10**6, 10**6, {0: 1000, OID: 500}, devices=(1, 1)) == [round(1076 * 1.1) + round(500 * 1.1)]


@pytest.mark.parametrize(("here", "fast", "path"), [(1183, 10**6, world.DATA), (10**6, 549, f"{FAST}/space")])
def test_too_few_inodes_are_told_with_the_place(here: int, fast: int, path: str) -> None:
    with pytest.raises(Refused) as caught:
        needs(here, fast, {0: 1000, OID: 500})
    assert caught.value.code == "inodes-too-few"
    assert path in caught.value.happened and str(min(here, fast)) in caught.value.happened
    assert needs(1184, 550, {0: 1000, OID: 500})


def test_a_file_system_without_a_fixed_number_of_inodes_has_enough() -> None:
    assert needs(None, None, {0: 10**9, OID: 10**9})
