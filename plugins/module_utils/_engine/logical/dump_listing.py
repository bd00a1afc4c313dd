# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A dump read back: pg_restore's table of contents, and the end of a plain one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from ..cluster.config import ClusterConfig
from ..core.errors import Failed, KeeperError
from ..core.run import run, start, stop_group

END_MARKER = b"\n-- PostgreSQL database dump complete\n"
_DATA = re.compile(r"^\d+; \d+ (\d+) TABLE DATA ", re.MULTILINE)
_ENTRY = re.compile(r"^\d+; ", re.MULTILINE)
_TAIL_BYTES = 8192
_LARGEST_BLOCK = 1 << 20
_DECOMPRESS = {".gz": ("gzip", "-dc"), ".lz4": ("lz4", "-dc"), ".zst": ("zstd", "-q", "-dc")}


@dataclass(frozen=True)
class Listing:
    """Entries of the table of contents, and the oids of the tables whose rows are in it."""

    entries: int
    tables: tuple[int, ...]
    large_objects: bool


def list_back(config: ClusterConfig, path: str, *, attempted: str) -> Listing:
    """What ``pg_restore --list`` says. Raises :class:`Failed` ``dump-not-listed``."""
    done = run(
        [config.program("pg_restore"), "--list", path],
        attempted=attempted,
        timeout=3600,
        accept=range(256),
    )
    if done.status != 0:
        raise _not_listed(attempted, f"pg_restore --list: {done.err.strip() or 'no message'}")
    return _listing(done.out)


def peek(config: ClusterConfig, path: str) -> Listing | None:
    """The same of a dump that is still being written; None while its table of contents is not there yet."""
    done = run(
        [config.program("pg_restore"), "--list", path],
        attempted="read the table of contents",
        timeout=600,
        accept=range(256),
    )
    return _listing(done.out) if done.status == 0 else None


def _listing(text: str) -> Listing:
    tables = tuple(int(match[1]) for match in _DATA.finditer(text))
    blobs = re.search(r"^\d+; \d+ \d+ (BLOBS|BLOB METADATA|BLOB) ", text, re.MULTILINE) is not None
    return Listing(len(_ENTRY.findall(text)), tables, blobs)


def read_to_end(path: str, *, attempted: str) -> None:
    """Decompress a plain dump and see that it comes to its end. Raises :class:`Failed` ``dump-not-listed``."""
    tail = b""
    for block in plain_blocks(path, attempted=attempted):
        tail = (tail + block)[-_TAIL_BYTES:]
    if END_MARKER not in tail:
        raise _not_listed(attempted, f"{path} does not end with the words that pg_dump writes last")


def plain_blocks(path: str, *, attempted: str) -> Iterator[bytes]:
    """The text of a plain dump, decompressed. Raises :class:`Failed`: ``program-missing``, ``dump-not-listed``."""
    argv = next((argv for suffix, argv in _DECOMPRESS.items() if path.endswith(suffix)), None)
    if argv is None:
        with open(path, "rb") as handle:
            while block := handle.read(_LARGEST_BLOCK):
                yield block
        return
    try:
        process = start([*argv, path], stderr=subprocess.STDOUT)
    except FileNotFoundError as error:
        raise Failed(
            "program-missing",
            attempted=attempted,
            happened=f"{argv[0]} cannot be started: {error.strerror}",
            remedy=f"Install the package {argv[0]}.",
        ) from error
    try:
        last = b""
        while process.stdout and (block := process.stdout.read(_LARGEST_BLOCK)):
            last = block[-500:]
            yield block
        if process.wait() != 0:
            raise _not_listed(attempted, f"{argv[0]} says: {last.decode(errors='replace').strip()}")
    finally:
        if process.poll() is None:
            stop_group(process)
        if process.stdout:
            process.stdout.close()


def _not_listed(attempted: str, happened: str) -> KeeperError:
    return Failed(
        "dump-not-listed",
        attempted=attempted,
        happened=f"what was written cannot be read back: {happened}; older dumps are as they were",
        remedy="Look at the disk of the repository (dmesg), then run the same command again.",
    )
