# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""archive-get: the restore_command that cannot end a recovery by accident.

PostgreSQL takes 1 to 125 for "there is no more WAL" and promotes (faults B01 to B08, D03). So 1 is said only
when the plan proves it, and everything else that is no delivery is 255, which stops the server.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from ..core.errors import Failed, KeeperError
from ..wal.segment import is_history_name, is_segment_name
from ..wal.source import WalSource
from .layout import Repository
from .place import is_elsewhere
from .prefetch import fetch_planned, start_prefetcher
from .source import NativeWalSource
from .spool import GetPlan, Spool, load_plan

DELIVERED = 0
PROVEN_END = 1
FAULT = 255
_PATIENCE_SECONDS = 600.0
_STANDS_IN = (
    "# stands in for a history that the archive does not have: the number of this timeline is taken\n"
)


class _Interrupted(BaseException):
    """A signal asked us to end."""


def restore_command(command: Sequence[str], plan_path: str, spool: str) -> str:
    """The text for postgresql.conf: take what lies ready, else ask archive-get.

    The first half is a rename by a program that starts in a tenth of Python's time; what it finds was proven
    before it got its name. Its failure decides nothing.
    """

    def quote(text: str) -> str:
        return shlex.quote(text).replace("%", "%%")

    get = " ".join(quote(word) for word in command)
    ready = quote(f"{spool}/ready/")
    return f"mv -fT {ready}%f %p 2>/dev/null || exec {get} archive-get --plan {quote(plan_path)} %f %p"


def archive_get(plan_path: str, name: str, destination: str, *, source: WalSource | None = None) -> int:
    """Answer the server: 0 delivered, 1 the plan proves that there is none, 255 everything else (D03, D04).

    Never raises. At 255 the cause is in ``<spool>/fault.json`` (``code``, ``text``, ``name``) and on stderr.
    ``source`` None: the archive that the plan names.
    """
    with _signals_as_faults():
        return _get(plan_path, name, destination, source)


def _get(plan_path: str, name: str, destination: str, source: WalSource | None) -> int:
    # Where the restore looks for the cause, also when the plan cannot be read.
    beside = os.path.dirname(os.path.abspath(plan_path))
    spool = Spool(f"{beside}/spool", "") if os.path.isdir(beside) else None
    try:
        plan = load_plan(plan_path)
        spool = Spool(plan.spool, plan.plan_id)
        origin = source or _archive(plan)
        spool.prepare()
        if name in plan.positions:
            return _deliver(plan, spool, origin, plan.positions[name], destination)
        if is_history_name(name):
            return _history(plan, origin, name, destination)
        if is_segment_name(name) and _proven_absent(plan, name):
            return PROVEN_END
        raise Failed(
            "file-not-planned",
            attempted=f"hand {name} to recovery",
            happened=f"{name} is not in plan {plan.plan_id}, and the plan does not prove that it is not needed",
            remedy="Nothing was swapped. Plan the restore again; if it happens again, the timelines in the archive "
            "changed under the restore.",
            details={"name": name},
        )
    except KeeperError as error:
        return _fault(spool, name, error.code, f"{error.attempted}: {error.happened}", error.to_text())
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
        return _fault(spool, name, "archive-get-failed", text, text)


def _repository(plan: GetPlan) -> Repository:
    """Where the plan says that it is. Calls nobody yet."""
    if is_elsewhere(plan.repository):
        from .opening import open_repository

        return open_repository(plan.repository, plan.cluster, plan.ssh, plan.state_directory)
    return Repository(plan.repository, plan.cluster)


def _archive(plan: GetPlan) -> WalSource:
    repository = _repository(plan)
    if repository.elsewhere:
        from .opening import wal_source

        return wal_source(repository, plan.system_id)
    return NativeWalSource(repository, plan.system_id)


def _deliver(plan: GetPlan, spool: Spool, source: WalSource, position: int, destination: str) -> int:
    name = plan.names[position]
    spool.want(position + 1)
    if not _take(plan, spool, name, destination):
        if position + 1 < len(plan.names):
            start_prefetcher(plan, spool, source)
        if not _take_when_ready(plan, spool, name, destination):
            # Not in work/, which a prefetcher that has just been started clears.
            own = f"{spool.directory}/{name}.{os.getpid()}"
            fetch_planned(plan, source, position, own)
            _move(own, destination)
    elif position + 1 < len(plan.names):
        start_prefetcher(plan, spool, source)
    return DELIVERED


def _take(plan: GetPlan, spool: Spool, name: str, destination: str) -> bool:
    ready = spool.ready(name)
    try:
        if os.stat(ready).st_size != plan.segment_size:
            # Cannot be: it was complete when it got its name. So it is not ours; fetch it anew.
            os.unlink(ready)
            return False
    except FileNotFoundError:
        return False
    _move(ready, destination)
    return True


def _take_when_ready(plan: GetPlan, spool: Spool, name: str, destination: str) -> bool:
    """Wait for a segment that the prefetcher is fetching just now rather than fetch it twice."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while os.path.exists(spool.begun(name)) and spool.prefetcher_lives() and time.monotonic() < deadline:
        time.sleep(0.002)
    return _take(plan, spool, name, destination)


def _move(path: str, destination: str) -> None:
    """Rename; across file systems copy beside the destination first. The server never sees half a file."""
    try:
        os.rename(path, destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = f"{destination}.{os.getpid()}"
        try:
            shutil.copyfile(path, beside)
            os.rename(beside, destination)
        except BaseException:
            if os.path.exists(beside):
                os.unlink(beside)
            raise
        os.unlink(path)


def _history(plan: GetPlan, source: WalSource, name: str, destination: str) -> int:
    """Histories beyond the plan are handed out too, so that the server picks a timeline nobody has (D13).

    Where there is none, its number is reserved for this restore, unless another one has it: then one is stood in for.
    A planned one must have the text that was proven (B11, B13). Of another the server asks only whether it is there:
    a lost or damaged one of a timeline that the archive has seen is stood in for, or its number would be taken again.
    """
    timeline = int(name[:8], 16)
    try:
        text = source.read_history(timeline)
    except KeeperError as error:
        if name in plan.histories or error.code != "history-damaged":
            raise
        text = _STANDS_IN
    if text is None and name in plan.histories:
        raise Failed(
            "history-missing",
            attempted=f"hand {name} to recovery",
            happened=f"{name} was planned and is no longer in the archive",
            remedy="Bring the file back from a copy of the archive, or plan again.",
            details={"name": name},
        )
    if text is None:
        if timeline == 1 or (timeline not in plan.taken and _may_be_taken(plan, timeline)):
            return PROVEN_END
        text = _STANDS_IN
    proven = plan.history_digests.get(name)
    if proven is not None and proven != sha256(text.encode()).hexdigest():
        raise Failed(
            "history-changed",
            attempted=f"hand {name} to recovery",
            happened=f"{name} in the archive is not the one that was proven; it begins with {text[:60]!r}",
            remedy="Bring the proven file back from a copy of the archive, or plan again.",
            details={"name": name},
        )
    beside = f"{destination}.{os.getpid()}"
    with open(beside, "wb") as handle:
        handle.write(text.encode())
    os.rename(beside, destination)
    return DELIVERED


def _may_be_taken(plan: GetPlan, timeline: int) -> bool:
    """Whether the server may promote to ``timeline``: then it is reserved. Below its target it only looks."""
    if plan.holder is None or timeline <= plan.newest_timeline:
        return True
    from .timelines import take_number

    return take_number(_repository(plan), plan.system_id, timeline, str(plan.holder))


def _proven_absent(plan: GetPlan, name: str) -> bool:
    """Whether the plan proves that recovery needs no such segment.

    Past the planned end, or a fork's segment under the child's name where the proof found that the child
    never archived it: the server asks for the newest timeline first, and takes the planned parent's next.
    """
    timeline, number = int(name[:8], 16), plan.number(name)
    if timeline > plan.newest_timeline:
        return False
    if number > plan.number(plan.names[-1]):
        return True
    return any(plan.number(one) == number and int(one[:8], 16) < timeline for one in plan.names)


@contextlib.contextmanager
def _signals_as_faults() -> Iterator[None]:
    """A signal that ends us must end us with 255, after cleaning up."""

    def end(number: int, _dummy: Any) -> None:
        raise _Interrupted(f"signal {number}")

    numbers: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    # Handlers can be set in the main thread only; called from another, we are no restore_command.
    if threading.current_thread() is not threading.main_thread():
        numbers = ()
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fault(spool: Spool | None, name: str, code: str, text: str, words: str) -> int:
    try:
        sys.stderr.write(f"archive-get: {words}\n")
        if spool is not None:
            os.makedirs(spool.directory, 0o700, exist_ok=True)
            spool.tell_fault({"code": code, "text": text, "name": name})
    except OSError:
        # No place to say why; the answer stands.
        return FAULT
    return FAULT
