# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How much memory and how many CPUs a process may use: the machine's, or less where control groups say so.

A container's /proc/meminfo shows the whole machine; what it may use stands in its control group, version 1 or
2, or in one above it. ``root`` is where /proc and /sys are (a test gives a directory).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

#: Where services live on a host with systemd; the place of a server that is not started yet.
SERVICES = "/system.slice"
#: Of version 1, as far as a hierarchy of memory or of CPU time may be shared with them.
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "blkio", "devices", "freezer", "pids", "hugetlb")


@dataclass(frozen=True)
class Level:
    """One limit of memory. ``group``: the control group that has it, below the mount; "" is all that is seen."""

    limit_bytes: int
    group: str


@dataclass(frozen=True)
class Limits:
    """What is to be had: every limit of memory that holds, the machine's own first."""

    memory: tuple[Level, ...]
    cpus: int

    @property
    def memory_bytes(self) -> int:
        """The smallest."""
        return min(level.limit_bytes for level in self.memory)

    def taken_bytes(self, promises: Iterable[tuple[str | None, int]]) -> int:
        """What others leave less of :attr:`memory_bytes`.

        ``promises`` are (control group, bytes): each counts against the limits of the groups that it is in, so
        that one elsewhere takes nothing from a group that has memory of its own.
        """
        given = list(promises)
        left = min(
            level.limit_bytes - sum(count for group, count in given if _within(group, level.group))
            for level in self.memory
        )
        return max(0, self.memory_bytes - left)


def _within(group: str | None, level: str) -> bool:
    return level == "" or (group is not None and f"{group}/".startswith(f"{level}/"))


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy of control groups; ``controllers`` is empty for version 2."""

    root: str
    path: str
    controllers: tuple[str, ...]


def limits(pid: int | None = None, *, place: str | None = None, root: str = "") -> Limits:
    """What a process may use (None: this one).

    ``place`` is the control group to look at in the place of the process's own, for a server that will be
    started there. Files that cannot be read limit nothing.
    """
    memory = [Level(meminfo(root).get("MemTotal", 0), "")]
    cpus = float(_allowed_cpus(pid))
    for mount, top, groups in _groups(pid, place, root):
        for group in groups:
            directory = f"{top}/{group}".rstrip("/")
            memory += [Level(limit, group) for limit in _memory_limits(mount, directory)]
            quota = _quota(mount, directory)
            if quota is not None:
                cpus = min(cpus, quota)
    return Limits(tuple(memory), max(1, int(cpus)))


def memory_group(pid: int, *, root: str = "") -> str | None:
    """The control group of a process where memory is limited, below the mount; None where there are none."""
    found = [(mount, groups[0]) for mount, _top, groups in _groups(pid, None, root)]
    version_1 = [group for mount, group in found if "memory" in mount.controllers]
    version_2 = [group for mount, group in found if not mount.controllers]
    return next(iter(version_1 + version_2), None)


def meminfo(root: str = "") -> dict[str, int]:
    """/proc/meminfo; sizes in bytes, counts as they are."""
    found = {}
    for line in (_read(f"{root}/proc/meminfo") or "").splitlines():
        name, _dummy, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def available_memory(*, root: str = "") -> int:
    """Bytes that work of a while may take beside what runs already: what the machine can give without swapping, and
    half of what a control group allows at most (the live server may be in it). A careful guess where nobody says."""
    found = meminfo(root).get("MemAvailable", 256 << 20)
    allowed = [level.limit_bytes // 2 for level in limits(root=root).memory[1:]]
    return min([found, *allowed])


def _allowed_cpus(pid: int | None) -> int:
    try:
        return len(os.sched_getaffinity(pid or 0))
    except OSError:
        return len(os.sched_getaffinity(0))


def _groups(pid: int | None, place: str | None, root: str) -> list[tuple[_Mount, str, list[str]]]:
    """Each hierarchy: its mount, where that is, and the groups from the process's own up to the mount ("")."""
    mine = _memberships(_read(f"{root}/proc/{pid or 'self'}/cgroup") or "")
    found = []
    for mount in _mounts(_read(f"{root}/proc/self/mountinfo") or ""):
        key = next((names for names in mine if _same_hierarchy(mount, names)), None)
        if key is not None:
            path = _below(mount.root, place or mine[key])
            found.append((mount, f"{root}{mount.path}", _upwards(path)))
    return found


def _same_hierarchy(mount: _Mount, names: tuple[str, ...]) -> bool:
    return set(mount.controllers) <= set(names) and bool(names) == bool(mount.controllers)


def _memberships(text: str) -> dict[tuple[str, ...], str]:
    """Controllers -> path, from /proc/PID/cgroup; version 2 has no controllers there."""
    found = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3 and not parts[1].startswith("name="):
            found[tuple(filter(None, parts[1].split(",")))] = parts[2]
    return found


def _mounts(text: str) -> list[_Mount]:
    found = []
    for line in text.splitlines():
        front, _dummy, back = line.partition(" - ")
        fields, kind = front.split(), back.split()
        if len(fields) < 5 or not kind or kind[0] not in ("cgroup", "cgroup2"):
            continue
        options = kind[-1].split(",") if kind[0] == "cgroup" else []
        names = tuple(name for name in options if name in _CONTROLLERS)
        if kind[0] == "cgroup2" or names:
            found.append(_Mount(fields[3], fields[4], names))
    return found


def _below(mounted: str, path: str) -> str:
    """A group's path below the mount: of a container's group that was mounted only the rest is left."""
    if ".." in path.split("/"):
        return ""
    if mounted in ("", "/"):
        return path.strip("/")
    if path == mounted or path.startswith(f"{mounted.rstrip('/')}/"):
        return path[len(mounted) :].strip("/")
    return ""


def _upwards(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]


def _memory_limits(mount: _Mount, directory: str) -> list[int]:
    names = ["memory.max", "memory.high"] if not mount.controllers else ["memory.limit_in_bytes"]
    if mount.controllers and "memory" not in mount.controllers:
        return []
    texts = [(_read(f"{directory}/{name}") or "").strip() for name in names]
    return [int(text) for text in texts if text.isdigit() and int(text) > 0]


def _quota(mount: _Mount, directory: str) -> float | None:
    if not mount.controllers:
        words = (_read(f"{directory}/cpu.max") or "").split()
    elif "cpu" in mount.controllers:
        both = (_read(f"{directory}/cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
        words = " ".join(both).split()
    else:
        return None
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return None
