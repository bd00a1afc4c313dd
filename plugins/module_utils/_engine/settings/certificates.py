# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How long the certificate that a server shows is still good: the line ``certificate`` of ``dbkeeper check``.

A server goes on with one that has ended; its clients don't. So this is said long before.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..cluster.psql import query
from ..core.check_words import told
from ..core.clock import utc_now
from ..core.errors import KeeperError, Refused
from .readback import where_it_runs
from .x509 import Certificate, read_certificate

OK, WARNING, FAILED = "ok", "warning", "failed"
#: A run of the role renews in the last third; whoever has not run it by then is told.
_SOON = timedelta(days=30)
_VERY_SOON = timedelta(days=7)
_LOOPBACK = {"", "localhost", "127.0.0.1", "::1"}

_ASK = """
SELECT current_setting('ssl'), current_setting('ssl_cert_file'), current_setting('listen_addresses'),
       extract(epoch FROM pg_conf_load_time())
"""


@dataclass(frozen=True)
class CertificateFacts:
    """What is judged. ``error``: why it is not known. ``replaced``: the file is younger than the server's last
    reading of it, so the server still shows the one before."""

    answers: bool = False
    error: str = ""
    tls: bool = False
    beyond_loopback: bool = False
    path: str = ""
    certificate: Certificate | None = None
    replaced: bool = False


def certificate_checks(config: ClusterConfig) -> list[dict[str, str]]:
    """The check ``certificate``, as name, state and text."""
    return [judge(look(config), utc_now())]


def look(config: ClusterConfig) -> CertificateFacts:
    """Ask the server which certificate it has, and read it. Changes nothing."""
    try:
        if not Instance(config).status().ready:
            return CertificateFacts()
        ((tls, path, addresses, loaded),) = query(where_it_runs(config), _ASK)
    except KeeperError as error:
        return CertificateFacts(error=error.happened)
    wide = not {part.strip() for part in (addresses or "").split(",")} <= _LOOPBACK
    if tls != "on":
        return CertificateFacts(answers=True, beyond_loopback=wide)
    place = os.path.join(config.data_directory, path or "")
    try:
        with open(place, encoding="utf-8", errors="replace") as handle:
            certificate = read_certificate(handle.read(), source=place)
            replaced = os.fstat(handle.fileno()).st_mtime > float(loaded or 0)
    except OSError as error:
        return CertificateFacts(True, f"{place}: {error.strerror}", True, wide, place)
    except Refused as error:
        return CertificateFacts(True, f"{place}: {error.happened}", True, wide, place)
    return CertificateFacts(True, "", True, wide, place, certificate, replaced)


def judge(facts: CertificateFacts, now: datetime) -> dict[str, str]:
    """Pure."""
    if facts.error:
        # A server that runs goes on, but the next start would fail.
        state = FAILED if facts.answers else WARNING
        return told("certificate", state, "unknown_why", why=facts.error)
    if not facts.answers:
        return told("certificate", WARNING, "unknown_server")
    if not facts.tls:
        if facts.beyond_loopback:
            return told("certificate", WARNING, "tls_off_wide")
        return told("certificate", OK, "tls_off")
    if facts.certificate is None:
        return told("certificate", FAILED, "certificate_none", path=facts.path)
    return _judge(facts, facts.certificate, now)


def _judge(facts: CertificateFacts, certificate: Certificate, now: datetime) -> dict[str, str]:
    state, word = outlook(certificate, now)
    values = ends(certificate, now, facts.path)
    if facts.replaced and word in ("certificate_soon", "certificate_ok"):
        return told("certificate", WARNING, "certificate_unread", **values)
    return told("certificate", state, word, path=facts.path, **values)


def outlook(certificate: Certificate, now: datetime) -> tuple[str, str]:
    """State and word for how long it is still good. Pure."""
    left = certificate.not_after - now
    if left <= timedelta(0):
        return FAILED, "certificate_over"
    if certificate.not_before > now:
        return FAILED, "certificate_early"
    # Short-lived ones are renewed often: what is soon follows from their life.
    for state, soon, part in ((FAILED, _VERY_SOON, 10), (WARNING, _SOON, 4)):
        if left < min(soon, certificate.lifetime / part):
            return state, "certificate_soon"
    return OK, "certificate_ok"


def ends(certificate: Certificate, now: datetime, unnamed: str) -> dict[str, object]:
    """What the words of :func:`outlook` are filled with; ``unnamed`` stands for a subject that is not there."""
    return {
        "what": certificate.subject or unnamed,
        "since": _day(certificate.not_before),
        "until": _day(certificate.not_after),
        "days": (certificate.not_after - now).days,
    }


def _day(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
