# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A place for plain segments while pg_waldump reads them, cleaned up even after kill -9 of its maker."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator

from ..core.files import make_directory
from ..core.locks import process_start

_PREFIX = "scratch."


@contextlib.contextmanager
def workspace(root: str) -> Iterator[str]:
    """A new directory below ``root``; what dead processes of this host left there goes first."""
    make_directory(root)
    _remove_orphans(root)
    path = tempfile.mkdtemp(prefix=f"{_owner(os.getpid(), process_start(os.getpid()))}.", dir=root)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _owner(pid: int, begun: str | None) -> str:
    return f"{_PREFIX}{socket.gethostname()}.{pid}.{begun}"


def _remove_orphans(root: str) -> None:
    ours = f"{_PREFIX}{socket.gethostname()}."
    for name in os.listdir(root):
        if not name.startswith(ours):
            continue
        pid, begun = name[len(ours) :].split(".")[:2]
        if process_start(int(pid)) != begun:
            shutil.rmtree(os.path.join(root, name), ignore_errors=True)
