# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Archiving to several places at once: what a required copy does not have is not acknowledged to the server.

Called for every segment where there is such a copy, and imported only then. All of them take the very push that the
repository takes: durable, never over another, the same again is success; so a push that failed at one place is simply
tried again at all.
"""

from __future__ import annotations

import os

from ..core.errors import KeeperError
from ..repository.archive import push
from ..repository.layout import Repository
from ..repository.opening import open_repository
from ..repository.place import is_elsewhere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def push_to_required(config: Mapping[str, Any], path: str, level: int, state_directory: str) -> None:
    """Store the file at every required copy of the description (as it was read from JSON).

    Raises what :func:`push` raises, naming the copy.
    """
    for name, wish in config["copies"].items():
        if not wish.get("required"):
            continue
        try:
            push(_place(config, wish, state_directory), path, level=level)
        except KeeperError as error:
            error.attempted = f"{error.attempted} to the required copy {name}, {wish['to']}"
            error.details["copy"] = name
            raise


def _place(config: Mapping[str, Any], wish: Mapping[str, Any], state_directory: str) -> Repository:
    to = str(wish["to"]).rstrip("/")
    if is_elsewhere(to):
        ssh = wish.get("ssh") or config.get("ssh")
        return open_repository(to, str(config["cluster"]), ssh, state_directory)
    return Repository(os.path.normpath(to), str(config["cluster"]))
