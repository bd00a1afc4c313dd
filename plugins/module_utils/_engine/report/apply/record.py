# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What was done to indexes and how it is undone, durable before anything is done: the way back outlives the run."""

from __future__ import annotations

import os
from typing import Any

from ...core.clock import format_utc, utc_now
from ...core.files import make_directory, read_json, write_json
from .plan import ATTEMPTED, Step

FILE = "applied.json"
FORMAT = 1
BEGUN, DONE, UNDONE = "begun", "done", "undone"


class Record:
    """The file ``<state directory>/<system identifier>/applied.json``, mode 0600."""

    def __init__(self, directory: str, system_id: str) -> None:
        self.file = os.path.join(directory, system_id, FILE)

    def entries(self) -> dict[str, dict[str, Any]]:
        """Finding id -> the newest entry. Raises :class:`Failed` (``file-damaged``)."""
        try:
            kept: dict[str, dict[str, Any]] = read_json(self.file, attempted=ATTEMPTED)["steps"]
        except FileNotFoundError:
            return {}
        return kept

    def note(self, step: Step, status: str, **more: Any) -> None:
        """Write durably where a step stands."""
        make_directory(os.path.dirname(self.file), 0o700)
        kept = self.entries()
        before = kept.get(step.id, {})
        kept[step.id] = {
            **(before if status != BEGUN else {}),
            **step.to_dict(),
            "status": status,
            f"{status}_at": format_utc(utc_now()),
            **more,
        }
        write_json(self.file, {"format": FORMAT, "steps": kept}, 0o600)


def step_of(identity: str, entry: dict[str, Any]) -> Step:
    """The step of an entry, as it was approved then."""
    names = Step.__dataclass_fields__
    kept = {name: entry[name] for name in names if name in entry}
    return Step(**{**kept, "id": identity, "action": tuple(entry["action"]), "undo": tuple(entry["undo"])})
