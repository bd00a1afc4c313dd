# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Fetching ahead of recovery: a process of its own that ends by itself.

Replay is one process that waits for each segment; what can be done before it asks costs it nothing. The
prefetcher watches the spool: a segment that has left ``ready/`` was taken, and the window moves on.
It ends when the plan is used up, gone or replaced, when the spool is gone, when a segment cannot be had
(archive-get will meet the same fault and tell it), and when nothing has been taken for a while.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time

from ..core.errors import Failed, KeeperError
from ..wal.content import brief, kind_of
from ..wal.source import WalSource
from .spool import GetPlan, Spool

IDLE_SECONDS = 30.0
_POLL_SECONDS = 0.005


def fetch_planned(plan: GetPlan, source: WalSource, position: int, target: str) -> None:
    """One planned segment into a new file, held against the plan's size and identity.

    The same WAL packed otherwise than it was when it was proven is refused, too: a new plan reads it, and knows.

    Raises KeeperError: what the source raises, or :class:`Failed` ``segment-changed`` (D05); leaves no file then.
    """
    name = plan.names[position]
    proven = plan.digests[position]
    stored_name = f"{name}.partial" if name in plan.partials else name
    found = source.fetch(stored_name, target, kind_of(proven))
    size = os.stat(target).st_size
    if found == proven and size == plan.segment_size:
        return
    os.unlink(target)
    raise Failed(
        "segment-changed",
        attempted=f"hand {name} to recovery",
        happened=f"{name} in the archive is not the one that was proven: {size} bytes with "
        f"{brief(found)}, planned {plan.segment_size} bytes with {brief(proven)}",
        remedy="Bring the proven file back from a copy of the archive, or plan again: the proof will tell "
        "what can still be reached.",
        details={"name": name},
    )


class Prefetcher:
    """Keeps the next ``plan.prefetch`` segments in the spool."""

    def __init__(
        self, plan: GetPlan, spool: Spool, source: WalSource, *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._plan = plan
        self._spool = spool
        self._source = source
        self._idle_seconds = idle_seconds
        # Of the file that was read: it may have been replaced since.
        self._identity = _of(plan.seen) if plan.seen else _identity(plan.path)
        self._work: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._done: set[int] = set()
        self._busy: set[int] = set()
        self._failed = False
        self._next = 0
        self._heard: tuple[int, int] | None = None

    def run(self) -> None:
        """Work until there is nothing more to do."""
        self._spool.clear_work()
        workers = [
            threading.Thread(target=self._fetch_all, daemon=True)
            for _dummy in range(max(1, min(self._plan.prefetch, 16)))
        ]
        for worker in workers:
            worker.start()
        moved = time.monotonic()
        try:
            while not self._failed and self._still_wanted():
                if self._advance():
                    moved = time.monotonic()
                if self._next >= len(self._plan.names) or time.monotonic() - moved > self._idle_seconds:
                    return
                self._give()
                time.sleep(_POLL_SECONDS)
        finally:
            for _dummy in workers:
                self._work.put(None)
            for worker in workers:
                worker.join()

    def _still_wanted(self) -> bool:
        return _identity(self._plan.path) == self._identity and os.path.isdir(self._spool.work_directory)

    def _advance(self) -> bool:
        """Move the window behind what was asked for and what was taken; whether it moved."""
        before = self._next
        # In this order: what was taken before somebody asked is in the listing that is made after it, and
        # what is done after the listing must not be taken for gone.
        heard = _identity(self._spool.wanted_path)
        done = sorted(self._done)
        present = set(os.listdir(self._spool.ready_directory))
        for position in done:
            if self._plan.names[position] not in present:
                self._done.discard(position)
                self._next = max(self._next, position + 1)
        if heard != self._heard:
            # The last word, also backwards: a server that was killed asks again from its last restart point.
            self._heard = heard
            self._next = self._spool.wanted() or 0
        return self._next != before

    def _give(self) -> None:
        for position in range(self._next, min(self._next + self._plan.prefetch, len(self._plan.names))):
            if position not in self._done and position not in self._busy:
                self._busy.add(position)
                self._work.put(position)

    def _fetch_all(self) -> None:
        while True:
            position = self._work.get()
            if position is None:
                return
            if not self._failed and position >= self._next:
                self._fetch(position)
            self._busy.discard(position)

    def _fetch(self, position: int) -> None:
        name = self._plan.names[position]
        try:
            if not os.path.exists(self._spool.ready(name)):
                with open(self._spool.begun(name), "wb"):
                    fetch_planned(self._plan, self._source, position, self._spool.work(name))
                os.rename(self._spool.work(name), self._spool.ready(name))
                os.unlink(self._spool.begun(name))
            self._done.add(position)
        except (KeeperError, OSError):
            # Not told here: recovery may never ask for it. archive-get meets the same fault if it does.
            self._failed = True


def start_prefetcher(plan: GetPlan, spool: Spool, source: WalSource) -> None:
    """Start the prefetcher in a process that nobody waits for; no effect when one lives.

    A fork and not a program: it needs what is in memory already, and nothing of how we were started.
    """
    if plan.prefetch < 1 or spool.prefetcher_lives():
        return
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    # Nothing below may return into the caller's program, whatever happens.
    try:
        os.setsid()
        if not os.fork():
            _detach()
            lock = spool.take_lock()
            if lock is not None:
                Prefetcher(plan, spool, source).run()
    except Exception:
        # There is nobody to tell: archive-get does its work without us.
        os._exit(1)
    finally:
        os._exit(0)


def stop_prefetcher(spool: Spool, patience: float = 5.0) -> None:
    """End the prefetcher of a spool that is to be removed; no effect when none lives."""
    import signal

    deadline = time.monotonic() + patience
    while spool.prefetcher_lives() and time.monotonic() < deadline:
        # None: one that has just begun has the lock already, and writes its number next.
        pid = spool.prefetcher_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _detach() -> None:
    """Let go of everything of the caller's: a pipe kept open would make it wait for us."""
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        return _of(os.stat(path))
    except OSError:
        return None


def _of(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns
