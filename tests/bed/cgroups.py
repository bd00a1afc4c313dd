# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A control group of its own for each host: without it, systemd of two hosts manage the same units."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from .process import ProcessId, wait_until

# Hierarchies a host needs its own group in; "" is the unified one.
_WANTED = ("", "name=systemd", "memory", "pids", "cpu", "cpuacct")


def own_groups(unit: str) -> list[Path]:
    """Where a group called ``unit`` belongs: below the caller's own, in every hierarchy."""
    mounts = _mounts()
    found: list[Path] = []
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _dummy, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in _WANTED and controller in mounts:
                group = mounts[controller] / path.lstrip("/") / unit
                if group not in found:
                    found.append(group)
    return found


def _mounts() -> dict[str, Path]:
    """Controller → where its hierarchy is mounted."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _dummy, where, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found.setdefault("", Path(where))
        elif kind == "cgroup":
            for option in options.split(","):
                if option in _WANTED:
                    found.setdefault(option, Path(where))
    return found


def enter(groups: Iterable[Path]) -> None:
    for group in groups:
        group.mkdir(exist_ok=True)
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def members(groups: Iterable[Path]) -> list[ProcessId]:
    """Every process in these groups or below."""
    pids: set[int] = set()
    for group in groups:
        for listing in group.glob("**/cgroup.procs"):
            try:
                pids.update(int(line) for line in listing.read_text(encoding="ascii").split())
            except OSError as problem:  # the group went away, or is a threaded one that lists no processes
                if problem.errno not in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                    raise
    return [process for process in map(ProcessId.of, pids) if process is not None]


def empty(groups: Iterable[Path]) -> None:
    """Kill what is still in these groups: only the bed ever puts anything there."""
    paths = list(groups)

    def gone() -> bool:
        left = [process for process in members(paths) if process.alive()]
        for process in left:
            process.send(signal.SIGKILL)
        return not left

    wait_until(gone, 15, f"the last processes of {', '.join(map(str, paths))}")


def remove(groups: Iterable[Path]) -> None:
    for group in groups:
        for directory in sorted(group.glob("**/"), key=lambda path: len(path.parts), reverse=True):
            _remove_one(directory)


def _remove_one(directory: Path) -> None:
    def removed() -> bool:
        try:
            directory.rmdir()
        except FileNotFoundError:
            return True
        except OSError as problem:
            # A process that was just killed keeps its group busy until the kernel has buried it.
            if problem.errno != errno.EBUSY:
                raise
            return False
        return True

    wait_until(removed, 15, f"the control group {directory} to become empty")


def strays(prefix: str) -> list[Path]:
    """Groups on this machine whose name starts with the prefix, wherever their makers put them."""
    found: list[Path] = []
    for mount in set(_mounts().values()):
        for folder, names, _dummy in os.walk(mount):
            found += [Path(folder) / name for name in names if name.startswith(prefix)]
            names[:] = [name for name in names if not name.startswith(prefix)]
    return found
