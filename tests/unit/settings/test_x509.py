# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Certificates as we read them, against the library that Ansible brings along; and when a new one is needed."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.certificate import (
    CertificateState,
    plan_certificate,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.x509 import (
    Certificate,
    read_certificate,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = EC_KEY,
    *,
    name: x509.Name | None = None,
    names: list[str] | None = None,
    begin: datetime = NOW,
    end: datetime = NOW + timedelta(days=365),
) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db1")]) if name is None else name
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names:
        general: list[x509.GeneralName] = []
        for text in names:
            try:
                general.append(x509.IPAddress(ipaddress.ip_address(text)))
            except ValueError:
                general.append(x509.DNSName(text))
        general.append(x509.RFC822Name("dba@example.com"))
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    made = builder.sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY], ids=["ec", "rsa"])
@pytest.mark.parametrize("names", [None, ["db1.example.com"], ["db1", "192.0.2.1", "2001:db8::1"]])
def test_the_fields_are_those_of_the_certificate(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, names: list[str] | None
) -> None:
    found = read_certificate("rubbish before\n" + pem(key, names=names) + pem(), source="x")
    assert found == Certificate("db1", "authority", tuple(names or ()), NOW, NOW + timedelta(days=365))


@pytest.mark.parametrize("year", [1951, 1999, 2000, 2049, 2050, 2051, 9999])
def test_both_forms_of_a_time_are_read(year: int) -> None:
    end = datetime(year, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    begin = datetime(1950, 1, 1, tzinfo=timezone.utc)
    assert read_certificate(pem(begin=begin, end=end), source="x").not_after == end


def test_a_subject_may_have_no_common_name_or_odd_letters() -> None:
    nobody = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")])
    assert read_certificate(pem(name=nobody), source="x").subject == ""
    odd = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "データベース/1, x")])
    assert read_certificate(pem(name=odd), source="x").subject == "データベース/1, x"


BEGIN, END = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "text", ["", "rubbish", BEGIN + "AAAA\n" + END, BEGIN + "MIIB\n" + END, BEGIN + "=\n" + END]
)
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_certificate(text, source="/etc/x.crt")
    assert refusal.value.code == "certificate-malformed"
    assert "/etc/x.crt" in refusal.value.attempted


#: One for all examples: signatures differ in length, and an example must mean the same bytes each time.
DAMAGED = pem(names=["db1"])


@given(st.data())
def test_damage_is_refused_or_read_but_never_an_accident(data: st.DataObject) -> None:
    lines = DAMAGED.splitlines()
    body = list("".join(lines[1:-1]))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.sampled_from("AZaz09+/"))
    kept = data.draw(st.integers(1, len(body)))
    text = f"{BEGIN}{''.join(body[:kept])}\n{END}"
    try:
        read_certificate(text, source="x")
    except Refused as refusal:
        assert refusal.code == "certificate-malformed"


GOOD = CertificateState(
    key=True,
    certificate=Certificate("db1", "authority", ("db1", "192.0.2.1"), NOW, NOW + timedelta(days=365)),
    matches=True,
    trusted=True,
)


@pytest.mark.parametrize(
    ("state", "names", "now", "steps", "reason"),
    [
        (GOOD, ("db1", "192.0.2.1"), NOW, (), None),
        (GOOD, ("192.0.2.1", "DB1"), NOW, (), None),
        (GOOD, ("db1", "192.0.2.1"), NOW + timedelta(days=245), (), None),
        (GOOD, ("db1", "192.0.2.1"), NOW + timedelta(days=246), ("sign",), "it ends on 2027-11-21"),
        (GOOD, ("db1", "192.0.2.1"), NOW + timedelta(days=9999), ("sign",), "it ends on 2027-11-21"),
        (GOOD, ("db1",), NOW, ("sign",), "it is for db1, 192.0.2.1"),
        (CertificateState(), ("db1",), NOW, ("make-key", "sign"), "there is none"),
        (CertificateState(key=True), ("db1",), NOW, ("sign",), "there is none"),
        (replace(GOOD, key=False), ("db1",), NOW, ("make-key", "sign"), "its key is not there"),
        (replace(GOOD, matches=False), ("db1",), NOW, ("sign",), "it is not the key's"),
        (replace(GOOD, trusted=False), ("db1",), NOW, ("sign",), "another authority signed it"),
        (replace(GOOD, key_exposed=True), ("db1", "192.0.2.1"), NOW, ("protect-key",), None),
    ],
)
def test_what_is_missing(
    state: CertificateState, names: tuple[str, ...], now: datetime, steps: tuple[str, ...], reason: str | None
) -> None:
    plan = plan_certificate(names, 120, state, now)
    assert (plan.steps, plan.reason) == (steps, reason)
