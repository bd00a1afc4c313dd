# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether the very load that is asked for is recorded in the database already. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..repository.dumps import Dump
from .load_request import LoadRequest
from .load_state import DatabaseState


def identity_of(request: LoadRequest, dump: Dump, target: str) -> str:
    """What is loaded from which files into which database, as a name."""
    what = [
        dump.key,
        sorted(file.digest for file in dump.files),
        target,
        *(request.schemas, request.tables, request.exclude, request.content),
        *(request.owners, request.owner_map, request.privileges, request.tablespaces),
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def recorded(existing: DatabaseState | None, identity: str) -> dict[str, Any] | None:
    """The record of the last such load, where there is one."""
    found = [item for item in existing.loads if item.get("identity") == identity] if existing else []
    return found[-1] if found else None
