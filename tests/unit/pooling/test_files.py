# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The two files as texts, what is refused before they are made, and what people are shown of them."""

from __future__ import annotations

import configparser
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.render import (
    render_config,
    render_userlist,
    without_secrets,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.request import PoolerRequest
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.settings import (
    GROUPS,
    final_settings,
    parse_version,
)

from .requests import database, request

VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$" + "A" * 43 + "=:" + "B" * 43 + "="


class Parser(configparser.RawConfigParser):
    """Names as they are written."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def config(wish: PoolerRequest, version: tuple[int, ...] = (1, 24, 1)) -> configparser.RawConfigParser:
    """Read by another parser than PgBouncer's or ours."""
    text = render_config(wish, final_settings(wish, version), {})
    parser = Parser(delimiters=("=",), strict=True)
    parser.read_string(text.partition("\n\n")[2])
    return parser


def test_a_database_line() -> None:
    wish = request(
        [
            database("app"),
            database("od-d.1", dbname="o'dd name", host="/run/pg", port=5433, pool_mode="session", users=2)
            | {"options": {"connect_query": "SET x = 'y'"}},
        ]
    )
    found = config(wish)["databases"]
    assert found["app"] == (
        "host=192.0.2.1 port=5432 dbname=app pool_size=20 reserve_pool=5 max_db_connections=26 auth_user=pgbouncer"
    )
    assert found["od-d.1"] == (
        "host=/run/pg port=5433 dbname='o''dd name' pool_size=20 reserve_pool=5 max_db_connections=51 "
        "auth_user=pgbouncer pool_mode=session connect_query='SET x = ''y'''"
    )


@pytest.mark.parametrize(("version", "there"), [((1, 18, 0), False), ((1, 20, 1), False), ((1, 21, 0), True)])
def test_prepared_statements_where_the_version_knows_them(version: tuple[int, ...], there: bool) -> None:
    assert ("max_prepared_statements" in config(request([database("app")]), version)["pgbouncer"]) is there


def test_what_is_given_wins_and_is_marked() -> None:
    wish = request(
        [database("app")], settings={"pool_mode": "session", "log_stats": False, "listen_port": 7000}
    )
    text = render_config(wish, final_settings(wish, (1, 18)), {})
    found = config(wish)["pgbouncer"]
    assert (found["pool_mode"], found["log_stats"], found["listen_port"]) == ("session", "0", "7000")
    assert "; pool_mode: pinned\npool_mode = session\n" in text
    headings = [line[2:] for line in text.splitlines() if line[2:] in GROUPS]
    assert headings == [group for group in GROUPS if group in headings]


def test_tls_is_asked_for_where_there_are_certificates() -> None:
    plain = config(request([database("app")]))["pgbouncer"]
    assert "client_tls_sslmode" not in plain and "server_tls_sslmode" not in plain
    settings = {"client_tls_cert_file": "/a.crt", "server_tls_ca_file": "/ca.crt"}
    found = config(request([database("app")], settings=settings))["pgbouncer"]
    assert (found["client_tls_sslmode"], found["server_tls_sslmode"]) == ("require", "verify-full")
    settings["server_tls_sslmode"] = "verify-ca"
    assert (
        config(request([database("app")], settings=settings))["pgbouncer"]["server_tls_sslmode"]
        == "verify-ca"
    )


def test_the_same_request_gives_the_same_bytes_and_a_new_certificate_does_not() -> None:
    wish = request([database("app")], settings={"server_tls_ca_file": "/ca.crt"})
    settings = final_settings(wish, (1, 18))
    one = render_config(wish, settings, {"server_tls_ca_file": "aa"})
    assert one == render_config(wish, final_settings(wish, (1, 18)), {"server_tls_ca_file": "aa"})
    assert one != render_config(wish, settings, {"server_tls_ca_file": "bb"})


def test_a_daemon_needs_a_log_file_and_a_unit_has_none() -> None:
    assert config(request([database("app")]))["pgbouncer"]["logfile"] == "/var/log/pgbouncer/pgbouncer.log"
    assert "logfile" not in config(request([database("app")], manager="systemd"))["pgbouncer"]


def test_the_list_of_roles() -> None:
    wish = request([database("app")], lookup_role="", userlist={'b"ob': VERIFIER, "alice": VERIFIER})
    assert render_userlist(wish) == f'"alice" "{VERIFIER}"\n"b""ob" "{VERIFIER}"\n'
    assert "auth_" not in " ".join(config(wish)["databases"]["app"].split("max_db_connections")[1:])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f'"alice" "{VERIFIER}"\n', '"alice" "..."\n'),
        ('"al""ice" "cle""ar"\n', '"al""ice" "..."\n'),
        ('"alice" "md5abc"\n"bob" "x y"', '"alice" "..."\n"bob" "..."'),
        ("app = host=a password=clear user=b", "app = host=a password=... user=b"),
        ("app = password = 'it''s clear' user=b", "app = password = ... user=b"),
        ("auth_type = scram-sha-256\n", "auth_type = scram-sha-256\n"),
    ],
)
def test_people_are_shown_no_secret(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"databases": []}, "pooler-option-wrong", "no database"),
        ({"databases": [database("app"), database("app")]}, "pooler-option-wrong", "twice"),
        ({"databases": [database("pgbouncer")]}, "pooler-option-wrong", "cannot be called"),
        ({"databases": [database("a b")]}, "pooler-option-wrong", "cannot be called"),
        ({"databases": [database("*")]}, "pooler-option-wrong", "countless"),
        ({"databases": [database("app", port=70000)]}, "pooler-option-wrong", "port"),
        ({"databases": [database("app", pool_size=0)]}, "pooler-option-wrong", "pool_size"),
        ({"databases": [database("app", options={"password": "x"})]}, "pooler-option-wrong", "password"),
        ({"settings": {"auth_user": "x"}}, "pooler-option-wrong", "auth_user"),
        ({"settings": {"logfile": "/x"}}, "pooler-option-wrong", "logfile"),
        ({"settings": {"bad name": "x"}}, "pooler-option-wrong", "bad name"),
        ({"settings": {"pool_mode": "a\nb"}}, "pooler-option-wrong", "line break"),
        ({"settings": {"listen_port": "0"}}, "pooler-option-wrong", "listen_port"),
        ({"settings": {"unix_socket_dir": ""}}, "pooler-option-wrong", "unix_socket_dir"),
        ({"user_settings": {"a b": {}}}, "pooler-option-wrong", "a b"),
        ({"lookup_role": ""}, "pooler-option-wrong", "nobody could log in"),
        ({"userlist": {"pgbouncer": VERIFIER}}, "pooler-option-wrong", "looks verifiers up"),
        ({"userlist": {"alice": "clear"}}, "verifier-malformed", "alice"),
        ({"userlist": {"alice": "md5" + "0" * 32}}, "verifier-malformed", "alice"),
        ({"userlist": {"alice": VERIFIER + '"'}}, "verifier-malformed", "alice"),
        ({"kept_connections": -1}, "pooler-option-wrong", "kept_connections"),
        ({"databases": [database("app", poolers=0)]}, "pooler-option-wrong", "poolers"),
        ({"config_file": "pgbouncer.ini"}, "pooler-option-wrong", "absolute"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        request(change.pop("databases", [database("app")]), **change)
    assert caught.value.code == code and words in caught.value.happened
    assert "clear" not in caught.value.to_text().replace("Clear text", "")


@pytest.mark.parametrize(("text", "size"), [("0", False), ("many", False), ("7", True)])
def test_pool_sizes_without_limit_are_refused(text: str, size: bool) -> None:
    wish = request([database("app")], settings={"default_pool_size": text})
    if size:
        assert "pool_size=7 " in config(wish)["databases"]["app"]
    else:
        with pytest.raises(Refused):
            config(wish)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n", (1, 18, 0)),
        ("PgBouncer 1.24.1", (1, 24, 1)),
        ("PgBouncer 1.17.0", None),
        ("PgBouncer devel", None),
        ("", None),
    ],
)
def test_versions(said: str, version: tuple[int, ...] | None) -> None:
    if version:
        assert parse_version(said) == version
    else:
        with pytest.raises(Refused) as caught:
            parse_version(said)
        assert caught.value.code == "pooler-version"
