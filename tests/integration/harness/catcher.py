# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A mail server and a web server on the loopback that keep what they are sent, and fail when a test asks for it."""

from __future__ import annotations

import datetime
import email
import email.policy
import ipaddress
import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "alarm", "pass-word-of-the-channel"
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate that is its own authority."""

    path: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        """For a server."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.path, self.key)
        return made


def make_certificate(root: Path, address: str = "127.0.0.1") -> Certificate:
    """For one address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    root.mkdir(parents=True, exist_ok=True)
    found = Certificate(root / "certificate.pem", root / "key.pem")
    found.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return found


@dataclass(frozen=True)
class Mail:
    """One mail as it came: who it was for, and the parsed message."""

    to: tuple[str, ...]
    raw: bytes

    @property
    def message(self) -> EmailMessage:
        """Decoded by Python's own parser."""
        found = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found

    @property
    def text(self) -> str:
        """Its body."""
        return str(self.message.get_content())


class MailCatcher:
    """``tls``: ``starttls`` (demanded before anything else), ``tls`` from the first byte, ``none``.

    ``answers``: what it says to the next mails instead of taking them, such as ``451 try again later``;
    ``unknown``: recipients that it refuses. A login is demanded unless ``login`` is False.
    """

    def __init__(
        self, certificate: Certificate, *, tls: str = "starttls", login: bool = True, port: int = 0
    ) -> None:
        self.mails: list[Mail] = []
        self.answers: list[str] = []
        self.unknown: set[str] = set()
        self.logins: list[tuple[str, bool]] = []
        options: dict[str, Any] = {}
        if tls == "starttls":
            options = {"tls_context": certificate.context, "require_starttls": True}
        if login:
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                # By TLS from the first byte it is there already, which the library does not know.
                "auth_require_tls": tls == "starttls",
            }
        context = certificate.context if tls == "tls" else None
        self._controller: _Controller | None = _Controller(
            self, hostname="127.0.0.1", port=port, ssl_context=context, **options
        )
        self._controller.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._controller is not None
        return int(self._controller.server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """It listens no longer; again is no harm."""
        controller, self._controller = self._controller, None
        if controller is not None:
            controller.stop()

    def _authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = (data.login.decode(), data.password.decode()) == (USER, PASSWORD)
        self.logins.append((data.login.decode(), good))
        return AuthResult(success=good, handled=good)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.unknown:
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(Mail(tuple(envelope.rcpt_tos), bytes(envelope.content)))
        return "250 OK"


class _Controller(Controller):
    """With a port of the system's choice; the original tries to connect to the number that it was given."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """Its body."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


class WebCatcher:
    """Takes POSTs by HTTPS. ``answers``: status, headers and text for the next ones instead of 200 and ``ok``."""

    def __init__(self, certificate: Certificate | None) -> None:
        self.requests: list[Request] = []
        self.answers: list[tuple[int, dict[str, str], str]] = []
        catcher = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                catcher.requests.append(Request(self.path, dict(self.headers), self.rfile.read(length)))
                status, headers, text = catcher.answers.pop(0) if catcher.answers else (200, {}, "ok")
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self) -> None:
                catcher.requests.append(Request(self.path, dict(self.headers), b""))
                self.send_error(404)

            def log_message(self, *_arguments: Any) -> None:
                """pytest's output is not its log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            self._server.socket = certificate.context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if certificate else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def url(self, path: str) -> str:
        """An address here."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}{path}"

    def close(self) -> None:
        """It listens no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def mailbox(server: MailCatcher, **more: Any) -> dict[str, Any]:
    """The channel of a notification that leads to a catcher."""
    return {
        "type": "mail",
        "host": "127.0.0.1",
        "port": server.port,
        "tls": "starttls",
        "user": USER,
        "password": PASSWORD,
        "from": "dbkeeper@example.com",
        "to": ["dba@example.com"],
        **more,
    }
