# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Evidence: one JSON file for each restore and drill, written once and never changed."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from ..core.errors import Failed
from .layout import Repository

#: How the records of verifications begin.
VERIFICATION = "verify"
#: And those of timelines that an undo gave up (given_up.py).
GIVEN_UP = "given-up"


def is_verification(identity: str) -> bool:
    """Whether it notes what was found of the files in this very repository: of a copy's it says nothing."""
    return identity == VERIFICATION or identity.startswith(f"{VERIFICATION}-")


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
    """All records of restores and drills in order of their ids; one that cannot be read is told as ``{"id", "error"}``.

    Those of verifications are replaced by newer ones and have readers of their own (watch/verify_record.py), as have
    the notes of timelines that were given up (given_up.py).
    """
    found: list[dict[str, Any]] = []
    try:
        documents = repository.documents("evidence")
    except FileNotFoundError:
        return []
    for identity, item in documents.items():
        if is_verification(identity) or identity.startswith(f"{GIVEN_UP}-"):
            continue
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


def read_evidence(repository: Repository, *, prefix: str) -> dict[str, dict[str, Any]]:
    """Records by id whose ids are ``prefix`` or begin with ``prefix-``; those that cannot be read are left out."""
    found: dict[str, dict[str, Any]] = {}
    try:
        documents = repository.documents("evidence")
    except FileNotFoundError:
        return {}
    for identity, item in documents.items():
        if isinstance(item, OSError) or not (identity == prefix or identity.startswith(f"{prefix}-")):
            continue
        try:
            value = json.loads(item)
        except ValueError:
            continue
        if isinstance(value, dict):
            found[identity] = value
    return found


def remove_evidence(repository: Repository, identity: str) -> None:
    """Take a record away, of what is there no more. No effect when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(repository.document_path("evidence", identity))
