# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Who may connect: pg_hba.conf, parsed as PostgreSQL 14 to 18 parse it, before a server ever sees it.

A server that finds one bad line keeps all old rules at a reload and does not start at the next start, so a
file is refused here first, with the line. What a build of the server lacks (PAM, LDAP, GSSAPI) is not seen
here; ``pg_hba_file_rules`` tells that. Source: ``parse_hba_line`` of src/backend/libpq/hba.c; manual 21.1.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from ..core.errors import Refused
from .authfile import Field, Line, Malformed, Token, lines

TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
_METHODS = ("trust", "reject", "ident", "peer", "password", "md5", "scram-sha-256", "cert")
#: Known to the parser; whether a server has them depends on how it was built.
_BUILT_METHODS = ("gss", "sspi", "pam", "bsd", "ldap", "radius")
_INCLUDES = ("include", "include_if_exists", "include_dir")
_LDAP = ("url", "tls", "scheme", "server", "port", "binddn", "bindpasswd", "searchattribute", "searchfilter")
#: Option: the methods that take it. ``clientcert`` and ``clientname`` depend on the connection instead.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "map": ("ident", "peer", "gss", "sspi", "cert", "oauth"),
    "pamservice": ("pam",),
    "pam_use_hostname": ("pam",),
    **{f"ldap{name}": ("ldap",) for name in (*_LDAP, "basedn", "prefix", "suffix")},
    "krb_realm": ("gss", "sspi"),
    "include_realm": ("gss", "sspi"),
    "compat_realm": ("sspi",),
    "upn_username": ("sspi",),
    **{f"radius{name}": ("radius",) for name in ("servers", "secrets", "ports", "identifiers")},
    **dict.fromkeys(("issuer", "scope", "validator", "delegate_ident_mapping"), ("oauth",)),
}


@dataclass(frozen=True)
class Rule:
    """One line that says who may connect.

    ``address`` is None for ``local``; a keyword (``all``, ``samehost``, ``samenet``) or a host name has no
    ``netmask``. ``method`` is what the server makes of it: ``ident`` on a socket is ``peer``.
    """

    number: int
    type: str
    databases: Field
    users: Field
    method: str
    address: str | None = None
    netmask: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    text: str = ""

    def option(self, name: str) -> str | None:
        """The value of an option of the method; the last one given, as in the server."""
        return dict(self.options).get(name)

    @property
    def beyond_loopback(self) -> bool:
        """Whether clients of other machines are meant."""
        if self.address is None or self.address in ("samehost", "localhost"):
            return False
        if self.netmask is None:
            return True
        address, mask = ipaddress.ip_address(self.address), ipaddress.ip_address(self.netmask)
        # Within 127.0.0.0/8, or exactly ::1.
        within = int(mask) >> 24 == 255 if mask.version == 4 else int(mask) == 2**128 - 1
        return not (within and address.is_loopback)


def parse_hba(text: str, version: int, *, path: str = "pg_hba.conf") -> list[Rule]:
    """The rules of a file, in order, for a server of major ``version``.

    Raises :class:`Refused`: ``hba-line-malformed`` (details: ``line``, ``text``, ``path``), ``hba-included``
    (names or lines from another file: nobody could tell what they will say at the next reload) and
    ``hba-empty`` (a server takes no file without a rule).
    """
    rules = []
    for line in lines(text):
        try:
            fields = line.fields(version)
            _refuse_inclusion(line, fields, version, path)
            if fields:
                rules.append(_rule(line, fields, version))
        except Malformed as error:
            raise malformed("hba-line-malformed", path, line, error) from error
    if not rules:
        raise Refused(
            "hba-empty",
            attempted=f"read who may connect, {path}",
            happened="there is no rule in it, and the server takes no such file",
            remedy="Write at least the line that lets the superuser in over the socket.",
            details={"path": path},
        )
    return rules


def malformed(code: str, path: str, line: Line, error: Malformed) -> Refused:
    """The refusal for one line."""
    return Refused(
        code,
        attempted=f"read {path}",
        happened=f"line {line.number}: {error.happened}: {line.text.strip()}",
        remedy=error.hint or "Correct the line (manual: client authentication).",
        details={"path": path, "line": line.number, "text": line.text.strip()},
    )


def _refuse_inclusion(line: Line, fields: list[Field], version: int, path: str) -> None:
    included = [token.text for field in fields for token in field if token.is_file]
    if version >= 16 and len(fields) == 2 and fields[0][0].text in _INCLUDES:
        included.append(fields[1][0].text)
    if included:
        raise Refused(
            "hba-included",
            attempted=f"read {path}",
            happened=f"line {line.number} takes in another file, {included[0]}",
            remedy="Write names and lines into the list itself, so that what is proven now holds later too.",
            details={"path": path, "line": line.number, "text": line.text.strip(), "included": included},
        )


class _Fields:
    """The fields of a line, taken one by one."""

    def __init__(self, fields: list[Field]) -> None:
        self._fields = list(fields)

    def take(self, what: str, hint: str = "") -> Field:
        if not self._fields:
            raise Malformed(f"it ends before the {what}", hint)
        return self._fields.pop(0)

    def one(self, what: str, hint: str = "") -> Token:
        field = self.take(what, hint)
        if len(field) > 1:
            raise Malformed(f"more than one {what}", "Write one line for each.")
        return field[0]

    def rest(self) -> list[Token]:
        return [token for field in self._fields for token in field]


def _rule(line: Line, fields: list[Field], version: int) -> Rule:
    taken = _Fields(fields)
    kind = taken.one("connection type").text
    if kind not in TYPES:
        raise Malformed(f"connection type {kind!r} is not known", f"It is one of {', '.join(TYPES)}.")
    databases = taken.take("database")
    users = taken.take("role")
    address, netmask = (None, None) if kind == "local" else _address(taken)
    method = _method(taken.one("authentication method").text, kind, version)
    options = tuple(_option(token.text, kind, method, version) for token in taken.rest())
    _complete(method, dict(options), version)
    return Rule(line.number, kind, databases, users, method, address, netmask, options, line.text.strip())


def _address(taken: _Fields) -> tuple[str, str | None]:
    token = taken.one("host address", "Write a network such as 192.0.2.0/24.")
    if any(token.is_keyword(word) for word in ("all", "samehost", "samenet")):
        return token.text, None
    host, slash, bits = token.text.partition("/")
    numeric = _numeric(host)
    if numeric is None:
        if slash:
            raise Malformed(
                f"{token.text!r}: a host name takes no mask", "Write an address, or the name without a mask."
            )
        return host, None
    longest = 128 if ":" in numeric else 32
    if slash:
        if not bits.isdecimal() or not bits.isascii() or int(bits) > longest:
            raise Malformed(f"the mask in {token.text!r} is not one", f"It is a number from 0 to {longest}.")
        network = ipaddress.ip_network(f"{numeric.partition('%')[0]}/{int(bits)}", strict=False)
        return numeric, str(network.netmask)
    word = taken.one("netmask", f"Write {host}/{longest} for this one address.").text
    mask = _numeric(word)
    if mask is None:
        raise Malformed(f"{word!r} is not a netmask", f"Write {host}/{longest} for this one address.")
    if (":" in mask) != (":" in numeric):
        raise Malformed(f"address {host} and mask {word} are of different families")
    return numeric, mask


def _numeric(text: str) -> str | None:
    """The address in its usual form, as the server's getaddrinfo takes it; None for what it takes as a name."""
    if text.startswith("."):
        return None
    try:
        found = socket.getaddrinfo(text or None, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            return None
        raise Malformed(f"{text!r} is not an address: {error.strerror}") from error
    except ValueError as error:
        raise Malformed(f"{text!r} is not an address") from error
    return str(found[0][4][0])


def _method(word: str, kind: str, version: int) -> str:
    known = (*_METHODS, *_BUILT_METHODS, *(("oauth",) if version >= 18 else ()))
    if word not in known:
        raise Malformed(f"authentication method {word!r} is not known", f"It is one of {', '.join(known)}.")
    if kind == "local" and word == "ident":
        return "peer"
    if kind == "local" and word == "gss":
        raise Malformed("gss does not work on a socket", "Write peer or scram-sha-256.")
    if kind != "local" and word == "peer":
        raise Malformed("peer works on a socket only", "Write scram-sha-256.")
    if kind != "hostssl" and word == "cert":
        raise Malformed("cert works with hostssl only", "Write hostssl.")
    return word


def _option(text: str, kind: str, method: str, version: int) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Malformed(f"{text!r} is not an option of the form name=value")
    if name in ("clientcert", "clientname"):
        return _client_option(name, value, kind, method)
    methods = _OPTIONS.get(name)
    if methods is None or (methods == ("oauth",) and version < 18):
        raise Malformed(f"option {name!r} is not known")
    if method not in methods:
        raise Malformed(f"option {name} is for {', '.join(methods)} only")
    if name in ("ldapport", "radiusports") and not all(_port(part) for part in value.split(",")):
        raise Malformed(f"{value!r} is not a port")
    return name, value


def _port(text: str) -> bool:
    digits = text.strip()
    return digits.isdecimal() and int(digits) > 0


def _client_option(name: str, value: str, kind: str, method: str) -> tuple[str, str]:
    if kind != "hostssl":
        raise Malformed(f"{name} can only be given on hostssl lines", "Write hostssl.")
    values: tuple[str, ...] = ("CN", "DN")
    if name == "clientcert":
        values = ("verify-full",) if method == "cert" else ("verify-ca", "verify-full")
    if value not in values:
        raise Malformed(f"{name} takes {' or '.join(values)} here, not {value!r}")
    return name, value


def _complete(method: str, options: dict[str, str], version: int) -> None:
    """What a method cannot do without."""
    needed: tuple[str, ...] = ()
    if method == "radius":
        needed = ("radiusservers", "radiussecrets")
    elif method == "oauth":
        needed = ("issuer", "scope")
    elif method == "ldap" and "ldapurl" not in options:
        simple = "ldapprefix" in options or "ldapsuffix" in options
        needed = ("ldapserver",) if simple else ("ldapserver", "ldapbasedn")
    missing = [name for name in needed if not options.get(name)]
    if missing:
        raise Malformed(f"{method} needs {' and '.join(missing)}")
    if method == "oauth" and "map" in options and "delegate_ident_mapping" in options:
        raise Malformed("map and delegate_ident_mapping exclude each other")
