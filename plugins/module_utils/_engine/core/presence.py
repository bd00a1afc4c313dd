# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is on a host already: programs, libraries, users, files. One look instead of a task for each of them.

And the few files of the system that go with the host command, kept as they are wanted.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import Refused
from .files import make_directory, write_durable
from .privilege import started_as_root

#: Where programs of the system are, whatever the search path of whoever asks.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KINDS = ("path", "program", "library", "user")


@dataclass(frozen=True)
class Wanted:
    """One thing and the name that it is reported under; exactly one of path, program, library and user.

    ``program`` is looked for on the system's search path, ``library`` is one of this Python. A ``path`` with a
    ``content`` must be a file with this text and ``mode`` (octal digits), which belongs to root.

    Raises :class:`Refused` ``presence-ambiguous``.
    """

    name: str
    path: str | None = None
    program: str | None = None
    library: str | None = None
    user: str | None = None
    content: str | None = None
    mode: str = "0644"

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1 or (self.content is not None and self.path is None):
            raise Refused(
                "presence-ambiguous",
                attempted=f"see whether {self.name} is there",
                happened=f"{', '.join(given) or 'nothing'} was given",
                remedy=f"Give one of {', '.join(KINDS)}; content goes with path only.",
            )

    def is_there(self) -> bool:
        """Whether it is there, as wanted."""
        if self.program is not None:
            return shutil.which(self.program, path=SEARCH_PATH) is not None
        if self.library is not None:
            return importlib.util.find_spec(self.library) is not None
        if self.user is not None:
            return _has_user(self.user)
        path = str(self.path)
        return os.path.lexists(path) if self.content is None else self._is_file(path, self.content)

    def _is_file(self, path: str, content: str) -> bool:
        try:
            with open(path, "rb") as handle:
                found = os.fstat(handle.fileno())
                same = handle.read() == content.encode()
        except OSError:
            return False
        ours = (found.st_uid, found.st_gid) == (0, 0) or not started_as_root()
        return same and ours and stat.S_IMODE(found.st_mode) == int(self.mode, 8)


def missing(wanted: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of what is not there, in order. Raises what :class:`Wanted` raises."""
    return [thing.name for thing in (Wanted(**item) for item in wanted) if not thing.is_there()]


def keep_files(files: Iterable[Mapping[str, Any]], *, check: bool) -> tuple[list[str], list[dict[str, str]]]:
    """Files of the system as they are wanted (path, content, mode), owned by root: what was done, and the diff.

    Raises what :class:`Wanted` raises.
    """
    plan, diff = [], []
    for thing in (Wanted(**{"name": item["path"], **item}) for item in files):
        if thing.is_there():
            continue
        path, content = str(thing.path), str(thing.content)
        plan.append(f"write {path}")
        diff.append({"before": _text(path), "after": content, "before_header": path, "after_header": path})
        if not check:
            make_directory(os.path.dirname(path), 0o755)
            write_durable(path, content.encode(), int(thing.mode, 8))
            if started_as_root():
                os.chown(path, 0, 0)
    return plan, diff


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as handle:
            return handle.read()
    except FileNotFoundError:
        return ""


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
