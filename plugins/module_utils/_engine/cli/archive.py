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

PUSH_FAILED = 1
GET_FAILED = 255


def archive_push(arguments: Sequence[str]) -> int:
    """``archive-push --cluster NAME|--config FILE PATH``; the path is relative to the data directory."""
    try:
        import json

        from ..repository.archive import push
        from ..repository.layout import Repository

        option, value, path = arguments
        if option not in ("--cluster", "--config"):
            raise ValueError(f"unknown option {option}")
        with open(value if option == "--config" else f"/etc/dbkeeper/{value}.json", encoding="utf-8") as handle:
            config = json.load(handle)
        push(
            Repository(config["repository"], config["cluster"]),
            os.path.abspath(path),
            bin_directory=config["bin_directory"],
            level=config.get("backup", {}).get("compression_level", 1),
        )
    except Exception as error:
        text = error.to_text() if hasattr(error, "to_text") else f"{type(error).__name__}: {error}"
        print(f"archive-push: {text}", file=sys.stderr)
        return PUSH_FAILED
    return 0


def archive_get(arguments: Sequence[str]) -> int:
    """``archive-get --plan FILE NAME DESTINATION``."""
    try:
        from ..repository.get import archive_get as get

        option, plan, name, destination = arguments
        if option != "--plan":
            raise ValueError(f"unknown option {option}")
        return get(plan, name, destination)
    except BaseException as error:
        print(f"archive-get: {type(error).__name__}: {error}", file=sys.stderr)
        return GET_FAILED
