# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a chain needs at the worst moment: its links, and what is made of them (fault C08)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.space import disk_needs
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import Backup

from .world import SEGMENT, backup, disk, proof, state

MB = 1 << 20


def chain(major: int) -> list[Backup]:
    """1000 MB, and 50 MB on it: 1050 MB when they are combined, of which 200 MB are put together from both."""
    full = backup(label="full", major=major, plain_bytes=1000 * MB, tablespaces=())
    sizes = {"plain_bytes": 50 * MB, "restored_bytes": 1050 * MB, "rebuilt_bytes": 200 * MB}
    return [full, replace(full, label="child", kind="incremental", parent="full", **sizes)]


def needed(links: Sequence[Backup]) -> int:
    """Without the margin of a tenth."""
    found = disk_needs(links, proof(wal_bytes=0), [], state(links[-1]), {})
    return round(int(found[0]["needed_bytes"]) / 1.1)


def test_copied_links_go_before_wal_comes() -> None:
    links = chain(17)
    wal = 12 * SEGMENT
    assert abs(needed(links[:1]) - (1000 * MB + wal)) < 2
    assert abs(needed(links) - (1050 * MB + 1050 * MB)) < 2


def test_of_linked_ones_only_what_is_put_together_is_written_again() -> None:
    assert abs(needed(chain(18)) - (1050 * MB + 200 * MB + 12 * SEGMENT)) < 2


def test_too_little_is_refused() -> None:
    links = chain(17)
    small = state(links[-1])
    small = replace(small, disks={path: disk(path, free=2000 * MB) for path in small.disks})
    with pytest.raises(Refused) as caught:
        disk_needs(links, proof(wal_bytes=0), [], small, {})
    assert caught.value.code == "disk-too-small"
