# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Notifications that really arrive: a mail server with TLS and a login, a web server with TLS, a program."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.known import all_runs
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.notify_decide import Event
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.notify_file import (
    NotifyWishes,
    parse_wishes,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.outbox import Outbox

from .harness.catcher import USER, Certificate, MailCatcher, WebCatcher, mailbox, make_certificate

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=timezone.utc)
ERROR = {
    "attempted": "take a base backup of cluster main",
    "happened": "no space left <on> device & more",
    "remedy": "Make room, then run dbkeeper backup.",
}
FAILURE = Event("failure", "run:backup", NOW, "repository-full", NOW - timedelta(hours=1), 2, ERROR)
RECOVERY = Event("recovery", "run:backup", NOW + timedelta(hours=2), "repository-full", NOW, 3, ERROR)


def wishes(certificate: Certificate, channels: dict[str, Any], **more: Any) -> NotifyWishes:
    value = {
        "format": 1,
        "channels": channels,
        "ca_file": str(certificate.path),
        "timeout_seconds": 120,
        **more,
    }
    return parse_wishes(json.dumps(value), "a test")


def outbox(directory: Path) -> Outbox:
    return Outbox(str(directory), "main", "en", lambda text: None)


def send(directory: Path, wanted: NotifyWishes, *events: Event) -> list[dict[str, Any]]:
    box = outbox(directory)
    for event in events:
        box.put(event, wanted)
    return box.deliver(wanted, NOW + timedelta(hours=3))


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_mail_arrives_by_tls_with_a_login(certificate: Certificate, tmp_path: Path, tls: str) -> None:
    server = MailCatcher(certificate, tls=tls)
    try:
        (tried,) = send(tmp_path, wishes(certificate, {"dba": mailbox(server, tls=tls)}), FAILURE)
        assert tried["error"] is None
        (found,) = server.mails
        assert server.logins == [(USER, True)]
        assert found.to == ("dba@example.com",)
        assert found.message["Subject"].startswith("[dbkeeper] FAILED: base backup on ")
        assert found.message["Auto-Submitted"] == "auto-generated" and found.message["Message-ID"]
        for text in (*ERROR.values(), "repository-full", "2 times", "2026-11-21T02:15:00Z"):
            assert text in found.text
        assert list(outbox(tmp_path).waiting()) == []
    finally:
        server.close()


def test_a_japanese_mail_is_encoded_as_mail_wants_it(
    certificate: Certificate, mail: MailCatcher, tmp_path: Path
) -> None:
    channel = mailbox(mail, language="ja")
    assert send(tmp_path, wishes(certificate, {"dba": channel}), FAILURE)[0]["error"] is None
    (found,) = mail.mails
    head = found.raw.split(b"\r\n\r\n", 1)[0]
    # RFC 2047: nothing but ASCII in the header as it travels, Japanese once it is decoded.
    assert head.isascii() and b"=?utf-8?" in head
    assert "異常: ベースバックアップ" in found.message["Subject"]
    assert "起きたこと: " in found.text and "同じ問題の通知は" in found.text
    told, _label, original = found.text.partition("プログラムの出力:")
    assert not any(text in told for text in ERROR.values()) and all(
        text in original for text in ERROR.values()
    )
    assert found.message.get_content_charset() == "utf-8"


def test_a_server_that_nobody_vouches_for_gets_no_password(
    certificate: Certificate, mail: MailCatcher, tmp_path: Path
) -> None:
    other = make_certificate(tmp_path / "other")
    (tried,) = send(tmp_path, wishes(other, {"dba": mailbox(mail)}), FAILURE)
    assert (
        tried["error"]["code"] == "notify-mail-failed" and "certificate" in tried["error"]["happened"].lower()
    )
    assert (mail.mails, mail.logins) == ([], [])


def test_a_server_without_tls_gets_no_password(certificate: Certificate, tmp_path: Path) -> None:
    server = MailCatcher(certificate, tls="none", login=False)
    try:
        (tried,) = send(tmp_path, wishes(certificate, {"dba": mailbox(server)}), FAILURE)
        assert "STARTTLS" in tried["error"]["happened"]
        assert (server.mails, server.logins) == ([], [])
    finally:
        server.close()


def test_a_wrong_password_is_said_and_not_shown(
    certificate: Certificate, mail: MailCatcher, tmp_path: Path
) -> None:
    wanted = wishes(certificate, {"dba": mailbox(mail, password="wrong-password-here")})
    (tried,) = send(tmp_path, wanted, FAILURE)
    assert "refused the login" in tried["error"]["happened"]
    left = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "wrong-password-here" not in left + json.dumps(tried) + repr(wanted)


def test_what_does_not_arrive_is_tried_again_with_growing_pauses(
    certificate: Certificate, mail: MailCatcher, tmp_path: Path
) -> None:
    wanted = wishes(certificate, {"dba": mailbox(mail)})
    box = outbox(tmp_path)
    mail.answers = ["451 try again later"] * 4
    box.put(FAILURE, wanted)
    box.put(RECOVERY, wanted)
    moment, pauses = NOW + timedelta(hours=3), []
    for _round in range(4):
        # A channel that fails is left alone for the rest of a round: one try for two messages.
        (tried,) = box.deliver(wanted, moment)
        assert "451" in tried["error"]["happened"]
        assert box.deliver(wanted, moment + timedelta(seconds=1)) == []
        due = [
            datetime.fromisoformat(one["channels"]["dba"]["next_at"][:-1] + "+00:00") for one in box.waiting()
        ]
        assert len(due) == 2 and due[1] >= due[0]
        pauses.append((due[0] - moment).total_seconds())
        moment = due[0]
    assert pauses == [60.0, 120.0, 240.0, 480.0]
    assert [one["error"] for one in box.deliver(wanted, moment)] == [None, None]
    kinds = [one.message["X-Dbkeeper-Event"] for one in mail.mails]
    assert kinds == ["failure", "recovery"]
    assert list(box.waiting()) == []
    # Every try is a run in the history.
    kept = [(run["result"], run["code"]) for run in all_runs(str(tmp_path)) if run["operation"] == "notify"]
    assert kept == [("failed", "notify-mail-failed")] * 4 + [("ok", None)] * 2


def test_after_a_week_it_is_given_up(certificate: Certificate, mail: MailCatcher, tmp_path: Path) -> None:
    wanted = wishes(certificate, {"dba": mailbox(mail)})
    box = outbox(tmp_path)
    mail.answers = ["451 no"] * 2
    box.put(FAILURE, wanted)
    assert box.deliver(wanted, NOW + timedelta(days=6))[0]["given_up"] is False
    assert box.deliver(wanted, NOW + timedelta(days=8))[0]["given_up"] is True
    assert list(box.waiting()) == []


def test_one_wrong_address_does_not_keep_it_from_the_others(
    certificate: Certificate, mail: MailCatcher, tmp_path: Path
) -> None:
    mail.unknown = {"gone@example.com"}
    wanted = wishes(certificate, {"dba": mailbox(mail, to=["gone@example.com", "here@example.com"])})
    (tried,) = send(tmp_path, wanted, FAILURE)
    assert (
        tried["error"]["code"] == "notify-partly-refused" and "gone@example.com" in tried["error"]["happened"]
    )
    assert [one.to for one in mail.mails] == [("here@example.com",)]
    assert list(outbox(tmp_path).waiting()) == []


def test_slack_gets_its_blocks(certificate: Certificate, web: WebCatcher, tmp_path: Path) -> None:
    wanted = wishes(certificate, {"ops": {"type": "slack", "url": web.url("/services/T0/B0/secret")}})
    assert [one["error"] for one in send(tmp_path, wanted, FAILURE, RECOVERY)] == [None, None]
    bad, good = (one.json for one in web.requests)
    assert set(bad) == {"text", "attachments"}
    (attachment,) = bad["attachments"]
    header, section = attachment["blocks"]
    assert header["type"] == "header" and header["text"]["type"] == "plain_text"
    assert len(header["text"]["text"]) <= 150
    assert section["text"]["type"] == "mrkdwn" and len(section["text"]["text"]) <= 3000
    assert "no space left &lt;on&gt; device &amp; more" in section["text"]["text"]
    assert attachment["color"] != good["attachments"][0]["color"]
    assert web.requests[0].headers["Content-Type"].startswith("application/json")


def test_slack_takes_no_more_than_it_takes(certificate: Certificate, web: WebCatcher, tmp_path: Path) -> None:
    long = Event("failure", "run:backup", NOW, "x", NOW, 1, {"happened": "<&>" * 2000, "remedy": "ä" * 5000})
    wanted = wishes(certificate, {"ops": {"type": "slack", "url": web.url("/x")}})
    assert send(tmp_path, wanted, long)[0]["error"] is None
    text = web.requests[0].json["attachments"][0]["blocks"][1]["text"]["text"]
    assert len(text) <= 3000
    rest = text.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "")
    assert "&" not in rest and "<" not in rest


def test_teams_gets_an_adaptive_card(certificate: Certificate, web: WebCatcher, tmp_path: Path) -> None:
    channel = {"type": "teams", "url": web.url("/workflows/1/triggers/manual?sig=secret"), "language": "ja"}
    wanted = wishes(certificate, {"ops": channel})
    assert send(tmp_path, wanted, FAILURE)[0]["error"] is None
    value = web.requests[0].json
    assert value["type"] == "message"
    (attachment,) = value["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert all(block["type"] == "TextBlock" and block["text"] for block in card["body"])
    assert "ベースバックアップ" in card["body"][0]["text"]
    assert len(web.requests[0].body) < 28_000
    # An old connector says 200 when it means no.
    web.answers = [(200, {}, "Webhook message delivery failed with error: 429")]
    (tried,) = send(tmp_path, wanted, RECOVERY)
    assert "delivery failed" in tried["error"]["happened"]


def test_a_webhook_gets_json_and_proof_of_who_sent_it(
    certificate: Certificate, web: WebCatcher, tmp_path: Path
) -> None:
    channel = {
        "type": "webhook",
        "url": web.url("/hook"),
        "hmac_key": "shared-key",
        "headers": {"Authorization": "Bearer token-of-the-channel"},
    }
    assert send(tmp_path, wishes(certificate, {"own": channel}), FAILURE)[0]["error"] is None
    (request,) = web.requests
    expected = hmac.new(b"shared-key", request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Dbkeeper-Signature"] == f"sha256={expected}"
    assert request.headers["Authorization"] == "Bearer token-of-the-channel"
    value = request.json
    assert (value["event"], value["cluster"], value["key"], value["code"]) == (
        "failure",
        "main",
        "run:backup",
        "repository-full",
    )
    assert value["error"] == ERROR and value["count"] == 2 and value["good"] is False and value["id"]


@pytest.mark.parametrize(
    ("status", "headers", "pause"),
    [(500, {}, 60), (404, {}, 60), (429, {"Retry-After": "900"}, 900), (302, {"Location": "/elsewhere"}, 60)],
)
def test_a_webhook_that_fails_is_tried_again_and_keeps_its_secret(
    certificate: Certificate,
    web: WebCatcher,
    tmp_path: Path,
    status: int,
    headers: dict[str, str],
    pause: int,
) -> None:
    url = web.url("/services/T0/B0/very-secret-token")
    wanted = wishes(certificate, {"ops": {"type": "slack", "url": url}})
    # A server that repeats the address in its answer must not bring it into our files.
    web.answers = [(status, headers, f"no such hook: {url}")]
    box = outbox(tmp_path)
    box.put(FAILURE, wanted)
    (tried,) = box.deliver(wanted, NOW)
    assert tried["error"]["code"] == "notify-webhook-failed" and str(status) in tried["error"]["happened"]
    left = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file()) + json.dumps(tried)
    assert "very-secret-token" not in left + repr(wanted)
    # Nothing was carried to where an answer pointed.
    assert [one.path for one in web.requests] == ["/services/T0/B0/very-secret-token"]
    (item,) = box.waiting()
    due = datetime.fromisoformat(item["channels"]["ops"]["next_at"][:-1] + "+00:00")
    assert (due - NOW).total_seconds() == pause
    assert box.deliver(wanted, due)[0]["error"] is None


def test_a_server_that_never_answers_is_left_after_the_time_that_was_set(
    certificate: Certificate, tmp_path: Path
) -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/x"
        wanted = wishes(certificate, {"ops": {"type": "slack", "url": url}}, timeout_seconds=1)
        (tried,) = send(tmp_path, wanted, FAILURE)
        assert "timed out" in tried["error"]["happened"]


def test_a_proxy_is_used_and_only_it(certificate: Certificate, tmp_path: Path) -> None:
    proxy = WebCatcher(None)
    try:
        channel = {"type": "webhook", "url": "http://localhost:1/hook"}
        wanted = wishes(certificate, {"own": channel}, proxy=proxy.url(""))
        assert send(tmp_path, wanted, FAILURE)[0]["error"] is None
        assert proxy.requests[0].path == "http://localhost:1/hook"
    finally:
        proxy.close()


def test_a_program_gets_json(certificate: Certificate, tmp_path: Path) -> None:
    program = tmp_path / "tell"
    program.write_text(f"#!/bin/sh\ncat >{tmp_path}/told\n")
    program.chmod(0o755)
    wanted = wishes(certificate, {"pager": {"type": "command", "argv": [str(program)]}})
    assert send(tmp_path / "state", wanted, FAILURE)[0]["error"] is None
    assert json.loads((tmp_path / "told").read_text())["error"] == ERROR
    program.write_text("#!/bin/sh\necho no line >&2\nexit 7\n")
    (tried,) = send(tmp_path / "state", wanted, RECOVERY)
    assert tried["error"]["code"] == "program-failed" and "no line" in tried["error"]["happened"]


def test_a_channel_that_hangs_does_not_hold_up_the_others(
    certificate: Certificate, mail: MailCatcher, tmp_path: Path
) -> None:
    program = tmp_path / "hang"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    channels = {"beeper": {"type": "command", "argv": [str(program)]}, "dba": mailbox(mail)}
    tries = send(tmp_path / "state", wishes(certificate, channels, timeout_seconds=4), FAILURE, RECOVERY)
    assert [(one["channel"], one["error"] is None) for one in tries] == [
        ("beeper", False),
        ("dba", True),
        ("dba", True),
    ]
    assert len(mail.mails) == 2


def test_two_that_deliver_at_the_same_time_send_once(
    certificate: Certificate, mail: MailCatcher, tmp_path: Path
) -> None:
    wanted = wishes(certificate, {"dba": mailbox(mail)})
    for number in range(4):
        outbox(tmp_path).put(Event("failure", f"run:{number}", NOW, "x", NOW, 1, ERROR), wanted)
    children = []
    for _child in range(3):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                outbox(tmp_path).deliver(wanted, NOW)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    assert len(mail.mails) == 4


def test_secrets_are_on_no_command_line(certificate: Certificate, tmp_path: Path) -> None:
    """What the channel of a program is started with is what its owner wrote, and nothing else."""
    program = tmp_path / "look"
    program.write_text(
        f"#!/bin/sh\ntr '\\0' ' ' </proc/self/cmdline >{tmp_path}/line\nenv >{tmp_path}/env\ncat >/dev/null\n"
    )
    program.chmod(0o755)
    wanted = wishes(certificate, {"pager": {"type": "command", "argv": [str(program), "a b"]}})
    assert send(tmp_path / "state", wanted, FAILURE)[0]["error"] is None
    seen = (tmp_path / "line").read_text() + (tmp_path / "env").read_text()
    assert "no space left" not in seen
