# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Leases: what may not be expired now, and for whom (fault D05).

A lease outlives a killed process only as long as its work may still be resumed: an owner that is dead and
gave no ``keep`` is no longer believed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import Failed
from ..core.locks import owner_alive, owner_record
from .layout import Repository


@dataclass(frozen=True)
class Lease:
    """A promise that a backup and the WAL from ``first_segment`` on (None: none) stay.

    ``keep`` leases hold even after their owner has died, until they are released by id: a restore that can
    be resumed needs its backup tomorrow. ``damaged`` is set when the file could not be read; such a lease
    holds everything, because nobody knows what it protects.
    """

    id: str
    purpose: str
    label: str | None
    system_id: int | str | None
    first_segment: str | None
    keep: bool
    owner: dict[str, Any]
    damaged: str | None = None

    @property
    def active(self) -> bool:
        """Whether it must be respected now."""
        return self.keep or self.damaged is not None or owner_alive(self.owner)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "active": self.active}


def take_lease(
    repository: Repository,
    identity: str,
    *,
    purpose: str,
    label: str | None = None,
    system_id: int | str | None = None,
    first_segment: str | None = None,
    keep: bool = False,
) -> Lease:
    """Write or renew the lease ``identity`` (a plan's id).

    Raises :class:`Failed` ``repository-not-writable``.
    """
    lease = Lease(identity, purpose, label, system_id, first_segment, keep, owner_record(purpose))
    value = asdict(lease)
    del value["damaged"]
    try:
        repository.keep("leases", _checked(identity), value)
    except OSError as error:
        raise Failed(
            "repository-not-writable",
            attempted=f"take a lease for {purpose}",
            happened=f"{repository.leases}: {error.strerror}",
            remedy=f"Let the cluster's owner write below {repository.path}, and see that it has space.",
        ) from error
    return lease


def release_lease(repository: Repository, identity: str) -> None:
    """Give a lease back; no effect when it is not there."""
    repository.release(_checked(identity))


def list_leases(repository: Repository) -> list[Lease]:
    """All leases, active or not, in order of their ids."""
    found: list[Lease] = []
    try:
        documents = repository.documents("leases")
    except FileNotFoundError:
        return []
    for identity, item in documents.items():
        try:
            if isinstance(item, OSError):
                raise item
            found.append(Lease(**json.loads(item)))
        except FileNotFoundError:
            continue
        except (TypeError, ValueError, OSError) as error:
            found.append(Lease(identity, "unknown", None, None, None, True, {}, damaged=str(error)))
    return found


def _checked(identity: str) -> str:
    if not identity or "/" in identity or identity.startswith("."):
        raise ValueError(f"{identity!r} cannot name a lease")
    return identity
