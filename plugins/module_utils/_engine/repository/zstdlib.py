# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""libzstd, where the host has it (every server package of PostgreSQL 15 or later needs it): segments by the thousand.

A process for each segment, its pipe and a second look at what it wrote cost half as much as unpacking. Only what is
sound comes out of here whole; of all else the program decides, and has the words.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from hashlib import sha256

# So small that a block is still near the processor when it is hashed and written.
_BLOCK_BYTES = 1 << 18
_MAGIC = b"\x28\xb5\x2f\xfd"
# Of a frame's first byte after its magic number (RFC 8878, 3.1.1.1.1).
_HAS_CHECKSUM, _HAS_DICTIONARY = 0x04, 0x03


class Unsound(Exception):
    """The library does not take this for whole frames and nothing else."""


class Stored:
    """What a file is packed in, seen on the way: SHA-256 of its bytes, and whether they are one frame."""

    def __init__(self) -> None:
        self.sha = sha256()
        self._head = b""
        self._ended = False
        self._more = False

    def read(self, piece: memoryview) -> None:
        """The next bytes of the file."""
        self._more = self._more or self._ended
        self._head += bytes(piece[: len(_MAGIC) + 1 - len(self._head)])
        self.sha.update(piece)

    def frame_ends(self, left_over: int) -> None:
        """A frame ended so many bytes before the end of what was read last."""
        self._more = self._more or self._ended or left_over > 0
        self._ended = True

    @property
    def is_one_checked_frame(self) -> bool:
        """Whether all of it was one frame that carries a checksum, which the library has held its content against."""
        flags = self._head[-1] if self._head[:-1] == _MAGIC else _HAS_DICTIONARY
        return self._ended and not self._more and bool(flags & _HAS_CHECKSUM) and not flags & _HAS_DICTIONARY


class Library:
    """The functions that are needed; see :func:`library`."""

    def __init__(self, name: str) -> None:
        # Not at the top: archive push, which the server waits for, can do without.
        import ctypes

        class Buffer(ctypes.Structure):
            """``ZSTD_inBuffer`` and ``ZSTD_outBuffer``."""

            _fields_ = [
                ("address", ctypes.c_void_p),
                ("size", ctypes.c_size_t),
                ("position", ctypes.c_size_t),
            ]

        loaded = ctypes.CDLL(name)
        self._types = ctypes
        self._buffer = Buffer
        self._create, self._free = loaded.ZSTD_createDCtx, loaded.ZSTD_freeDCtx
        self._step, self._is_error = loaded.ZSTD_decompressStream, loaded.ZSTD_isError
        self._create.restype = ctypes.c_void_p
        self._free.argtypes = [ctypes.c_void_p]
        self._step.argtypes = [ctypes.c_void_p, ctypes.POINTER(Buffer), ctypes.POINTER(Buffer)]
        self._step.restype = self._free.restype = ctypes.c_size_t
        self._is_error.argtypes = [ctypes.c_size_t]

    def blocks(self, source: int, seen: Stored | None = None) -> Iterator[memoryview]:
        """The plain bytes of a file that is open at its beginning; each block is good until the next is asked for.

        ``seen`` is told of the stored bytes: of exactly those that are unpacked, each once.
        Raises OSError when the file cannot be read, :class:`Unsound` (at its end, too) when it cannot be unpacked.
        """
        ctypes = self._types
        stored, plain = bytearray(_BLOCK_BYTES), bytearray(_BLOCK_BYTES)
        coming = self._buffer(ctypes.addressof(ctypes.c_char.from_buffer(stored)), 0, 0)
        going = self._buffer(ctypes.addressof(ctypes.c_char.from_buffer(plain)), _BLOCK_BYTES, 0)
        context = self._create()
        if not context:
            raise Unsound
        # What the last step left to do; zero when a frame was complete.
        left = 1
        try:
            while True:
                if coming.position == coming.size and (left == 0 or going.position < going.size):
                    coming.size, coming.position = os.readv(source, [stored]), 0
                    if not coming.size:
                        break
                    if seen is not None:
                        seen.read(memoryview(stored)[: coming.size])
                going.position = 0
                left = self._step(context, ctypes.byref(going), ctypes.byref(coming))
                if self._is_error(left):
                    raise Unsound
                if left == 0 and seen is not None:
                    seen.frame_ends(coming.size - coming.position)
                if going.position:
                    yield memoryview(plain)[: going.position]
            if left:
                raise Unsound
        finally:
            self._free(context)


class _Kept:
    """The library, looked for once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked = False
        self._library: Library | None = None

    def get(self) -> Library | None:
        """It, or None where there is none of 1.4 or later."""
        with self._lock:
            if not self._looked:
                self._looked = True
                try:
                    self._library = Library("libzstd.so.1")
                except (ImportError, OSError, AttributeError, MemoryError):
                    # The program does the same, at its price. (Without execmem SELinux lets ctypes end in the last.)
                    self._library = None
        return self._library


library = _Kept().get
