# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The file with those who are told: strict, its owner's only, and silent about its secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.notify_file import (
    load_wishes,
    parse_wishes,
)

MAIL = {"type": "mail", "host": "mx.example.com", "from": "dbkeeper@example.com", "to": ["dba@example.com"]}
SLACK = {"type": "slack", "url": "https://hooks.example.com/services/geheim"}


def text(**channels: Any) -> str:
    return json.dumps({"format": 1, "channels": channels})


def test_every_kind_of_channel() -> None:
    found = parse_wishes(
        json.dumps(
            {
                "format": 1,
                "language": "ja",
                "warnings": True,
                "proxy": "http://proxy.example.com:3128",
                "ca_file": "/etc/ssl/own.pem",
                "timeout_seconds": 5,
                "channels": {
                    "dba": {
                        **MAIL,
                        "user": "u",
                        "password": "geheim",
                        "events": ["failure"],
                        "language": "en",
                    },
                    "tls": {**MAIL, "tls": "tls"},
                    "ops": SLACK,
                    "team": {"type": "teams", "url": "https://teams.example.com/x"},
                    "own": {
                        "type": "webhook",
                        "url": "http://127.0.0.1:8080/x",
                        "hmac_key": "geheim",
                        "headers": {"Authorization": "Bearer geheim"},
                    },
                    "pager": {"type": "command", "argv": ["/usr/local/bin/page", "dba"]},
                },
            }
        ),
        "a test",
    )
    assert [one.type for one in found.channels] == ["mail", "mail", "slack", "teams", "webhook", "command"]
    assert [one.port for one in found.channels[:2]] == [587, 465]
    assert (found.language, found.warnings, found.timeout_seconds) == ("ja", True, 5)
    assert "geheim" not in repr(found)


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ({**MAIL, "to": []}, "channels.x.to"),
        ({**MAIL, "to": ["a b@example.com"]}, "channels.x.to"),
        ({**MAIL, "from": "nobody"}, "channels.x.from"),
        ({**MAIL, "user": "u"}, "user and password go together"),
        ({**MAIL, "tls": "none", "user": "u", "password": "geheim"}, "not sent without TLS"),
        ({**MAIL, "colour": "geheim"}, "unknown: channels.x.colour"),
        ({**MAIL, "events": ["sometimes"]}, "channels.x.events"),
        ({**MAIL, "port": 0}, "channels.x.port"),
        ({"type": "pigeon"}, "channels.x.type"),
        ({**SLACK, "url": "http://hooks.example.com/geheim"}, "https://"),
        ({**SLACK, "url": "https://"}, "https://"),
        ({**SLACK, "url": "https://x/geheim\nHost: other"}, "channels.x.url"),
        ({"type": "webhook", "url": "http://example.com/geheim"}, "https://"),
        (
            {"type": "webhook", "url": "https://e.com/x", "headers": {"A": "geheim\r\nB: c"}},
            "channels.x.headers",
        ),
        ({"type": "command", "argv": ["page", "geheim"]}, "absolute path"),
        ({"type": "command", "argv": "page"}, "channels.x.argv"),
        ("geheim", "channels.x is not an object"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_quoting_it(channel: Any, words: str) -> None:
    with pytest.raises(Refused) as error:
        parse_wishes(text(x=channel), "/etc/dbkeeper/notify/main.json")
    assert error.value.code == "notify-file-malformed"
    assert words in error.value.happened
    told = json.dumps(error.value.to_dict())
    assert "geheim" not in told and error.value.__cause__ is None


@pytest.mark.parametrize("said", ["{", "[]", "{}", '{"format": 2}', '{"format": 1, "channels": {}}'])
def test_what_is_no_such_file_is_refused(said: str) -> None:
    with pytest.raises(Refused) as error:
        parse_wishes(said, "x")
    assert error.value.code == "notify-file-malformed"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622, 0o777])
def test_others_may_not_read_it(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "notify.json"
    path.write_text(text(x=SLACK))
    path.chmod(mode)
    with pytest.raises(Refused) as error:
        load_wishes(str(path))
    assert error.value.code == "notify-file-exposed" and f"{mode:04o}" in error.value.happened
    path.chmod(0o600)
    assert load_wishes(str(path)).channels[0].name == "x"


def test_there_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(Refused) as error:
        load_wishes(str(tmp_path / "none.json"))
    assert error.value.code == "notify-file-missing"
    (tmp_path / "directory").mkdir()
    with pytest.raises(Refused) as error:
        load_wishes(str(tmp_path / "directory"))
    assert error.value.code == "notify-file-unreadable"


def test_a_channel_hides_what_it_knows() -> None:
    (channel,) = parse_wishes(text(x=SLACK), "x").channels
    told = channel.hide("POST https://hooks.example.com/services/geheim: /services/geheim is gone")
    assert "geheim" not in told and "is gone" in told
