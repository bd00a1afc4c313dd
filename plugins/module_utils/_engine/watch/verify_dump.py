# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One dump verified: the digests of its files, and that pg_restore still lists as much as when it was taken."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from ..core.clock import format_utc, utc_now
from ..core.errors import KeeperError
from ..core.locks import locked
from ..core.run import run
from ..logical.shelf import check_files, read_dump
from ..repository.dumps import Dump, write_dump_entry
from ..repository.layout import Repository
from .gentle import Throttle, forget
from .verify_base import PATIENCE_SECONDS, digest_slowly
from .verify_plan import FULL, LOOK

_LIST_SECONDS = 3600.0


def dump_signature(repository: Repository, dump: Dump) -> str:
    """Changes when a stored file may have."""
    parts = []
    for file in dump.files:
        try:
            facts = os.stat(f"{dump.directory(repository)}/{file.name}")
        except OSError:
            parts.append(f"{file.name}:-")
            continue
        parts.append(f"{file.name}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}:{facts.st_ino}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def verify_dump(
    repository: Repository,
    dump: Dump,
    depth: str,
    bin_directory: str,
    throttle: Throttle,
    told: Callable[[int], None],
) -> dict[str, str] | None:
    """What is wrong with it (``code``, ``text``), or None.

    Raises KeeperError where that could not be found out (no pg_restore).
    """
    try:
        check_files(repository, dump, digests=False)
    except KeeperError as error:
        return {"code": error.code, "text": error.happened}
    if depth == LOOK:
        return None
    for file in dump.files:
        path = f"{dump.directory(repository)}/{file.name}"
        try:
            found = digest_slowly(path, throttle, told)
        except OSError as error:
            return {"code": "dump-file-damaged", "text": f"{path}: {error.strerror}"}
        forget(path)
        if found != file.digest:
            return {
                "code": "dump-file-damaged",
                "text": f"{path} is not what was written: its digest differs",
            }
    return _listed(repository, dump, bin_directory) if depth == FULL and dump.format != "plain" else None


def _listed(repository: Repository, dump: Dump, bin_directory: str) -> dict[str, str] | None:
    try:
        done = run(
            [f"{bin_directory}/pg_restore", "--list", dump.path(repository)],
            attempted=f"list {dump.key}",
            timeout=_LIST_SECONDS,
        )
    except KeeperError as error:
        if error.code != "program-failed":
            raise
        return {"code": "dump-file-damaged", "text": error.happened}
    count = sum(1 for line in done.out.splitlines() if line.strip() and not line.startswith(";"))
    if count != dump.contents:
        text = f"pg_restore lists {count} entries, there were {dump.contents} when it was taken"
        return {"code": "dump-file-damaged", "text": text}
    return None


def mark_dump(repository: Repository, dump: Dump, fault: dict[str, str] | None) -> str:
    """As :func:`.verify_base.mark`, for a dump."""
    attempted = f"write down what the verification of {dump.key} found"
    with locked(repository.lock("expire"), "verification", attempted=attempted, patience=PATIENCE_SECONDS):
        try:
            entry = read_dump(repository, dump.database, dump.label)
        except KeeperError:
            return "gone"
        if not entry.finished:
            return "gone"
        known = entry.unsound or {}
        if fault is None and entry.unsound is None or fault and {**known, **fault} == known:
            return "same"
        unsound = {**fault, "at": format_utc(utc_now())} if fault else None
        write_dump_entry(repository, entry.changed(unsound=unsound))
        return "marked" if fault else "cleared"
