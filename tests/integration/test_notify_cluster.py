# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Who is told what when real commands of a real cluster fail, and when they work again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .harness.catcher import Certificate, MailCatcher, mailbox
from .harness.cluster import Cluster


@pytest.fixture
def told(cluster: Cluster, mail: MailCatcher, certificate: Certificate) -> Callable[..., Path]:
    """Write the file of those who are told, and name it in the cluster's description."""

    def write(mode: int = 0o600, **more: Any) -> Path:
        path = cluster.root / "notify.json"
        value = {"format": 1, "channels": {"dba": mailbox(mail)}, "ca_file": str(certificate.path), **more}
        path.write_text(json.dumps(value))
        path.chmod(mode)
        cluster.write_config(notify={"file": str(path)})
        return path

    return write


def subjects(mail: MailCatcher) -> list[str]:
    """What was told, without who tells it."""
    return [one.message["Subject"].split(" on ")[0] for one in mail.mails]


def test_a_scheduled_run_tells_when_it_fails_and_when_it_works_again(
    cluster: Cluster, mail: MailCatcher, told: Callable[..., Path]
) -> None:
    told()
    cluster.keeper("backup", "--scheduled").expect(0)
    assert mail.mails == []
    away = cluster.repository.with_name("away")
    cluster.repository.rename(away)
    for _again in range(3):
        cluster.keeper("backup", "--scheduled").refused("repository-missing")
    # The same failure is told once.
    assert subjects(mail) == ["[dbkeeper] FAILED: base backup"]
    assert "repository-missing" in mail.mails[0].text and "Remedy: " in mail.mails[0].text
    away.rename(cluster.repository)
    # By hand, nobody is told: whoever runs it sees it.
    cluster.keeper("expire").refused("retention-not-set")
    assert len(mail.mails) == 1
    cluster.keeper("backup").expect(0)
    assert subjects(mail)[1:] == ["[dbkeeper] works again: base backup"]
    assert cluster.keeper("notify").expect(0)["problems"] == {}


def test_that_nothing_is_due_yet_does_not_work_again(
    cluster: Cluster, mail: MailCatcher, told: Callable[..., Path]
) -> None:
    """What makes up for missed runs under cron: half an hour after a failure the last good one is young enough."""
    told()
    made = cluster.keeper("backup", "--scheduled").expect(0)["backup"]
    (stored,) = (cluster.repository / cluster.name / "base" / made["label"]).glob("base.tar*")
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-100] + bytes(100))
    assert cluster.keeper("verify", "--scheduled").status == 3
    assert subjects(mail) == ["[dbkeeper] FAILED: verification"]
    assert cluster.keeper("verify", "--scheduled", "--max-age", "25h").expect(0)["executed"] is False
    assert len(mail.mails) == 1
    assert list(cluster.keeper("notify").expect(0)["problems"]) == ["run:verify"]
    checks = {item["name"]: item["state"] for item in cluster.keeper("check").data["checks"]}
    assert (checks["runs"], checks["verification"]) == ("failed", "failed")
    stored.write_bytes(whole)
    cluster.keeper("verify", "--scheduled").expect(0)
    assert subjects(mail)[1:] == ["[dbkeeper] works again: verification"]
    cluster.keeper("verify", "--scheduled", "--max-age", "25h").expect(0)
    assert len(mail.mails) == 2
    # And it is no work that a summary of the day would count.
    cluster.keeper("notify", "--summary").expect(0)
    assert "- verification: 1 good, 1 failed" in mail.mails[-1].text


def test_a_scheduled_check_tells_what_it_found_and_that_it_is_gone(
    cluster: Cluster, mail: MailCatcher, told: Callable[..., Path]
) -> None:
    told()
    cluster.set(archive_timeout="300")
    cluster.reload()
    assert cluster.keeper("check", "--scheduled").status == 3
    first = set(subjects(mail))
    assert {"[dbkeeper] FAILED: newest base backup", "[dbkeeper] FAILED: newest full backup"} <= first
    count = len(mail.mails)
    cluster.keeper("check", "--scheduled")
    assert len(mail.mails) == count
    cluster.keeper("backup").expect(0)
    cluster.keeper("check", "--scheduled").expect(0)
    again = set(subjects(mail)[count:])
    assert {one.replace("FAILED", "works again") for one in first} == again
    cluster.keeper("notify", "--summary").expect(0)
    assert cluster.keeper("notify", "--summary").expect(0)["changed"] is False
    summary = mail.mails[-1]
    assert summary.message["Subject"].startswith("[dbkeeper] all is well")
    assert "base backup full: 1 good, 0 failed" in summary.text


def test_a_file_that_others_can_read_is_not_used(
    cluster: Cluster, mail: MailCatcher, told: Callable[..., Path]
) -> None:
    path = told(mode=0o640)
    cluster.keeper("notify", "--test").refused("notify-file-exposed", "0640", f"chmod 0600 {path}")
    # The backup is taken all the same, and says on stderr why nobody was told; the check says it, too.
    answer = cluster.keeper("backup", "--scheduled")
    answer.expect(0)
    assert "notify-file-exposed" in answer.err and mail.mails == []
    checks = {item["name"]: item for item in cluster.keeper("check").data["checks"]}
    assert checks["notification"]["state"] == "failed" and "0640" in checks["notification"]["text"]
    path.chmod(0o600)
    answer = cluster.keeper("notify", "--test")
    answer.expect(0)
    assert mail.mails[-1].message["X-Dbkeeper-Event"] == "test"
    checks = {item["name"]: item for item in cluster.keeper("check").data["checks"]}
    assert checks["notification"]["state"] == "ok"


def test_a_mail_server_that_is_down_costs_no_backup_and_is_tried_again(
    cluster: Cluster, mail: MailCatcher, certificate: Certificate, told: Callable[..., Path]
) -> None:
    told()
    port = mail.port
    mail.close()
    answer = cluster.keeper("expire", "--scheduled")
    answer.refused("retention-not-set")
    assert "notification by dba" in answer.err
    checks = {item["name"]: item for item in cluster.keeper("check").data["checks"]}
    assert checks["notification"]["state"] == "warning" and "dba" in checks["notification"]["text"]
    again = MailCatcher(certificate, port=port)
    try:
        # Not due yet: a minute has to pass.
        assert cluster.keeper("notify", "--retry").expect(0)["tries"] == []
        (item,) = (cluster.state_directory / "notify/outbox").iterdir()
        value = json.loads(item.read_text())
        value["channels"]["dba"]["next_at"] = "2026-01-01T00:00:00.000000Z"
        item.write_text(json.dumps(value))
        result = cluster.keeper("notify", "--retry").expect(0)
        assert [one["error"] for one in result["tries"]] == [None] and result["waiting"] == 0
        assert subjects(again) == ["[dbkeeper] FAILED: expiry"]
    finally:
        again.close()


def test_nobody_is_named(cluster: Cluster) -> None:
    cluster.keeper("notify", "--test").refused("notify-not-set", "docs/knowing.md")
