# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A standby that is wanted: of which primary, and how it gets there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.errors import Refused

#: They would be seen in the process list, in a result, in postgresql.auto.conf.
_SECRET = ("password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")
_SLOT_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_LONGEST_SLOT = 63


@dataclass(frozen=True)
class StandbyRequest:
    """``primary``: libpq's parameters of the primary (host, port, user, sslmode, passfile and so on), no password.

    ``slot``: a physical replication slot on the primary, made where it is missing; None for none.
    ``tablespace_map``: where tablespaces go on this host, by their paths on the primary.
    ``patience_seconds``: how long a standby that could follow by itself may take before it is made anew.

    Raises :class:`Refused`: ``primary-incomplete``, ``standby-secret-given``, ``slot-name-invalid``.
    """

    primary: Mapping[str, str]
    slot: str | None = None
    tablespace_map: Mapping[str, str] = field(default_factory=dict)
    patience_seconds: float = 30.0
    timeout_seconds: float = 300.0

    def __post_init__(self) -> None:
        attempted = "make a standby"
        lacking = [name for name in ("host", "user") if not self.primary.get(name)]
        if lacking:
            raise Refused(
                "primary-incomplete",
                attempted=attempted,
                happened=f"the primary is described without {', '.join(lacking)}",
                remedy="Say at least host and user (a role with REPLICATION).",
            )
        given = sorted(set(self.primary) & set(_SECRET))
        if given:
            raise Refused(
                "standby-secret-given",
                attempted=attempted,
                happened=f"{', '.join(given)} was given: it would stand in files and lists that others read",
                remedy="Put it into a passfile of mode 0600 that the cluster's owner can read, and name that, "
                "or let the standby in by its certificate (sslcert, sslkey).",
            )
        if self.slot is not None and not (
            0 < len(self.slot) <= _LONGEST_SLOT and set(self.slot) <= _SLOT_LETTERS
        ):
            raise Refused(
                "slot-name-invalid",
                attempted=attempted,
                happened=f"{self.slot!r} is no name of a replication slot",
                remedy="Take lower case letters, digits and underscores, 63 at most.",
            )

    def conninfo(self, **more: str) -> str:
        """As libpq reads it (manual, "Connection Strings")."""
        parameters = {"connect_timeout": "10", **self.primary, **more}
        return " ".join(f"{name}={_quoted(str(value))}" for name, value in sorted(parameters.items()))


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
