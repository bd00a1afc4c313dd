# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From lists in variables to pg_hba.conf, pg_ident.conf and what pg_access is asked for. Pure, controller only."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils._engine.core.errors import Refused
from ..module_utils._engine.settings.hba import Rule, parse_hba
from ..module_utils._engine.settings.ident import parse_ident

_SAFE_METHODS = ("scram-sha-256", "peer", "cert", "reject", "gss", "oauth")
#: These send the password as it is: fine inside TLS only.
_CLEAR_METHODS = ("ldap", "pam", "radius")
_KEYS = {"type", "database", "user", "address", "method", "options", "accept_weak"}
_IDENT_KEYS = ("map", "system_user", "role")
_PLAIN_WORD = re.compile(r"[^\s,\"#@]+")


def hba_lines(rules: Sequence[Mapping[str, Any]], version: int, *, tls: bool) -> str:
    """Lines of pg_hba.conf for a list of rules, in its order.

    Left out, the type is ``local`` without an address, ``host`` on loopback and ``hostssl`` beyond it
    (``host`` where ``tls`` is off), the method ``scram-sha-256``. Raises :class:`Refused`: ``hba-rule-unknown``
    (a key), ``hba-weak`` (a method that shows or hardly guards the password, without ``accept_weak``),
    ``hba-tls-off``, and what :func:`settings.hba.parse_hba` raises.
    """
    lines = []
    for number, entry in enumerate(rules, 1):
        line = _line(entry, number, tls=tls)
        (rule,) = parse_hba(f"{line}\n", version, path=f"rule {number} of postgresql_hba")
        _refuse_weak(rule, number, entry, tls=tls)
        lines.append(f"{line}\n")
    return "".join(lines)


def _line(entry: Mapping[str, Any], number: int, *, tls: bool) -> str:
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise Refused(
            "hba-rule-unknown",
            attempted=f"read rule {number} of postgresql_hba",
            happened=f"{', '.join(unknown)} is not known",
            remedy=f"A rule has {', '.join(sorted(_KEYS))}.",
        )
    address = entry.get("address") or ""
    kind = entry.get("type") or _default_type(str(address), tls=tls)
    columns = [
        kind,
        words(entry.get("database") or "all"),
        words(entry.get("user") or "all"),
        address,
        entry.get("method") or "scram-sha-256",
    ]
    return ("{:<7} {:<15} {:<15} {:<23} {}".format(*columns) + f" {entry.get('options') or ''}").rstrip()


def _default_type(address: str, *, tls: bool) -> str:
    if not address:
        return "local"
    try:
        loopback = ipaddress.ip_network(address, strict=False).is_loopback
    except ValueError:
        loopback = address in ("localhost", "samehost")
    return "host" if loopback or not tls else "hostssl"


def words(value: Any) -> str:
    """A list as the file has it, each name quoted where it must be; a text stays as it was written."""
    if isinstance(value, str):
        return value
    return ",".join(quoted(str(item)) for item in value)


def quoted(name: str) -> str:
    """A name that the file takes for one word."""
    return name if _PLAIN_WORD.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _refuse_weak(rule: Rule, number: int, entry: Mapping[str, Any], *, tls: bool) -> None:
    attempted = f"read rule {number} of postgresql_hba"
    if rule.type == "hostssl" and not tls:
        raise Refused(
            "hba-tls-off",
            attempted=attempted,
            happened=f"it wants TLS, and postgresql_tls is off, so it would never match: {rule.text}",
            remedy="Set postgresql_tls to generated or given, or write type: host.",
        )
    beyond = rule.beyond_loopback and rule.type != "hostssl"
    weak = rule.method not in (*_SAFE_METHODS, *_CLEAR_METHODS) or (rule.method in _CLEAR_METHODS and beyond)
    if weak and not entry.get("accept_weak"):
        raise Refused(
            "hba-weak",
            attempted=attempted,
            happened=f"the method {rule.method} does not guard the password or asks for none: {rule.text}",
            remedy="Write scram-sha-256 (or hostssl), or say accept_weak: true in this rule.",
        )


def ident_lines(mappings: Sequence[Mapping[str, Any]], version: int) -> str:
    """Lines of pg_ident.conf for a list of ``map``, ``system_user``, ``role``.

    Raises :class:`Refused` ``ident-mapping-incomplete``, and what :func:`settings.ident.parse_ident` raises.
    """
    lines = []
    for number, entry in enumerate(mappings, 1):
        missing = [key for key in _IDENT_KEYS if not entry.get(key)]
        if missing:
            raise Refused(
                "ident-mapping-incomplete",
                attempted=f"read mapping {number} of postgresql_ident",
                happened=f"{' and '.join(missing)} is missing",
                remedy=f"A mapping has {', '.join(_IDENT_KEYS)}.",
            )
        lines.append(" ".join(quoted(str(entry[key])) for key in _IDENT_KEYS))
    text = "".join(f"{line}\n" for line in lines)
    parse_ident(text, version, path="postgresql_ident")
    return text


def access_requests(
    databases: Sequence[Mapping[str, Any]], roles: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What pg_access is asked for: databases with groups, and those of the roles that create objects in them."""
    found = []
    for database in databases:
        if database.get("state", "present") == "absent" or not database.get("groups", True):
            continue
        admin = f"{database['name']}_admin"
        creators = [
            role["name"]
            for role in roles
            if admin in (role.get("member_of") or []) and role.get("state", "present") == "present"
        ]
        found.append(
            {
                "name": database["name"],
                "owner": database.get("owner"),
                "schemas": list(database.get("schemas") or ["public"]),
                "creators": creators,
            }
        )
    return found
