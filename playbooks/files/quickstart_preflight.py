# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Looks, before the quickstart makes anything, whether it may: nothing of somebody else in its places, a free
port, room on the disk. Prints JSON; touches nothing. Standard library only, Python 3.9.

    quickstart_preflight.py CLUSTER HOME MARKER FIRST_PORT NEEDED_BYTES
"""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
import socket
import sys
from contextlib import closing
from typing import Any

_PORTS_TRIED = 100
# What the roles make once for all clusters of a machine, where it is not there.
_SHARED = ("/etc/postgresql-common/createcluster.d/dbkeeper.conf",)


def places(cluster: str, home: str, root: str = "") -> list[str]:
    """What is there already of all that the quickstart would make."""
    patterns = [f"/etc/postgresql/*/{cluster}", f"/var/lib/postgresql/*/{cluster}"]
    patterns += [f"/etc/dbkeeper/{cluster}.json", f"/etc/cron.d/dbkeeper-{cluster}"]
    found = [path for pattern in patterns for path in glob.glob(root + pattern)]
    return sorted(found + ([home] if os.path.lexists(home) else []))


def claimed_ports(root: str = "") -> set[int]:
    """Ports that the settings of some cluster name, whether it runs or not."""
    ports = set()
    for path in glob.glob(f"{root}/etc/postgresql/*/*/**/*.conf", recursive=True):
        with open(path, encoding="utf-8", errors="replace") as handle:
            for line in handle:
                match = re.match(r"\s*port\s*=?\s*'?(\d+)", line)
                if match:
                    ports.add(int(match.group(1)))
    return ports


def is_free(port: int) -> bool:
    """Whether a server could listen there, on every address and on the socket."""
    if os.path.lexists(f"/var/run/postgresql/.s.PGSQL.{port}"):
        return False
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            listener = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            # This machine has no such addresses.
            continue
        with closing(listener):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listener.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
    return True


def free_space(path: str) -> int:
    """Bytes free where ``path`` would be made."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


def look(
    cluster: str, home: str, marker: str, first_port: int, needed_bytes: int, root: str = ""
) -> dict[str, Any]:
    """The answer: ``problem`` says why not, or is empty. ``root`` is put before the paths of the system."""
    ours, found = os.path.isfile(marker), places(cluster, home, root)
    if found and not ours:
        return {
            "problem": f"There is something called {cluster} here that no quickstart has made: {', '.join(found)}."
            " It is left alone. Run the quickstart on another machine."
        }
    for path in (f"{root}/var/lib/postgresql", home):
        if not ours and free_space(path) < needed_bytes:
            return {
                "problem": f"{path} has {free_space(path) >> 20} MB free; {needed_bytes >> 20} MB are needed."
            }
    taken = claimed_ports(root)
    for port in range(first_port, first_port + _PORTS_TRIED):
        if port not in taken and is_free(port):
            return {
                "problem": "",
                "ours": ours,
                "port": port,
                "missing": [path for path in _SHARED if not os.path.lexists(root + path)],
            }
    return {"problem": f"None of the ports {first_port} to {first_port + _PORTS_TRIED - 1} is free."}


def main(arguments: list[str]) -> int:
    """See the module's text."""
    cluster, home, marker, first_port, needed_bytes = arguments
    answer: dict[str, Any] = {
        "problem": "The quickstart makes a cluster as Debian does, and that needs root."
    }
    if os.geteuid() == 0:
        answer = look(cluster, home, marker, int(first_port), int(needed_bytes))
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
