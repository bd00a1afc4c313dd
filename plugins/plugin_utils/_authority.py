# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The private authority that signs the certificates of servers. Its key never leaves the controller's store.

Controller only. cryptography is there because ansible-core needs it for ansible-vault.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from ..module_utils._engine.core.errors import Refused
from ._secrets import Store

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

_KEY, _CERTIFICATE = "ca/ca.key", "ca/ca.crt"
_DAYS = 3650
#: Clocks of hosts differ; a certificate that begins in the future is refused by them.
_CLOCK_SKEW = timedelta(minutes=10)
#: X.520: a common name has at most 64 letters.
_LONGEST_COMMON_NAME = 64


class Authority:
    """The authority of one secret store, made with its first certificate."""

    def __init__(self, store: Store) -> None:
        """Raises :class:`Refused` ``cryptography-missing``."""
        if MISSING is not None:
            raise Refused(
                "cryptography-missing",
                attempted="use the private authority",
                happened=f"the controller's Python cannot load cryptography: {MISSING}",
                remedy="Install it beside ansible-core: python -m pip install cryptography",
            )
        self._store = store
        self._made_key: str | None = None

    def certificate(self) -> str:
        """Its certificate (PEM), which clients need to know servers by."""
        # Without `keep` the store forgets: the key must be the same when both are made up.
        self._made_key = self._store.make(_KEY, lambda: self._made_key or _new_key())
        key = _load_key(self._made_key)
        return self._store.make(_CERTIFICATE, lambda: _self_signed(key)) + "\n"

    def sign(
        self, request: str, *, common_name: str, names: Sequence[str], days: int, client: bool = False
    ) -> str:
        """A certificate (PEM) for the key of a request; of what else the request says nothing is believed.

        A ``client`` may also show it to servers, which take its common name for a role's (method cert).

        Raises :class:`Refused`: ``request-invalid``, ``authority-expires``, ``authority-damaged``.
        """
        authority = x509.load_pem_x509_certificate(self.certificate().encode())
        key = _load_key(self._made_key or "")
        now = datetime.now(timezone.utc)
        end = now + timedelta(days=days)
        if key.public_key() != authority.public_key():
            raise Refused(
                "authority-damaged",
                attempted="sign a certificate",
                happened=f"{_KEY} and {_CERTIFICATE} in the secret store do not belong together",
                remedy="Bring both back from a copy of the store.",
            )
        if end > authority.not_valid_after_utc:
            raise Refused(
                "authority-expires",
                attempted=f"sign a certificate for {days} days",
                happened=f"the authority itself ends on {authority.not_valid_after_utc:%Y-%m-%d}",
                remedy="Move ca/ca.key and ca/ca.crt aside in the secret store, run the play again, and give"
                " the new ca.crt to all clients.",
            )
        wanted = x509.load_pem_x509_csr(request.encode())
        if not wanted.is_signature_valid:
            raise Refused(
                "request-invalid",
                attempted="sign a certificate",
                happened="the request is not signed with its own key",
                remedy="Run the play again.",
            )
        public_key = wanted.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(authority.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH] + ([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])
                ),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
            )
        )
        return _pem(builder.sign(key, hashes.SHA256()))


def _new_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except ValueError as error:
        raise _damaged() from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged()
    return key


def _damaged() -> Refused:
    return Refused(
        "authority-damaged",
        attempted="read the key of the private authority",
        happened=f"{_KEY} in the secret store is not a key that we made",
        remedy="Bring it back from a copy of the store.",
    )


def _self_signed(key: ec.EllipticCurvePrivateKey) -> str:
    now = datetime.now(timezone.utc)
    # Two authorities must not be taken for one because of equal names.
    name = _name(f"dbkeeper.ops private authority {secrets.token_hex(4)}")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pem(builder.sign(key, hashes.SHA256()))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_LONGEST_COMMON_NAME])])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _usage(**allowed: bool) -> x509.KeyUsage:
    kinds = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    kinds += ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{kind: allowed.get(kind, False) for kind in kinds})
