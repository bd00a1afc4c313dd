# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Durability: what the kernel says of it counts."""

from __future__ import annotations

import ctypes
import errno
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
