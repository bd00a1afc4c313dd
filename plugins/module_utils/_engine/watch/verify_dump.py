# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One dump verified: the digests of its files, and that pg_restore still lists as much as when it was taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..core.errors import KeeperError
from ..core.run import run
from .gentle import Throttle, forget
from .verify_base import digest_slowly
from .verify_plan import LOOK

_LIST_SECONDS = 3600.0


@dataclass(frozen=True)
class Dump:
    """A dump as its record tells it. ``files``: path below ``directory`` -> (bytes, SHA-256 in hex).

    ``archive`` is what pg_restore reads (None: plain SQL, or not to be read by it); ``contents`` how many entries it
    listed then (None: not known).
    """

    name: str
    database: str
    label: str
    directory: str
    files: Mapping[str, tuple[int, str]]
    stored_bytes: int
    signature: str
    archive: str | None
    contents: int | None = None


def verify_dump(
    dump: Dump, depth: str, bin_directory: str, throttle: Throttle, told: Callable[[int], None]
) -> dict[str, str] | None:
    """What is wrong with it (``code``, ``text``), or None.

    Raises KeeperError where that could not be found out (no pg_restore).
    """
    for name, (size, _digest) in sorted(dump.files.items()):
        path = f"{dump.directory}/{name}"
        try:
            actual = os.stat(path).st_size
        except OSError as error:
            return {"code": "dump-file-missing", "text": f"{path}: {error.strerror}"}
        if actual != size:
            return {"code": "dump-file-damaged", "text": f"{path} has {actual} bytes, its record says {size}"}
    if depth == LOOK:
        return None
    for name, (_size, digest) in sorted(dump.files.items()):
        path = f"{dump.directory}/{name}"
        try:
            found = digest_slowly(path, throttle, told)
        except OSError as error:
            return {"code": "dump-file-damaged", "text": f"{path}: {error.strerror}"}
        forget(path)
        if found != digest:
            return {"code": "dump-file-damaged", "text": f"{path}: its bytes are not those of its record"}
    return _listed(dump, bin_directory) if dump.archive is not None else None


def _listed(dump: Dump, bin_directory: str) -> dict[str, str] | None:
    try:
        done = run(
            [f"{bin_directory}/pg_restore", "--list", f"{dump.directory}/{dump.archive}"],
            attempted=f"list dump {dump.name}",
            timeout=_LIST_SECONDS,
        )
    except KeeperError as error:
        if error.code != "program-failed":
            raise
        return {"code": "dump-file-damaged", "text": error.happened}
    count = sum(1 for line in done.out.splitlines() if line.strip() and not line.startswith(";"))
    if dump.contents is not None and count != dump.contents:
        text = f"pg_restore lists {count} entries, there were {dump.contents} when it was taken"
        return {"code": "dump-file-damaged", "text": text}
    return None
