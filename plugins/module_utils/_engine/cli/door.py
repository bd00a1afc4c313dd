# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper door``: the forced command of a key that another host comes with. Needs no configuration.

``door --root DIRECTORY --cluster NAME --access append|read [--name KEY] [--key DIGEST --keys FILE]``; ``--name`` is
who the key belongs to: leases that it takes can be released by the same name only. ``--keys`` is the file that has the
key's line: when the line is gone, or another one, the conversation is over.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

DOOR_FAILED = 3
_OPTIONS = ("--root", "--cluster", "--access", "--name", "--key", "--keys")


def door(arguments: Sequence[str]) -> int:
    """Serve one connection on standard input and output."""
    from ..repository.layout import Repository
    from ..repository.remote import names
    from ..repository.remote.admitted import Admitted
    from ..repository.remote.door import ACCESS, STALL_SECONDS, Door
    from ..repository.remote.doorlog import DoorLog
    from ..repository.remote.frames import Pipes

    given = dict(zip(arguments[::2], arguments[1::2]))
    if len(arguments) % 2 or len(given) != len(arguments) // 2 or not set(given) <= set(_OPTIONS):
        return _wrong(
            "usage: dbkeeper door --root DIRECTORY --cluster NAME --access append|read [--name KEY]"
        )
    root, cluster, access = (given.get(option, "") for option in _OPTIONS[:3])
    if not os.path.isabs(root) or not names.NAME.fullmatch(cluster) or access not in ACCESS:
        return _wrong(
            "the root must be an absolute path, the cluster a plain name, the access append or read"
        )
    who = given.get("--name", access)
    if not names.NAME.fullmatch(who):
        return _wrong("the name of a key is made of letters, digits, dots, dashes and underscores")
    os.umask(0o027)
    # A client that hangs up must not end us by a signal before we have tidied up.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, _end)
    signal.signal(signal.SIGTERM, _end)
    repository = Repository(root, cluster)
    log = DoorLog(
        repository.path,
        cluster=cluster,
        key=who,
        access=access,
        client=os.environ.get("SSH_CONNECTION", "").split(" ")[0] or None,
    )
    wanted = os.environ.get("SSH_ORIGINAL_COMMAND")
    if wanted:
        # Told, never run. Ours comes without a command; another program would only wait for its own words.
        log.note("command", bad=True, command=wanted)
        return _wrong("this key opens the door of a repository, and runs no commands")
    # Standard output is the conversation: nothing else may ever be written there.
    target = os.dup(1)
    os.dup2(2, 1)
    # sshd may give the same socket for both directions.
    pipes = Pipes(0, target, stall_seconds=STALL_SECONDS)
    admitted = Admitted(given.get("--keys"), f"door {' '.join(arguments)}")
    return 0 if Door(repository, access, who, pipes, log, admitted).serve() else DOOR_FAILED


def _wrong(text: str) -> int:
    sys.stderr.write(f"door: {text}\n")
    return 2


def _end(number: int, _dummy: object) -> None:
    raise SystemExit(DOOR_FAILED)
