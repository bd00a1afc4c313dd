# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The process that holds one host: starts systemd-nspawn, and starts it again when the host reboots.

Run by ``host.py`` as ``python3 -m tests.bed.runner HOST_DIRECTORY`` in a session of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import cgroups
from .process import BedError, ProcessId, children, is_namespace_init
from .store import read_json, write_json

REBOOT_WANTED = 133  # nspawn's exit status with --keep-unit when the host asked for a reboot


def nspawn_command(root: Path, state: dict[str, Any]) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--kill-signal=SIGRTMIN+3"),
        f"--directory={root}",
        f"--machine={state['unit']}",
        f"--hostname={state['name']}",
        f"--network-bridge={state['bridge']}",
    ]


def _identity(pid: int) -> dict[str, Any] | None:
    process = ProcessId.of(pid)
    return None if process is None else asdict(process)


def _leader(nspawn: subprocess.Popen[bytes]) -> int | None:
    """The host's first process: a child of nspawn that is number 1 of its own namespace."""
    while nspawn.poll() is None:
        for pid in children(nspawn.pid):
            if is_namespace_init(pid):
                return pid
        time.sleep(0.02)
    return None


def hold(directory: Path) -> int:
    state = read_json(directory / "state.json")
    if state is None:
        raise BedError(f"{directory} was swept away before the host could start")
    groups = [Path(path) for path in state["cgroups"]]
    cgroups.enter(groups)
    # A pure cgroup2 tree inside, as on a real server, whatever the machine has.
    environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    boots = 0
    while True:
        nspawn = subprocess.Popen(nspawn_command(directory / "root", state), env=environment)
        boots += 1
        running = {
            "boots": boots,
            "runner": _identity(os.getpid()),
            "nspawn": _identity(nspawn.pid),
            "leader": None,
        }
        write_json(directory / "running.json", running)
        leader = _leader(nspawn)
        if leader is not None:
            running["leader"] = _identity(leader)
            write_json(directory / "running.json", running)
        status = nspawn.wait()
        if status == 0:
            # Shut down from inside, say by a test: off on purpose, so not a leftover.
            (directory / "off").touch()
        if status != REBOOT_WANTED:
            print(f"runner: the host ended with status {status}", flush=True)
            return 0 if status == 0 else 1


if __name__ == "__main__":
    try:
        sys.exit(hold(Path(sys.argv[1])))
    except BedError as problem:
        sys.exit(f"runner: {problem}")
