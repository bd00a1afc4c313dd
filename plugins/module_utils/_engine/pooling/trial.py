# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A candidate proven by PgBouncer itself: started for a moment in a directory of its own, asked, stopped.

It runs as the pooler's user, so that a key which that user cannot read is found here too; it listens on nothing
but a socket that nobody else knows.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time

from ..core.errors import KeeperError, Refused
from ..core.files import write_durable
from ..core.run import start, stop_group
from .console import Seen, console, look
from .process import telling
from .render import with_settings
from .request import PoolerRequest

_POLL_SECONDS = 0.01
_SECONDS = 15.0


def try_out(request: PoolerRequest, config: str, userlist: str) -> Seen:
    """What a pooler with these files says of itself.

    Raises :class:`Refused` (``candidate-refused``) with its words, which name file, line and parameter.
    """
    attempted = "start a pooler with the new files, beside the one that runs"
    # A path of a socket has 107 bytes at most.
    last = "it did not answer"
    scratch = tempfile.mkdtemp(prefix="dbkeeper-pool-", dir="/tmp" if os.path.isdir("/tmp") else None)
    try:
        write_durable(f"{scratch}/userlist.txt", userlist.encode(), 0o600)
        path = f"{scratch}/pgbouncer.ini"
        write_durable(path, with_settings(config, trial_settings(scratch)).encode(), 0o600)
        with open(f"{scratch}/words", "w+b") as said:
            process = start([request.program, path], stdout=said.fileno(), stderr=said.fileno(), cwd=scratch)
            try:
                deadline = time.monotonic() + _SECONDS
                while True:
                    try:
                        with console(scratch, request.port, attempted=attempted, timeout=_SECONDS) as session:
                            return look(session)
                    except KeeperError as error:
                        last = error.happened
                    if process.poll() is not None or time.monotonic() > deadline:
                        break
                    time.sleep(_POLL_SECONDS)
            finally:
                stop_group(process)
            said.seek(0)
            words = telling(said.read().decode(errors="replace")).replace(path, request.config_file)
    finally:
        shutil.rmtree(scratch)
    raise Refused(
        "candidate-refused",
        attempted=attempted,
        happened=f"the pooler says: {words or last}",
        remedy="Correct what its words name; nothing has been changed.",
        details={"words": words or last},
    )


def trial_settings(scratch: str) -> dict[str, str]:
    """What must be different in a trial: it must not meet the one that runs."""
    return {
        "listen_addr": "",
        "unix_socket_dir": scratch,
        "unix_socket_mode": "0700",
        "unix_socket_group": "",
        "pidfile": "",
        "logfile": "",
        "syslog": "0",
        "so_reuseport": "0",
        "auth_file": f"{scratch}/userlist.txt",
    }
