# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The words between a host and the door of a repository elsewhere: frames on two pipes, each with a limit.

A frame is a letter, four bytes of length (network order) and so many bytes. ``J`` holds a JSON object: a request,
an answer. ``D`` holds a piece of a file, ``E`` (JSON) ends the pieces. The limits hold before anything is kept: who
announces more is not listened to any longer.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

VERSION = 1
WORD = b"J"
DATA = b"D"
END = b"E"

#: Longest JSON: an entry of the catalog, a record of evidence, an answer.
WORD_BYTES = 1 << 20
DATA_BYTES = 1 << 20
_LIMITS = {WORD: WORD_BYTES, END: 1 << 16, DATA: DATA_BYTES}
_HEAD = struct.Struct(">cI")


class Broken(Exception):
    """The other side is gone, silent for too long, or speaks something else."""


class Pipes:
    """Frames out of one descriptor and into another; every wait has an end (seconds)."""

    def __init__(self, source: int, target: int, *, stall_seconds: float) -> None:
        self.source = source
        self.target = target
        self.stall_seconds = stall_seconds
        #: What was read instead of a frame, for the message.
        self.noise = b""
        os.set_blocking(target, False)

    def read(self, patience: float | None = None) -> tuple[bytes, bytes] | None:
        """The next frame's letter and content; None at a clean end. Raises :class:`Broken`."""
        head = self._exactly(_HEAD.size, patience or self.stall_seconds, may_end=True)
        if head is None:
            return None
        kind, length = _HEAD.unpack(head)
        if length > _LIMITS.get(kind, -1):
            self.noise = head
            raise Broken(f"no frame begins with {head!r}")
        return kind, self._exactly(length, self.stall_seconds) or b""

    def read_word(self, patience: float | None = None) -> dict[str, Any] | None:
        """The next frame, which must be a JSON object; None at a clean end. Raises :class:`Broken`."""
        frame = self.read(patience)
        if frame is None:
            return None
        if frame[0] != WORD:
            raise Broken(f"a request was due, not a frame {frame[0]!r}")
        return decoded(frame[1])

    def read_piece(self) -> bytes | dict[str, Any]:
        """The next piece of a file, or the object that ends it. Raises :class:`Broken`."""
        frame = self.read()
        if frame is None:
            raise Broken("it ended in the middle of a file")
        kind, content = frame
        if kind == DATA:
            return content
        if kind == END:
            return decoded(content)
        raise Broken(f"a piece of a file was due, not a frame {kind!r}")

    def write(self, kind: bytes, content: bytes | memoryview) -> None:
        """Send a frame. Raises :class:`Broken`, OSError (EPIPE) when nobody listens."""
        self._write_all(_HEAD.pack(kind, len(content)))
        self._write_all(content)

    def say(self, value: dict[str, Any], kind: bytes = WORD) -> None:
        """Send a JSON object."""
        self.write(kind, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())

    def _exactly(self, length: int, patience: float, *, may_end: bool = False) -> bytes | None:
        parts: list[bytes] = []
        missing = length
        while missing:
            if not select.select([self.source], [], [], patience)[0]:
                raise Broken(f"nothing was heard for {patience:.0f} s")
            part = os.read(self.source, min(missing, 1 << 18))
            if not part:
                if may_end and missing == length:
                    return None
                self.noise = b"".join(parts)
                raise Broken("it ended in the middle of a frame")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _write_all(self, content: bytes | memoryview) -> None:
        view = memoryview(content)
        deadline = time.monotonic() + self.stall_seconds
        while view:
            try:
                count = os.write(self.target, view)
            except BlockingIOError:
                if not select.select([], [self.target], [], self.stall_seconds)[1]:
                    raise Broken(f"nothing was taken for {self.stall_seconds:.0f} s") from None
                continue
            if time.monotonic() > deadline:
                raise Broken(f"a frame was not taken within {self.stall_seconds:.0f} s")
            view = view[count:]


def _no_number(word: str) -> None:
    """Python reads NaN and infinities, which JSON does not have and other readers stumble over."""
    raise ValueError(f"{word} is no number")


def decoded(content: bytes) -> dict[str, Any]:
    """A JSON object. Raises :class:`Broken`."""
    try:
        value = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Broken(f"it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Broken("it is JSON, and no object")
    return value
