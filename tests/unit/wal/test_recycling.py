# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Files that the index writes over: none is lost, none is used twice, and none tells of another segment."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.index import Recycling
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.reader import Reader
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.source import StoredWal
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.waldump import WalDump

FIRST, SECOND, THIRD = (StoredWal(f"00000001000000000000000{n}", 1, "") for n in (1, 2, 3))


def recycling(space: Path) -> Reader:
    """A reader whose second segment cannot be had; it writes over what is there, as a source does."""

    def obtain(stored: StoredWal, path: str) -> str:
        if stored is SECOND:
            raise Refused("segment-missing", attempted="read", happened="it is gone", remedy="bring it back")
        with open(path, "a+b") as handle:
            handle.truncate(0)
            handle.write(stored.name.encode())
        return stored.name

    dump = WalDump("/nonexistent", 15, 1 << 20)
    return Recycling(Reader(dump, 1, obtain), str(space / "spare")).reader


def test_what_was_read_is_written_over(tmp_path: Path) -> None:
    reader = recycling(tmp_path)
    one, other = tmp_path / FIRST.name, tmp_path / THIRD.name
    assert reader.obtain(FIRST, str(one)) == FIRST.name
    inode = one.stat().st_ino
    reader.release(str(one))
    assert not one.exists()
    assert reader.obtain(THIRD, str(other)) == THIRD.name
    assert other.stat().st_ino == inode and other.read_text() == THIRD.name
    assert reader.obtain(FIRST, str(one)) == FIRST.name
    assert one.stat().st_ino != inode


def test_a_segment_that_cannot_be_had_leaves_no_file_of_another(tmp_path: Path) -> None:
    reader = recycling(tmp_path)
    reader.obtain(FIRST, str(tmp_path / FIRST.name))
    reader.release(str(tmp_path / FIRST.name))
    with pytest.raises(Refused):
        reader.obtain(SECOND, str(tmp_path / SECOND.name))
    assert list(tmp_path.iterdir()) == []
