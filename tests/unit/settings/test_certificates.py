# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is said of a server's certificate, by how long it is still good."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.certificates import (
    CertificateFacts,
    judge,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.x509 import Certificate

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def ending(*, after: timedelta, life: timedelta = timedelta(days=365)) -> CertificateFacts:
    end = NOW + after
    certificate = Certificate("db1", "authority", ("db1",), end - life, end)
    return CertificateFacts(True, tls=True, path="/etc/server.crt", certificate=certificate)


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        (ending(after=timedelta(days=200)), "ok", "db1 until 2027-06-09 12:00 UTC, in 200 days"),
        (ending(after=timedelta(days=30)), "ok", "in 30 days"),
        (ending(after=timedelta(days=29)), "warning", "in 29 days: run the role postgresql"),
        (ending(after=timedelta(days=6)), "failed", "in 6 days"),
        (ending(after=timedelta(0)), "failed", "has passed"),
        (ending(after=timedelta(days=-400)), "failed", "has passed"),
        (ending(after=timedelta(days=400)), "failed", "see whether this host's clock is right"),
        # One that lives for a day is renewed every few hours.
        (ending(after=timedelta(hours=12), life=timedelta(days=1)), "ok", "in 0 days"),
        (ending(after=timedelta(hours=5), life=timedelta(days=1)), "warning", "in 0 days"),
        (ending(after=timedelta(hours=2), life=timedelta(days=1)), "failed", "in 0 days"),
        (CertificateFacts(), "warning", "no server answers"),
        (CertificateFacts(error="too many clients"), "warning", "too many clients"),
        (CertificateFacts(True, "/x: Permission denied", True), "failed", "Permission denied"),
        (CertificateFacts(True), "ok", "loopback only"),
        (CertificateFacts(True, beyond_loopback=True), "warning", "set postgresql_tls"),
    ],
)
def test_what_is_said(facts: CertificateFacts, state: str, words: str) -> None:
    said = judge(facts, NOW)
    assert (said["name"], said["state"]) == ("certificate", state)
    assert words in said["text"]


def test_one_that_the_server_has_not_read() -> None:
    facts = ending(after=timedelta(days=300))
    said = judge(CertificateFacts(True, "", True, True, facts.path, facts.certificate, True), NOW)
    assert said["state"] == "warning"
    assert "reload" in said["text"]
