#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Prints the first TCP port from a given one on that nobody listens on and no PostgreSQL socket is named after."""

from __future__ import annotations

import os
import socket
import sys


def free(port: int) -> bool:
    """Whether a server could take the port now."""
    if os.path.exists(f"/var/run/postgresql/.s.PGSQL.{port}"):
        return False
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main() -> int:
    """One number on standard output; status 1 when a hundred ports are taken."""
    first = int(sys.argv[1])
    for port in range(first, first + 100):
        if free(port):
            print(port)
            return 0
    print(f"no free port from {first} to {first + 99}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
