# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Would rules lock out those who must always get in: the superuser over the socket, and the keeper's role?

Pure. What cannot be known from the files (membership in a role, an expression) is taken both ways: every
line that may be the first to match must let the person in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .authfile import Token
from .hba import Rule
from .ident import Mapping, may_be


@dataclass(frozen=True)
class Identity:
    """A connection over the socket without a password that must always be possible.

    ``database`` None means a physical replication connection, which only the keyword ``replication`` covers.
    """

    role: str
    system_user: str
    database: str | None = "postgres"

    @property
    def described(self) -> str:
        """For people."""
        where = "for replication" if self.database is None else f"to database {self.database}"
        return f"{self.role} (the system's user {self.system_user}) over the socket {where}"


def locked_out(
    rules: Sequence[Rule], identities: Sequence[Identity], mappings: Sequence[Mapping], version: int
) -> str | None:
    """Why one of them would not get in; None when all of them do."""
    for identity in identities:
        reason = _reason(rules, identity, list(mappings), version)
        if reason:
            return reason
    return None


def _reason(rules: Sequence[Rule], identity: Identity, mappings: list[Mapping], version: int) -> str | None:
    for rule in rules:
        if rule.type != "local":
            continue
        answers = [_database(rule, identity, version), _user(rule, identity, version)]
        if False in answers:
            continue
        refusal = _refusal(rule, identity, mappings, version)
        if refusal:
            may = "may match" if None in answers else "is the first that matches"
            return f"{identity.described}: line {rule.number} {may} and {refusal}: {rule.text}"
        if None not in answers:
            return None
    return f"{identity.described}: no line matches"


def _refusal(rule: Rule, identity: Identity, mappings: list[Mapping], version: int) -> str | None:
    if rule.method == "trust":
        return None
    if rule.method == "peer":
        if may_be(mappings, rule.option("map"), identity.system_user, identity.role, version):
            return None
        name = rule.option("map")
        if name:
            return f"its map {name} does not allow it"
        return "it wants a role with the name of the system's user"
    return "rejects" if rule.method == "reject" else f"asks for more than the user's name ({rule.method})"


def _any(answers: list[bool | None]) -> bool | None:
    """True when one is sure, None when one is possible."""
    if True in answers:
        return True
    return None if None in answers else False


def _database(rule: Rule, identity: Identity, version: int) -> bool | None:
    return _any([_one_database(token, identity, version) for token in rule.databases])


def _one_database(token: Token, identity: Identity, version: int) -> bool | None:
    if identity.database is None:
        return token.is_keyword("replication")
    if token.is_keyword("all"):
        return True
    if token.is_keyword("sameuser"):
        return identity.database == identity.role
    if token.is_keyword("samerole") or token.is_keyword("samegroup"):
        return True if identity.database == identity.role else None
    if token.is_keyword("replication"):
        return False
    return _name(token, identity.database, version)


def _user(rule: Rule, identity: Identity, version: int) -> bool | None:
    return _any([_one_user(token, identity, version) for token in rule.users])


def _one_user(token: Token, identity: Identity, version: int) -> bool | None:
    if not token.quoted and token.text.startswith("+"):
        # A role is a member of itself; superusers are not members of all roles here.
        return True if token.text[1:] == identity.role else None
    if token.is_keyword("all"):
        return True
    return _name(token, identity.role, version)


def _name(token: Token, name: str, version: int) -> bool | None:
    if version < 16 or not token.text.startswith("/"):
        return token.text == name
    pattern = token.text[1:]
    # A plain expression means the same in both languages; of others nothing is sure.
    if re.fullmatch(r"\^?[A-Za-z0-9_-]*(\.\*)?\$?", pattern):
        return re.search(pattern, name) is not None
    return None
