# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the real server holds while a second one is tried beside it.

A trial needs the shared memory of both at once. Where the kernel counts what is promised
(``vm.overcommit_memory=2``), or huge pages are reserved for one server only, it may fail for want of what the
real server would have given back by then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..cluster.host_limits import meminfo
from ..core.privilege import as_root

#: The kernel's mode in which what was promised is counted (kernel documentation, overcommit-accounting).
_STRICT = "2"
_MAPPED = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-s \S+ \S+ \S+\s+(/dev/zero|/anon_hugepage)")
#: The server's words (sysv_shmem.c), in English as in every trial.
_REFUSED = "could not map anonymous shared memory"
_REQUEST = re.compile(r"currently (\d+) bytes")


@dataclass(frozen=True)
class Held:
    """The shared memory of a server that runs, and whether it is of huge pages."""

    shared_bytes: int = 0
    huge_pages: bool = False


def held_by(pid: int | None) -> Held:
    """What a postmaster holds; nothing where there is none, or where that may not be read."""
    if pid is None:
        return Held()
    try:
        with as_root(), open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as handle:
            return held_in(handle.read())
    except OSError:
        return Held()


def held_in(maps: str) -> Held:
    """From the kernel's map of a process. Pure."""
    found = _MAPPED.findall(maps)
    return Held(
        sum(int(end, 16) - int(begin, 16) for begin, end, _kind in found),
        any("hugepage" in kind for _begin, _end, kind in found),
    )


def fits_alone(words: str, held: Held) -> bool:
    """Whether a trial failed only because the real server holds its memory still."""
    try:
        with open("/proc/sys/vm/overcommit_memory", encoding="ascii") as handle:
            mode = handle.read().strip()
    except OSError:
        return False
    return would_fit(words, held, mode, meminfo())


def would_fit(words: str, held: Held, mode: str, memory: Mapping[str, int]) -> bool:
    """Pure: the request fits into what is left to be promised, and what the real server gives back."""
    request = _REQUEST.search(words)
    if mode != _STRICT or _REFUSED not in words or not request:
        return False
    left = memory.get("CommitLimit", 0) - memory.get("Committed_AS", 0)
    return int(request[1]) <= left + held.shared_bytes
