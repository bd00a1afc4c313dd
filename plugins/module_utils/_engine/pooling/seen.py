# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the kernel shows of a pooler's process to whoever looks: who it is, whose it is, where it listens."""

from __future__ import annotations

import contextlib
import os

#: A listening socket's state in /proc/net/tcp.
LISTENING = "0A"


def is_pooler(pid: int) -> bool:
    """Whether a process is PgBouncer, by its program, or by its name where we may not look."""
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as handle:
                program = handle.read().split(b"\0")[0].decode(errors="replace")
        except OSError:
            return False
    # An upgraded package leaves "pgbouncer (deleted)" behind.
    return os.path.basename(program).partition(" ")[0] == "pgbouncer"


def uid_of(pid: int) -> int:
    """The effective user of a process. Raises OSError when it is gone."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as handle:
        for line in handle:
            if line.startswith("Uid:"):
                return int(line.split()[2])
    return os.stat(f"/proc/{pid}").st_uid


def socket_inodes(pid: int) -> set[str]:
    """Sockets that a process holds; empty where we may not look."""
    inodes = set()
    with contextlib.suppress(PermissionError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{name}")
                if target.startswith("socket:["):
                    inodes.add(target[len("socket:[") : -1])
    return inodes


def unix_sockets(pid: int, inodes: set[str]) -> tuple[tuple[str, int], ...]:
    """Source: proc_net(5), unix: the inode is the seventh field, the path the eighth."""
    found = set()
    with open(f"/proc/{pid}/net/unix", encoding="utf-8", errors="replace") as handle:
        for line in handle:
            fields = line.split(None, 7)
            if len(fields) == 8 and fields[6] in inodes:
                directory, _dot, name = fields[7].strip().rpartition("/")
                if name.startswith(".s.PGSQL.") and name[len(".s.PGSQL.") :].isdigit():
                    found.add((directory, int(name[len(".s.PGSQL.") :])))
    return tuple(sorted(found))


def tcp_ports(pid: int, inodes: set[str]) -> frozenset[int]:
    """Source: proc_net(5), tcp: the second field is the local address, the fourth the state."""
    found = set()
    for family in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/{pid}/net/{family}", encoding="ascii") as handle:
                for line in handle:
                    fields = line.split()
                    if len(fields) > 9 and fields[3] == LISTENING and fields[9] in inodes:
                        found.add(int(fields[1].rpartition(":")[2], 16))
    return frozenset(found)
