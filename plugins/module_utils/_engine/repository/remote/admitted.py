# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether the line of authorized_keys that opened a conversation is still there.

sshd looks at it when a connection is made. The connection lives on, with what the key was allowed to do then, and a
client that never hangs up would keep for ever what was taken from it.
"""

from __future__ import annotations

import os


class Admitted:
    """``keys``: the file (None: nobody knows it; a line of an older release), ``words``: the end of the line's command.

    Called, it tells whether a line of the file still has them. One that cannot be read lets nobody in.
    """

    def __init__(self, keys: str | None, words: str) -> None:
        self._keys = keys
        self._words = f'{words}"'
        self._seen: tuple[int, int, int] | None = None
        self._found = False

    def __call__(self) -> bool:
        if self._keys is None:
            return True
        try:
            now = os.stat(self._keys)
            seen = (now.st_ino, now.st_mtime_ns, now.st_size)
            if seen != self._seen:
                with open(self._keys, encoding="utf-8", errors="replace") as handle:
                    self._found = any(
                        self._words in line for line in handle if not line.lstrip().startswith("#")
                    )
                self._seen = seen
        except OSError:
            return False
        return self._found
