# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Just enough of PostgreSQL's protocol to ask a pooler or a server one question.

The admin console takes the simple query protocol only, and a host that only pools has neither psql nor psycopg.
Logging in needs no secret here: the socket tells who asks (peer), or a certificate does (cert).
Source: PostgreSQL manual, 55.2 Message Flow and 55.7 Message Formats.
"""

from __future__ import annotations

import socket
import ssl
import struct
from types import TracebackType
from typing import Optional

Row = dict[str, Optional[str]]

_PROTOCOL = 196608
_SSL_REQUEST = 80877103
_PASSWORD_KINDS = {
    3: "a password in clear text",
    5: "an MD5 password",
    7: "GSSAPI",
    9: "SSPI",
    10: "a password (SCRAM)",
}


class Rejected(Exception):
    """The other side answered, and said no. ``sqlstate`` is empty where it gave none."""

    def __init__(self, message: str, sqlstate: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate


class Session:
    """One connection; use it as a context manager.

    ``host`` that begins with a slash is a directory of sockets. Network faults are OSError, everything that
    the other side says is :class:`Rejected`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        user: str,
        database: str,
        tls: ssl.SSLContext | None = None,
        tls_optional: bool = False,
        timeout: float = 10.0,
    ) -> None:
        if host.startswith("/"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(timeout)
            try:
                self._socket.connect(f"{host}/.s.PGSQL.{port}")
            except OSError:
                self._socket.close()
                raise
        else:
            self._socket = socket.create_connection((host, port), timeout=timeout)
        try:
            if tls is not None and not host.startswith("/"):
                self._encrypt(tls, host, tls_optional)
            self._log_in(user, database)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say good-bye; no error when the other side has gone."""
        try:
            self._socket.sendall(b"X" + struct.pack("!i", 4))
        except OSError:
            pass
        self._socket.close()

    def query(self, sql: str, *, timeout: float | None = None) -> list[Row]:
        """Rows of one statement, values as texts, NULL as None."""
        if timeout is not None:
            self._socket.settimeout(timeout)
        text = sql.encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text)
        return self._answer()

    def _encrypt(self, tls: ssl.SSLContext, host: str, optional: bool) -> None:
        self._socket.sendall(struct.pack("!ii", 8, _SSL_REQUEST))
        said = self._socket.recv(1)
        if said == b"S":
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        elif not optional:
            raise Rejected("the server does not support TLS, but TLS is required")

    def _log_in(self, user: str, database: str) -> None:
        pairs = {"user": user, "database": database, "application_name": "dbkeeper"}
        body = b"".join(f"{name}\0{value}\0".encode() for name, value in pairs.items()) + b"\0"
        self._socket.sendall(struct.pack("!ii", len(body) + 8, _PROTOCOL) + body)
        self._answer()

    def _answer(self) -> list[Row]:
        """Everything up to "ready for query"; the first error ends a login at once."""
        names: list[str] = []
        rows: list[Row] = []
        errors: list[Rejected] = []
        while True:
            kind, body = self._message()
            if kind == b"R":
                (wanted,) = struct.unpack_from("!i", body)
                if wanted != 0:
                    raise Rejected(
                        f"the server asks for {_PASSWORD_KINDS.get(wanted, f'authentication {wanted}')}"
                    )
            elif kind == b"T":
                names = _column_names(body)
            elif kind == b"D":
                rows.append(dict(zip(names, _values(body))))
            elif kind == b"E":
                said = _rejected(body)
                if said.sqlstate.startswith(("28", "3D", "53", "57")) or b"SFATAL\0" in body:
                    raise said
                errors.append(said)
            elif kind == b"Z":
                if errors:
                    raise errors[0]
                return rows

    def _message(self) -> tuple[bytes, bytes]:
        head = self._read(5)
        (length,) = struct.unpack("!i", head[1:])
        return head[:1], self._read(length - 4)

    def _read(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count > 0:
            part = self._socket.recv(min(count, 1 << 16))
            if not part:
                raise ConnectionResetError("the other side closed the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def certificate_shown(host: str, port: int, *, timeout: float = 10.0) -> bytes | None:
    """The certificate (DER) that whoever connects is shown; None where TLS is not offered.

    Nothing is verified, and nobody logs in. Raises OSError, which a failed handshake is as well.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((host, port), timeout=timeout) as plain:
        plain.sendall(struct.pack("!ii", 8, _SSL_REQUEST))
        said = plain.recv(1)
        if said == b"N":
            return None
        if said != b"S":
            raise ConnectionResetError("it does not say whether it offers TLS")
        with context.wrap_socket(plain) as wrapped:
            return wrapped.getpeercert(binary_form=True)


def _column_names(body: bytes) -> list[str]:
    (count,) = struct.unpack_from("!h", body)
    names, position = [], 2
    for _dummy in range(count):
        end = body.index(b"\0", position)
        names.append(body[position:end].decode())
        position = end + 19
    return names


def _values(body: bytes) -> list[str | None]:
    (count,) = struct.unpack_from("!h", body)
    values: list[str | None] = []
    position = 2
    for _dummy in range(count):
        (length,) = struct.unpack_from("!i", body, position)
        position += 4
        if length < 0:
            values.append(None)
            continue
        values.append(body[position : position + length].decode(errors="replace"))
        position += length
    return values


def _rejected(body: bytes) -> Rejected:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return Rejected(fields.get(b"M", "no message"), fields.get(b"C", ""))
