# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The ``dbkeeper`` command. Exit status: 0 done or nothing to do, 2 refused before anything was touched, 3 failed.

``archive-push`` and ``archive-get`` are called by the server for every segment and have contracts of their own;
they leave here at once, before anything that they don't need is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["archive-push"]:
        from .archive import archive_push

        return archive_push(arguments[1:])
    if arguments[:1] == ["archive-get"]:
        from .archive import archive_get

        return archive_get(arguments[1:])
    if arguments[:1] == ["receive"]:
        from .receive import run_receive

        return run_receive(arguments[1:])
    if arguments[:1] == ["door"]:
        from .door import door

        return door(arguments[1:])
    from .commands import run_command

    return run_command(arguments)
