# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Evidence: one JSON file for each restore and drill, written once and never changed."""

from __future__ import annotations

import json
from typing import Any

from ..core.errors import Failed
from .layout import Repository


def write_evidence(repository: Repository, identity: str, record: dict[str, Any]) -> str:
    """Keep a record under ``<identity>.json`` and return its path.

    Writing the same identity again replaces it: a resumed restore tells its whole story once.
    Raises :class:`Failed` ``repository-not-writable``.
    """
    if not identity or "/" in identity or identity.startswith("."):
        raise ValueError(f"{identity!r} cannot name evidence")
    try:
        return repository.keep("evidence", identity, {"format": 1, "id": identity, **record})
    except OSError as error:
        raise Failed(
            "repository-not-writable",
            attempted=f"keep the evidence {identity}",
            happened=f"{repository.evidence}/{identity}.json: {error.strerror}",
            remedy=f"Let the cluster's owner write below {repository.path}, and see that it has space.",
        ) from error


def list_evidence(repository: Repository) -> list[dict[str, Any]]:
    """All records in order of their ids; one that cannot be read is told as ``{"id", "error"}``."""
    found: list[dict[str, Any]] = []
    try:
        documents = repository.documents("evidence")
    except FileNotFoundError:
        return []
    for identity, item in documents.items():
        try:
            if isinstance(item, OSError):
                raise item
            value = json.loads(item)
            if not isinstance(value, dict):
                raise ValueError("it is no object")
            found.append(value)
        except (ValueError, OSError) as error:
            found.append({"id": identity, "error": _damaged(identity, error).to_dict()})
    return found


def _damaged(identity: str, error: Exception) -> Failed:
    return Failed(
        "file-damaged",
        attempted=f"read the evidence {identity}",
        happened=f"it is not valid JSON: {error}" if isinstance(error, ValueError) else str(error),
        remedy="Bring the file back from a copy, or move it aside so that it is made again.",
    )
