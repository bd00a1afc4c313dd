# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""pg_hba.conf by table. That the server reads lines the same way is shown in tests/integration/test_hba_oracle.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.authfile import lines
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.hba import parse_hba
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.ident import parse_ident
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.lockout import (
    Identity,
    locked_out,
)

SUPERUSER = Identity("postgres", "postgres")
KEEPER = Identity("dbkeeper", "postgres", database=None)
KEEPERS_MAP = "dbkeeper postgres dbkeeper\n"
KEEPERS_LINE = "local replication dbkeeper peer map=dbkeeper\n"


def test_a_rule_has_its_parts() -> None:
    (rule,) = parse_hba('\nhostssl a,"b c" +d 192.0.2.0/25 scram-sha-256 clientcert=verify-full\n', 15)
    assert (rule.number, rule.type, rule.method) == (2, "hostssl", "scram-sha-256")
    assert [(token.text, token.quoted) for token in rule.databases] == [("a", False), ("b c", True)]
    assert [token.text for token in rule.users] == ["+d"]
    assert (rule.address, rule.netmask) == ("192.0.2.0", "255.255.255.128")
    assert rule.option("clientcert") == "verify-full"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("local all all peer\nhots all all all md5\n", 2, "connection type 'hots' is not known"),
        ("# x\n\nhost all all 10.0.0.0/33 md5\n", 3, "the mask in '10.0.0.0/33' is not one"),
        ("local all\\\n all\nlocal all all trust\n", 1, "it ends before the authentication method"),
        ("host all all db.example.com/8 md5", 1, "a host name takes no mask"),
        ("host all all 10.0.0.1 md5", 1, "'md5' is not a netmask"),
        ("host all all all peer", 1, "peer works on a socket only"),
        (
            "hostssl all all all md5 clientcert=1",
            1,
            "clientcert takes verify-ca or verify-full here, not '1'",
        ),
    ],
)
def test_a_bad_line_is_named(text: str, line: int, says: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_hba(text, 15, path="/etc/x/pg_hba.conf")
    assert refusal.value.code == "hba-line-malformed"
    assert refusal.value.details["line"] == line
    assert refusal.value.details["path"] == "/etc/x/pg_hba.conf"
    assert says in refusal.value.happened


@pytest.mark.parametrize("text", ["", "\n\n", "# local all all trust\n", "# a \\\nlocal all all trust"])
def test_a_file_without_a_rule_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_hba(text, 15)
    assert refusal.value.code == "hba-empty"


@pytest.mark.parametrize(
    ("text", "version", "included"),
    [
        ("local @databases all peer", 14, "@databases"),
        ("local all bob,@admins peer", 18, "@admins"),
        ("include other.conf", 16, "other.conf"),
        ("include_dir /etc/hba.d", 18, "/etc/hba.d"),
    ],
)
def test_what_another_file_says_is_not_believed(text: str, version: int, included: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_hba(text, version)
    assert (refusal.value.code, refusal.value.details["included"]) == ("hba-included", [included])


def test_a_quoted_at_sign_is_a_name() -> None:
    (rule,) = parse_hba('local all "@admins" peer', 18)
    assert rule.users[0].text == "@admins"


@pytest.mark.parametrize(
    ("address", "beyond"),
    [
        ("127.0.0.1/32", False),
        ("127.0.0.0/8", False),
        ("::1/128", False),
        ("localhost", False),
        ("samehost", False),
        ("samenet", True),
        ("all", True),
        ("0.0.0.0/0", True),
        ("192.0.2.1/32", True),
        ("::/0", True),
        ("127.0.0.1/0", True),
        ("db.example.com", True),
    ],
)
def test_what_lies_beyond_loopback(address: str, beyond: bool) -> None:
    (rule,) = parse_hba(f"host all all {address} scram-sha-256", 15)
    assert rule.beyond_loopback is beyond


@pytest.mark.parametrize(
    ("hba", "ident", "says"),
    [
        ("local all postgres peer\n" + KEEPERS_LINE, KEEPERS_MAP, None),
        ("local all all trust\nlocal replication all trust\n", "", None),
        ("host all all all trust\n", "", "postgres (the system's user postgres) over the socket to database"),
        ("local all postgres md5\n", "", "line 1 is the first that matches and asks for more"),
        ("local all all scram-sha-256\nlocal all postgres peer\n", "", "line 1 is the first that matches"),
        ("local all all reject\nlocal all postgres peer\n", "", "rejects"),
        ("local all +staff reject\nlocal all postgres peer\n", "", "line 1 may match and rejects"),
        ("local /^p(o|i) all reject\nlocal all postgres peer\n", "", "line 1 may match and rejects"),
        ("local all postgres peer map=x\n", "", "its map x does not allow it"),
        (
            "local all postgres peer\n",
            "",
            "dbkeeper (the system's user postgres) over the socket for replication",
        ),
        ("local all postgres peer\nlocal replication dbkeeper peer\n", "", "it wants a role with the name"),
        ("local all postgres peer\nlocal all all trust\n", "", "no line matches"),
        ("local app postgres reject\nlocal all postgres peer\n" + KEEPERS_LINE, KEEPERS_MAP, None),
    ],
)
def test_those_who_must_get_in(hba: str, ident: str, says: str | None) -> None:
    reason = locked_out(parse_hba(hba, 16), [SUPERUSER, KEEPER], parse_ident(ident, 16), 16)
    if says is None:
        assert reason is None
    else:
        assert reason is not None and says in reason


def test_expressions_are_names_before_16() -> None:
    text = "local /postgres all reject\nlocal all postgres peer\n"
    assert locked_out(parse_hba(text, 15), [SUPERUSER], [], 15) is None
    assert "rejects" in (locked_out(parse_hba(text, 16), [SUPERUSER], [], 16) or "")


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)


@given(WORDS)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for version in (14, 18):
        try:
            assert parse_hba(text, version)
        except Refused as refusal:
            assert refusal.code in ("hba-line-malformed", "hba-empty", "hba-included")
        try:
            parse_ident(text, version)
        except Refused as refusal:
            assert refusal.code == "ident-line-malformed"


NAMES = st.text(st.characters(codec="ascii", exclude_characters="\x00\n\r"), min_size=1, max_size=30)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_quoted_name_comes_back(names: list[str]) -> None:
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    (line,) = lines(f"local {quoted} all trust x")
    assert [token.text for token in line.fields(16)[1]] == names
