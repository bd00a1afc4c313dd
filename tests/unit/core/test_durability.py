# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Durability: what the kernel says of it counts."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.files import sync_filesystem


def test_what_the_kernel_could_not_write_is_not_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """syncfs(2) says EIO; a second sync that says nothing would make that good."""

    class Library:
        def syncfs(self, _handle: int) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_dummy, **_more: Library())
    with pytest.raises(OSError) as caught:
        sync_filesystem(str(tmp_path))
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))


def test_where_the_kernel_has_no_syncfs_everything_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSYS says that nothing was tried: sync(2) is there everywhere, and waits on Linux."""
    synced: list[str] = []

    class Library:
        def syncfs(self, _handle: int) -> int:
            ctypes.set_errno(errno.ENOSYS)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_dummy, **_more: Library())
    monkeypatch.setattr(os, "sync", lambda: synced.append("all"))
    sync_filesystem(str(tmp_path))
    assert synced == ["all"]


def test_what_is_not_there_cannot_be_durable(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_filesystem(str(tmp_path / "gone"))


def test_the_kernel_is_asked_for_that_file_system(tmp_path: Path) -> None:
    """The real one, through the C library: a call that cannot be made would look like one that said nothing."""
    sync_filesystem(str(tmp_path))
    handle = os.open(tmp_path, os.O_PATH)
    try:
        assert ctypes.CDLL(None, use_errno=True).syncfs(handle) == -1
        assert ctypes.get_errno() == errno.EBADF
    finally:
        os.close(handle)
