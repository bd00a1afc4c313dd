# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A server's key and certificate. The key is made here and never leaves; the authority lives elsewhere.

Two calls make a certificate: the first says whether one is needed and gives the request for it, the second
brings what was signed. Between them, and after a kill, the server's pair of files is whole: the key stays the same
for ever (remove it to have a new one), so a new certificate is one rename.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..core.clock import utc_now
from ..core.errors import KeeperError, Refused
from ..core.files import make_directory, rename_durable, write_durable
from ..core.privilege import Owner, as_root, assume
from ..core.run import run
from .x509 import Certificate, read_certificate

_KEY_MODE = 0o600
_CERTIFICATE_MODE = 0o644
_DIRECTORY_MODE = 0o755
_INSTALL_OPENSSL = "Install the package openssl on this host; if it is there, read its words above."


@dataclass(frozen=True)
class CertificateRequest:
    """Which certificate is wanted, and where.

    ``authority`` is the authority's certificate (PEM); ``signed`` the new certificate, in the second call.
    ``renew_before_days``: one that ends sooner is replaced.
    """

    directory: str
    name: str
    names: tuple[str, ...]
    authority: str
    renew_before_days: int
    signed: str | None = None

    @property
    def key(self) -> str:
        """Path of the key."""
        return f"{self.directory}/{self.name}.key"

    @property
    def certificate(self) -> str:
        """Path of the certificate."""
        return f"{self.directory}/{self.name}.crt"

    @property
    def authority_file(self) -> str:
        """Path of the authority's certificate, for clients on this host."""
        return f"{self.directory}/{self.name}-ca.crt"

    def files(self) -> dict[str, str]:
        """As JSON values."""
        return {"key": self.key, "certificate": self.certificate, "authority": self.authority_file}


@dataclass(frozen=True)
class CertificateState:
    """What is there. ``matches``: the certificate is the key's; ``trusted``: the authority signed it."""

    key: bool = False
    key_exposed: bool = False
    certificate: Certificate | None = None
    matches: bool = False
    trusted: bool = False


@dataclass(frozen=True)
class CertificatePlan:
    """``steps`` in order: ``protect-key``, ``make-key``, ``sign``; ``reason`` says why it must be signed."""

    steps: tuple[str, ...]
    reason: str | None = None


def plan_certificate(
    names: Sequence[str], renew_before_days: int, state: CertificateState, now: datetime
) -> CertificatePlan:
    """What is missing. Pure."""
    steps = ["protect-key"] if state.key_exposed else []
    reason = _reason(names, renew_before_days, state, now)
    if not state.key:
        steps.append("make-key")
    if reason:
        steps.append("sign")
    return CertificatePlan(tuple(steps), reason)


def _reason(
    names: Sequence[str], renew_before_days: int, state: CertificateState, now: datetime
) -> str | None:
    found = state.certificate
    if found is None:
        return "there is none"
    if not state.key:
        return "its key is not there"
    if not state.matches:
        return "it is not the key's"
    if not state.trusted:
        return "another authority signed it"
    if {_comparable(name) for name in names} != {_comparable(name) for name in found.names}:
        return f"it is for {', '.join(found.names)}"
    if found.not_after - now < timedelta(days=renew_before_days):
        return f"it ends on {found.not_after:%Y-%m-%d}"
    return None


def _comparable(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def be_user(name: str, *, check: bool) -> bool:
    """Work as that user of the system from here on. False where check mode finds that it is still to come.

    Raises :class:`Refused` ``user-unknown``.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        if check:
            return False
        raise Refused(
            "user-unknown",
            attempted=f"work as the owner of the certificate, {name}",
            happened="there is no such user",
            remedy="Install the server first: its package makes the user.",
        ) from error
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    assume(Owner(entry.pw_name, entry.pw_uid, entry.pw_gid, groups))
    return True


def ensure_certificate(request: CertificateRequest, *, check: bool) -> dict[str, Any]:
    """Do what can be done on this host; ``request`` in the result is to be signed where that is needed.

    Raises :class:`Refused`: ``certificate-foreign`` (what was signed is not for this key, or by another
    authority); :class:`Failed` of the programs that are run.
    """
    before = look(request)
    plan = plan_certificate(request.names, request.renew_before_days, before, utc_now())
    text = None
    if not check:
        if "protect-key" in plan.steps:
            os.chmod(request.key, _KEY_MODE)
        if "make-key" in plan.steps:
            _make_key(request)
        if "sign" in plan.steps and request.signed:
            _place(request, request.signed)
        elif "sign" in plan.steps:
            text = _signing_request(request)
    after = look(request) if plan.steps and not check else before
    return {
        "changed": bool(plan.steps),
        "executed": bool(plan.steps) and not check and text is None,
        "plan": list(plan.steps),
        "reason": plan.reason,
        "request": text,
        "files": request.files(),
        "certificate": after.certificate.to_dict() if after.certificate else None,
        "diff": {
            "before": before.certificate.to_dict() if before.certificate else {},
            "after": after.certificate.to_dict() if after.certificate else {"names": list(request.names)},
        },
    }


def look(request: CertificateRequest) -> CertificateState:
    """What is there; changes nothing."""
    try:
        mode = os.stat(request.key).st_mode
    except FileNotFoundError:
        mode = None
    found = _read(request.certificate)
    if found is None:
        return CertificateState(key=mode is not None, key_exposed=_exposed(mode))
    try:
        certificate = read_certificate(found, source=request.certificate)
    except Refused:
        # A damaged one is as good as none: a new one is made.
        return CertificateState(key=mode is not None, key_exposed=_exposed(mode))
    return CertificateState(
        key=mode is not None,
        key_exposed=_exposed(mode),
        certificate=certificate,
        matches=mode is not None and belongs(request.key, request.certificate),
        trusted=_read(request.authority_file) == request.authority
        and _signed_by(request.authority_file, request.certificate),
    )


def check_given(
    certificate: str, key: str, authority: str | None, *, now: datetime | None = None
) -> dict[str, Any]:
    """Look at files that somebody else keeps. Must run as the server's user.

    Raises :class:`Refused`: ``certificate-missing``, ``certificate-malformed``, ``certificate-expired``,
    ``certificate-foreign`` (not the key's), ``key-exposed`` (the server takes no key that others can read).
    """
    attempted = f"use the certificate {certificate} with the key {key}"
    remedy = "Put the right files there (postgresql_tls_files), or leave the certificate to postgresql_tls: generated."
    for path in filter(None, (certificate, key, authority)):
        if not os.access(path, os.R_OK):
            raise Refused(
                "certificate-missing",
                attempted=attempted,
                happened=f"{path} is not there, or the server's user cannot read it",
                remedy=remedy,
                details={"path": path},
            )
    entry = os.stat(key)
    allowed = 0o640 if entry.st_uid == 0 else 0o600
    if stat.S_IMODE(entry.st_mode) & ~allowed:
        raise Refused(
            "key-exposed",
            attempted=attempted,
            happened=f"{key} has mode {stat.S_IMODE(entry.st_mode):04o}, and the server refuses such a key",
            remedy=f"chmod {allowed:04o} {key}",
            details={"path": key},
        )
    found = read_certificate(_read(certificate) or "", source=certificate)
    if found.not_after <= (now or utc_now()):
        raise Refused(
            "certificate-expired",
            attempted=attempted,
            happened=f"it ended on {found.not_after:%Y-%m-%d %H:%M} UTC",
            remedy="Have it renewed.",
            details={"path": certificate, "not_after": found.to_dict()["not_after"]},
        )
    if not belongs(key, certificate):
        raise _foreign(attempted, "the key is not that of the certificate", remedy)
    return _given(certificate, key, authority, found)


def given_later(certificate: str, key: str, authority: str | None) -> dict[str, Any]:
    """The result for a host where the server is still to come (check mode): nothing can be looked at yet."""
    return _given(certificate, key, authority, None)


def _given(certificate: str, key: str, authority: str | None, found: Certificate | None) -> dict[str, Any]:
    return {
        "changed": False,
        "executed": False,
        "plan": [],
        "reason": None,
        "request": None,
        "files": {"key": key, "certificate": certificate, "authority": authority},
        "certificate": found.to_dict() if found else None,
    }


def belongs(key: str, certificate: str) -> bool:
    """Whether the certificate is the key's: both show the same public key."""
    shown = [
        _openssl(["x509", "-in", certificate, "-noout", "-pubkey"], f"read the certificate {certificate}"),
        _openssl(["pkey", "-in", key, "-pubout"], f"read the key {key}"),
    ]
    return shown[0] == shown[1]


def _signed_by(authority: str, certificate: str) -> bool:
    argv = ["openssl", "verify", "-no_check_time", "-CAfile", authority, certificate]
    attempted = f"see who signed {certificate}"
    return run(argv, attempted=attempted, remedy=_INSTALL_OPENSSL, accept=(0, 1, 2)).status == 0


def _openssl(arguments: Sequence[str], attempted: str) -> str:
    return run(["openssl", *arguments], attempted=attempted, remedy=_INSTALL_OPENSSL).out


def _make_key(request: CertificateRequest) -> None:
    _make_directory(request.directory)
    argv = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    write_durable(request.key, _openssl(argv, "make a key").encode(), _KEY_MODE)


def _make_directory(path: str) -> None:
    try:
        make_directory(path, _DIRECTORY_MODE)
    except PermissionError:
        # Only root may write above it, so nobody else can put a link in its place.
        uid, gid = os.geteuid(), os.getegid()
        with as_root():
            make_directory(path, _DIRECTORY_MODE)
            os.chown(path, uid, gid, follow_symlinks=False)


def _signing_request(request: CertificateRequest) -> str:
    # Who it is for is decided where it is signed; a request wants some name all the same.
    argv = ["req", "-new", "-key", request.key, "-subj", "/CN=dbkeeper", "-config", "/dev/null"]
    return _openssl(argv, "ask for a certificate")


def _place(request: CertificateRequest, signed: str) -> None:
    """Prove it, then let it take the place of the old one."""
    attempted = f"place the new certificate {request.certificate}"
    remedy = "Run the play again. The old certificate is still in its place."
    fresh_authority, fresh = f"{request.authority_file}.new", f"{request.certificate}.new"
    write_durable(fresh_authority, request.authority.encode(), _CERTIFICATE_MODE)
    write_durable(fresh, signed.encode(), _CERTIFICATE_MODE)
    try:
        known = belongs(request.key, fresh)
    except KeeperError as error:
        raise _foreign(attempted, f"it cannot be read: {error.happened}", remedy) from error
    if not known:
        raise _foreign(attempted, "it is not for this host's key", remedy)
    if not _signed_by(fresh_authority, fresh):
        raise _foreign(attempted, "the authority did not sign it", remedy)
    rename_durable(fresh_authority, request.authority_file)
    rename_durable(fresh, request.certificate)


def _foreign(attempted: str, happened: str, remedy: str) -> Refused:
    return Refused("certificate-foreign", attempted=attempted, happened=happened, remedy=remedy)


def _exposed(mode: int | None) -> bool:
    return mode is not None and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except FileNotFoundError:
        return None
