# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Every kind of message by every kind of channel, each of which fails first."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.notify_decide import Event
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.notify_file import parse_wishes
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.outbox import Outbox

from .harness.catcher import Certificate, MailCatcher, WebCatcher, mailbox

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=timezone.utc)
ERROR = {"attempted": "take a base backup", "happened": "no space left on device", "remedy": "Make room."}
FAILURE = Event("failure", "run:backup", NOW, "repository-full", NOW - timedelta(hours=1), 2, ERROR)
RECOVERY = Event("recovery", "run:backup", NOW + timedelta(hours=2), "repository-full", NOW, 3, ERROR)
SUMMARY = Event(
    "summary",
    "summary",
    NOW + timedelta(hours=2, minutes=30),
    data={
        "problems": [
            {"name": "copies", "text": "disk is 3 h behind", "text_ja": "disk が 3時間 遅れています"}
        ],
        "warnings": [],
        "runs": [{"series": "backup/full", "ok": 1, "bad": 0}],
        "backup": "20261121T031500Z-full is 3 h old",
        "backup_ja": "20261121T031500Z-full は 3時間 前のものです",
    },
)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("FAILED: base backup", "works again: base backup", "1 problem on", "disk is 3 h behind")),
        (
            "ja",
            (
                "異常: ベースバックアップ",
                "復旧: ベースバックアップ",
                "問題 1 件",
                "disk が 3時間 遅れています",
            ),
        ),
    ],
)
def test_every_channel_fails_once_and_then_has_each_message_once(
    certificate: Certificate,
    mail: MailCatcher,
    web: WebCatcher,
    tmp_path: Path,
    language: str,
    words: tuple[str, ...],
) -> None:
    """A failure, its end and the summary of a day: none is lost, none comes twice, in the language asked for."""
    flag, told = tmp_path / "broken", tmp_path / "told"
    program = tmp_path / "tell"
    program.write_text(
        f"#!/bin/sh\ntest ! -e {flag} || {{ rm {flag}; exit 1; }}\ncat >>{told}\necho >>{told}\n"
    )
    program.chmod(0o755)
    flag.touch()
    channels = {
        "dba": mailbox(mail),
        "ops": {"type": "slack", "url": web.url("/slack")},
        "team": {"type": "teams", "url": web.url("/teams")},
        "own": {"type": "webhook", "url": web.url("/own")},
        "pager": {"type": "command", "argv": [str(program)]},
    }
    value = {"format": 1, "channels": channels, "ca_file": str(certificate.path), "language": language}
    wanted = parse_wishes(json.dumps(value), "a test")
    mail.answers = ["451 try again later"]
    web.answers = [(503, {}, "")] * 3
    box = Outbox(str(tmp_path / "state"), "main", "en", lambda text: None)
    for event in (FAILURE, RECOVERY, SUMMARY):
        box.put(event, wanted)
    first = box.deliver(wanted, NOW + timedelta(hours=3))
    assert sorted(one["channel"] for one in first if one["error"]) == sorted(channels), (
        "each fails, once a round"
    )
    again = box.deliver(wanted, NOW + timedelta(hours=4))
    assert len(again) == 3 * len(channels) and not [one for one in again if one["error"]]
    assert list(box.waiting()) == [] and box.deliver(wanted, NOW + timedelta(hours=9)) == []
    got = {
        "dba": [f"{one.message['Subject']} {one.text}" for one in mail.mails],
        "pager": [
            json.dumps(json.loads(line), ensure_ascii=False) for line in told.read_text().splitlines() if line
        ],
    }
    for name, path in (("ops", "/slack"), ("team", "/teams"), ("own", "/own")):
        bodies = [json.loads(one.body) for one in web.requests if one.path == path]
        got[name] = [json.dumps(one, ensure_ascii=False) for one in bodies[1:]]
    failure, recovery, summary, problem = words
    for name, texts in got.items():
        assert len(texts) == 3, name
        for text, word in zip(texts, (failure, recovery, summary)):
            assert word in text, (name, word)
        assert problem in texts[2], name
