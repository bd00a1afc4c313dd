# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""PostgreSQL's tar streams, cut into pieces as they flow.

Our own reader because the standard library's copies every byte twice more, in small pieces: on two cores
that is the difference between the speed of ``tar -x`` and half of it. It knows just what PostgreSQL writes
(src/port/tar.c: ustar headers, names up to 100 bytes, files, directories, symbolic links).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

RECORD = 512
_ZEROS = bytes(RECORD)


class TarDamaged(Exception):
    """The stream is no tar that PostgreSQL wrote; says where."""


@dataclass
class Member:
    """One entry of an archive. ``kind`` is ``file``, ``directory`` or ``link``."""

    name: str
    kind: str
    size_bytes: int
    mode: int
    target: str


@dataclass
class Piece:
    """Some bytes of a member: ``begin`` to ``end`` in the block given; ``last`` with its final bytes."""

    member: Member
    begin: int
    end: int
    first: bool
    last: bool


class TarCutter:
    """Feed blocks, get pieces. Headers that lie across two blocks are put together."""

    def __init__(self) -> None:
        self._head = b""
        self._member: Member | None = None
        self._left = 0
        self._padding = 0
        self._zeros = 0
        self.position = 0

    def cut(self, block: memoryview) -> Iterator[Piece]:
        """The pieces that lie in ``block``. Raises :class:`TarDamaged`."""
        at, end = 0, len(block)
        while at < end:
            if self._left:
                member = self._member
                if member is None:
                    raise TarDamaged("bytes without a member")
                count = min(self._left, end - at)
                first = self._left == member.size_bytes
                self._left -= count
                yield Piece(member, at, at + count, first, self._left == 0)
                at += count
            elif self._padding:
                count = min(self._padding, end - at)
                self._padding -= count
                at += count
            else:
                count = min(RECORD - len(self._head), end - at)
                self._head += bytes(block[at : at + count])
                at += count
                if len(self._head) == RECORD:
                    head, self._head = self._head, b""
                    member = self._begin(head)
                    if member is not None and not member.size_bytes:
                        yield Piece(member, at, at, True, True)
        self.position += end

    def finish(self) -> None:
        """The stream has ended. Raises :class:`TarDamaged` unless it ended as an archive ends."""
        if self._left or self._padding or self._head or self._zeros < 2:
            raise TarDamaged(f"it ends too early, after {self.position} bytes")

    def _begin(self, head: bytes) -> Member | None:
        if head == _ZEROS:
            self._zeros += 1
            return None
        if self._zeros:
            raise TarDamaged(f"it goes on after its end, near byte {self.position}")
        self._member = parse_header(head)
        self._left = self._member.size_bytes
        self._padding = -self._left % RECORD
        return self._member


def parse_header(head: bytes) -> Member:
    """A member's header. Raises :class:`TarDamaged`."""
    try:
        written = int(head[148:156].strip(b"\0 "), 8)
        mode = int(head[100:108].strip(b"\0 "), 8)
        size = _number(head[124:136])
    except ValueError as error:
        raise TarDamaged(f"a header is not readable: {error}") from error
    if written != sum(head[:148]) + 8 * 32 + sum(head[156:]):
        raise TarDamaged("a header's checksum does not match")
    name = head[:100].split(b"\0", 1)[0]
    prefix = head[345:500].split(b"\0", 1)[0]
    kind = {b"0": "file", b"\0": "file", b"5": "directory", b"2": "link"}.get(head[156:157])
    if kind is None:
        raise TarDamaged(
            f"{os.fsdecode(name)!r} is of type {head[156:157]!r}, which PostgreSQL does not write"
        )
    if prefix:
        name = prefix + b"/" + name
    link = head[157:257].split(b"\0", 1)[0]
    return Member(os.fsdecode(name), kind, size if kind == "file" else 0, mode, os.fsdecode(link))


def _number(field: bytes) -> int:
    """Octal digits, or base 256 for sizes that need more (print_tar_number in src/port/tar.c)."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.strip(b"\0 ") or b"0", 8)


def safe_name(name: str) -> str:
    """The member's path below its directory. Raises :class:`TarDamaged` for one that leads elsewhere."""
    plain = name[2:] if name.startswith("./") else name
    plain = plain.rstrip("/")
    if name in (".", "./"):
        return ""
    parts = plain.split("/")
    if not plain or plain.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in plain:
        raise TarDamaged(f"{name!r} leads out of the directory")
    return plain
