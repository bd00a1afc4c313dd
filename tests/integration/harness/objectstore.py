# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""An S3 server on the loopback, with TLS and a CA of its own, and with faults that a test asks for.

The server is moto's; the faults stand before it: what a store, its network or its owner may do to a request.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "vault"
_DAY = datetime.timedelta(days=1)

#: What is asked of a fault: method, path, number of such requests so far; it answers what is to be done, or None.
Fault = Callable[[str, str, int], "str | None"]


class _Connection(WSGIRequestHandler):
    """It stays, as a store's does: a handshake for each request is most of what a request costs."""

    protocol_version = "HTTP/1.1"

    def handle_expect_100(self) -> bool:
        """Werkzeug answers that by itself."""
        return True


class ObjectStore:
    """``endpoint``, ``ca_file``, ``credentials_file`` for a description; ``requests`` is what was asked of it."""

    def __init__(self, root: Path, address: str = "127.0.0.1", port: int = 0) -> None:
        root.mkdir(parents=True)
        self.ca_file = root / "ca.pem"
        self.credentials_file = root / "credentials"
        self.credentials_file.write_text(
            "[default]\naws_access_key_id = AKIATESTTESTTESTTEST\naws_secret_access_key = not-a-secret-one\n"
        )
        self.credentials_file.chmod(0o600)
        self.address = address
        key = _certificates(root, address)
        self.fault: Fault | None = None
        self.requests: list[tuple[str, str]] = []
        #: What was said beside each request of Amazon's own headers, by the lower-case name without ``x-amz-``.
        self.headers: list[tuple[str, str, dict[str, str]]] = []
        #: Who was asked to be silent is so until then.
        self._awake = threading.Event()
        self._counts: dict[tuple[str, str], int] = {}
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            address,
            port,
            self._serve,
            threaded=True,
            request_handler=_Connection,
            ssl_context=(str(self.ca_file), str(key)),
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.client.create_bucket(Bucket=BUCKET)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"https://{self.address}:{self._server.port}"

    @property
    def client(self) -> Any:
        """A client of the test's own."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            verify=str(self.ca_file),
            region_name="us-east-1",
            aws_access_key_id="AKIATESTTESTTESTTEST",
            aws_secret_access_key="not-a-secret-one",
        )

    def wish(self, prefix: str = "pg", **more: Any) -> dict[str, Any]:
        """A copy's description."""
        return {
            "to": f"s3://{BUCKET}/{prefix}",
            "endpoint": self.endpoint,
            "ca_file": str(self.ca_file),
            "credentials_file": str(self.credentials_file),
            **more,
        }

    def objects(self, prefix: str = "") -> dict[str, int]:
        """Key -> bytes of all objects, asked by the test's own client."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", ())}

    def bytes_of(self, key: str) -> bytes:
        """An object."""
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def close(self) -> None:
        """The server ends, and what it held goes."""
        self.fault = None
        self._awake.set()
        left = [{"Key": key} for key in self.objects()]
        for begin in range(0, len(left), 1000):
            self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": left[begin : begin + 1000]})
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path))
        said = {
            name[11:].replace("_", "-").lower(): text
            for name, text in environ.items()
            if "HTTP_X_AMZ_" in name
        }
        self.headers.append((method, path, said))
        number = self._counts[method, path] = self._counts.get((method, path), 0) + 1
        what = self.fault(method, path, number) if self.fault else None
        if what is None:
            answer: Iterable[bytes] = self._app(environ, start)
            return answer
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return self._failing(what, body, environ, start)

    def _failing(self, what: str, body: bytes, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        from io import BytesIO

        if what in ("truncate", "flip"):
            # It says that all is well, and keeps something else.
            body = body[: len(body) // 2] if what == "truncate" else bytes([body[0] ^ 1]) + body[1:]
            environ["wsgi.input"] = BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
            for name in list(environ):
                if "CHECKSUM" in name or name in ("HTTP_CONTENT_MD5", "HTTP_X_AMZ_CONTENT_SHA256"):
                    del environ[name]
            answer: Iterable[bytes] = self._app(environ, start)
            return answer
        if what == "cut":
            # The answer never comes whole: the connection ends in the middle of it.
            last = ("Connection", "close")
            if environ["REQUEST_METHOD"] == "GET":
                told = self._app(
                    environ, lambda status, headers, *more: start(status, [*headers, last], *more)
                )
                whole = b"".join(told)
                return [whole[: len(whole) // 2]]
            start("200 OK", [("Content-Length", "1000"), last])
            return [b"half an answer"]
        if what == "silent":
            # It takes everything, and says nothing: a network that drops what comes back.
            self._awake.wait(60)
            what = "500"
        status, code = _ANSWERS[what]
        text = (
            f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>asked for by a test</Message></Error>"
        )
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))])
        return [text.encode()]


_ANSWERS = {
    "500": ("500 Internal Server Error", "InternalError"),
    "503": ("503 Slow Down", "SlowDown"),
    "timeout": ("400 Bad Request", "RequestTimeout"),
    "bad-digest": ("400 Bad Request", "BadDigest"),
    "denied": ("403 Forbidden", "AccessDenied"),
    "no-bucket": ("404 Not Found", "NoSuchBucket"),
    "full": ("507 Insufficient Storage", "InsufficientStorage"),
}


def _certificates(root: Path, address: str) -> Path:
    """A certificate that is its own authority; the path of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.datetime.now(datetime.timezone.utc)
    import ipaddress

    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Hosts may live in the past.
        .not_valid_before(now - 100 * _DAY)
        .not_valid_after(now + 30 * _DAY)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (root / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (root / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return root / "key.pem"
