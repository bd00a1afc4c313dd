# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A copy in S3-compatible storage. A part or object counts when the store's own SHA-256 and its ETag (MD5) are those of
what was sent; a store that does not tell both has the object read again.

Big files go in parts, and parts that an earlier run sent are not sent again. Errors that pass are tried again with
pauses; nothing is reported as stored before it was looked at.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..cluster.wishes_copies import CopyWish
from ..core.errors import KeeperError
from .s3client import Client, Missing, bucket_missing
from .stores import BLOCK, Passing, Patience, Source, Stored, object_missing, patiently, wrong_digest

READ_BACK, STORE = "read-back", "store"
PART_BYTES = 16 << 20
_MOST_PARTS = 9000
#: A whole object is sent so often when what is stored is not what was sent.
_WHOLE_TRIES = 3


class S3Store:
    """Below ``s3://bucket/prefix/<cluster>``."""

    renames = False

    def __init__(self, wish: CopyWish, cluster: str, patience: Patience) -> None:
        self.where = f"{wish.to}/{cluster}"
        self._wish = wish
        self._client = Client(wish, patience)
        self._patience = patience
        prefix = wish.to[len("s3://") :].partition("/")[2]
        self._prefix = f"{prefix}/{cluster}/" if prefix else f"{cluster}/"
        self._extra: dict[str, Any] = {}
        if wish.storage_class:
            self._extra["StorageClass"] = wish.storage_class
        algorithm, _colon, key = (wish.server_side_encryption or "").partition(":")
        if algorithm == "aws":
            kind, _colon, key = key.partition(":")
            dsse = key == "dsse" or key.startswith("dsse:")
            algorithm, key = f"aws:{kind}{':dsse' if dsse else ''}", key[5:] if dsse else key
        if algorithm:
            self._extra["ServerSideEncryption"] = algorithm
        if key:
            self._extra["SSEKMSKeyId"] = key
        #: With a key management service an ETag is no MD5; then SHA-256 alone must do.
        self._plain_etags = not algorithm.startswith("aws")

    def read(self, key: str) -> bytes | None:
        """See :class:`Store`."""
        try:
            return b"".join(self._fetch(key))
        except Missing:
            self._must_have_bucket(f"read {key}")
            return None

    def write(self, key: str, data: bytes) -> None:
        """See :class:`Store`."""
        self.put(key, _Small(data))

    def names(self, prefix: str) -> dict[str, int]:
        """See :class:`Store`."""
        found: dict[str, int] = {}
        token: dict[str, str] = {}
        begin = f"{self._prefix}{prefix}/"
        while True:
            answer = self._call("list_objects_v2", f"list {prefix}", Prefix=begin, **token)
            for one in answer.get("Contents", ()):
                found[str(one["Key"])[len(self._prefix) :]] = int(one["Size"])
            if not answer.get("IsTruncated"):
                return found
            token = {"ContinuationToken": str(answer["NextContinuationToken"])}

    def put(self, key: str, source: Source) -> Stored:
        """See :class:`Store`."""
        patience = replace(self._patience, tries=min(_WHOLE_TRIES, self._patience.tries))
        return patiently(lambda: self._put(key, source), patience)

    def look(self, key: str) -> Stored | None:
        """See :class:`Store`; everything is read."""
        try:
            length, digest = self._digest(key)
        except Missing:
            return None
        return Stored(length, digest, READ_BACK)

    def fetch(self, key: str) -> Iterator[bytes]:
        """See :class:`Store`."""
        try:
            yield from self._fetch(key)
        except Missing as error:
            raise object_missing(self.where, key) from error

    def delete(self, key: str) -> None:
        """See :class:`Store`."""
        try:
            self._call("delete_object", f"remove {key}", Key=self._prefix + key)
        except Missing:
            return

    def move(self, old: str, new: str) -> None:
        """Not here: nothing has a place of its own before it is listed."""
        raise NotImplementedError(f"{old} cannot be renamed to {new} in S3")

    def clear(self, directory: str) -> None:
        """See :class:`Store`."""
        for key in self.names(directory):
            self.delete(key)

    def tidy(self) -> list[str]:
        """See :class:`Store`; parts of an upload that nobody completes are paid for and in no list."""
        found = []
        try:
            answer = self._client.call("list_multipart_uploads", "tidy up", Prefix=self._prefix)
            for one in answer.get("Uploads", ()):
                place = {"Key": one["Key"], "UploadId": one["UploadId"]}
                self._client.call("abort_multipart_upload", "tidy up", **place)
                found.append(str(one["Key"])[len(self._prefix) :])
        except (Missing, Passing, KeeperError):
            # All that is wanted is there; what this store does not do, or not now, the next run asks again.
            return found
        return found

    def close(self) -> None:
        """See :class:`Store`."""
        self._client.close()

    # -- sending ---------------------------------------------------------------------------------------

    def _put(self, key: str, source: Source) -> Stored:
        size = max(PART_BYTES, -(-source.size // _MOST_PARTS))
        parts = _parts(source.blocks(), size)
        first = next(parts, b"")
        second = next(parts, None)
        sha = hashlib.sha256(first)
        if second is None:
            md5, checksum = _md5(first), hashlib.sha256(first).digest()
            self._put_small(key, first, md5, checksum, source)
            return self._sure(key, len(first), sha.hexdigest(), md5.hex(), _text(checksum))
        upload = _Upload(self, key, source.repeatable)
        length = 0
        for number, part in enumerate(_all(first, second, parts), 1):
            if number > 1:
                sha.update(part)
            upload.part(number, part, source)
            length += len(part)
        upload.complete()
        return self._sure(key, length, sha.hexdigest(), upload.etag, upload.checksum)

    def _put_small(self, key: str, data: bytes, md5: bytes, checksum: bytes, source: Source) -> None:
        more = self._client.telling(_text(checksum))
        self._call(
            "put_object",
            f"copy {key}",
            Key=self._prefix + key,
            Body=lambda: _Paced(data, source),
            ContentLength=len(data),
            ContentMD5=_text(md5),
            **more,
            **self._extra,
        )

    def _sure(self, key: str, length: int, digest: str, etag: str, checksum: str) -> Stored:
        """Ask the store what it has. Raises :class:`Passing` (``copy-digest-wrong``) when it is not that."""
        mode = {"ChecksumMode": "ENABLED"} if self._client.checksums else {}
        try:
            head = self._call("head_object", f"check {key}", Key=self._prefix + key, **mode)
        except Missing as error:
            raise Passing(wrong_digest(self.where, key, digest, "nothing")) from error
        if int(head.get("ContentLength", -1)) == length:
            same_checksum = head.get("ChecksumSHA256", "").partition("-")[0] == checksum
            same_etag = str(head.get("ETag", "")).strip('"') == etag
            told = same_checksum and (same_etag or not self._plain_etags)
            if told and not self._wish.read_back:
                return Stored(length, digest, STORE)
            try:
                found = self._digest(key)
            except Missing as error:
                raise Passing(wrong_digest(self.where, key, digest, "nothing")) from error
            if found == (length, digest):
                return Stored(length, digest, READ_BACK)
            words = found[1]
        else:
            words = f"({head.get('ContentLength')} bytes instead of {length})"
        self.delete(key)
        raise Passing(wrong_digest(self.where, key, digest, words))

    # -- reading ---------------------------------------------------------------------------------------

    def _digest(self, key: str) -> tuple[int, str]:
        sha, length = hashlib.sha256(), 0
        for block in self._fetch(key):
            sha.update(block)
            length += len(block)
        return length, sha.hexdigest()

    def _fetch(self, key: str) -> Iterator[bytes]:
        """What breaks on the way goes on where it was. Raises :class:`Missing`."""
        attempted, done, total = f"read {key}", 0, None
        fault: Passing | None = None
        for number in range(self._patience.tries):
            if number:
                self._rest(number)
            try:
                more = {"Range": f"bytes={done}-"} if done else {}
                answer = self._client.call("get_object", attempted, Key=self._prefix + key, **more)
                total = done + int(answer["ContentLength"]) if total is None else total
                while block := self._client.body(answer, BLOCK, attempted):
                    done += len(block)
                    yield block
                if done >= total:
                    return
            except Passing as error:
                fault = error
            if total is not None and done >= total:
                return
        if fault is not None:
            raise fault.error
        raise object_missing(self.where, key)

    def _rest(self, number: int) -> None:
        import time

        time.sleep(self._patience.pause(number))

    def _call(self, name: str, attempted: str, **values: Any) -> dict[str, Any]:
        attempted = f"{attempted} ({self._wish.name})"

        def once() -> dict[str, Any]:
            # A body is read while it is sent: each try has its own.
            given = {key: value() if callable(value) else value for key, value in values.items()}
            return self._client.call(name, attempted, **given)

        return patiently(once, self._patience)

    def _must_have_bucket(self, attempted: str) -> None:
        try:
            self._call("head_bucket", attempted)
        except Missing as error:
            raise bucket_missing(self._client.where, self._client.bucket, attempted) from error

    def part_call(self, name: str, key: str, **values: Any) -> dict[str, Any]:
        """A request of an upload in parts."""
        return self._call(name, f"copy {key}", Key=self._prefix + key, **values)

    def begin_upload(self, key: str) -> str:
        """The identity of a new upload in parts."""
        more = {"ChecksumAlgorithm": "SHA256"} if self._client.checksums else {}
        return str(self.part_call("create_multipart_upload", key, **more, **self._extra)["UploadId"])

    def unfinished(self, key: str) -> tuple[str, dict[int, dict[str, Any]]] | None:
        """The newest upload of this object that was not completed, and its parts."""
        try:
            answer = self._call("list_multipart_uploads", f"copy {key}", Prefix=self._prefix + key)
            mine = [one for one in answer.get("Uploads", ()) if one["Key"] == self._prefix + key]
            if not mine:
                return None
            upload = str(mine[-1]["UploadId"])
            parts: dict[int, dict[str, Any]] = {}
            marker: dict[str, Any] = {}
            while True:
                found = self.part_call("list_parts", key, UploadId=upload, **marker)
                parts.update({int(one["PartNumber"]): one for one in found.get("Parts", ())})
                if not found.get("IsTruncated"):
                    return upload, parts
                marker = {"PartNumberMarker": int(found["NextPartNumberMarker"])}
        except Missing:
            return None

    @property
    def checksums(self) -> bool:
        """Whether SHA-256 goes along."""
        return self._client.checksums

    def telling(self, checksum: str) -> dict[str, str]:
        """See :meth:`Client.telling`."""
        return self._client.telling(checksum)


class _Upload:
    """One object in parts."""

    def __init__(self, store: S3Store, key: str, resumable: bool) -> None:
        self._store = store
        self._key = key
        found = store.unfinished(key) if resumable else None
        self._known = found[1] if found else {}
        self._id = found[0] if found else store.begin_upload(key)
        self._parts: list[dict[str, Any]] = []
        self._md5s, self._sums = b"", b""

    def part(self, number: int, data: bytes, source: Source) -> None:
        """Send it, if the store does not have it."""
        md5, checksum = _md5(data), hashlib.sha256(data).digest()
        self._md5s += md5
        self._sums += checksum
        known = self._known.get(number)
        have = known is not None and str(known["ETag"]).strip('"') == md5.hex()
        if known is not None and have and int(known["Size"]) == len(data):
            etag = str(known["ETag"])
        else:
            more = self._store.telling(_text(checksum))
            answer = self._store.part_call(
                "upload_part",
                self._key,
                UploadId=self._id,
                PartNumber=number,
                Body=lambda: _Paced(data, source),
                ContentLength=len(data),
                ContentMD5=_text(md5),
                **more,
            )
            etag = str(answer.get("ETag") or f'"{md5.hex()}"')
        told = {"ChecksumSHA256": _text(checksum)} if self._store.checksums else {}
        self._parts.append({"PartNumber": number, "ETag": etag, **told})

    def complete(self) -> None:
        """Make one object of the parts."""
        try:
            self._store.part_call(
                "complete_multipart_upload",
                self._key,
                UploadId=self._id,
                MultipartUpload={"Parts": self._parts},
            )
        except Missing as error:
            # It may have been completed by a request whose answer was lost; the check that follows tells.
            if self._store.names(self._key.rpartition("/")[0]).get(self._key) is None:
                raise Passing(_vanished(self._store.where, self._key)) from error

    @property
    def etag(self) -> str:
        """As S3 makes it of the parts' MD5."""
        return f"{hashlib.md5(self._md5s, usedforsecurity=False).hexdigest()}-{len(self._parts)}"

    @property
    def checksum(self) -> str:
        """As S3 makes it of the parts' SHA-256."""
        return _text(hashlib.sha256(self._sums).digest())


class _Paced(io.BytesIO):
    """A body that is sent no faster than its source may."""

    def __init__(self, data: bytes, source: Source) -> None:
        super().__init__(data)
        self._source = source

    def read(self, size: int | None = -1, /) -> bytes:
        """What the client sends next."""
        piece = super().read(size)
        self._source.spend(len(piece))
        return piece


class _Small:
    """Bytes in memory as a :class:`Source`."""

    repeatable = True

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def blocks(self) -> Iterator[bytes]:
        """In one."""
        yield self._data

    def spend(self, count: int) -> None:
        """As fast as it goes."""


def _vanished(where: str, key: str) -> KeeperError:
    return wrong_digest(where, key, "parts", "nothing")


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _parts(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Blocks as parts of that size, the last one smaller."""
    buffer = bytearray()
    for block in blocks:
        buffer += block
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


def _all(first: bytes, second: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from rest
