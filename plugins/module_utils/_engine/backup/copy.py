# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""pg_basebackup at work: progress, the archiver watched, the stored files hashed and made durable as they grow."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from ..core.errors import Failed
from ..core.locks import process_start
from ..core.run import start, stop_group
from .pages import ENDED_BY_CHECKSUMS

_PROGRESS = re.compile(rb"\s*(\d+)/(\d+) kB \(")
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")
#: Of the server's errors when it cannot tell what changed (PostgreSQL source, basebackup_incremental.c).
_SUMMARIES = re.compile(r"WAL summari|summaries for that timeline|not part of this server's history", re.I)
_SYNC_EVERY_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20
_POLL_SECONDS = 0.1
_WATCH_SECONDS = 2.0


@dataclass
class Follower:
    """Reads files while another program writes them: SHA-256 of each, and no long fsync at the end.

    Only for files that are written from beginning to end, as tar streams are.
    """

    directory: str
    suffix: str
    digests: dict[str, tuple[int, str]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _fault: list[OSError] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Follower:
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_dummy: object) -> None:
        self.finish(check=False)

    def finish(self, *, check: bool = True) -> None:
        """Read to the end and make it durable. Raises OSError from the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if check and self._fault:
            raise self._fault[0]

    def _work(self) -> None:
        with contextlib.ExitStack() as stack:
            streams: dict[str, _Stream] = {}
            try:
                while True:
                    # Asked before reading: what was written before the end is then read for certain.
                    last = self._stop.is_set()
                    for name in self._names():
                        if name not in streams:
                            handle = stack.enter_context(open(f"{self.directory}/{name}", "rb", buffering=0))
                            streams[name] = _Stream(handle)
                    for stream in streams.values():
                        stream.read()
                    if last:
                        break
                    self._stop.wait(_POLL_SECONDS)
                for name, stream in streams.items():
                    os.fsync(stream.handle.fileno())
                    self.digests[name] = (stream.length, stream.sha.hexdigest())
            except OSError as error:
                self._fault.append(error)

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.directory) if name.endswith(self.suffix))
        except FileNotFoundError:
            return []


class _Stream:
    """A file as far as it has been read, and as far as it is durable."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle = handle
        self.sha = hashlib.sha256()
        self.length = 0
        self._durable = 0

    def read(self) -> None:
        """What has been written since."""
        while block := self.handle.read(_BLOCK_BYTES):
            self.sha.update(block)
            self.length += len(block)
            if self.length - self._durable >= _SYNC_EVERY_BYTES:
                os.fdatasync(self.handle.fileno())
                self._durable = self.length


class Words:
    """A program's messages: progress lines are taken out, the rest is kept."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress = progress
        self._rest = b""
        self.lines: list[str] = []

    def feed(self, data: bytes) -> None:
        """Take what was written. pg_basebackup ends progress lines with a carriage return on a terminal."""
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            match = _PROGRESS.match(line)
            if match:
                self._progress(int(match[1]) * 1024, int(match[2]) * 1024)
            elif line.strip():
                self.lines.append(line.decode(errors="replace").strip())

    def text(self) -> str:
        """Errors and warnings if there are any, else the last lines."""
        rest = self._rest.decode(errors="replace").strip()
        lines = self.lines + ([rest] if rest else [])
        telling = [line for line in lines if re.search(r"error:|FATAL|ERROR|WARNING|PANIC|HINT|DETAIL", line)]
        return " / ".join((telling or lines)[-6:])


def copy(
    argv: tuple[str, ...],
    *,
    attempted: str,
    progress: Callable[[int, int], None],
    watch: Callable[[float], None],
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Run pg_basebackup to its end; what it said besides progress, which may be of damaged pages (see :mod:`.pages`).

    ``progress`` gets bytes done and in all. ``watch`` is called every two seconds with the seconds since
    progress was last made, and raises to end the backup. Raises :class:`Failed`: ``program-missing``,
    ``repository-full``, ``wal-summaries-missing``, ``basebackup-failed``.
    """
    moved = [time.monotonic(), -1.0]

    def told(done: int, total: int) -> None:
        if done != moved[1]:
            moved[:] = [time.monotonic(), done]
        progress(done, total)

    words = Words(told)
    stream, writer = os.pipe()
    try:
        process = start(
            argv,
            stdout=subprocess.DEVNULL,
            stderr=writer,
            env={"PGAPPNAME": "dbkeeper", "PGCONNECT_TIMEOUT": "10", **(environment or {})},
        )
    except OSError as error:
        os.close(stream)
        raise Failed(
            "program-missing",
            attempted=attempted,
            happened=f"{argv[0]} cannot be started: {error.strerror}",
            remedy="Install the server package, or correct bin_directory in the cluster's description.",
        ) from error
    finally:
        os.close(writer)
    try:
        _listen(stream, words, lambda: watch(time.monotonic() - moved[0]))
    except BaseException:
        stop_group(process)
        raise
    finally:
        os.close(stream)
    status = process.wait()
    if status != 0 and not (status == 1 and words.lines and ENDED_BY_CHECKSUMS in words.lines[-1]):
        raise _failure(status, words, attempted)
    return words.lines


def _listen(stream: int, words: Words, watch: Callable[[], None]) -> None:
    watched = time.monotonic()
    while True:
        if select.select([stream], [], [], _POLL_SECONDS)[0]:
            data = os.read(stream, 65536)
            if not data:
                return
            words.feed(data)
        if time.monotonic() - watched >= _WATCH_SECONDS:
            watch()
            watched = time.monotonic()


def _failure(status: int, words: Words, attempted: str) -> Failed:
    text = words.text()
    said = "\n".join(words.lines)
    if any(mark in said or mark in text for mark in _FULL):
        return full(attempted, text)
    if _SUMMARIES.search(said):
        return Failed(
            "wal-summaries-missing",
            attempted=attempted,
            happened=f"the server no longer knows what changed since the backup that this one is built on: {text}",
            remedy="Take a full one now: dbkeeper backup --kind full. Let wal_summary_keep_time be longer than the "
            "time between backups.",
            details={"words": words.lines[-50:]},
        )
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return Failed(
        "basebackup-failed",
        attempted=attempted,
        happened=f"pg_basebackup {how}: {text or 'no message'}",
        remedy="Mend what its words name, then run the same command again; what it left has been removed.",
        details={"status": status, "words": words.lines[-50:]},
    )


def full(attempted: str, words: str) -> Failed:
    """No space in the repository, in the middle of it."""
    return Failed(
        "repository-full",
        attempted=attempted,
        happened=f"the file system of the repository is full: {words}; what was written has been removed",
        remedy="Enlarge it or expire old backups, then run the same command again.",
    )


def stop_strangers(directory: str, programs: Sequence[str] = ("pg_basebackup", "zstd")) -> list[int]:
    """End programs that still write below ``directory``: their keeper was killed, they were not.

    Found by program and command line, so that no other one is hit. Returns their process numbers.
    """
    begun = {int(name): process_start(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    found = [pid for pid, start in begun.items() if start and _writes(pid, directory, programs)]

    def living() -> list[int]:
        # A number may be given again within the time that we wait.
        return [pid for pid in found if process_start(pid) == begun[pid]]

    for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 30.0)):
        for pid in living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and living():
            time.sleep(0.02)
    return found


def _writes(pid: int, directory: str, programs: Sequence[str]) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            arguments = handle.read().split(b"\0")
    except OSError:
        return False
    wanted = os.fsencode(directory)
    return os.fsdecode(os.path.basename(arguments[0])) in programs and any(
        argument == wanted or argument.startswith(wanted + b"/") for argument in arguments
    )
