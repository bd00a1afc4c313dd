# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Certificates and verifiers against real servers and real clients: what libpq verifies, what the server computes."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import utc_now
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.certificate import (
    CertificateRequest,
    check_given,
    ensure_certificate,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.certificates import (
    certificate_checks,
)
from ansible_collections.dbkeeper.ops.plugins.plugin_utils._authority import Authority
from ansible_collections.dbkeeper.ops.plugins.plugin_utils._secrets import Store, scram_verifier

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox


class Controller:
    """The authority's side, and what goes to and from the host."""

    def __init__(self, root: Path, host: Path) -> None:
        self.store = Store(str(root), lambda path: Path(path).read_text())
        self.authority = Authority(self.store)
        self.host = host

    def request(
        self, names: tuple[str, ...], signed: str | None = None, renew: int = 1
    ) -> CertificateRequest:
        return CertificateRequest(
            str(self.host), "server", names, self.authority.certificate(), renew, signed
        )

    def have(self, *names: str, days: int = 30, renew: int = 1) -> bool:
        """Both calls; whether anything was changed."""
        asked = ensure_certificate(self.request(names, renew=renew), check=False)
        if not asked["request"]:
            return bool(asked["changed"])
        signed = self.authority.sign(asked["request"], common_name=names[0], names=names, days=days)
        placed = ensure_certificate(self.request(names, signed, renew), check=False)
        assert placed["executed"]
        assert placed["request"] is None
        return True


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    sandbox = Sandbox()
    cluster = Cluster(sandbox, "tls", archiving=False, settings={"listen_addresses": "localhost"})
    yield cluster
    sandbox.close()


@pytest.fixture(scope="module")
def controller(server: Cluster) -> Controller:
    """A running server with TLS; a certificate for two names."""
    controller = Controller(server.root / "secrets", server.root / "tls")
    assert controller.have("localhost", "127.0.0.1")
    server.set(
        ssl="on",
        ssl_cert_file=str(controller.host / "server.crt"),
        ssl_key_file=str(controller.host / "server.key"),
        ssl_min_protocol_version="TLSv1.2",
    )
    server.start()
    # A directory of its own: libpq must not find certificates of whoever runs the tests.
    (server.data_directory / "pg_hba.conf").write_text(
        "local all all trust\nhostssl all all all scram-sha-256\n"
    )
    server.reload()
    return controller


def said(server: Cluster) -> str:
    (check,) = certificate_checks(ClusterConfig.load(str(server.config_path)))
    return f"{check['state']}: {check['text']}"


def connect(server: Cluster, user: str, password: str, ca: Path, host: str = "localhost") -> None:
    psycopg.connect(
        host=host,
        hostaddr="127.0.0.1",
        port=server.port,
        user=user,
        password=password,
        dbname="postgres",
        sslmode="verify-full",
        sslrootcert=str(ca),
        connect_timeout=60,
    ).close()


@pytest.mark.parametrize(
    "password",
    [
        "pencil",
        "with 'quotes' and \\ and $$",
        "pässwörd",
        "パスワード",
        "\u00aa\u2168 soft\u00adhyphen",
        "no\u00a0break",
        # SASLprep forbids these two; PostgreSQL takes them as they are.
        "un\u0627assigned",
        "control\u0085",
    ],
)
def test_the_verifier_is_the_servers_own(server: Cluster, controller: Controller, password: str) -> None:
    server.sql("DROP ROLE IF EXISTS login")
    quoted = password.replace("'", "''")
    server.sql("SET standard_conforming_strings = on")
    server.sql(f"CREATE ROLE login LOGIN PASSWORD '{quoted}'")
    stored = server.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'login'")
    salt = base64.b64decode(stored.split("$")[1].split(":")[1])
    assert scram_verifier(password, salt) == stored


def test_a_client_knows_the_server_and_logs_in(server: Cluster, controller: Controller) -> None:
    verifier = controller.store.verifier("db/main/app")
    server.sql("DROP ROLE IF EXISTS app")
    server.sql(f"CREATE ROLE app LOGIN PASSWORD '{verifier}'")
    ca = Path(controller.store.path("ca/ca.crt"))
    password = controller.store.password("db/main/app")
    connect(server, "app", password, ca)
    connect(server, "app", password, ca, host="127.0.0.1")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(server, "app", "wrong", ca)
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        connect(server, "app", password, ca, host="other.example.com")
    stranger = Controller(server.root / "other-secrets", server.root / "nowhere")
    other = server.root / "other-ca.crt"
    other.write_text(stranger.authority.certificate())
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        connect(server, "app", password, other)


def test_renewing_keeps_the_key_and_takes_a_reload(server: Cluster, controller: Controller) -> None:
    key = (controller.host / "server.key").read_bytes()
    old = (controller.host / "server.crt").read_text()
    assert not controller.have("localhost", "127.0.0.1")
    started = server.value("SELECT pg_postmaster_start_time()")
    assert said(server).startswith("ok: localhost until ")
    assert controller.have("localhost", "127.0.0.1", renew=31, days=90)
    assert (controller.host / "server.key").read_bytes() == key
    assert (controller.host / "server.crt").read_text() != old
    assert "has not read it yet" in said(server)
    server.reload()
    assert said(server).startswith("ok: localhost until ")
    assert server.value("SELECT pg_postmaster_start_time()") == started
    assert not controller.have("localhost", "127.0.0.1")
    assert controller.have("localhost", "127.0.0.1", "db.example.com")
    assert controller.have("localhost", "127.0.0.1")


def test_check_mode_makes_nothing(tmp_path: Path, controller: Controller) -> None:
    host = Controller(tmp_path / "secrets", tmp_path / "tls")
    result = ensure_certificate(host.request(("db1",)), check=True)
    assert (result["changed"], result["executed"], result["plan"]) == (True, False, ["make-key", "sign"])
    assert not (tmp_path / "tls").exists()


@pytest.mark.parametrize("fault", ["other key", "other authority", "rubbish"])
def test_what_was_signed_for_another_is_not_placed(
    fault: str, tmp_path: Path, server: Cluster, controller: Controller
) -> None:
    place = Controller(tmp_path / "secrets", tmp_path / "tls")
    place.have("db1")
    before = {path.name: path.read_bytes() for path in (tmp_path / "tls").iterdir()}
    if fault == "other key":
        stranger = Controller(tmp_path / "secrets", tmp_path / "elsewhere")
        text = ensure_certificate(stranger.request(("db2",)), check=False)["request"]
        signed = place.authority.sign(text, common_name="db2", names=["db2"], days=9)
    elif fault == "other authority":
        text = ensure_certificate(place.request(("db2",)), check=False)["request"]
        signed = controller.authority.sign(text, common_name="db2", names=["db2"], days=9)
    else:
        signed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(Refused) as refusal:
        ensure_certificate(place.request(("db2",), signed), check=False)
    assert refusal.value.code == "certificate-foreign"
    now = {path.name: path.read_bytes() for path in (tmp_path / "tls").iterdir() if path.suffix != ".new"}
    assert now == before


def test_an_exposed_key_is_closed(tmp_path: Path) -> None:
    place = Controller(tmp_path / "secrets", tmp_path / "tls")
    place.have("db1")
    key = tmp_path / "tls/server.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    assert place.have("db1")
    assert key.stat().st_mode & 0o777 == 0o600


def test_given_files_are_looked_at(tmp_path: Path) -> None:
    place = Controller(tmp_path / "secrets", tmp_path / "tls")
    place.have("db1", days=2)
    certificate, key = str(tmp_path / "tls/server.crt"), str(tmp_path / "tls/server.key")
    assert check_given(certificate, key, None)["certificate"]["subject"] == "db1"
    other = Controller(tmp_path / "secrets", tmp_path / "other")
    other.have("db2")
    cases = [
        ("certificate-missing", (str(tmp_path / "none.crt"), key, None), None),
        ("certificate-missing", (certificate, key, str(tmp_path / "none-ca.crt")), None),
        ("certificate-foreign", (certificate, str(tmp_path / "other/server.key"), None), None),
        ("certificate-expired", (certificate, key, None), utc_now() + timedelta(days=3)),
    ]
    for code, files, now in cases:
        with pytest.raises(Refused) as refusal:
            check_given(*files, now=now)
        assert refusal.value.code == code
    os.chmod(key, 0o640)
    with pytest.raises(Refused) as refusal:
        check_given(certificate, key, None)
    assert refusal.value.code == "key-exposed"


def test_the_authority_does_not_sign_beyond_its_own_end(tmp_path: Path) -> None:
    place = Controller(tmp_path / "secrets", tmp_path / "tls")
    asked = ensure_certificate(place.request(("db1",)), check=False)
    with pytest.raises(Refused) as refusal:
        place.authority.sign(asked["request"], common_name="db1", names=["db1"], days=4000)
    assert refusal.value.code == "authority-expires"
