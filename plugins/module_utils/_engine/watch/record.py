# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The hook in both doors: whatever runs there leaves its mark in the history, and nothing fails because of that."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..core.clock import format_utc, utc_now
from ..core.errors import EXIT_DONE, KeeperError, Refused
from ..core.locks import owner_record
from .history import FAILED, INTERRUPTED, OK, REFUSED, RUNNING, UNCHANGED, append

#: Commands whose runs are kept, by the names that the host command gives them.
OPERATIONS = ("backup", "dump", "load", "copy", "verify", "trial", "expire", "restore", "undo")
#: Those that may find that the last one is recent enough: they have shown nothing then.
_BY_AGE = ("backup", "dump", "verify", "trial")
#: Modules that do the same.
MODULES = {
    "pg_basebackup": "backup",
    "pg_dump": "dump",
    "pg_restore": "load",
    "pg_backup_copy": "copy",
    "pg_backup_verify": "verify",
    "pg_backup_expire": "expire",
    "pg_pitr": "restore",
}
#: The only names whose values are taken from a result: what was made, how big, from where to where.
FACTS = (
    "label",
    "kind",
    "parent",
    "database",
    "series",
    "name",
    "content",
    "format",
    "to",
    "plain_bytes",
    "stored_bytes",
    "bytes",
    "freed_bytes",
    "database_bytes",
    "wal_bytes",
    "staged_bytes",
    "start_lsn",
    "stop_lsn",
    "lsn",
    "timeline",
    "rows",
    "digested",
    "proof",
    "tables",
    "objects",
    "errors",
    "segments",
    "files",
    "downtime_seconds",
    "kept_directory",
    "thorough",
    "whole",
    "left_bad",
)
#: Parts of a result that hold them, the most telling last.
_PARTS = (
    "plan",
    "proof",
    "deleted",
    "reached",
    "evidence",
    "backup",
    "dump",
    "load",
    "copy",
    "verification",
    "trial",
)
_LONGEST = 2000
_SECRET = re.compile(
    r"(://[^/\s:@]*:)[^@\s]+(@)|((?:password|passwd|secret|token)\s*[=:]\s*)\S+", re.IGNORECASE
)


class Run:
    """One run, while it is going on."""

    def __init__(self, directory: str, line: dict[str, Any], complain: Callable[[str], None]) -> None:
        self._directory = directory
        self._complain = complain
        self._began = time.monotonic()
        self.line = line
        self.items: list[dict[str, Any]] = []

    def done(self, result: Mapping[str, Any]) -> None:
        """It came to its end with a result; one that says itself that all is not well counts as failed.

        One that is made of several (dumps of several databases, copies to several places) has a line for each, too.
        """
        items = _items(result)
        if len(items) == 1:
            result = {**result, **items[0]}
        self.items = [self._item(number, one) for number, one in enumerate(items)] if len(items) > 1 else []
        bad = int(result.get("exit_status", EXIT_DONE)) != EXIT_DONE
        plan = result.get("plan")
        held = plan.get("held") if isinstance(plan, Mapping) else None
        said = [result, *items, *(held if isinstance(held, list) else ())]
        error = next((one["error"] for one in said if isinstance(one.get("error"), Mapping)), None)
        self.line |= {
            "result": FAILED if bad else OK if result.get("changed") else UNCHANGED,
            "changed": bool(result.get("changed")),
            "facts": facts_of(result),
        }
        if not bad and self._nothing_due(result):
            self.line["idle"] = True
        if bad:
            told = dict(error) if error is not None else {}
            self.line["code"] = str(told.get("code") or f"exit-{result['exit_status']}")
            if told:
                self.line["error"] = _error(told)

    def _nothing_due(self, result: Mapping[str, Any]) -> bool:
        return self.line["operation"] in _BY_AGE and result.get("executed") is False

    def _item(self, number: int, item: Mapping[str, Any]) -> dict[str, Any]:
        error = item.get("error")
        facts = facts_of(item)
        spent = facts.get("seconds")
        line = {
            **{name: self.line[name] for name in ("operation", "who", "scheduled", "began_at")},
            "id": f"{self.line['id']}-{number}",
            "part_of": self.line["id"],
            "result": FAILED if isinstance(error, Mapping) else OK if item.get("changed") else UNCHANGED,
            "code": str(error["code"]) if isinstance(error, Mapping) else None,
            "changed": bool(item.get("changed")),
            "seconds": round(sum(spent.values()), 3) if isinstance(spent, Mapping) else None,
            "facts": facts,
        }
        if isinstance(error, Mapping):
            return {**line, "error": _error(error)}
        return {**line, "idle": True} if self._nothing_due(item) else line

    def broke(self, error: BaseException) -> None:
        """It did not."""
        if isinstance(error, KeeperError):
            self.line |= {
                "result": REFUSED if isinstance(error, Refused) else FAILED,
                "code": error.code,
                "error": _error(error.to_dict()),
            }
        elif isinstance(error, OSError):
            self.line |= {"result": FAILED, "code": "system-error"}
            self.line["error"] = {"code": "system-error", "happened": clean(str(error))}
        elif isinstance(error, Exception):
            self.line |= {"result": FAILED, "code": "unexpected"}
            self.line["error"] = {"code": "unexpected", "happened": clean(f"{type(error).__name__}: {error}")}
        else:
            self.line |= {"result": INTERRUPTED, "code": INTERRUPTED}
            self.line["error"] = {"code": INTERRUPTED, "happened": type(error).__name__}

    def write(self) -> None:
        """Keep the line; a history that cannot be written is a complaint, no failure."""
        if self.line["result"] != RUNNING:
            self.line["seconds"] = round(time.monotonic() - self._began, 3)
        try:
            for line in (*self.items, self.line):
                append(self._directory, line)
        except OSError as error:
            self._complain(f"the history of runs cannot be written: {error.filename}: {error.strerror}")


@contextlib.contextmanager
def recording(
    directory: str,
    operation: str,
    *,
    door: str,
    complain: Callable[[str], None],
    scheduled: bool = False,
) -> Iterator[Run]:
    """Keep what the block does: ``done`` is to be called with its result; an exception is kept and goes on."""
    line = {
        "id": uuid.uuid4().hex[:16],
        "operation": operation,
        "who": {**owner_record(operation), "user": _user(), "door": door},
        "scheduled": scheduled,
        "began_at": format_utc(utc_now()),
        "result": RUNNING,
        "code": None,
        "changed": False,
        "facts": {},
    }
    run = Run(directory, line, complain)
    run.write()
    try:
        yield run
        if run.line["result"] == RUNNING:
            run.done({})
    except BaseException as error:
        run.broke(error)
        raise
    finally:
        run.write()


def facts_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What of a result is worth keeping: numbers and short texts by their names, and no others."""
    found: dict[str, Any] = {}
    for part in (result, *(result.get(name) for name in _PARTS), result.get("history")):
        if not isinstance(part, Mapping):
            continue
        for source in (part.get("proof"), part, part.get("rows")):
            if isinstance(source, Mapping):
                found |= {name: _short(source[name]) for name in FACTS if _plain(source.get(name))}
        seconds = part.get("seconds")
        if isinstance(seconds, Mapping):
            found["seconds"] = {
                str(name): value for name, value in seconds.items() if isinstance(value, (int, float))
            }
    return found


def _items(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of a result that are results themselves."""
    dumps, copies = result.get("dumps"), result.get("copies")
    if isinstance(dumps, list):
        return [dict(one) for one in dumps if isinstance(one, Mapping)]
    if isinstance(copies, Mapping):
        return [{"name": str(name), **one} for name, one in copies.items() if isinstance(one, Mapping)]
    return []


def _plain(value: Any) -> bool:
    return value is not None and isinstance(value, (str, int, float, bool))


def _short(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def clean(text: str) -> str:
    """Errors hold no secrets; what looks like one all the same is not kept."""
    text = _SECRET.sub(lambda found: f"{found[1] or found[3]}***{found[2] or ''}", text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _error(data: Mapping[str, Any]) -> dict[str, str]:
    parts = ("code", "attempted", "happened", "remedy")
    return {name: clean(str(data[name])) for name in parts if data.get(name) is not None}


def _user() -> str:
    """Who started it: behind sudo, the person."""
    known = os.environ.get("SUDO_USER")
    if known:
        return clean(known)
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
