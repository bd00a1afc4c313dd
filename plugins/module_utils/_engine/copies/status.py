# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is known here of each copy: one JSON file for each, written by every run, read by ``dbkeeper check``.

``behind_seconds`` is the age of the oldest finished file of the repository that the copy does not have.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..cluster.repository_host import Described
from ..core.errors import KeeperError
from ..core.files import make_directory, read_json, write_json
from ..repository.layout import Repository
from .objects import inventory

FORMAT = 1


@dataclass(frozen=True)
class CopyStatus:
    """One copy. Times are texts in UTC, sizes bytes of what lies there.

    ``caught_up_at`` (seconds since 1970): up to then it had everything. ``behind_seconds`` None: it cannot be told.
    ``left_out``: how many dumps there are that this kind of copy cannot take. ``failure``: the error that the last run
    ended with; ``failures``: how many runs in a row have failed.
    """

    name: str
    to: str
    required: bool
    lag_seconds: int
    identity: str | None = None
    encryption: str | None = None
    last_run_at: str | None = None
    last_success_at: str | None = None
    caught_up_at: float | None = None
    newest: dict[str, Any] | None = None
    objects: int | None = None
    bytes: int | None = None
    left_out: int = 0
    failure: dict[str, Any] | None = None
    failures: int = 0
    behind_seconds: float | None = None
    behind_objects: int | None = None

    @property
    def late(self) -> bool:
        """Whether it is further behind than its owner accepts, or has never been caught up."""
        return self.behind_seconds is None or self.behind_seconds > self.lag_seconds

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "late": self.late}


def status_path(state_directory: str, name: str) -> str:
    """The file of one copy."""
    return f"{state_directory}/copies/{name}.json"


def known_status(config: Described, name: str) -> CopyStatus:
    """What the last run wrote. Raises :class:`Failed` ``file-damaged``."""
    wish = next(one for one in config.copies if one.name == name)
    fresh = CopyStatus(name, wish.to, wish.required, wish.lag_seconds)
    path = status_path(config.state_directory, name)
    try:
        value = read_json(path, attempted=f"read what is known of the copy {name}")
    except FileNotFoundError:
        return fresh
    told = {key: value[key] for key in CopyStatus.__dataclass_fields__ if key in value}
    if told.get("to") != wish.to:
        # Another place now: what was known is of the old one.
        return fresh
    told.update(required=wish.required, lag_seconds=wish.lag_seconds)
    return CopyStatus(**told)


def keep_status(config: Described, status: CopyStatus) -> None:
    """Write it durably."""
    path = status_path(config.state_directory, status.name)
    make_directory(os.path.dirname(path))
    write_json(path, {"format": FORMAT, **status.to_dict()})


def status_of(config: Described, now: float | None = None) -> list[CopyStatus]:
    """All copies with how far each is behind now; asks nobody but the repository on this host.

    With the repository elsewhere ``behind_seconds`` is the age of the last moment at which the copy had everything.
    """
    moment = time.time() if now is None else now
    times = None if config.repository_is_elsewhere or not config.copies else _times(config)
    return [_behind(known_status(config, wish.name), times, moment) for wish in config.copies]


def _times(config: Described) -> list[float] | None:
    repository = Repository(config.repository, config.cluster)
    try:
        return sorted(item.modified_at for group in inventory(repository).groups for item in group.items)
    except KeeperError:
        # Whether the repository is there is asked elsewhere.
        return None


def _behind(status: CopyStatus, times: list[float] | None, now: float) -> CopyStatus:
    since = status.caught_up_at
    if times is None:
        return replace(status, behind_seconds=None if since is None else max(0.0, now - since))
    missing = [one for one in times if since is None or one > since]
    return replace(
        status,
        behind_objects=len(missing),
        behind_seconds=round(max(0.0, now - missing[0]), 1) if missing else 0.0,
    )
