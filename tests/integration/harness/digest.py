# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Fingerprints of directories, for "nothing changed"."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Files of a running server that change although nobody does anything.
ALIVE = (
    "pg_stat",
    "pg_stat_tmp",
    "log",
    "postmaster.pid",
    "pg_internal.init",
    "pg_logical/replorigin_checkpoint",
)


def listing(directory: Path | str, *, content: bool = True, ignore: tuple[str, ...] = ()) -> dict[str, str]:
    """Every path below a directory -> kind, mode, owner, size and digest of its content.

    ``ignore`` names path parts or relative paths that are left out. Links are not followed.
    """
    root = Path(directory)
    entries: dict[str, str] = {}
    for parent, names, files in os.walk(root):
        relative = Path(parent).relative_to(root)
        names[:] = [name for name in sorted(names) if not _ignored(relative / name, ignore)]
        for name in names + sorted(files):
            path = Path(parent) / name
            if _ignored(relative / name, ignore):
                continue
            try:
                entries[str(relative / name)] = _describe(path, content)
            except FileNotFoundError:
                continue
    return entries


def fingerprint(
    data_directory: Path, tablespaces: Mapping[str, Path], stored: Path, *, alive: bool
) -> dict[str, str]:
    """Data directory and tablespaces, what lies beside them, and all backups and segments of a repository.

    ``alive``: without what a running server changes by itself.
    """
    ignored = (*ALIVE, "pg_wal", "pg_control", "pg_xact", "pg_subtrans", "pg_commit_ts") if alive else ()
    facts = _inodes((path.name, path) for path in data_directory.parent.iterdir())
    facts |= {f"data: {path}": said for path, said in listing(data_directory, ignore=ignored).items()}
    for oid, place in tablespaces.items():
        facts |= {f"tablespace: {oid}/{path}": said for path, said in listing(place, ignore=ignored).items()}
        # What is restored beside a tablespace, or put aside, has a name that begins with its own.
        facts |= _inodes((str(path), path) for path in place.parent.glob(f"{place.name}.*"))
    for part in ("base", "wal"):
        facts |= {f"{part}: {path}": said for path, said in listing(stored / part).items()}
    return facts


def _inodes(places: Iterable[tuple[str, Path]]) -> dict[str, str]:
    """What lies beside the data; what goes while we look is not there."""
    found = {}
    for name, path in places:
        with contextlib.suppress(FileNotFoundError):
            found[f"beside: {name}"] = str(path.stat().st_ino)
    return found


def tree_digest(directory: Path | str, *, content: bool = True, ignore: tuple[str, ...] = ()) -> str:
    """One fingerprint of all of :func:`listing`."""
    lines = sorted(
        f"{path} {facts}" for path, facts in listing(directory, content=content, ignore=ignore).items()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What was added, removed or changed between two listings, for the message of an assertion."""
    lines = [f"+ {path} {after[path]}" for path in after.keys() - before.keys()]
    lines += [f"- {path} {before[path]}" for path in before.keys() - after.keys()]
    lines += [
        f"~ {path} {before[path]} -> {after[path]}"
        for path in before.keys() & after.keys()
        if before[path] != after[path]
    ]
    return sorted(lines)


def _ignored(relative: Path, ignore: tuple[str, ...]) -> bool:
    return str(relative) in ignore or relative.name in ignore


def _describe(path: Path, content: bool) -> str:
    facts = path.lstat()
    if path.is_symlink():
        return f"link {os.readlink(path)}"
    if path.is_dir():
        return f"directory {facts.st_mode:o} {facts.st_uid}"
    if not content:
        return f"file {facts.st_mode:o} {facts.st_uid} {facts.st_size}"
    return f"file {facts.st_mode:o} {facts.st_uid} {facts.st_size} {_hash(path)}"


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except PermissionError:
        return "unreadable"
