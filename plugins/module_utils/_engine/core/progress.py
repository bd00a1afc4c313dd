# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Progress that another process can read: one small JSON file, replaced whole.

The file is advice, not state: it is never fsynced and nothing decides by it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from .clock import format_utc, utc_now
from .errors import KeeperError
from .locks import owner_alive, owner_record
from .sizes import format_bytes, format_duration

_INTERVAL = 0.5


class Progress:
    """What an operation is doing now: phase, done of total, rate and estimated time left."""

    def __init__(
        self,
        path: str | None,
        operation: str,
        *,
        identity: str = "",
        listener: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._path = path
        self._listener = listener
        self._written = 0.0
        self._phase_start = time.monotonic()
        self._record: dict[str, Any] = {
            "operation": operation,
            "identity": identity,
            "owner": owner_record(operation),
            "phase": "starting",
            "state": "running",
            "unit": "bytes",
            "done": 0,
            "total": None,
            "note": "",
            "phases": [],
        }
        self._publish(force=True)

    def phase(self, name: str, *, total: int | None = None, unit: str = "bytes", note: str = "") -> None:
        """Begin a phase; the seconds of the one before are kept."""
        self._close_phase()
        self._phase_start = time.monotonic()
        self._record.update(phase=name, total=total, unit=unit, done=0, note=note)
        self._publish(force=True)

    def update(self, done: int, *, total: int | None = None, note: str | None = None) -> None:
        """Say how far the phase is; cheap, written at most twice a second."""
        self._record["done"] = done
        if total is not None:
            self._record["total"] = total
        if note is not None:
            self._record["note"] = note
        self._publish(force=False)

    def finish(self, state: str, note: str = "") -> None:
        """The operation has ended: ``done``, ``failed`` or ``refused``."""
        self._close_phase()
        self._record.update(state=state, note=note)
        self._publish(force=True)

    @contextlib.contextmanager
    def ending(self, note: str = "") -> Iterator[None]:
        """The block is all that is left: ``done`` after it, ``failed`` with an error's code, or ``interrupted``."""
        try:
            yield
        except BaseException as error:
            self.finish("failed", error.code if isinstance(error, KeeperError) else "interrupted")
            raise
        self.finish("done", note)

    def seconds(self) -> dict[str, float]:
        """Seconds of each finished phase; a phase entered twice counts once, summed."""
        sums: dict[str, float] = {}
        for item in self._record["phases"]:
            sums[item["phase"]] = round(sums.get(item["phase"], 0.0) + item["seconds"], 3)
        return sums

    def _close_phase(self) -> None:
        spent = round(time.monotonic() - self._phase_start, 3)
        if self._record["phase"] != "starting":
            self._record["phases"].append({"phase": self._record["phase"], "seconds": spent})

    def _publish(self, *, force: bool) -> None:
        now = time.monotonic()
        if not force and now - self._written < _INTERVAL:
            return
        self._written = now
        elapsed = now - self._phase_start
        done, total = self._record["done"], self._record["total"]
        rate = done / elapsed if elapsed > 0.2 else None
        left = (total - done) / rate if rate and total is not None and total >= done else None
        self._record.update(
            rate=round(rate) if rate else None,
            seconds_left=round(left, 1) if left is not None else None,
            phase_seconds=round(elapsed, 1),
            at=format_utc(utc_now()),
        )
        if self._listener:
            self._listener(self._record)
        if self._path:
            temporary = f"{self._path}.{os.getpid()}"
            # A full disk must not end a restore because of its progress bar.
            with contextlib.suppress(OSError):
                with open(temporary, "w", encoding="utf-8") as handle:
                    json.dump(self._record, handle)
                os.rename(temporary, self._path)


def read_progress(path: str) -> dict[str, Any] | None:
    """The newest record, or None. A running record whose process has died is told as ``interrupted``."""
    try:
        with open(path, encoding="utf-8") as handle:
            record: dict[str, Any] = json.load(handle)
    except (FileNotFoundError, ValueError):
        return None
    if record.get("state") == "running" and not owner_alive(record.get("owner", {})):
        record["state"] = "interrupted"
    return record


def describe(record: dict[str, Any]) -> str:
    """One line for a person: 'replay: 1.2 GB of 2.0 GB (60 %), 88.1 MB/s, 9.3 s left'."""
    done, total, unit = record.get("done") or 0, record.get("total"), record.get("unit")

    def show(value: float) -> str:
        return format_bytes(value) if unit == "bytes" else f"{value:.0f} {unit}"

    parts = []
    if total:
        parts.append(f"{show(done)} of {show(total)} ({100 * min(done, total) // total} %)")
    elif done:
        parts.append(show(done))
    if record.get("rate") and unit == "bytes":
        parts.append(f"{format_bytes(record['rate'])}/s")
    if record.get("seconds_left") is not None and record.get("state") == "running":
        parts.append(f"{format_duration(record['seconds_left'])} left")
    if record.get("note"):
        parts.append(str(record["note"]))
    head = f"{record.get('operation')} · {record.get('phase')}"
    if record.get("state") != "running":
        head = f"{record.get('operation')} · {record.get('state')}"
    return f"{head}: {', '.join(parts)}" if parts else head
