# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The file transfer protocol of ssh, as far as copies need it: one ssh, requests with numbers, answers in any order.

Version 3 (draft-ietf-secsh-filexfer-02), which every server speaks, and OpenSSH's extensions for a rename that
replaces, for fsync and for free space (PROTOCOL, section 4). Spoken by ourselves, because sftp's batch mode
tells errors in words for people, and rsync must be installed at both ends.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import tempfile

from ..core.errors import Failed
from ..core.run import start, stop_group

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED = 0, 1, 2, 3
READ, WRITE, CREATE, TRUNCATE = 1, 2, 8, 16
CHUNK = 32768
_INIT, _OPEN, _CLOSE, _READ, _WRITE, _OPENDIR, _READDIR = 1, 3, 4, 5, 6, 11, 12
_REMOVE, _MKDIR, _RMDIR, _STAT, _RENAME, _EXTENDED = 13, 14, 15, 17, 18, 200
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS = 101, 102, 103, 104, 105
_DIRECTORY = 0o040000
_KIND = 0o170000
_LONGEST = 1 << 20


class Lost(Exception):
    """The connection is gone; ssh's words."""


class Refusal(Exception):
    """The server said no: one of its status codes, and its words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class Wire:
    """One connection. Raises :class:`Lost` and :class:`Refusal`."""

    def __init__(self, argv: list[str]) -> None:
        descriptor, path = tempfile.mkstemp(prefix="dbkeeper-ssh-")
        os.unlink(path)
        self._words = os.fdopen(descriptor, "w+b")
        self._number = 0
        self._answers: dict[int, tuple[int, bytes]] = {}
        try:
            self._process = start(argv, stdin=subprocess.PIPE, stderr=self._words.fileno())
        except OSError as error:
            self._words.close()
            raise Failed(
                "program-missing",
                attempted="reach a copy on another host",
                happened=f"{argv[0]} cannot be started: {error.strerror}",
                remedy="Install the package openssh-client.",
            ) from error
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("ssh was started without pipes")
        self._out, self._in = self._process.stdin, self._process.stdout
        self._send(struct.pack(">BI", _INIT, 3))
        kind, body = self._packet()
        if kind != 2:
            raise Lost(f"what answers does not speak sftp ({self.words()})")
        self._extensions = set(_texts(body[4:])[::2])

    def close(self) -> None:
        """Hang up."""
        for stream in (self._out, self._in):
            # What was not sent yet is for a connection that is gone.
            with contextlib.suppress(OSError):
                stream.close()
        stop_group(self._process, 1.0)
        self._words.close()

    def words(self) -> str:
        """What ssh said."""
        self._words.seek(0)
        return self._words.read().decode(errors="replace").strip()[-600:]

    # -- files -----------------------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> bytes:
        """A handle."""
        body = _text(path) + struct.pack(">II", flags, 0)
        return self._handle(self._ask(_OPEN, body))

    def shut(self, handle: bytes) -> None:
        """Close a handle."""
        self._done(self._ask(_CLOSE, _blob(handle)))

    def ask_write(self, handle: bytes, offset: int, data: bytes) -> int:
        """Send a piece, not waiting; its number."""
        return self._ask(_WRITE, _blob(handle) + struct.pack(">Q", offset) + _blob(data))

    def ask_read(self, handle: bytes, offset: int) -> int:
        """Ask for a piece, not waiting; its number."""
        return self._ask(_READ, _blob(handle) + struct.pack(">QI", offset, CHUNK))

    def written(self, number: int) -> None:
        """Wait for the answer to a write."""
        self._done(number)

    def data(self, number: int) -> bytes:
        """Wait for the answer to a read; empty at the end of the file."""
        kind, body = self._answer(number)
        if kind == _DATA:
            return _blobs(body, 1)[0]
        code, words = _status(kind, body)
        if code == EOF:
            return b""
        raise Refusal(code, words)

    def sync(self, handle: bytes) -> None:
        """fsync, where the server can."""
        if "fsync@openssh.com" in self._extensions:
            self._done(self._ask(_EXTENDED, _text("fsync@openssh.com") + _blob(handle)))

    def rename(self, old: str, new: str) -> None:
        """In place of what is there."""
        if "posix-rename@openssh.com" in self._extensions:
            self._done(self._ask(_EXTENDED, _text("posix-rename@openssh.com") + _text(old) + _text(new)))
            return
        with contextlib.suppress(Refusal):
            self.remove(new)
        self._done(self._ask(_RENAME, _text(old) + _text(new)))

    def remove(self, path: str) -> None:
        """A file."""
        self._done(self._ask(_REMOVE, _text(path)))

    def rmdir(self, path: str) -> None:
        """An empty directory."""
        self._done(self._ask(_RMDIR, _text(path)))

    def mkdir(self, path: str) -> None:
        """A directory of mode 0750."""
        self._done(self._ask(_MKDIR, _text(path) + struct.pack(">II", 4, 0o750)))

    def stat(self, path: str) -> tuple[bool, int]:
        """Whether it is a directory, and its bytes."""
        kind, body = self._answer(self._ask(_STAT, _text(path)))
        if kind != _ATTRS:
            raise Refusal(*_status(kind, body))
        return _attributes(body, 0)[:2]

    def free_bytes(self, path: str) -> int | None:
        """What may still be written; None where the server does not tell."""
        if "statvfs@openssh.com" not in self._extensions:
            return None
        kind, body = self._answer(self._ask(_EXTENDED, _text("statvfs@openssh.com") + _text(path)))
        if kind != 201:
            return None
        values = struct.unpack(">11Q", body[:88])
        return int(values[1] * values[4])

    def entries(self, path: str) -> dict[str, tuple[bool, int]]:
        """Name -> whether it is a directory, and its bytes."""
        handle = self._handle(self._ask(_OPENDIR, _text(path)))
        found: dict[str, tuple[bool, int]] = {}
        try:
            while True:
                kind, body = self._answer(self._ask(_READDIR, _blob(handle)))
                if kind != _NAME:
                    code, words = _status(kind, body)
                    if code == EOF:
                        return found
                    raise Refusal(code, words)
                (count,) = struct.unpack(">I", body[:4])
                place = 4
                for _dummy in range(count):
                    name, place = _take(body, place)
                    _long, place = _take(body, place)
                    directory, size, place = _attributes(body, place)
                    found[name.decode(errors="surrogateescape")] = (directory, size)
        finally:
            self.shut(handle)

    # -- packets ---------------------------------------------------------------------------------------

    def _ask(self, kind: int, body: bytes) -> int:
        self._number += 1
        self._send(struct.pack(">BI", kind, self._number) + body)
        return self._number

    def _send(self, packet: bytes) -> None:
        try:
            self._out.write(struct.pack(">I", len(packet)) + packet)
            self._out.flush()
        except (OSError, ValueError) as error:
            raise Lost(self.words() or str(error)) from error

    def _packet(self) -> tuple[int, bytes]:
        (length,) = struct.unpack(">I", self._exactly(4))
        if not 0 < length <= _LONGEST:
            raise Lost(f"what answers does not speak sftp ({self.words()})")
        packet = self._exactly(length)
        return packet[0], packet[1:]

    def _exactly(self, count: int) -> bytes:
        try:
            data = self._in.read(count)
        except (OSError, ValueError) as error:
            raise Lost(self.words() or str(error)) from error
        if len(data) != count:
            self._process.wait()
            raise Lost(self.words() or "the connection ended")
        return data

    def _answer(self, number: int) -> tuple[int, bytes]:
        while number not in self._answers:
            kind, body = self._packet()
            (mine,) = struct.unpack(">I", body[:4])
            self._answers[mine] = (kind, body[4:])
        return self._answers.pop(number)

    def _done(self, number: int) -> None:
        code, words = _status(*self._answer(number))
        if code != OK:
            raise Refusal(code, words)

    def _handle(self, number: int) -> bytes:
        kind, body = self._answer(number)
        if kind != _HANDLE:
            raise Refusal(*_status(kind, body))
        return _blobs(body, 1)[0]


def _status(kind: int, body: bytes) -> tuple[int, str]:
    if kind != _STATUS:
        raise Lost(f"an answer of kind {kind} was not expected")
    (code,) = struct.unpack(">I", body[:4])
    words = _take(body, 4)[0] if len(body) > 4 else b""
    return code, words.decode(errors="replace") or f"status {code}"


def _attributes(body: bytes, place: int) -> tuple[bool, int, int]:
    """Whether it is a directory, its bytes, and where the attributes end."""
    (flags,) = struct.unpack_from(">I", body, place)
    place, size, mode = place + 4, 0, 0
    if flags & 1:
        (size,) = struct.unpack_from(">Q", body, place)
        place += 8
    if flags & 2:
        place += 8
    if flags & 4:
        (mode,) = struct.unpack_from(">I", body, place)
        place += 4
    if flags & 8:
        place += 8
    if flags & 0x80000000:
        (count,) = struct.unpack_from(">I", body, place)
        place += 4
        for _dummy in range(2 * count):
            _text_there, place = _take(body, place)
    return mode & _KIND == _DIRECTORY, size, place


def _blob(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _text(text: str) -> bytes:
    return _blob(text.encode(errors="surrogateescape"))


def _take(body: bytes, place: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">I", body, place)
    return body[place + 4 : place + 4 + length], place + 4 + length


def _blobs(body: bytes, count: int) -> list[bytes]:
    found, place = [], 0
    for _dummy in range(count):
        one, place = _take(body, place)
        found.append(one)
    return found


def _texts(body: bytes) -> list[str]:
    found, place = [], 0
    while place < len(body):
        one, place = _take(body, place)
        found.append(one.decode(errors="replace"))
    return found
