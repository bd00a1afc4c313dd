# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper receive``: WAL streamed as it is written, so that the loss of a host costs nothing that was received.

pg_receivewal writes and fsyncs into a directory of the repository; finished segments go on into the archive by the
very code that archive_command uses (the same content again is no conflict). The unfinished last one stays, and a
restore may use it (fault B15). Runs in the foreground until it is told to end; a service manager starts it again.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..cluster.replication import Identity, ReplicationConnection, connection_text
from ..core.clock import format_utc, utc_now
from ..core.errors import Failed, KeeperError, Refused
from ..core.files import fsync_directory, make_directory, write_json
from ..core.locks import locked, owner_record, process_start
from ..core.run import start, stop_group
from ..repository.archive import SUFFIX, push
from ..repository.catalog import read_catalog
from ..repository.layout import Repository
from ..repository.source import ASIDE, stored_wal
from ..wal.index import WalIndex
from .receive_words import why_ended
from .received import Spool, ahead_of, off_the_way

STATUS = "status.json"
_POLL_SECONDS = 0.1
_STATUS_SECONDS = 5.0
_PATIENCE_SECONDS = (0.5, 1.0, 2.0, 5.0)
#: A host that lost its power, or is cut off, says no goodbye, and pg_receivewal itself would wait for hours.
_NOTICED = {
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ReceiveRequest:
    """From where, through which slot, with which programs. ``connection`` is libpq's, without a password."""

    bin_directory: str
    connection: dict[str, str]
    slot: str
    compression_level: int = 1


@dataclass
class Receiver:
    """Streams until :meth:`end` is called; every interruption is told and tried again."""

    request: ReceiveRequest
    repository: Repository
    tell: Tell
    _ending: bool = False
    _tries: int = 0
    _pushed: set[str] = field(default_factory=set)
    _failing: dict[str, Any] | None = None
    _written: float = 0.0

    def end(self) -> None:
        """Finish soon, and in order."""
        self._ending = True

    def run(self) -> None:
        """Until the end. Raises :class:`Refused`: ``busy`` (another one receives), and what waiting cannot mend."""
        attempted = f"receive WAL for cluster {self.repository.cluster}"
        self.repository.require(attempted)
        make_directory(f"{self.repository.path}/receive")
        with locked(f"{self.repository.path}/receive/lock", "receive", attempted=attempted):
            while not self._ending:
                try:
                    self._session()
                    self._tries = 0
                except Failed as error:
                    self._wait(error)

    # -- one connection ------------------------------------------------------------------------------------

    def _session(self) -> None:
        """Connect, see which way the server went, stream until that ends. Raises :class:`Failed` to be tried again."""
        server = ReplicationConnection(self.request.bin_directory, self._words())
        identity = server.identify()
        self._known(identity)
        size = _segment_bytes(server.setting("wal_segment_size"))
        directory = self.repository.receive(identity.system_id)
        make_directory(f"{directory}/{ASIDE}")
        end_left_behind(directory)
        self._push(identity.system_id)
        self._line_up(identity, size)
        if server.make_slot(self.request.slot):
            self.tell(f"slot {self.request.slot} was made: from now on the server keeps what is not received")
        unguarded = server.setting("max_slot_wal_keep_size") == "-1"
        if unguarded:
            self.tell(
                "max_slot_wal_keep_size is not set on the server: while nobody receives, its pg_wal grows without end"
            )
        words = self._stream(identity, {"guarded": not unguarded})
        if self._ending:
            return
        self._ended(words, server, identity)

    def _words(self) -> dict[str, str]:
        # The name that synchronous_standby_names may hold.
        return {"application_name": self.request.slot, **_NOTICED, **self.request.connection}

    def _known(self, identity: Identity) -> None:
        """A server of another system is not received into this repository (fault B07)."""
        systems = {backup.system_id for backup in read_catalog(self.repository).usable()}
        if systems and identity.system_id not in systems:
            raise Refused(
                "system-mismatch",
                attempted=f"receive WAL for cluster {self.repository.cluster}",
                happened=f"the server is system {identity.system_id}, the repository has backups of "
                f"{', '.join(map(str, sorted(systems)))}",
                remedy="Correct the connection, or take a base backup of the new system first: dbkeeper backup.",
            )

    def _line_up(self, identity: Identity, size: int) -> None:
        """Put aside what is not on the server's way. Raises :class:`Failed` ``server-behind``."""
        directory = self.repository.receive(identity.system_id)
        spool = Spool.of(os.listdir(directory))
        stray = off_the_way(spool, identity, size)
        self._put_aside(directory, stray)
        if stray:
            self.tell(
                f"the server is on timeline {identity.timeline} and was never at {', '.join(stray)}: kept in {ASIDE}/"
            )
        if ahead_of(Spool.of(os.listdir(directory)), identity, size):
            raise Failed(
                "server-behind",
                attempted=f"go on receiving from timeline {identity.timeline}",
                happened="the server is behind what was received from the same timeline: its data was put back to an "
                "earlier state without a recovery",
                remedy="Find out who put it back (a snapshot, a copy). Restore it with dbkeeper, which begins a new "
                "timeline, or move the files of the receive directory away.",
            )

    def _put_aside(self, directory: str, names: tuple[str, ...]) -> None:
        for name in names:
            if name in self._pushed:
                os.unlink(f"{directory}/{name}")
            else:
                os.replace(f"{directory}/{name}", f"{directory}/{ASIDE}/{name}")
        fsync_directory(directory)

    def _stream(self, identity: Identity, facts: dict[str, Any]) -> _Words:
        """pg_receivewal until it ends; its words."""
        directory = self.repository.receive(identity.system_id)
        argv = [f"{self.request.bin_directory}/pg_receivewal", "-D", directory, "-S", self.request.slot]
        argv += ["--synchronous", "--no-loop", "--no-password", "--status-interval=5", "--verbose"]
        process = start([*argv, "-d", connection_text(self._words())], stdout=subprocess.DEVNULL)
        self.tell(f"streaming from timeline {identity.timeline} through slot {self.request.slot}")
        words = _Words(process)
        try:
            while process.poll() is None and not self._ending:
                words.read(_POLL_SECONDS)
                if words.streaming:
                    self._tries = 0
                self._push(identity.system_id)
                self._write_status(identity, facts, words.streaming)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=20)
                stop_group(process)
            words.finish()
        self._push(identity.system_id)
        self._write_status(identity, facts, streaming=False, now=True)
        return words

    def _ended(self, words: _Words, server: ReplicationConnection, identity: Identity) -> None:
        directory = self.repository.receive(identity.system_id)
        spool = Spool.of(os.listdir(directory))
        why = why_ended(words.lines(), self.request.slot)
        gone = why.gone
        # With nothing here it was the slot that said where to begin: a new one of a server that has just been
        # restored keeps WAL from its last checkpoint on, which can lie before its timeline does. Made after the
        # next checkpoint, it does not.
        nowhere = gone and not (spool.finished or spool.partial)
        if why.slot_lost or nowhere:
            server.drop_slot(self.request.slot)
            gone = True
        if gone:
            self._put_aside(directory, (*spool.finished, *spool.partial))
            self.tell(
                "the server no longer has what comes next; begun anew (dbkeeper check shows gaps, if any)"
            )
        raise Failed(
            "receive-interrupted",
            attempted="stream WAL",
            happened=f"pg_receivewal ended: {words.text() or 'it gave no reason'}",
            remedy="It is tried again by itself. If it stays so, read the words and the server's log.",
        )

    def _wait(self, error: Failed) -> None:
        self.tell(f"{error.code}: {error.happened}")
        patience = _PATIENCE_SECONDS[min(self._tries, len(_PATIENCE_SECONDS) - 1)]
        self._tries += 1
        deadline = time.monotonic() + patience
        while not self._ending and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    # -- into the archive ----------------------------------------------------------------------------------

    def _push(self, system_id: int) -> None:
        """What is finished goes into the archive; what is there, and is not needed to go on, goes from here."""
        directory = self.repository.receive(system_id)
        spool = Spool.of(os.listdir(directory))
        failing = None
        for name in (*spool.histories, *spool.finished):
            if name in self._pushed or self._ending_soon(name):
                continue
            try:
                self._archive(f"{directory}/{name}", system_id)
                self._pushed.add(name)
            except KeeperError as error:
                if error.code == "interrupted":
                    # The signal that tells us to end came while the archive had its own ear on it.
                    self.end()
                    return
                failing = {"name": name, **error.to_dict()}
                break
        if failing and (self._failing or {}).get("happened") != failing["happened"]:
            self.tell(f"{failing['code']}: {failing['happened']}")
        self._failing = failing
        for name in spool.removable(self._pushed):
            os.unlink(f"{directory}/{name}")
            self._pushed.discard(name)
        if not failing:
            self._tidy(system_id)

    def _ending_soon(self, name: str) -> bool:
        """Nothing new is begun that the end would have to wait for; it is done after the next start."""
        return self._ending and not name.endswith(".history")

    def _archive(self, path: str, system_id: int) -> None:
        stored = push(self.repository, path, system_id=system_id, level=self.request.compression_level)
        if stored["outcome"] == "archived" and not path.endswith(".history"):
            # Into the index while the plain bytes are here; what is missed, every plan catches up.
            with contextlib.suppress(KeeperError, OSError):
                index = WalIndex(self.repository.index(system_id))
                found = stored_wal(stored["name"], stored["path"])
                index.add_from_push(path, found, stored["digest"], self.request.bin_directory)

    def _tidy(self, system_id: int) -> None:
        """An unfinished segment goes when the archive has all of it; the last one is pg_receivewal's own.

        The last of the same listing: it goes on to the next one at any moment, and what it writes must not be removed.
        """
        directory = self.repository.receive(system_id)
        for place in (directory, f"{directory}/{ASIDE}"):
            spool = Spool.of(os.listdir(place))
            for name in spool.partial:
                whole = f"{self.repository.timeline(system_id, int(name[:8], 16))}/{name[:24]}{SUFFIX}"
                if os.path.exists(whole) and (place, name) != (directory, spool.last):
                    # Finished, and renamed, since it was listed: then the next listing has it.
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{place}/{name}")

    # -- what others may know ------------------------------------------------------------------------------

    def _write_status(
        self, identity: Identity, facts: dict[str, Any], streaming: bool, now: bool = False
    ) -> None:
        if not now and time.monotonic() - self._written < _STATUS_SECONDS:
            return
        self._written = time.monotonic()
        directory = self.repository.receive(identity.system_id)
        spool = Spool.of(os.listdir(directory))
        write_json(
            f"{directory}/{STATUS}",
            {
                "at": format_utc(utc_now()),
                "receiver": owner_record("receive"),
                "slot": self.request.slot,
                "streaming": streaming,
                "timeline": identity.timeline,
                "last": spool.last,
                "waiting": [name for name in spool.finished if name not in self._pushed],
                "failing": self._failing,
                **facts,
            },
        )


class _Words:
    """What pg_receivewal says, read without waiting for it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stderr is None:
            raise ValueError("pg_receivewal was started without a pipe for its words")
        self._pipe = process.stderr
        self._data = b""
        self.streaming = False

    def read(self, patience: float) -> None:
        """What has come meanwhile, after at most ``patience`` seconds."""
        ready, _dummy, _dummy2 = select.select([self._pipe], [], [], patience)
        if ready:
            block = os.read(self._pipe.fileno(), 1 << 16)
            if not block:
                time.sleep(patience)
            self._data = (self._data + block)[-(1 << 16) :]
            self.streaming = self.streaming or b"starting log streaming" in self._data

    def finish(self) -> None:
        """The rest, once it has ended."""
        self._data += self._pipe.read() or b""
        self._pipe.close()

    def lines(self) -> list[str]:
        """All that is kept."""
        return [line.strip() for line in self._data.decode(errors="replace").splitlines() if line.strip()]

    def text(self) -> str:
        """Its errors, else its last lines."""
        lines = self.lines()
        telling = [line for line in lines if re.search(r"error:|ERROR|FATAL|HINT|DETAIL", line)]
        return " / ".join((telling or lines)[-4:])


def end_left_behind(directory: str) -> None:
    """A pg_receivewal outlives a killed dbkeeper: end the one that writes here."""
    for number in (signal.SIGINT, signal.SIGKILL):
        pids = [
            int(name)
            for name in os.listdir("/proc")
            if name.isdigit() and _receives_into(int(name), directory)
        ]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + 10
        while any(process_start(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)


def _receives_into(pid: int, directory: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            words = handle.read().split(b"\0")
    except OSError:
        return False
    return os.path.basename(words[0]) == b"pg_receivewal" and directory.encode() in words


def _segment_bytes(text: str) -> int:
    """The server says 16MB or 1GB."""
    return int(text[:-2]) << (30 if text.endswith("GB") else 20)
