# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Every run that was worth keeping: one JSON line when it begins and one when it has ended, in ``history.jsonl``.

A run that was killed has no second line; its first one then says so. Lines are appended under a lock and made durable;
a torn one is passed over. The file never grows beyond :data:`LARGEST_BYTES`: the newest half of that is kept then.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from ..core.clock import format_utc, utc_now
from ..core.files import fsync_directory, make_directory, write_durable
from ..core.locks import owner_alive

FILE = "history.jsonl"
LARGEST_BYTES = 4 << 20
KEPT_DAYS = 400
#: A run that found nothing due tells that the schedule works, and soon nothing any more.
KEPT_IDLE_DAYS = 2

RUNNING, OK, UNCHANGED, REFUSED, FAILED, INTERRUPTED = (
    "running",
    "ok",
    "unchanged",
    "refused",
    "failed",
    "interrupted",
)
#: What did not end as it should.
BAD = (REFUSED, FAILED, INTERRUPTED)


def history_path(directory: str) -> str:
    """Where the history of a state directory (or of a repository's cluster) is."""
    return f"{directory}/{FILE}"


def append(directory: str, line: dict[str, Any], *, now: datetime | None = None) -> None:
    """Add one line, durably. Raises OSError."""
    make_directory(directory)
    path = history_path(directory)
    data = json.dumps(line, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"
    with _held(directory):
        new = not os.path.exists(path)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                # The last writer died in the middle of its line.
                data = b"\n" + data
            _write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            fsync_directory(directory)
        if size + len(data) > LARGEST_BYTES:
            _compact(path, now or utc_now())


def read_lines(directory: str) -> Iterator[dict[str, Any]]:
    """All lines that can be read, oldest first; none when there is no history. Raises OSError."""
    try:
        with open(history_path(directory), "rb") as handle:
            for raw in handle:
                line = _parsed(raw)
                if line is not None:
                    yield line
    except FileNotFoundError:
        return


def read_runs(directory: str) -> list[dict[str, Any]]:
    """Each run once, in the order in which they began; one whose process has died without a word is ``interrupted``.

    Raises OSError.
    """
    return merge(read_lines(directory))


def merge(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first and the last line of a run made one. Pure but for asking whether a running one still lives."""
    runs: dict[str, dict[str, Any]] = {}
    for line in lines:
        runs[str(line["id"])] = {**runs.get(str(line["id"]), {}), **line}
    for run in runs.values():
        if run["result"] == RUNNING and not owner_alive(run.get("who", {})):
            run["result"] = INTERRUPTED
            run["code"] = INTERRUPTED
    return sorted(runs.values(), key=lambda run: str(run["began_at"]))


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(line, dict) or not all(
        name in line for name in ("id", "operation", "began_at", "result")
    ):
        return None
    return line


def _write_all(handle: int, data: bytes) -> None:
    """One write is the rule; a full disk may take a part of it, which the next writer closes with a new line."""
    while data:
        data = data[os.write(handle, data) :]


@contextlib.contextmanager
def _held(directory: str) -> Iterator[None]:
    """Alone with the file for a moment. Whoever holds it does so for milliseconds, so it is waited for."""
    handle = os.open(f"{directory}/.{FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _compact(path: str, now: datetime) -> None:
    """Keep what is neither too old nor too much, the newest first; a run's two lines become one."""
    with open(path, "rb") as handle:
        lines = [line for line in map(_parsed, handle) if line is not None]
    oldest = format_utc(now - timedelta(days=KEPT_DAYS))
    recent = format_utc(now - timedelta(days=KEPT_IDLE_DAYS))
    kept: list[bytes] = []
    room = LARGEST_BYTES // 2
    ended = {line["id"] for line in lines if line["result"] != RUNNING}
    for line in reversed(lines):
        if line["result"] == RUNNING and line["id"] in ended:
            continue
        if line.get("idle") and str(line["began_at"]) < recent:
            continue
        raw = json.dumps(line, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"
        room -= len(raw)
        if room < 0 or str(line["began_at"]) < oldest:
            break
        kept.append(raw)
    write_durable(path, b"".join(reversed(kept)))
