# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A described dump that really fails on a schedule, and works again: what readers of English and of Japanese find in
their mail. The mails are left among the reports."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .harness.catcher import Certificate, MailCatcher, mailbox
from .harness.cluster import Cluster
from .harness.waiting import wait_for

#: pg_dump stands at a lock; who counts rows may stand there, too.
AT_LOCK = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = 'app' AND wait_event_type = 'Lock' AND strpos(query, 'LOCK TABLE') > 0"
)
READERS = {"dba@example.com": "en", "toban@example.com": "ja"}


@pytest.fixture
def guarded(cluster: Cluster, mail: MailCatcher, certificate: Certificate) -> Cluster:
    """A described dump of a database with two tables; two people are told, each in their language."""
    cluster.sql("CREATE DATABASE app")
    cluster.sql("CREATE TABLE one AS SELECT 1 AS n", database="app")
    cluster.sql("CREATE TABLE two AS SELECT 2 AS n", database="app")
    path = cluster.root / "notify.json"
    channels = {language: mailbox(mail, to=[to], language=language) for to, language in READERS.items()}
    path.write_text(json.dumps({"format": 1, "channels": channels, "ca_file": str(certificate.path)}))
    path.chmod(0o600)
    dump = {"label": "nightly", "database": "app", "globals": False, "lock_wait_seconds": 1}
    cluster.write_config(notify={"file": str(path)}, dumps=[dump])
    cluster.keeper("dump", "--scheduled").expect(0)
    assert mail.mails == []
    return cluster


def told(mail: MailCatcher, name: str) -> dict[str, tuple[str, str]]:
    """Language -> subject and text of the mails that came in since, one for each reader."""
    found = {READERS[one.to[0]]: (str(one.message["Subject"]), one.text) for one in mail.mails}
    assert len(mail.mails) == len(found) == 2
    mail.mails.clear()
    report = Path(os.environ.get("DBKEEPER_REPORT_DIR", "/nonexistent"))
    if report.is_dir():
        for language, (subject, text) in found.items():
            (report / f"mail-{name}.{language}.txt").write_text(f"{subject}\n\n{text}")
    return found


def works_again(cluster: Cluster, mail: MailCatcher) -> None:
    cluster.keeper("dump", "--scheduled").expect(0)
    mails = told(mail, "works-again")
    assert mails["en"][0].startswith("[dbkeeper] works again: logical dump")
    assert mails["ja"][0].startswith("[dbkeeper] 復旧: 論理ダンプ")


def test_a_lock_that_is_not_given(guarded: Cluster, mail: MailCatcher) -> None:
    with guarded.connect("app") as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE two IN ACCESS EXCLUSIVE MODE")
        for _again in range(2):
            guarded.keeper("dump", "--scheduled").failed("dump-lock-timeout", "two")
    # The second time nobody is told again.
    mails = told(mail, "lock")
    subject, text = mails["en"]
    assert subject.startswith("[dbkeeper] FAILED: logical dump")
    assert "Error: dump-lock-timeout" in text and "public.two" in text and "pg_locks" in text
    subject, text = mails["ja"]
    assert subject.startswith("[dbkeeper] 異常: 論理ダンプ")
    japanese, _label, original = text.partition("プログラムの出力:")
    assert "エラー: dump-lock-timeout" in japanese
    assert "テーブルをロックし続けたため、ダンプできませんでした。以前のダンプは無事です。" in japanese
    assert "pg_locks と pg_stat_activity でロックの保持者を調べる" in japanese
    assert "public.two" in original
    works_again(guarded, mail)


def test_a_table_that_is_dropped_while_the_dump_begins(guarded: Cluster, mail: MailCatcher) -> None:
    guarded.write_config(dumps=[{"label": "nightly", "database": "app", "globals": False}])
    with guarded.connect("app") as other:
        other.execute("BEGIN")
        other.execute("DROP TABLE two")
        running = guarded.keeper_start("dump", "--scheduled")
        wait_for(lambda: guarded.value(AT_LOCK) > 0, "pg_dump at the lock")
        other.execute("COMMIT")
        running.wait().failed("dump-object-gone", "two")
    mails = told(mail, "dropped")
    subject, text = mails["en"]
    assert subject.startswith("[dbkeeper] FAILED: logical dump")
    assert "Error: dump-object-gone" in text and "older dumps are as they were" in text
    subject, text = mails["ja"]
    japanese, _label, original = text.partition("プログラムの出力:")
    assert "エラー: dump-object-gone" in japanese
    assert "テーブルなどのオブジェクトが削除されました。以前のダンプは無事です。" in japanese
    assert "削除されたものを除いてダンプします。" in japanese and "two" in original
    works_again(guarded, mail)
