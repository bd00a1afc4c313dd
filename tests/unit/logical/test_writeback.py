# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is being written reaches the disk meanwhile, and an error of the disk is never lost."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.files import digest, digests
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.writeback import Writeback


def test_files_are_flushed_while_the_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "one").write_bytes(b"x" * 1000)
    flushed = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: flushed.set())
    with Writeback(str(tmp_path)):
        assert flushed.wait(10)


def test_an_error_is_raised_when_the_block_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells it once only: who opens the file afterwards hears nothing of it."""
    (tmp_path / "one").write_bytes(b"x")
    failed = threading.Event()

    def fail(descriptor: int) -> None:
        failed.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="Input/output error"), Writeback(str(tmp_path)):
        assert failed.wait(10)
    failed.clear()
    with pytest.raises(ValueError, match="first"), Writeback(str(tmp_path)):
        assert failed.wait(10)
        raise ValueError("first")


def test_a_directory_that_goes_away_is_no_error(tmp_path: Path) -> None:
    with Writeback(str(tmp_path / "never")):
        assert not (tmp_path / "never").exists()


def test_several_digests_come_in_order(tmp_path: Path) -> None:
    paths = []
    for number in range(20):
        path = tmp_path / str(number)
        path.write_bytes(bytes([number]) * (20 - number) * 1000)
        paths.append(str(path))
    assert list(digests(paths)) == [digest(path) for path in paths]
    assert list(digests([])) == []
