# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Postmasters as the kernel shows them, and their end."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from .waiting import wait_for


def postmaster_pid(data_directory: Path) -> int | None:
    """The pid of the postmaster that runs on a data directory, or None."""
    try:
        pid = int((data_directory / "postmaster.pid").read_text().split("\n", 1)[0])
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return None if state in "ZX" else pid


def kill_postmaster(pid: int) -> None:
    """kill -9 of a postmaster; returns when it and all its children have gone."""
    # Whoever stands still makes no more children.
    os.kill(pid, signal.SIGSTOP)
    state = Path(f"/proc/{pid}/stat")
    wait_for(
        lambda: state.read_text().rpartition(")")[2].split()[0] in "TZX", "the postmaster to stand still"
    )
    children = [int(item) for item in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    os.kill(pid, signal.SIGKILL)
    for process in (pid, *children):
        wait_for(partial(_gone, process), f"the end of process {process}", timeout=240)


def _gone(pid: int) -> bool:
    # A zombie that its parent has not collected yet still makes PostgreSQL believe in the old pid file.
    return not os.path.exists(f"/proc/{pid}")
