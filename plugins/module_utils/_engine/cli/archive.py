# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The two commands that the server calls for every segment: few imports, and exit statuses that are contracts.

``archive-push`` (archive_command): 0 only when the segment is stored durably; every failure is 1 to 125, because
a higher status or a signal would restart the archiver and not be counted (PostgreSQL manual, "Continuous Archiving").
``archive-get`` (restore_command): 255 for everything but a delivered segment (0) and a proven end (1).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.errors import KeeperError

if TYPE_CHECKING:
    from ..repository.layout import Repository

PUSH_FAILED = 1
GET_FAILED = 255
_SEGMENT_NAME_LENGTH = 24
#: As :mod:`watch.pushes` names it; importing that for every segment would cost more than looking.
FAILING_FILE = "archive-push.failing.json"


def archive_push(arguments: Sequence[str]) -> int:
    """``archive-push --cluster NAME|--config FILE PATH``; the path is relative to the data directory."""
    state_directory = ""
    try:
        import json

        from ..repository.archive import push
        from ..repository.layout import Repository
        from ..repository.place import is_elsewhere

        option, value, path = arguments
        if option not in ("--cluster", "--config"):
            raise ValueError(f"unknown option {option}")
        with open(
            value if option == "--config" else f"/etc/dbkeeper/{value}.json", encoding="utf-8"
        ) as handle:
            config = json.load(handle)
        state_directory = config.get("state_directory") or f"/var/lib/dbkeeper/state/{config['cluster']}"
        if is_elsewhere(config["repository"]):
            from ..repository.opening import open_repository

            repository = open_repository(
                config["repository"], config["cluster"], config["ssh"], config["state_directory"]
            )
        else:
            repository = Repository(config["repository"], config["cluster"])
        level = int(config.get("backup", {}).get("compression_level", 1))
        stored = push(repository, os.path.abspath(path), level=level)
        if any(copy.get("required") for copy in (config.get("copies") or {}).values()):
            from ..copies.places import push_to_required

            push_to_required(config, os.path.abspath(path), level, state_directory)
    except Exception as error:
        text = error.to_text() if isinstance(error, KeeperError) else f"{type(error).__name__}: {error}"
        sys.stderr.write(f"archive-push: {text}\n")
        if state_directory:
            from ..watch.pushes import push_failed

            push_failed(state_directory, getattr(error, "code", type(error).__name__), text)
        return PUSH_FAILED
    if os.path.exists(f"{state_directory}/{FAILING_FILE}"):
        from ..watch.pushes import push_succeeded

        push_succeeded(state_directory)
    if stored["outcome"] == "archived" and stored["name"].endswith(".history"):
        from ..watch.pushes import timeline_begun

        timeline_begun(state_directory, os.path.abspath(path))
    if stored["outcome"] == "archived" and len(stored["name"]) == _SEGMENT_NAME_LENGTH:
        _index_aside(repository, config, os.path.abspath(path), stored)
    return 0


def _index_aside(repository: Repository, config: dict[str, Any], path: str, stored: dict[str, Any]) -> None:
    """Take the segment into the WAL index in a process of its own: the server need not wait for that.

    Best effort: what is missed here, ``dbkeeper index`` and every plan catch up.
    """
    try:
        if os.fork() != 0:
            return
    except OSError:
        return
    try:
        os.setsid()
        os.nice(10)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        from ..repository.source import stored_wal
        from ..wal.index import WalIndex
        from ..wal.source import StoredWal

        system_id = os.path.basename(os.path.dirname(os.path.dirname(stored["path"])))
        index = WalIndex(repository.index(system_id))
        if "signature" in stored:
            found = StoredWal(stored["name"], stored["stored_bytes"], stored["signature"], stored["path"])
        else:
            found = stored_wal(stored["name"], stored["path"])
        index.add_from_push(path, found, stored["digest"], config["bin_directory"])
    finally:
        os._exit(0)


def archive_get(arguments: Sequence[str]) -> int:
    """``archive-get --plan FILE NAME DESTINATION``."""
    try:
        from ..repository.get import archive_get as get

        option, plan, name, destination = arguments
        if option != "--plan":
            raise ValueError(f"unknown option {option}")
        return int(get(plan, name, destination))
    except BaseException as error:
        sys.stderr.write(f"archive-get: {type(error).__name__}: {error}\n")
        return GET_FAILED
