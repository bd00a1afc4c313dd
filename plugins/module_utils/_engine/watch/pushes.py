# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Archiving in the history: one line for a stretch of failures, not one for each of thousands of tries.

While a stretch lasts it is one small file; the first push that succeeds makes a line of it. Nothing here may hold up or
fail a push, and where all is well it costs one look at a file that is not there.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from ..core.clock import format_utc, parse_utc, utc_now
from ..core.errors import KeeperError
from ..core.files import make_directory
from ..wal.history import parse_history
from ..wal.lsn import format_lsn
from .history import FAILED, OK, append
from .record import clean

OPERATION = "archive-push"
TIMELINE = "timeline"
FAILING_FILE = "archive-push.failing.json"


def push_failed(directory: str, code: str, text: str) -> None:
    """Count a failure of the stretch that is going on, or begin one."""
    known = failing(directory)
    now = format_utc(utc_now())
    stretch = {
        "since": known["since"] if known else now,
        "last": now,
        "failures": (known["failures"] if known else 0) + 1,
        "code": code,
        "happened": clean(text),
    }
    temporary = f"{directory}/.{FAILING_FILE}.{os.getpid()}"
    with contextlib.suppress(OSError):
        make_directory(directory)
        with open(temporary, "w", encoding="utf-8") as handle:
            json.dump(stretch, handle, ensure_ascii=False)
        os.rename(temporary, f"{directory}/{FAILING_FILE}")


def push_succeeded(directory: str) -> None:
    """End the stretch, if there is one."""
    known = failing(directory)
    if known is None:
        return
    with contextlib.suppress(OSError):
        os.unlink(f"{directory}/{FAILING_FILE}")
        append(directory, as_run(known, ended=format_utc(utc_now())))


def timeline_begun(directory: str, path: str) -> None:
    """The server has archived the history of a new timeline: where it left which other one, and why, in its words."""
    with contextlib.suppress(OSError, ValueError, KeeperError):
        timeline = int(os.path.basename(path)[:8], 16)
        with open(path, encoding="utf-8", errors="replace") as handle:
            forks = parse_history(timeline, handle.read()).forks
        moment = format_utc(utc_now())
        line = {
            "id": f"timeline-{timeline}-{moment}",
            "operation": TIMELINE,
            "who": {"door": "server"},
            "scheduled": False,
            "began_at": moment,
            "seconds": None,
            "result": OK,
            "code": None,
            "changed": True,
            "facts": {"timeline": timeline},
        }
        if forks:
            left = forks[-1]
            line["facts"] = {
                "timeline": timeline,
                "parent": str(left.timeline),
                "lsn": format_lsn(left.lsn),
                "name": clean(left.reason),
            }
        append(directory, line)


def failing(directory: str) -> dict[str, Any] | None:
    """``since``, ``last``, ``failures``, ``code`` and ``happened`` of the stretch that is going on, or None."""
    try:
        with open(f"{directory}/{FAILING_FILE}", encoding="utf-8") as handle:
            known = json.load(handle)
        return dict(known) if {"since", "last", "failures", "code", "happened"} <= set(known) else None
    except (OSError, ValueError, TypeError):
        return None


def as_run(stretch: dict[str, Any], *, ended: str | None = None) -> dict[str, Any]:
    """A stretch of failures as a line of the history."""
    until = parse_utc(ended or stretch["last"])
    return {
        "id": f"push-{stretch['since']}",
        "operation": OPERATION,
        "who": {"door": "server"},
        "scheduled": False,
        "began_at": stretch["since"],
        "seconds": round((until - parse_utc(stretch["since"])).total_seconds(), 3),
        "result": FAILED,
        "code": stretch["code"],
        "changed": False,
        "facts": {"failures": stretch["failures"], "ended": ended is not None},
        "error": {"code": stretch["code"], "happened": stretch["happened"]},
    }
