# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Evidence: one JSON file for each restore and drill, written once and never changed."""

from __future__ import annotations

import os
from typing import Any

from ..core.errors import Failed, KeeperError
from ..core.files import make_directory, read_json, write_json
from .layout import Repository


def write_evidence(repository: Repository, identity: str, record: dict[str, Any]) -> str:
    """Keep a record under ``<identity>.json`` and return its path.

    Writing the same identity again replaces it: a resumed restore tells its whole story once.
    Raises :class:`Failed` ``repository-not-writable``.
    """
    if not identity or "/" in identity or identity.startswith("."):
        raise ValueError(f"{identity!r} cannot name evidence")
    path = f"{repository.evidence}/{identity}.json"
    try:
        make_directory(repository.evidence)
        write_json(path, {"format": 1, "id": identity, **record})
    except OSError as error:
        raise Failed(
            "repository-not-writable",
            attempted=f"keep the evidence {identity}",
            happened=f"{path}: {error.strerror}",
            remedy=f"Let the cluster's owner write below {repository.path}, and see that it has space.",
        ) from error
    return path


def list_evidence(repository: Repository) -> list[dict[str, Any]]:
    """All records in order of their ids; one that cannot be read is told as ``{"id", "error"}``."""
    found: list[dict[str, Any]] = []
    try:
        names = sorted(os.listdir(repository.evidence))
    except FileNotFoundError:
        return []
    for name in names:
        if not name.endswith(".json") or name.startswith("."):
            continue
        path = f"{repository.evidence}/{name}"
        try:
            found.append(read_json(path, attempted=f"read the evidence {name}"))
        except KeeperError as error:
            found.append({"id": name[: -len(".json")], "error": error.to_dict()})
    return found
