# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Digests of files that grow."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.hashing import Hashing


def test_what_grew_has_the_digest_of_the_whole(tmp_path: Path) -> None:
    path, small, contents = tmp_path / "3012.dat.gz", tmp_path / "3013.dat.gz", tmp_path / "toc.dat"
    pieces = [os.urandom(9 << 20), os.urandom(5_000_001), os.urandom(17)]
    for one in (small, contents):
        one.write_bytes(b"x" * 100)
    with Hashing(str(tmp_path)) as hashing:
        for piece in pieces:
            with open(path, "ab") as handle:
                handle.write(piece)
            deadline = time.monotonic() + 20
            while not hashing._begun and time.monotonic() < deadline:
                time.sleep(0.01)
    # It has been followed, and the others have not.
    assert list(hashing._begun) == [str(path)]
    for one in (path, small, contents):
        assert hashing.digest(str(one)) == hashlib.sha256(one.read_bytes()).hexdigest()


def test_what_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "1.dat"
    path.write_bytes(os.urandom(9 << 20))
    with Hashing(str(tmp_path)) as hashing:
        deadline = time.monotonic() + 20
        while not hashing._begun and time.monotonic() < deadline:
            time.sleep(0.01)
    path.write_bytes(b"short")
    assert hashing.digest(str(path)) == hashlib.sha256(b"short").hexdigest()


def test_a_dump_of_one_file_and_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "dump.custom"
    path.write_bytes(b"one file")
    for where in (path, tmp_path / "nowhere"):
        with Hashing(str(where)) as hashing:
            pass
    assert hashing.digest(str(path)) == hashlib.sha256(b"one file").hexdigest()


def test_an_error_of_the_disk_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was hashed before it is not to be relied upon: the dump fails."""
    (tmp_path / "1.dat").write_bytes(os.urandom(9 << 20))
    failed = threading.Event()

    def fail(*_given: object, **_options: object) -> int:
        failed.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Hashing, "_read", fail)
    with pytest.raises(OSError, match="Input/output error"), Hashing(str(tmp_path)):
        assert failed.wait(20)
