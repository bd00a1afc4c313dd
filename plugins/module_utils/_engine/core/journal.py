# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A journal of steps: written before and after each, so that a killed operation can be finished or undone.

One JSON file, replaced durably at every change. A step is ``begun`` before it touches anything and ``done``
after; steps must be written so that doing a begun one again is safe.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from .clock import format_utc, utc_now
from .files import fsync_directory, make_directory, read_json, write_json

Hook = Callable[[str, str], None]
_hooks: list[Hook] = []


def add_hook(hook: Hook) -> None:
    """Tests stand here: called with (step, 'begun' | 'done') after the journal has been written."""
    _hooks.append(hook)


class Journal:
    """The journal of one operation, found again by its path."""

    def __init__(self, path: str, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record

    @classmethod
    def begin(cls, path: str, operation: str, identity: str, data: dict[str, Any]) -> Journal:
        """Start a journal; replaces a finished one at the same path."""
        make_directory(os.path.dirname(path))
        journal = cls(
            path,
            {
                "format": 1,
                "operation": operation,
                "identity": identity,
                "state": "running",
                "begun": format_utc(utc_now()),
                "data": data,
                "steps": {},
            },
        )
        journal._write()
        return journal

    @classmethod
    def load(cls, path: str, *, attempted: str) -> Journal | None:
        """The journal at ``path``, or None when there is none."""
        try:
            return cls(path, read_json(path, attempted=attempted))
        except FileNotFoundError:
            return None

    @property
    def identity(self) -> str:
        """Whose journal it is: the plan's id."""
        return str(self.record["identity"])

    @property
    def begun(self) -> str:
        """When the operation began, in UTC; the same for whoever goes on with it."""
        return str(self.record["begun"])

    @property
    def state(self) -> str:
        """``running`` (also after a kill), ``done`` or ``undone``."""
        return str(self.record["state"])

    @property
    def data(self) -> dict[str, Any]:
        """What the steps need to know, fixed when the operation began; :meth:`note` adds to it."""
        data: dict[str, Any] = self.record["data"]
        return data

    def status(self, step: str) -> str | None:
        """None, ``begun`` or ``done``."""
        entry = self.record["steps"].get(step)
        return str(entry["status"]) if entry else None

    def is_done(self, step: str) -> bool:
        """Whether a step has been finished."""
        return self.status(step) == "done"

    def step(self, name: str, action: Callable[[], None]) -> None:
        """Do a step once: skipped when done, done again when only begun."""
        if self.is_done(name):
            return
        self._mark(name, "begun")
        action()
        self._mark(name, "done")

    def reset(self, *names: str) -> None:
        """Forget steps, because what they made is no longer there."""
        for name in names:
            self.record["steps"].pop(name, None)
        self._write()

    def note(self, **values: Any) -> None:
        """Remember facts that later steps or the evidence need."""
        self.record["data"].update(values)
        self._write()

    def finish(self, state: str) -> None:
        """The operation has ended; the journal stays for those who ask what happened."""
        self.record["state"] = state
        self.record["ended"] = format_utc(utc_now())
        self._write()

    def remove(self) -> None:
        """Nothing is left that the journal would be needed for."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
            fsync_directory(os.path.dirname(self.path))

    def _mark(self, name: str, status: str) -> None:
        self.record["steps"][name] = {"status": status, "at": format_utc(utc_now())}
        self._write()
        for hook in _hooks:
            hook(name, status)

    def _write(self) -> None:
        write_json(self.path, self.record)
