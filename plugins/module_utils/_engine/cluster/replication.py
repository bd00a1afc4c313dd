# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A replication connection by psql: who the server is, where it stands, which way it went, and its slot.

Source: PostgreSQL manual, "Streaming Replication Protocol". No password passes through our hands: libpq finds it in
a password file, or there is a certificate.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.errors import Failed, Refused
from ..core.run import run
from ..wal.history import History, parse_history
from ..wal.lsn import parse_lsn
from .replication_role import quote_identifier

_WORD = re.compile(r"\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s']\S*|))(?=\s|\Z)")
_EXISTS = "42710"
# Behind the severity, which is in the server's language; the rest of the form is libpq's (VERBOSITY=verbose). Success
# and warnings (classes 00, 01, 02) are no error.
_SQLSTATE = re.compile(r"^[^:\n]{1,30}:  (?!0[012])([0-9A-Z]{5}): ", re.MULTILINE)


def parse_connection(text: str) -> dict[str, str]:
    """``host=db1 user=dbkeeper sslmode=verify-full`` as a dictionary.

    Raises :class:`Refused`: ``connection-malformed``; ``connection-password`` (a password would be seen by everybody
    who lists processes).
    """
    attempted = "understand the connection for streaming WAL"
    found: dict[str, str] = {}
    position = 0
    while text[position:].strip():
        match = _WORD.match(text, position)
        if match is None:
            raise Refused(
                "connection-malformed",
                attempted=attempted,
                happened="it is not of the form keyword=value keyword='other value'",
                remedy="Write it as libpq takes it: host=db1 port=5432 user=dbkeeper sslmode=verify-full",
            )
        quoted = match[2]
        found[match[1]] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match[3]
        position = match.end()
    for secret in ("password", "sslpassword"):
        if secret in found:
            raise Refused(
                "connection-password",
                attempted=attempted,
                happened=f"it holds a {secret}, which everybody could read in the list of processes",
                remedy="Put it into a password file of the user that receives (passfile=…, mode 0600), or use a "
                "certificate (sslcert=, sslkey=).",
            )
    return found


def connection_text(words: Mapping[str, str]) -> str:
    """Back from :func:`parse_connection`."""

    def quoted(value: str) -> str:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

    return " ".join(f"{name}={quoted(value)}" for name, value in words.items())


@dataclass(frozen=True)
class Identity:
    """What IDENTIFY_SYSTEM says, with the history of its timeline (None: the first one)."""

    system_id: int
    timeline: int
    flushed_lsn: int
    history: History | None


class ReplicationConnection:
    """Replication commands, each over a connection of its own."""

    def __init__(self, bin_directory: str, words: Mapping[str, str]) -> None:
        self._psql = f"{bin_directory}/psql"
        self._words = {"connect_timeout": "10", **words, "replication": "true"}

    def command(self, text: str) -> list[list[str]]:
        """One replication command. Raises :class:`Failed` (``server-unreachable``, ``replication-command-failed``)."""
        done = run(
            [self._psql, "-X", "-q", "-w", "-t", "--csv", "-v", "VERBOSITY=verbose", "-v", "ON_ERROR_STOP=1"]
            + ["-d", connection_text(self._words), "-c", text],
            attempted="ask the server over a replication connection",
            accept=(0, 1, 2, 3),
            timeout=60,
        )
        if done.status == 0:
            return list(csv.reader(io.StringIO(done.out, newline=""), strict=True))
        words = " ".join(done.err.split()) or "psql gave no reason"
        state = _SQLSTATE.search(done.err)
        if done.status == 2:
            raise Failed(
                "server-unreachable",
                attempted="connect to the server for replication",
                happened=words,
                remedy="See that it runs, that pg_hba.conf lets this host's replication connections in, and that the "
                "password file or the certificate is right.",
            )
        raise Failed(
            "replication-command-failed",
            attempted=f"have the server do {text.split()[0]}",
            happened=words,
            remedy="Read the server's words; the role needs LOGIN and REPLICATION, the server a free replication slot "
            "(max_replication_slots).",
            details={"sqlstate": state[1] if state else None},
        )

    def identify(self) -> Identity:
        """Who the server is, and where."""
        system_id, timeline, lsn = self.command("IDENTIFY_SYSTEM")[0][:3]
        history = None
        if int(timeline) > 1:
            content = self.command(f"TIMELINE_HISTORY {timeline}")[0][1]
            history = parse_history(int(timeline), _plain(content))
        return Identity(int(system_id), int(timeline), parse_lsn(lsn), history)

    def setting(self, name: str) -> str:
        """A setting of the server."""
        return self.command(f"SHOW {name}")[0][0]

    def make_slot(self, name: str) -> bool:
        """A physical slot that keeps WAL from now on; False when it was there."""
        try:
            self.command(f"CREATE_REPLICATION_SLOT {quote_identifier(name)} PHYSICAL RESERVE_WAL")
        except Failed as error:
            if error.details.get("sqlstate") != _EXISTS:
                raise
            return False
        return True

    def drop_slot(self, name: str) -> None:
        """Remove a slot that keeps nothing any more."""
        self.command(f"DROP_REPLICATION_SLOT {quote_identifier(name)}")


def _plain(content: str) -> str:
    r"""A history's text; as bytea it may come in hex (``\x…``)."""
    if content.startswith("\\x"):
        return bytes.fromhex(content[2:]).decode(errors="replace")
    return content
