# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the cluster is for, and what has been decided by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import Refused
from .units import parse_count, parse_data_size

INTENTS = ("oltp", "web", "dw", "mixed", "desktop")
OFF = "off"
#: A standby that has less of one of these than its primary refuses to replay (manual, hot standby).
FLEET_SETTINGS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
_MOST_CONNECTIONS = 262143


@dataclass(frozen=True)
class Request:
    """What is asked for.

    ``connections`` 0: what is usual for the intent. ``data_bytes``: how large the data is going to be, None
    when nobody knows. ``active_connections``: how many have been seen to work at the same time, 0 when nobody
    knows. ``pinned``: values given by hand, as texts for postgresql.conf. ``minima``: what the primary of this
    standby has.
    """

    intent: str
    connections: int = 0
    data_bytes: int | None = None
    active_connections: int = 0
    pinned: Mapping[str, str] = field(default_factory=dict)
    minima: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        intent: Any,
        *,
        connections: Any = 0,
        data_size: Any = "",
        active_connections: Any = 0,
        pinned: Mapping[str, Any] | None = None,
        minima: Mapping[str, Any] | None = None,
    ) -> Request:
        """From what a person wrote. YAML reads a bare ``off`` as False; a setting without a value is not given.

        Raises :class:`Refused`: ``intent-unknown``, ``connections-malformed``, ``size-malformed``,
        ``setting-malformed``, ``minimum-unknown``.
        """
        name = OFF if intent is False else str(intent)
        if name not in (*INTENTS, OFF):
            raise Refused(
                "intent-unknown",
                attempted="choose settings for a host",
                happened=f"there is no intent {name!r}",
                remedy=f"Take one of {', '.join(INTENTS)}, or {OFF} to leave all settings alone.",
            )
        least = {str(key).lower(): parse_count(str(key), str(value)) for key, value in (minima or {}).items()}
        strange = sorted(set(least) - set(FLEET_SETTINGS))
        if strange:
            raise Refused(
                "minimum-unknown",
                attempted="take over what the primary has",
                happened=f"a standby need not have as much as its primary of: {', '.join(strange)}",
                remedy=f"Give values for {', '.join(FLEET_SETTINGS)} only.",
            )
        return cls(
            intent=name,
            connections=_connections("connections", connections),
            data_bytes=parse_data_size(str(data_size)) if data_size else None,
            active_connections=_connections("active_connections", active_connections),
            pinned={
                str(key).lower(): conf_text(value)
                for key, value in (pinned or {}).items()
                if value is not None
            },
            minima=least,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "intent": self.intent,
            "connections": self.connections,
            "data_bytes": self.data_bytes,
            "active_connections": self.active_connections,
            "pinned": dict(sorted(self.pinned.items())),
            "minima": dict(sorted(self.minima.items())),
        }


def conf_text(value: Any) -> str:
    """A value from YAML as text for postgresql.conf, not quoted yet: True is ``on``, a list is joined."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value)


def _connections(name: str, value: Any) -> int:
    text = str(value).strip() or "0"
    if isinstance(value, bool) or not text.isdigit() or int(text) > _MOST_CONNECTIONS:
        raise Refused(
            "connections-malformed",
            attempted="choose settings for a host",
            happened=f"{name} is {value!r}",
            remedy=f"Give a whole number from 0 (not known) to {_MOST_CONNECTIONS}.",
        )
    return int(text)
