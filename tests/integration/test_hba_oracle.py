# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The parser of pg_hba.conf and pg_ident.conf against the only judge there is: the server of each major."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.hba import Rule, parse_hba
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.ident import parse_ident
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.lockout import (
    Identity,
    locked_out,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.readback import access_faults

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations
from .harness.sandbox import Sandbox

#: What the server says of its build or its settings, not of the line.
NOT_THE_LINES_FAULT = (
    "because SSL is disabled",
    "not supported by this build",
    "not supported on this platform",
    "oauth_validator_libraries must be set",
)

LINES = r"""
local all all peer
local all all trust
local all all ident
local all all ident map=m
local all all gss
local all all cert
local all all
local all
local
LOCAL all all trust
"local" all all trust
hostx all all all trust
local,host all all trust
local a,b c,d trust
local a, b c,d trust
local a ,b c trust
local a,,b c trust
local , a b trust
local "a,b" "c d" trust
local "a""b" c trust
local a"b c"d e trust
local "all" "all" trust
local "" "" trust
local all all "trust"
local all all trust,peer
local all all Trust
local all all trust # a comment
local all all trust#comment
local all all trust x=y
local all all trust map=m
local all all peer map=m
local all all peer map=m,map=n
local all all peer map
local all all peer map=
local all all peer "map=my map"
local replication all peer
local sameuser all scram-sha-256
local samerole,samegroup +admins,bob md5
local all +admins scram-sha-256
local all "+admins" scram-sha-256
local /^db\d+$ all trust
local all /^a trust
local "/^db" all trust
host all all all scram-sha-256
host all all "all" scram-sha-256
host all all samehost scram-sha-256
host all all samenet scram-sha-256
host all all all,samenet scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/33 scram-sha-256
host all all 127.0.0.1/-1 scram-sha-256
host all all 127.0.0.1/ scram-sha-256
host all all 127.0.0.1/8x scram-sha-256
host all all 127.0.0.1/0 scram-sha-256
host all all 127.0.0.1 255.255.255.255 scram-sha-256
host all all 127.0.0.1 255.0.0.0 scram-sha-256
host all all 127.0.0.1 255.0.255.0 scram-sha-256
host all all 127.0.0.1 ::1 scram-sha-256
host all all 127.0.0.1 scram-sha-256
host all all 127.0.0.1 mask scram-sha-256
host all all 127.1/8 scram-sha-256
host all all 10/8 scram-sha-256
host all all 0x7f.1/8 scram-sha-256
host all all 256.1.1.1/8 scram-sha-256
host all all 256.1.1.1 scram-sha-256
host all all ::1/128 scram-sha-256
host all all ::1/129 scram-sha-256
host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff scram-sha-256
host all all 2001:0DB8:0000::1/64 scram-sha-256
host all all 2001:db8::/32 scram-sha-256
host all all fe80::1%lo/128 scram-sha-256
host all all ::ffff:10.0.0.1/128 scram-sha-256
host all all db.example.com scram-sha-256
host all all .example.com scram-sha-256
host all all db.example.com/24 scram-sha-256
host all all localhost scram-sha-256
host all all peer
host all all all peer
host all all all ident
host all all all ident map=m
host all all all password
host all all all md5
host all all all reject
host all all all reject map=m
host all all all scram
host all all all scram-sha-256 clientcert=verify-ca
hostssl all all all scram-sha-256
hostssl all all all scram-sha-256 clientcert=verify-ca
hostssl all all all scram-sha-256 clientcert=verify-full
hostssl all all all scram-sha-256 clientcert=1
hostssl all all all scram-sha-256 clientcert=no-verify
hostssl all all all cert
hostssl all all all cert map=m
hostssl all all all cert clientcert=verify-ca
hostssl all all all cert clientcert=verify-full
hostssl all all all cert clientname=DN map=m
hostssl all all all cert clientname=XX
hostssl all all all trust clientname=CN
hostssl all all 192.0.2.0/24 scram-sha-256
host all all all cert
hostnossl all all all reject
hostnossl all all all scram-sha-256 clientcert=verify-full
hostgssenc all all all trust
hostnogssenc all all all trust
host all all all gss include_realm=0
host all all all gss include_realm=1 krb_realm=EXAMPLE.COM
host all all all trust include_realm=1
host all all all sspi
host all all all pam
host all all all pam pamservice=postgresql
host all all all bsd
host all all all ldap
host all all all ldap ldapserver=ldap.example.com
host all all all ldap ldapserver=ldap.example.com ldapprefix="cn="
host all all all ldap ldapserver=ldap.example.com ldapbasedn="dc=x"
host all all all ldap ldapserver=ldap.example.com ldapport=x ldapprefix=a
host all all all radius
host all all all radius radiusservers=127.0.0.1 radiussecrets=s
host all all all radius radiusservers=127.0.0.1
host all all all radius radiusservers=127.0.0.1 radiussecrets=s radiusports=x
host all all all oauth
host all all all oauth issuer=https://id.example.com scope=openid
host all all all oauth issuer=https://id.example.com scope=openid map=m delegate_ident_mapping=1
host all all all kerberos
host all all all trust nonsense
host all all all trust foo=bar
include
local all all trust trailing,words
local all all peer map=m extra=1
""".strip("\n").split("\n")

#: Where one line is not enough.
TEXTS = [
    "local all \\\nall trust\n",
    "local all \\\n\\\nall trust\nlocal all bob peer\n",
    "# a comment that goes on \\\nlocal all all nonsense\nlocal all bob peer\n",
    "local all all trust\\",
    "local all all trust\r\nlocal all bob peer\r\n",
    "\n\n   \t\n# nothing\nlocal all all trust\n",
    "local\tall\tall\ttrust",
    "local all all trust \\\n",
    "local " + "a" * 10238 + " all trust\n",
    "local " + "a" * 10239 + " all trust\n",
    "local " + "a" * 10240 + " all trust\n",
    "local 'all' all trust\n",
    'local "all all trust\n',
    'local "a b all trust\nlocal all all peer\n',
]

Row = dict[str, Any]


@pytest.fixture(scope="module", params=a_major_a_day())
def server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server of each major that is here."""
    major: int = request.param
    sandbox = Sandbox()
    yield Cluster(sandbox, f"hba{major}", installation=installations()[major], archiving=False).start()
    sandbox.close()


@pytest.fixture(scope="module")
def connection(server: Cluster) -> Iterator[Any]:
    with server.connect() as connection:
        yield connection


def judged(server: Cluster, connection: Any, text: str) -> list[Row]:
    """What the server makes of a file. It reads it for the view: no reload is needed."""
    (server.data_directory / "pg_hba.conf").write_bytes(text.encode())
    cursor = connection.execute(
        "SELECT line_number, type, database, user_name, address, netmask, auth_method, options, error"
        " FROM pg_hba_file_rules ORDER BY line_number"
    )
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def as_row(rule: Rule) -> Row:
    """A rule in the view's columns."""
    return {
        "line_number": rule.number,
        "type": rule.type,
        "database": [token.text for token in rule.databases],
        "user_name": [token.text for token in rule.users],
        "address": rule.address,
        "netmask": rule.netmask,
        "auth_method": rule.method,
    }


@pytest.mark.parametrize("text", [*LINES, *TEXTS])
def test_the_parser_agrees_with_the_server(server: Cluster, connection: Any, text: str) -> None:
    major = server.installation.major
    rows = judged(server, connection, text)
    # Some errors leave no words in the view: what gives them away is a line without a type.
    errors = [row["error"] for row in rows if row["error"] or row["type"] is None]
    try:
        rules = parse_hba(text, major)
    except Refused as refusal:
        assert errors or (refusal.code, rows) == ("hba-empty", []), f"the server takes it: {refusal}"
        return
    errors = [words for words in errors if not any(known in words for known in NOT_THE_LINES_FAULT)]
    assert errors == []
    assert [rule.number for rule in rules] == [row["line_number"] for row in rows]
    for rule, row in zip(rules, rows):
        if row["error"] is None:
            assert as_row(rule) == {name: row[name] for name in as_row(rule)}


@pytest.mark.parametrize("text", [line for line in LINES if line])
def test_a_line_that_is_refused_is_seen_as_refused(server: Cluster, connection: Any, text: str) -> None:
    """Also where the view has no words for it, or only says that TLS is off."""
    rows = judged(server, connection, f"local all all trust\n{text}")
    refused, harmless = access_faults(ClusterConfig.load(str(server.config_path)))
    assert bool(refused) == any(row["type"] is None for row in rows)
    assert bool(refused or harmless) == any(row["error"] or row["type"] is None for row in rows)


# 14 has no pg_ident_file_mappings; what its maps allow is tried with connections below.
@pytest.mark.parametrize("server", a_major_a_day(least=15), indirect=True)
@pytest.mark.parametrize(
    "text",
    [
        "m postgres bob\n",
        "m postgres\n",
        "m\n",
        "m postgres bob extra\n",
        "m a,b bob\n",
        "m a bob,al\n",
        "m,n a bob\n",
        'm "a b" "c d"\n',
        "m /^(.*)@example\\.com$ \\1\n",
        "m postgres all\n",
        "m postgres +admins\n",
        "# nothing\n",
        "m \\\npostgres bob\nn a b\n",
    ],
)
def test_the_parser_of_maps_agrees_with_the_server(server: Cluster, connection: Any, text: str) -> None:
    (server.data_directory / "pg_ident.conf").write_text(text)
    rows = connection.execute(
        "SELECT line_number, map_name, sys_name, pg_username, error FROM pg_ident_file_mappings"
        " ORDER BY line_number"
    ).fetchall()
    try:
        found = parse_ident(text, server.installation.major)
    except Refused as refusal:
        assert [row for row in rows if row[4]], f"the server takes what we refuse: {refusal}"
        return
    ours = [(entry.number, entry.name, entry.system_user.text, entry.role.text, None) for entry in found]
    assert ours == rows


#: (pg_hba.conf before "local all all trust" for our own way in, pg_ident.conf); tried with a real connection.
WAYS_IN = [
    ("local all bob peer map=m\n", "m {me} bob\n"),
    ("local all bob peer map=m\n", "m somebody bob\n"),
    ("local all bob peer map=n\n", "m {me} bob\n"),
    ("local all bob peer\n", ""),
    ("local all bob reject\n", ""),
    ("local all bob trust\n", ""),
    ("local all bob scram-sha-256\n", ""),
    ("local other bob reject\nlocal postgres bob trust\n", ""),
    ("local sameuser bob reject\nlocal all bob trust\n", ""),
    ("local samerole bob reject\nlocal all bob trust\n", ""),
    ('local "all" bob reject\nlocal all bob trust\n', ""),
    ('local all "all" reject\nlocal all bob trust\n', ""),
    ("local replication bob reject\nlocal all bob trust\n", ""),
    ("host all bob all reject\nlocal all bob trust\n", ""),
    ("local all +bob reject\nlocal all bob trust\n", ""),
    ("local all al,bob reject\n", ""),
    ("local all bob peer map=m\n", "m /^(.*)$ bob\n"),
    ("local all bob peer map=m\n", "m /^({me})$ b\\1\n"),
]


@pytest.mark.parametrize(("hba", "ident"), WAYS_IN)
def test_who_is_locked_out_is_locked_out(server: Cluster, connection: Any, hba: str, ident: str) -> None:
    major = server.installation.major
    me = getpass.getuser()
    connection.execute("DROP ROLE IF EXISTS bob")
    connection.execute("CREATE ROLE bob LOGIN PASSWORD 'not given by anybody'")
    text, maps = hba + "local all postgres trust\n", ident.format(me=me)
    (server.data_directory / "pg_hba.conf").write_text(text)
    (server.data_directory / "pg_ident.conf").write_text(maps)
    server.reload()
    loaded = "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL"
    assert connection.execute(loaded).fetchone()[0] == len(text.splitlines())
    reason = locked_out(parse_hba(text, major), [Identity("bob", me)], parse_ident(maps, major), major)
    try:
        psycopg.connect(server.dsn(user="bob"), password="", connect_timeout=5).close()
    except psycopg.OperationalError as error:
        assert reason, f"the server says {error}"
    else:
        # What depends on membership is refused, because it is not sure.
        assert reason is None or "may match" in reason
