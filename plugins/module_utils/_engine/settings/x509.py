# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a certificate says of itself: for whom, by whom, from when until when. Pure, standard library only.

Nothing is verified here. Python's library shows certificates only to who has been through a handshake, and a
managed host need not have more; so the few fields that are wanted are read from the DER (source: RFC 5280, X.690).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ..core.clock import format_utc
from ..core.errors import Refused

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
_COMMON_NAME = bytes.fromhex("550403")
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
_SEQUENCE, _OID, _UTC_TIME, _EXTENSIONS, _DNS, _ADDRESS = 0x30, 0x06, 0x17, 0xA3, 0x82, 0x87


@dataclass(frozen=True)
class Certificate:
    """The fields that are used. ``names`` are DNS names and addresses it is valid for; times are UTC."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime

    @property
    def lifetime(self) -> timedelta:
        """From the first moment to the last."""
        return self.not_after - self.not_before

    def to_dict(self) -> dict[str, object]:
        """JSON values."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "names": list(self.names),
            "not_before": format_utc(self.not_before),
            "not_after": format_utc(self.not_after),
        }


def read_certificate(pem: str, *, source: str) -> Certificate:
    """The first certificate in a text, the server's own. Raises :class:`Refused` ``certificate-malformed``."""
    found = _PEM.search(pem)
    if not found:
        raise _malformed(source, "there is no certificate in it")
    try:
        return _read(base64.b64decode("".join(found[1].split()), validate=True))
    except (binascii.Error, ValueError, LookupError) as error:
        raise _malformed(source, f"the first certificate in it cannot be read: {error}") from error


def _malformed(source: str, happened: str) -> Refused:
    return Refused(
        "certificate-malformed",
        attempted=f"read the certificate {source}",
        happened=happened,
        remedy="Put a certificate in PEM form there, the server's own first.",
        details={"path": source},
    )


def _read(der: bytes) -> Certificate:
    fields = list(_parts(_content(_content(der, _SEQUENCE), _SEQUENCE)))
    # Version 1 has no number.
    if fields[0][0] == 0xA0:
        fields.pop(0)
    dummy_serial, dummy_algorithm, issuer, validity, subject = (content for dummy, content in fields[:5])
    first, last = (_time(tag, content) for tag, content in _parts(validity))
    extensions = next((content for tag, content in fields[5:] if tag == _EXTENSIONS), b"")
    return Certificate(_common_name(subject), _common_name(issuer), tuple(_names(extensions)), first, last)


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of what stands one after the other."""
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(data[position : position + octets], "big")
            position += octets
        if position + length > len(data):
            raise ValueError("it ends too early")
        yield tag, data[position : position + length]
        position += length


def _content(data: bytes, tag: int) -> bytes:
    found, content = next(_parts(data), (0, b""))
    if found != tag:
        raise ValueError(f"tag {found:#04x} where {tag:#04x} was expected")
    return content


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        # Two digits: 50 to 99 are of the last century (RFC 5280, 4.1.2.5.1).
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)


def _common_name(name: bytes) -> str:
    """The common name; empty where there is none."""
    for _dummy_set, attributes in _parts(name):
        for _dummy_sequence, attribute in _parts(attributes):
            (tag, oid), (dummy_kind, value) = list(_parts(attribute))[:2]
            if (tag, oid) == (_OID, _COMMON_NAME):
                return value.decode("utf-8", "replace")
    return ""


def _names(extensions: bytes) -> Iterator[str]:
    """Alternative names: of all kinds only those that a client of a server compares."""
    if not extensions:
        return
    for _dummy_tag, extension in _parts(_content(extensions, _SEQUENCE)):
        parts = list(_parts(extension))
        if parts[0] != (_OID, _ALTERNATIVE_NAMES):
            continue
        for tag, value in _parts(_content(parts[-1][1], _SEQUENCE)):
            if tag == _DNS:
                yield value.decode("ascii", "replace")
            elif tag == _ADDRESS:
                yield str(ipaddress.ip_address(value))
