# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The one place where boto3 is used: a client for one bucket, and its errors as our own.

boto3 is the distribution's package (python3-boto3). The host command runs isolated and without the site packages, so
their directories are added here, behind everything else and only when a copy in S3 is used.
"""

from __future__ import annotations

import configparser
import os
import site
import stat
import sys
from typing import Any

from ..cluster.wishes_copies import CopyWish
from ..core.errors import Failed, KeeperError, Refused
from .stores import Passing, Patience, denied, full, unreachable

_PASSING = frozenset(
    ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException")
    + ("BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "OperationAborted")
    + ("RequestLimitExceeded", "XAmzContentChecksumMismatch", "BandwidthLimitExceeded")
)
_DENIED = frozenset(
    ("AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")
    + ("InvalidToken", "AccountProblem", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed")
)
_MISSING = frozenset(("NoSuchKey", "NotFound", "404", "NoSuchUpload"))
_FULL = frozenset(("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull"))
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Missing(Exception):
    """There is no such object."""


class Client:
    """Calls to one bucket; no call is tried twice here."""

    def __init__(self, wish: CopyWish, patience: Patience) -> None:
        self.where = f"{wish.to} ({wish.endpoint})" if wish.endpoint else wish.to
        self.bucket = wish.to[len("s3://") :].partition("/")[0]
        boto3, config, exceptions = _libraries()
        # What an S3 client may raise, for the callers of :meth:`call` and the readers of a body.
        self._faults: tuple[type[Exception], ...] = (exceptions.BotoCoreError, exceptions.ClientError)
        options: dict[str, Any] = {
            "retries": {"max_attempts": 0},
            "connect_timeout": patience.connect_seconds,
            "read_timeout": patience.silence_seconds,
            "signature_version": "s3v4",
            "s3": {"addressing_style": "path" if wish.endpoint else "auto"},
        }
        try:
            # Other stores than Amazon's do not know the trailers that newer versions send by themselves.
            settings = config(
                **options,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
        except TypeError:
            settings = config(**options)
        keys = _credentials(wish.credentials_file) if wish.credentials_file else {}
        try:
            self._client = boto3.session.Session().client(
                "s3",
                endpoint_url=wish.endpoint,
                region_name=wish.region or keys.pop("region", None) or "us-east-1",
                verify=wish.ca_file or True,
                config=settings,
                **{name: value for name, value in keys.items() if name != "region"},
            )
        except (*self._faults, ValueError) as error:
            raise unreachable(self.where, "make a client for S3", str(error)) from error
        members = self._client.meta.service_model.operation_model("PutObject").input_shape.members
        #: Whether the library can send SHA-256 with what is stored (from 1.24 on).
        self.checksums = "ChecksumSHA256" in members

    def telling(self, checksum: str) -> dict[str, str]:
        """What makes a store keep the SHA-256 (base64) of what it gets, and tell it: some ask for its name, too."""
        return {"ChecksumSHA256": checksum, "ChecksumAlgorithm": "SHA256"} if self.checksums else {}

    def call(self, name: str, attempted: str, **values: Any) -> dict[str, Any]:
        """One request. Raises :class:`Missing`, :class:`Passing`, and what does not pass as KeeperError."""
        try:
            answer = getattr(self._client, name)(Bucket=self.bucket, **values)
        except self._faults as error:
            raise self._fault(error, attempted) from error
        return dict(answer)

    def body(self, answer: dict[str, Any], size: int, attempted: str) -> bytes:
        """The next bytes of an object's body; empty at its end. Raises as :meth:`call`."""
        try:
            return bytes(answer["Body"].read(size))
        except self._faults as error:
            raise self._fault(error, attempted) from error
        except OSError as error:
            raise Passing(unreachable(self.where, attempted, str(error))) from error

    def close(self) -> None:
        """Let go of the connections."""
        closing = getattr(self._client, "close", None)
        if closing is not None:
            closing()

    def _fault(self, error: Exception, attempted: str) -> Exception:
        response = getattr(error, "response", None) or {}
        code = str(response.get("Error", {}).get("Code", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        words = str(error)[-600:]
        if code == "NoSuchBucket":
            return bucket_missing(self.where, self.bucket, attempted)
        if code in _MISSING or status == 404:
            return Missing(words)
        if code in _FULL or status == 507:
            return full(self.where, attempted)
        if code in _PASSING or status >= 500 or status in (408, 429):
            return Passing(unreachable(self.where, attempted, words))
        if code in _DENIED or status in (401, 403) or "credentials" in words.lower():
            return denied(self.where, attempted, words)
        if not response and "CERTIFICATE_VERIFY_FAILED" not in words and "Parameter" not in words:
            return Passing(unreachable(self.where, attempted, words))
        return unreachable(self.where, attempted, words)


def bucket_missing(where: str, bucket: str, attempted: str) -> KeeperError:
    """The bucket is gone, or never was."""
    return Refused(
        "copy-bucket-missing",
        attempted=attempted,
        happened=f"{where}: there is no bucket {bucket}",
        remedy="Make the bucket, or correct 'to', 'endpoint' and 'region' of the copy. If it was there, find out who "
        "removed it: the copies in it are gone.",
        details={"place": where, "bucket": bucket},
    )


def _libraries() -> tuple[Any, Any, Any]:
    for directory in site.getsitepackages():
        if directory not in sys.path and os.path.isdir(directory):
            sys.path.append(directory)
    try:
        import boto3
        import botocore.config
        import botocore.exceptions
    except ImportError as error:
        raise Refused(
            "library-missing",
            attempted="reach a copy in S3",
            happened=f"Python's library boto3 cannot be imported: {error}",
            remedy="Install the package python3-boto3 on this host.",
        ) from error
    return boto3, botocore.config.Config, botocore.exceptions


def _credentials(path: str) -> dict[str, str]:
    """As Amazon's tools write them: ``[default]`` with ``aws_access_key_id``, ``aws_secret_access_key``, perhaps
    ``aws_session_token`` and ``region``."""
    attempted = "read the credentials of a copy in S3"
    try:
        with open(path, encoding="utf-8") as handle:
            mode = os.fstat(handle.fileno()).st_mode
            if mode & _OTHERS:
                raise Refused(
                    "copy-credentials-exposed",
                    attempted=attempted,
                    happened=f"{path} has mode {stat.S_IMODE(mode):04o}: others can read it",
                    remedy=f"chmod 0600 {path}, and change the key, which others may have read.",
                    details={"path": path},
                )
            parser = configparser.ConfigParser(interpolation=None)
            parser.read_file(handle)
        section = parser["default" if parser.has_section("default") else parser.sections()[0]]
        keys = {
            "aws_access_key_id": section["aws_access_key_id"],
            "aws_secret_access_key": section["aws_secret_access_key"],
        }
    except (OSError, configparser.Error, KeyError, IndexError) as error:
        # Its text never goes into a message: it holds a secret.
        words = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise Failed(
            "copy-credentials-unreadable",
            attempted=attempted,
            happened=f"{path}: {words}",
            remedy="Write it as Amazon's tools do, owned by the cluster's owner, mode 0600: [default], "
            "aws_access_key_id = …, aws_secret_access_key = ….",
            details={"path": path},
        ) from None
    for name in ("aws_session_token", "region"):
        if section.get(name):
            keys[name] = section[name]
    return keys
