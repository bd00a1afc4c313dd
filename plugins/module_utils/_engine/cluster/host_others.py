# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Memory that other clusters of this host have been promised.

Those that run, and those that Debian's tools start at boot. What one is promised: its shared buffers, memory
for a quarter of its connections (20 at least), and its autovacuum workers; asked of its own configuration by
its own program. Only programs of the cluster's own user are run: what somebody else has started under the name
of postgres counts with the memory that it shares now, which the kernel says.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..core.errors import Failed
from ..core.privilege import as_root
from ..core.run import run
from .config import ClusterConfig
from .host_limits import memory_group

_NAMES = (
    "shared_buffers",
    "max_connections",
    "work_mem",
    "autovacuum_max_workers",
    "autovacuum_work_mem",
    "maintenance_work_mem",
)
_BLOCK = 8192
_KB = 1024
_FEWEST_ACTIVE = 20
_DEBIAN = "/etc/postgresql"
_SHARED = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+s \S+ \S+ \S+ +(/dev/zero|/SYSV|/anon_hugepage)")


@dataclass(frozen=True)
class Other:
    """Another cluster: how its program is asked (None: it must not be run), and who serves it now."""

    program: str | None
    arguments: tuple[str, ...]
    pid: int | None = None


def promises(config: ClusterConfig) -> list[tuple[str | None, int]]:
    """(control group, bytes) of every other cluster of the host that can be seen; None: it does not run."""
    return [(memory_group(other.pid) if other.pid else None, promise(other)) for other in others(config)]


def promised(values: dict[str, int]) -> int:
    """What a cluster with these settings is promised; values in the units of pg_settings."""
    connections = values["max_connections"]
    active = min(connections, max(_FEWEST_ACTIVE, connections // 4))
    each = values["autovacuum_work_mem"]
    if each < 0:
        each = values["maintenance_work_mem"]
    return (
        values["shared_buffers"] * _BLOCK
        + active * values["work_mem"] * _KB
        + values["autovacuum_max_workers"] * each * _KB
    )


def others(config: ClusterConfig) -> Iterator[Other]:
    """The other clusters of the host: all that run, and those that Debian's tools start at boot."""
    home = config.data_directory.rstrip("/")
    served: set[str] = set()
    for pid, server in _postmasters().items():
        directory, argv = server.directory, server.argv
        # What is staged beside a cluster is the cluster's own, and is gone soon.
        if directory == home or directory.startswith(f"{home}."):
            continue
        named = any(part.startswith("-D") for part in argv)
        arguments = (*argv[1:], *(() if named else ("-D", directory)))
        served.update(part.partition("=")[2] for part in argv if part.startswith("config_file="))
        yield Other(argv[0] if server.ours else None, arguments, pid)
    for path in sorted(glob.glob(f"{_DEBIAN}/*/*/postgresql.conf")):
        version = path.split("/")[-3]
        program = f"/usr/lib/postgresql/{version}/bin/postgres"
        if path in served or path == config.config_file or not os.path.exists(program) or os.geteuid() == 0:
            continue
        if _starts_at_boot(os.path.dirname(path)):
            yield Other(program, ("-c", f"config_file={path}"))


@dataclass(frozen=True)
class _Server:
    """A process of a server. ``ours``: of the same user, and it sees the same files as we do."""

    parent: int
    directory: str
    argv: list[str]
    ours: bool


def _postmasters() -> dict[int, _Server]:
    """Every server on the host by its pid, without its children."""
    user = os.geteuid()
    seen = {}
    with as_root():
        for name in os.listdir("/proc"):
            server = _server(int(name), user) if name.isdigit() else None
            if server is not None:
                seen[int(name)] = server
    return {pid: server for pid, server in seen.items() if server.parent not in seen}


def _server(pid: int, user: int) -> _Server | None:
    """None for what is no process of a PostgreSQL server, or may not be looked at."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            argv = handle.read().rstrip(b"\0").decode(errors="replace").split("\0")
        if os.path.basename(argv[0]) not in ("postgres", "postmaster"):
            return None
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            parent = int(handle.read().rpartition(")")[2].split()[1])
        place, here = os.stat(f"/proc/{pid}/ns/mnt"), os.stat("/proc/self/ns/mnt")
        same_files = (place.st_dev, place.st_ino) == (here.st_dev, here.st_ino)
        owner = os.stat(f"/proc/{pid}").st_uid
        ours = same_files and owner == user != 0 and os.path.isabs(argv[0])
        return _Server(parent, os.readlink(f"/proc/{pid}/cwd"), argv, ours)
    except (OSError, ValueError, IndexError):
        return None


def _starts_at_boot(directory: str) -> bool:
    try:
        with open(f"{directory}/start.conf", encoding="utf-8") as handle:
            return any(line.strip() == "auto" for line in handle)
    except OSError:
        return False


def promise(other: Other) -> int:
    """What another cluster is promised, in bytes; as good as it can be known."""
    if other.program is None:
        return _shared_now(other.pid)
    values = {}
    for name in _NAMES:
        try:
            done = run(
                [other.program, *other.arguments, "-C", name],
                attempted="see what another cluster of this host is promised",
                timeout=10,
            )
        except Failed:
            return _shared_now(other.pid)
        text = done.out.strip()
        if not re.fullmatch(r"-?\d+", text):
            return _shared_now(other.pid)
        values[name] = int(text)
    return promised(values)


def _shared_now(pid: int | None) -> int:
    """Shared memory of a server, from the kernel's map of it; 0 where that may not be read."""
    if pid is None:
        return 0
    try:
        with as_root(), open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as handle:
            found = [_SHARED.match(line) for line in handle]
    except OSError:
        return 0
    return sum(int(match[2], 16) - int(match[1], 16) for match in found if match)
