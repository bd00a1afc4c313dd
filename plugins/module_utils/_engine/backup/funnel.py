# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A base backup straight into a repository elsewhere: pg_basebackup writes into named pipes, and no copy is kept here.

The pipes are laid when the backup begins (relay.py); pg_basebackup opens one after the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence

from ..core.errors import Failed
from ..core.run import start, stop_group
from ..repository.catalog import MANIFEST
from ..repository.compression import widen
from ..repository.parts import SUFFIX
from ..repository.remote.client import RemoteRepository
from .relay import Relay

_BLOCK = 1 << 18
_POLL_SECONDS = 0.05
#: A piece of nothing tells the door that we live while the server waits for its archiver.
_KEEPALIVE_SECONDS = 30.0


class Funnel:
    """What pg_basebackup writes below ``directory``, sent to the door while it is written; hashed on the way.

    ``relay``: where it finds the server's socket (a directory of ours), the server's own, and the port.
    ``archives`` are the names without suffix: ``base`` and the oids of tablespaces. ``level`` (PostgreSQL 14): the
    archives are compressed here, by zstd.
    """

    def __init__(
        self,
        repository: RemoteRepository,
        label: str,
        directory: str,
        archives: Sequence[str],
        *,
        relay: tuple[str, str, int],
        level: int | None,
        attempted: str,
    ) -> None:
        self.digests: dict[str, tuple[int, str]] = {}
        self.environment: dict[str, str] = {}
        self.fault: Exception | None = None
        self._repository = repository
        self._label = label
        self._directory = directory
        self._archives = tuple(archives)
        self._level = level
        self._attempted = attempted
        self._stop = threading.Event()
        self._pipes: dict[int, str] = {}
        self._laid = threading.Event()
        self._relay = Relay(*relay, begins=self._lay)
        self._thread = threading.Thread(target=self._work, name="funnel", daemon=True)

    def __enter__(self) -> Funnel:
        discard(self._directory)
        os.makedirs(os.path.dirname(self._directory), 0o700, exist_ok=True)
        self._relay.start()
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, _dummy: object) -> None:
        self._stop.set()
        self._relay.stop()
        self._thread.join()
        discard(self._directory)
        if isinstance(error, Failed) and self.fault is not None and error is not self.fault:
            # What pg_basebackup says of its broken pipe is the effect, this is the cause.
            raise self.fault from error

    def finish(self) -> None:
        """pg_basebackup has ended well: see all of it sent, and the manifest.

        Raises what the door refused, :class:`Failed` ``tablespace-changed``.
        """
        self._stop.set()
        self._thread.join()
        if self.fault is not None:
            raise self.fault
        names = set(os.listdir(self._directory)) - {self._plain(name) for name in self._archives}
        strange = sorted(names - {MANIFEST})
        if strange or len(self.digests) != len(self._archives):
            raise Failed(
                "tablespace-changed",
                attempted=self._attempted,
                happened=f"a tablespace was made or dropped while the backup began ({', '.join(strange) or 'dropped'})",
                remedy="Run the same command again.",
            )
        with open(f"{self._directory}/{MANIFEST}", "rb") as handle:
            manifest = handle.read()
        blocks = (memoryview(manifest)[at : at + _BLOCK] for at in range(0, len(manifest), _BLOCK))
        self._send(MANIFEST, blocks)

    def _plain(self, name: str) -> str:
        """As pg_basebackup calls it."""
        return f"{name}.tar" if self._level is not None else f"{name}{SUFFIX}"

    def _work(self) -> None:
        pipes = self._pipes
        try:
            while not self._laid.wait(_POLL_SECONDS):
                if self._stop.is_set():
                    return
            poll = select.poll()
            for descriptor in pipes:
                poll.register(descriptor, select.POLLIN)
            while pipes:
                # Asked before looking: what was written before the end is then seen for certain.
                last = self._stop.is_set()
                ready = poll.poll(_POLL_SECONDS * 1000)
                if not ready and last:
                    return
                for descriptor, _dummy in ready:
                    poll.unregister(descriptor)
                    self._archive(descriptor, pipes[descriptor])
                    os.close(descriptor)
                    del pipes[descriptor]
        except Exception as error:
            # Told by finish(), or instead of what pg_basebackup says of its broken pipe.
            self.fault = error
        finally:
            for descriptor in pipes:
                os.close(descriptor)

    def _lay(self) -> None:
        for name in self._archives:
            path = f"{self._directory}/{self._plain(name)}"
            os.mkfifo(path, 0o600)
            pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            widen(pipe)
            self._pipes[pipe] = name
        self._laid.set()

    def _archive(self, pipe: int, name: str) -> None:
        os.set_blocking(pipe, True)
        if self._level is None:
            self._send(f"{name}{SUFFIX}", self._blocks(pipe))
            return
        program = start(["zstd", "-q", "-c", f"-{self._level}", "-T0"], stdin=pipe, stdout=subprocess.PIPE)
        try:
            if program.stdout is None or program.stderr is None:
                raise ValueError("zstd was started without pipes")
            self._send(f"{name}{SUFFIX}", self._blocks(program.stdout.fileno()), program)
        finally:
            if program.poll() is None:
                stop_group(program)
            for stream in (program.stdout, program.stderr):
                if stream is not None:
                    stream.close()

    def _blocks(self, pipe: int) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(_BLOCK))
        while True:
            if not select.select([pipe], [], [], _KEEPALIVE_SECONDS)[0]:
                yield buffer[:0]
                continue
            count = os.readv(pipe, [buffer])
            if not count:
                return
            yield buffer[:count]

    def _send(
        self, name: str, blocks: Iterator[memoryview], program: subprocess.Popen[bytes] | None = None
    ) -> None:
        sha, length = hashlib.sha256(), 0

        def hashed() -> Iterator[memoryview]:
            nonlocal length
            for block in blocks:
                sha.update(block)
                length += len(block)
                yield block
            if program is not None and program.wait() != 0:
                words = program.stderr.read().decode(errors="replace") if program.stderr else ""
                raise Failed(
                    "program-failed",
                    attempted=self._attempted,
                    happened=f"zstd ended with status {program.returncode}: {words.strip() or 'no message'}",
                    remedy="See that the program zstd works, then run the same command again.",
                )

        self._repository.line.send(
            "backup-put",
            hashed(),
            lambda: {"bytes": length, "digest": sha.hexdigest()},
            attempted=f"{self._attempted}: send {name}",
            label=self._label,
            name=name,
        )
        self.digests[name] = (length, sha.hexdigest())


def discard(directory: str) -> None:
    """Remove the pipes and what pg_basebackup put beside them."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)
