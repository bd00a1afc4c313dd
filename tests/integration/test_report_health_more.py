# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report on health, what is rare: pages with wrong checksums, MultiXacts, subscriptions that fail, certificates."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import utc_now
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words.say import finding

from .harness.cluster import Cluster
from .harness.waiting import wait_for
from .report_help import health, of_class, reporter

BOTH = ("en", "ja")
_FORGETFUL = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'forgets'"


@pytest.fixture
def server(make_cluster: Callable[..., Cluster]) -> Callable[..., Cluster]:
    def make(**settings: str) -> Cluster:
        cluster = make_cluster(archiving=False, settings=settings)
        reporter(cluster)
        return cluster

    return make


def certificate(directory: Path, *, since_days: float, left_days: float) -> None:
    """A server's certificate and key, valid from and until then."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db1.example")])
    now = utc_now()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=since_days))
        .not_valid_after(now + timedelta(days=left_days))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (directory / "server.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "server.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    (directory / "server.key").chmod(0o600)


@pytest.mark.matrix
def test_a_certificate_that_ends_is_told_by_what_is_left_of_it(server: Callable[..., Cluster]) -> None:
    cluster = server()
    cluster.sql("ALTER SYSTEM SET ssl_cert_file = 'server.crt'; ")
    cluster.sql("ALTER SYSTEM SET ssl_key_file = 'server.key'")
    cluster.sql("ALTER SYSTEM SET ssl = on")
    severities = {}
    for name, since, left in (
        ("fresh", 10, 355),
        ("late", 340, 25),
        ("very late", 360, 5),
        ("over", 366, -1),
    ):
        certificate(cluster.data_directory, since_days=since, left_days=left)
        cluster.reload()
        found = wait_for(
            lambda: (result := health(cluster)) and result["facts"]["certificate"] and result, "TLS to be on"
        )
        told = of_class(found, "HC30")
        severities[name] = told[0]["severity"] if told else None
        if told:
            assert told[0]["object"]["name"].endswith("db1.example")
            assert told[0]["value"]["left_seconds"] == pytest.approx(left * 86400, abs=600)
            assert told[0]["threshold"]["source"] == "dbkeeper.ops (default)"
    assert severities == {"fresh": None, "late": "medium", "very late": "high", "over": "critical"}


def test_a_page_that_does_not_match_its_checksum_is_critical(server: Callable[..., Cluster]) -> None:
    cluster = server()
    cluster.sql("CREATE TABLE rotten AS SELECT g FROM generate_series(1, 1000) AS g; CHECKPOINT")
    assert not of_class(health(cluster), "HC26")
    path = cluster.data_directory / str(cluster.value("SELECT pg_relation_filepath('rotten')"))
    cluster.stop()
    data = bytearray(path.read_bytes())
    data[4000:4008] = b"rotten!!"
    path.write_bytes(data)
    cluster.start()
    with pytest.raises(psycopg.errors.DataCorrupted):
        cluster.sql("SELECT count(*) FROM rotten")
    told = wait_for(lambda: of_class(health(cluster), "HC26"), "the counter of failures")[0]
    assert (told["severity"], told["object"]["name"]) == ("critical", "postgres")
    assert told["value"]["failures"] == cluster.value(
        "SELECT checksum_failures FROM pg_stat_database WHERE datname = 'postgres'"
    )


@pytest.mark.matrix
def test_multixacts_are_counted_beside_transactions(server: Callable[..., Cluster]) -> None:
    cluster = server()
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    with cluster.connect() as first, cluster.connect() as second:
        for _number in range(60):
            for connection in (first, second):
                connection.execute(b"BEGIN; SELECT id FROM t WHERE id = 1 FOR SHARE")
            for connection in (first, second):
                connection.execute(b"COMMIT")
    ages = dict(cluster.sql("SELECT datname, mxid_age(datminmxid) FROM pg_database"))
    limits = {"xid_share": {"warning": 1e-9, "critical": 0.9}}
    told = {one["object"]["name"]: one for one in of_class(health(cluster, thresholds=limits), "HC18")}
    assert ages["postgres"] >= 60
    assert told["postgres"]["value"]["age"] == ages["postgres"]


@pytest.mark.matrix
def test_a_subscription_that_fails_to_apply_is_told_with_what_failed(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(
        archiving=False, settings={"wal_level": "logical", "wal_retrieve_retry_interval": "100ms"}
    )
    reporter(cluster)
    cluster.sql("CREATE DATABASE target")
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY)")
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)", database="target")
    cluster.sql("CREATE PUBLICATION p FOR TABLE t")
    cluster.sql("SELECT pg_create_logical_replication_slot('sub', 'pgoutput')")
    place = f"host={cluster.socket_directory} port={cluster.port} dbname=postgres user=postgres"
    cluster.sql(
        f"CREATE SUBSCRIPTION sub CONNECTION '{place}' PUBLICATION p"
        " WITH (create_slot = false, copy_data = false)",
        database="target",
    )
    assert not of_class(health(cluster), "HC15")
    cluster.sql("INSERT INTO t VALUES (1)")
    errors = "SELECT apply_error_count FROM pg_stat_subscription_stats WHERE subname = 'sub'"
    wait_for(lambda: cluster.value(errors) > 0, "the subscription to fail")
    told = of_class(health(cluster), "HC15")[0]
    assert told["object"]["name"] == "sub"
    assert told["value"]["apply_errors"] > 0
    for language in BOTH:
        assert "sub" in finding("HC15", told["says"]["values"], language)["what"]
    cluster.sql("ALTER SUBSCRIPTION sub DISABLE", database="target")
    idle = "SELECT count(*) FROM pg_stat_subscription WHERE subname = 'sub' AND pid IS NOT NULL"
    wait_for(lambda: cluster.value(idle) == 0, "the worker to end")
    health(cluster)
    assert not of_class(health(cluster), "HC15")


def test_since_when_and_how_often_is_in_each_finding(server: Callable[..., Cluster]) -> None:
    """A session that is idle in its transaction in the first, third and fourth of four runs."""
    cluster = server()
    limits = {"idle_in_transaction_seconds": {"warning": 0.0, "critical": 1e9}}
    told, changed = [], []
    for there in (True, False, True, True):
        with contextlib.ExitStack() as stack:
            if there:
                idle = stack.enter_context(cluster.connect())
                idle.execute(b"SET application_name = 'forgets'; BEGIN; SELECT 1")
            else:
                wait_for(lambda: cluster.value(_FORGETFUL) == 0, "the session to end")
            found = health(cluster, thresholds=limits)
            told.append([one for one in of_class(found, "HC03") if one["object"]["application"] == "forgets"])
            changed.append(found["changed"])
    assert [len(one) for one in told] == [1, 0, 1, 1]
    assert [one[0]["state"] for one in told if one] == ["new", "known", "known"]
    assert len({(one[0]["id"], one[0]["first_seen"]) for one in told if one}) == 1
    assert (told[3][0]["runs"]["seen"], told[3][0]["runs"]["of"]) == (3, 4)
    assert changed[3] is False
