# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The pooler's process: found in /proc, started and stopped by systemd or as a daemon of its own.

Where a running one listens is asked of the kernel: its file may have been changed since it started.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import signal
import time
from dataclasses import dataclass

from ..core.errors import Failed, KeeperError, Refused
from ..core.locks import process_start
from ..core.privilege import Owner, as_root, started_as_root
from ..core.run import run
from .console import console
from .request import ATTEMPTED, PoolerRequest
from .seen import is_pooler, socket_inodes, tcp_ports, uid_of, unix_sockets
from .settings import Version

_POLL_SECONDS = 0.02
#: A daemon hands over to a child of a child: for a moment there may be none of them to be seen.
_PATIENCE_SECONDS = 3.0
_ROLLING_SIGNALS: Version = (1, 23)


@dataclass(frozen=True)
class Process:
    """A running pooler. ``sockets`` are (directory, port) of its Unix sockets, ``ports`` its TCP ports."""

    pid: int
    started: str
    uid: int
    sockets: tuple[tuple[str, int], ...]
    ports: frozenset[int]

    @property
    def alive(self) -> bool:
        """Whether it is still the same process."""
        return process_start(self.pid) == self.started

    @property
    def user(self) -> str:
        """The name of the user that it runs as."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


def owner_named(name: str) -> Owner:
    """A user by name. Raises :class:`Refused` (``user-missing``)."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise Refused(
            "user-missing",
            attempted=ATTEMPTED,
            happened=f"this host has no user {name}",
            remedy="Make it (the role pgbouncer does), or correct the option user.",
        ) from error
    return Owner(name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def find(config_file: str) -> Process | None:
    """The pooler that was started with this file; None when there is none."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        started = process_start(int(entry))
        if started is None:
            continue
        with contextlib.suppress(OSError), as_root():
            if not _serves(int(entry), config_file):
                continue
            inodes = socket_inodes(int(entry))
            return Process(
                int(entry),
                started,
                uid_of(int(entry)),
                unix_sockets(int(entry), inodes),
                tcp_ports(int(entry), inodes),
            )
    return None


def start(request: PoolerRequest, *, descriptors: int, again: bool = False) -> None:
    """Start it (``again``: restart a unit) and return; :func:`wait_ready` waits.

    Raises :class:`Refused` (``needs-root``), :class:`Failed` (``pooler-did-not-start``, ``program-missing``).
    """
    if request.manager == "systemd":
        if not started_as_root():
            raise needs_root(request)
        systemctl("reset-failed", request, accept=(0, 1, 5))
        systemctl("restart" if again else "start", request, accept=tuple(range(256)))
        return
    _remove_stale_pid_file(request)
    with as_root():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = max(soft, descriptors if started_as_root() else min(descriptors, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    try:
        run([request.program, "-d", request.config_file], attempted="start the pooler", timeout=30)
    except KeeperError as error:
        if error.code == "program-missing":
            raise
        raise did_not_start(error.happened) from error


def wait_ready(request: PoolerRequest, *, timeout: float, since: int) -> Process:
    """Until its console answers at the place that the files name.

    Raises :class:`Failed` (``pooler-did-not-start``) with its own words.
    """
    begun = time.monotonic()
    deadline, last_seen = begun + timeout, None
    while True:
        process = find(request.config_file)
        if process is not None:
            last_seen = time.monotonic()
            try:
                with console(
                    request.setting("unix_socket_dir"), request.port, attempted=ATTEMPTED, timeout=3
                ):
                    pass
                return process
            except KeeperError as error:
                last = error.happened
        else:
            last = "it has no process" if last_seen is None else "its process has ended"
        now = time.monotonic()
        alone = now - (begun if last_seen is None else last_seen)
        if now > deadline or (process is None and alone > _PATIENCE_SECONDS):
            raise did_not_start(words(request, since) or last)
        time.sleep(_POLL_SECONDS)


def stop(request: PoolerRequest, process: Process, version: Version, *, drain_seconds: float) -> None:
    """Stop it and return when it is gone; transactions get ``drain_seconds`` to end first.

    Raises :class:`Refused` (``needs-root``), :class:`Failed` (``pooler-did-not-stop``).
    """
    if request.manager == "systemd" and not started_as_root():
        raise needs_root(request)
    _drain(process, drain_seconds)
    if request.manager == "systemd":
        systemctl("stop", request, accept=tuple(range(256)))
    with contextlib.suppress(KeeperError), contextlib.ExitStack() as stack:
        if process.alive and process.sockets:
            session = stack.enter_context(console(*process.sockets[0], attempted=ATTEMPTED, timeout=5))
            session.query("SHUTDOWN")
    if not _gone(process, 5):
        # What ends it at once has changed its name (NEWS of 1.23).
        number = signal.SIGQUIT if version >= _ROLLING_SIGNALS else signal.SIGTERM
        for signal_number in (number, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError), as_root():
                os.kill(process.pid, signal_number)
            if _gone(process, 5):
                return
        raise Failed(
            "pooler-did-not-stop",
            attempted="stop the pooler",
            happened=f"process {process.pid} is still there",
            remedy=f"See what holds it (cat /proc/{process.pid}/wchan), then run the same again.",
            details={"pid": process.pid},
        )


def log_mark(request: PoolerRequest) -> int:
    """Where its log ends now: a moment for the journal, a size for a file."""
    if request.manager == "systemd":
        return int(time.time())
    try:
        return os.stat(request.log_file).st_size
    except OSError:
        return 0


def words(request: PoolerRequest, since: int, *, complaints_only: bool = False) -> str:
    """What it said since a mark, the telling lines first of all."""
    if request.manager == "systemd":
        # The journal has the kinds of lines apart from their texts.
        for kind in ("warning",) if complaints_only else ("warning", "debug"):
            said = _journal(request, since, kind)
            if said:
                return telling(said)
        return ""
    try:
        with open(request.log_file, "rb") as handle:
            handle.seek(since)
            said = handle.read(1 << 20).decode(errors="replace")
    except OSError:
        return ""
    return telling(said, complaints_only=complaints_only)


def _journal(request: PoolerRequest, since: int, kind: str) -> str:
    # By the field, since -u would add what systemd itself says of the unit.
    argv = ["journalctl", f"_SYSTEMD_UNIT={request.unit}", "-n", "20", "--no-pager", "-o", "cat"]
    argv += ["-p", kind, "--since", f"@{since}", "-q"]
    try:
        return run(argv, attempted="read the unit's journal", accept=(0, 1), privileged=True).out.strip()
    except Failed:
        # No journal: the cause that is being reported is worth more than that.
        return ""


def telling(said: str, *, complaints_only: bool = False) -> str:
    """The lines that complain, without the time and number in front; all where there is none."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    complaints = [
        line for line in lines if any(f" {kind} " in line for kind in ("FATAL", "ERROR", "WARNING"))
    ]
    chosen = complaints if complaints or complaints_only else lines
    # A unit may be started more than once.
    return "; ".join(list(dict.fromkeys(line.split("] ", 1)[-1] for line in chosen))[-6:])


def did_not_start(said: str) -> Failed:
    """The error of every start that fails."""
    return Failed(
        "pooler-did-not-start",
        attempted="start the pooler",
        happened=f"the pooler says: {said}",
        remedy="Correct what its words name, then run the same again.",
        details={"words": said},
    )


def needs_root(request: PoolerRequest) -> Refused:
    """Units are root's."""
    return Refused(
        "needs-root",
        attempted=ATTEMPTED,
        happened=f"the pooler is the systemd unit {request.unit}, which only root may control",
        remedy=f"Run the same as root (it works as {request.user} all the same).",
    )


def systemctl(verb: str, request: PoolerRequest, accept: tuple[int, ...]) -> None:
    """Tell systemd; what came of it is looked at afterwards."""
    run(
        ["systemctl", verb, request.unit],
        attempted=f"{verb} the unit {request.unit}",
        timeout=request.timeout_seconds + 60,
        accept=accept,
        privileged=True,
    )


def _drain(process: Process, seconds: float) -> None:
    """PAUSE lets running transactions end; who holds a session longer is cut off."""
    if not process.sockets or seconds <= 0:
        return
    with contextlib.suppress(KeeperError):
        with console(*process.sockets[0], attempted=ATTEMPTED, timeout=5) as session:
            session.query("PAUSE", timeout=seconds)


def _gone(process: Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _remove_stale_pid_file(request: PoolerRequest) -> None:
    """PgBouncer takes any living process of that number for itself ("another instance running?")."""
    path = f"{request.setting('unix_socket_dir')}/pgbouncer.pid"
    if find(request.config_file) is not None:
        return
    with contextlib.suppress(FileNotFoundError), as_root():
        with open(path, encoding="ascii", errors="replace") as handle:
            said = handle.read().strip()
        if not said.isdigit() or not is_pooler(int(said)):
            os.unlink(path)


def _serves(pid: int, config_file: str) -> bool:
    if not is_pooler(pid) or not _is_of_this_host(pid):
        return False
    with open(f"/proc/{pid}/cmdline", "rb") as handle:
        arguments = handle.read().decode(errors="replace").split("\0")[1:]
    return config_file in arguments


def _is_of_this_host(pid: int) -> bool:
    """Processes in containers are seen from outside, and the same path means another file there.

    Units with a mount name space of their own still have the host's root. Raises OSError where we may not look.
    """
    return os.path.samestat(os.stat(f"/proc/{pid}/root/"), os.stat("/"))
