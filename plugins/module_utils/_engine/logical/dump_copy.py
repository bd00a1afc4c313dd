# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""pg_dump at work: its words, its progress, its errors made into ours."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from ..core.errors import Failed, KeeperError
from ..core.run import start, stop_group

_TABLE = re.compile(r'dumping contents of table "(.*?)"\n', re.DOTALL)
_TELLING = re.compile(r"error:|FATAL|ERROR|PANIC|HINT|DETAIL|detail:|hint:|No space|warning:|WARNING", re.I)
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")
_LOCKED = re.compile(r"canceling statement due to (lock|statement) timeout|could not obtain lock on relation")
_LOST = re.compile(
    r"server closed the connection|connection to server|terminating connection|SSL SYSCALL|could not receive data|"
    r"no connection to the server|lost connection|worker process died unexpectedly|the database system is"
)
_GONE = re.compile(
    r"(relation|table|schema|function|type) .*does not exist|could not open relation|cache lookup failed"
)
_ENGLISH = "-c lc_messages=C"
_KEPT_BYTES = 1 << 20
_POLL_SECONDS = 0.2


class Talk:
    """What a program said: names of tables as they come, and the end of the rest."""

    def __init__(self) -> None:
        self.tables = 0
        self.names: list[str] = []
        self._text = ""
        self._kept = ""

    def feed(self, data: bytes) -> None:
        """Take what was written."""
        self._text += data.decode(errors="replace")
        end = 0
        for match in _TABLE.finditer(self._text):
            self.tables += 1
            self.names.append(match[1])
            end = match.end()
        if end:
            self._keep(self._text[:end])
            self._text = self._text[end:]
        elif len(self._text) > _KEPT_BYTES:
            self._keep(self._text[: -(_KEPT_BYTES // 2)])
            self._text = self._text[-(_KEPT_BYTES // 2) :]

    def _keep(self, text: str) -> None:
        telling = [line for line in text.splitlines() if _TELLING.search(line)]
        self._kept = (self._kept + "\n".join(telling) + "\n")[-_KEPT_BYTES:] if telling else self._kept

    def lines(self) -> list[str]:
        """Errors, warnings and hints; else the last lines."""
        lines = [line.strip() for line in (self._kept + self._text).splitlines() if line.strip()]
        telling = [line for line in lines if _TELLING.search(line)]
        return (telling or lines)[-20:]

    def warnings(self) -> list[str]:
        """What pg_dump warned of in a dump that came to its end."""
        return [line.partition("warning: ")[2] for line in self.lines() if "warning: " in line]


def dump(
    argv: Sequence[str],
    pipe: Sequence[str],
    *,
    attempted: str,
    tick: Callable[[Talk], None],
    superuser: bool = False,
    name: str = "dbkeeper",
) -> Talk:
    """Run pg_dump to its end, through ``pipe`` (which knows its file) where there is one; ``tick`` is called while it
    works. A ``superuser`` has the server speak English, which is what is understood here. ``name`` is the
    application_name of its sessions.

    Raises :class:`Failed`: ``program-missing``, ``repository-full``, ``dump-lock-timeout``, ``dump-connection-lost``,
    ``dump-object-gone``, ``dump-failed``.
    """
    talk = Talk()
    stream, writer = os.pipe()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        try:
            options = {"PGAPPNAME": name, **({"PGOPTIONS": _ENGLISH} if superuser else {})}
            _start(processes, argv, pipe, writer, attempted, options)
        finally:
            os.close(writer)
        _listen(stream, talk, tick)
        statuses = [process.wait() for process in processes]
    except BaseException:
        for process in processes:
            stop_group(process)
        raise
    finally:
        os.close(stream)
    if any(statuses):
        raise failure(argv[0], statuses, talk.lines(), attempted)
    return talk


def _start(
    processes: list[subprocess.Popen[bytes]],
    argv: Sequence[str],
    pipe: Sequence[str],
    writer: int,
    attempted: str,
    options: Mapping[str, str],
) -> None:
    program = argv[0]
    environment = {"PGCONNECT_TIMEOUT": "10", **options}
    try:
        if not pipe:
            processes.append(start(argv, stdout=subprocess.DEVNULL, stderr=writer, env=environment))
            return
        processes.append(start(argv, stderr=writer, env=environment))
        program = pipe[0]
        source = processes[0].stdout
        # Its file is on its command line, so that it is found again should we be killed.
        stdin = source.fileno() if source else None
        processes.append(start(pipe, stdin=stdin, stdout=subprocess.DEVNULL, stderr=writer))
        if source:
            # Its reader is zstd alone: when that dies, pg_dump must be told.
            source.close()
    except FileNotFoundError as error:
        raise missing(program, attempted, error) from error


def missing(program: str, attempted: str, error: OSError) -> KeeperError:
    """A program that is not there."""
    return Failed(
        "program-missing",
        attempted=attempted,
        happened=f"{program} cannot be started: {error.strerror}",
        remedy="Install the package that holds the program, or correct bin_directory in the cluster's description.",
    )


def _listen(stream: int, talk: Talk, tick: Callable[[Talk], None]) -> None:
    told = 0.0
    while True:
        if select.select([stream], [], [], _POLL_SECONDS)[0]:
            data = os.read(stream, 65536)
            if not data:
                return
            talk.feed(data)
        if time.monotonic() - told >= _POLL_SECONDS:
            told = time.monotonic()
            tick(talk)


def failure(program: str, statuses: Sequence[int], lines: Sequence[str], attempted: str) -> KeeperError:
    """The error for what a program said."""
    said = "\n".join(lines)
    text = " / ".join(lines[-6:]) or "no message"
    name = os.path.basename(program)
    if any(mark in said for mark in _FULL):
        code, remedy = (
            "repository-full",
            "Enlarge it or expire old dumps and backups, then run the same command again.",
        )
        happened = f"the file system of the repository is full: {text}"
    elif _LOCKED.search(said):
        code = "dump-lock-timeout"
        happened = f"a table stayed locked by somebody else: {text}"
        remedy = "See who holds it (pg_stat_activity, pg_locks), or wait longer (lock_wait_seconds), then run it again."
    elif _LOST.search(said):
        code = "dump-connection-lost"
        happened = f"the server went away in the middle: {text}"
        remedy = "See the server's log for why, then run the same command again."
    elif _GONE.search(said):
        code = "dump-object-gone"
        happened = f"something was dropped while the dump began: {text}"
        remedy = "Run the same command again: the next dump begins without it."
    else:
        how = ", ".join(f"signal {-one}" if one < 0 else f"status {one}" for one in statuses if one)
        code, happened = "dump-failed", f"{name} ended with {how}: {text}"
        remedy = "Mend what its words name, then run the same command again."
    return Failed(
        code,
        attempted=attempted,
        happened=f"{happened}; older dumps are as they were",
        remedy=remedy,
        details={"statuses": list(statuses), "words": list(lines)},
    )
