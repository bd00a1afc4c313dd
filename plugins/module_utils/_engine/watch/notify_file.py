# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The file with those who are told and the secrets for it, read strictly; refused when others can read it, too.

``{"format": 1, "channels": {"<name>": {"type": "mail" | "slack" | "teams" | "webhook" | "command", ...}}, "language":
"en", "warnings": false, "proxy": null, "ca_file": null, "timeout_seconds": 20}``
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..cluster.reader import Reader, as_object
from ..core.errors import KeeperError, Refused

FORMAT = 1
EVENTS = ("failure", "recovery", "summary")
_TYPES = ("mail", "slack", "teams", "webhook", "command")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_ADDRESS = re.compile(r"[^\s@<>,]+@[^\s@<>,]+")
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:_-]*")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_LINE = re.compile(r"[^\x00-\x1f\x7f]+")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True)
class Channel:
    """One way to tell somebody. What a type does not need is empty; secrets never show in its ``repr``.

    ``tls``: ``starttls`` (refused where the server has none), ``tls`` from the first byte, or ``none``. ``events``:
    what goes there. ``language`` None: the file's. ``hmac_key``: the body's HMAC-SHA256 goes into ``hmac_header``.
    """

    name: str
    type: str
    events: tuple[str, ...] = EVENTS
    language: str | None = None
    host: str = ""
    port: int = 0
    tls: str = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sender: str = ""
    to: tuple[str, ...] = ()
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    hmac_key: str | None = field(default=None, repr=False)
    hmac_header: str = "X-Dbkeeper-Signature"
    argv: tuple[str, ...] = ()

    def hide(self, text: str) -> str:
        """A text without the secrets of this channel, whoever put them in."""
        parts = urlsplit(self.url)
        rest = f"{parts.path}?{parts.query}" if parts.query else parts.path
        for secret in (
            self.url,
            rest,
            parts.path,
            parts.query,
            self.password,
            self.hmac_key,
            *self.headers.values(),
        ):
            if secret and len(secret) > 3:
                text = text.replace(secret, "***")
        return text


@dataclass(frozen=True)
class NotifyWishes:
    """All channels, and what they share. ``warnings``: a check that only warns is told, too."""

    channels: tuple[Channel, ...]
    language: str | None = None
    warnings: bool = False
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    timeout_seconds: int = 20


def load_wishes(path: str) -> NotifyWishes:
    """Read the file. Raises :class:`Refused`: ``notify-file-missing``, ``notify-file-unreadable``,
    ``notify-file-exposed`` (others than its owner may read it), ``notify-file-malformed``."""
    try:
        # What is checked must be what is read.
        with open(path, encoding="utf-8") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            if mode & 0o077:
                raise _refused(
                    "notify-file-exposed",
                    path,
                    f"its mode is {mode:04o}, and there are secrets in it",
                    f"chmod 0600 {path}; if others may have read it, change the passwords and addresses in it.",
                )
            text = handle.read()
    except FileNotFoundError as error:
        remedy = "Write it (docs/knowing.md has examples), or take notify out of the description."
        raise _refused("notify-file-missing", path, "there is no such file", remedy) from error
    except (OSError, UnicodeError) as error:
        remedy = "Give it to the cluster's owner, mode 0600, in a directory that the owner may enter."
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _refused("notify-file-unreadable", path, str(why), remedy) from error
    return parse_wishes(text, path)


def parse_wishes(text: str, source: str) -> NotifyWishes:
    """Make sure of every key. Raises :class:`Refused` ``notify-file-malformed``, which never quotes a value."""
    try:
        value = json.loads(text)
    except ValueError as error:
        # The words of the error quote nothing but a position.
        raise _malformed(source, f"it is not JSON: {error}") from None
    try:
        return _wishes(value, source)
    except KeeperError as error:
        # The reader quotes what it found, and here that may be a secret.
        raise _malformed(
            source, re.sub(r" is .*?; it must be ", " must be ", error.happened, flags=re.S)
        ) from None


def _wishes(value: Any, source: str) -> NotifyWishes:
    data = as_object(value, source, "the file")
    if data.pop("format", None) != FORMAT:
        raise _malformed(source, f"its format is not {FORMAT}")
    listed = as_object(data.pop("channels", {}), source, "channels")
    read = Reader(data, source)
    found = NotifyWishes(
        channels=tuple(_channel(name, one, source) for name, one in listed.items()),
        language=read.optional(lambda key: read.choice(key, ("en", "ja")), "language"),
        warnings=_flag(data, "warnings", source),
        proxy=read.optional(lambda key: _proxy(read.text(key, pattern=_LINE), source), "proxy"),
        ca_file=read.optional(read.path, "ca_file"),
        timeout_seconds=read.number("timeout_seconds", 1, 300, default=NotifyWishes.timeout_seconds),
    )
    read.finish()
    if not found.channels:
        raise _malformed(source, "there is no channel in it")
    return found


def _channel(name: str, value: Any, source: str) -> Channel:
    if not _NAME.fullmatch(name):
        raise _malformed(source, "a channel's name must be of letters, digits, dots and dashes")
    where = f"channels.{name}"
    data = as_object(value, source, where)
    read = Reader(data, source, f"{where}.")
    kind = read.choice("type", _TYPES)
    given: dict[str, Any] = {
        "events": _list(
            data.pop("events", list(EVENTS)), f"{where}.events", source, re.compile("|".join(EVENTS))
        ),
        "language": read.optional(lambda key: read.choice(key, ("en", "ja")), "language"),
    }
    if kind == "mail":
        tls = read.choice("tls", tuple(_PORTS), default="starttls")
        given |= {
            "host": read.text("host", pattern=_HOST),
            "tls": tls,
            "port": read.number("port", 1, 65535, default=_PORTS[tls]),
            "user": read.optional(lambda key: read.text(key, pattern=_LINE), "user"),
            "password": read.optional(lambda key: read.text(key, pattern=_LINE), "password"),
            "sender": read.text("from", pattern=_ADDRESS),
            "to": _list(data.pop("to", None), f"{where}.to", source, _ADDRESS),
        }
        if (given["user"] is None) != (given["password"] is None):
            raise _malformed(source, f"{where}: user and password go together")
        if given["password"] is not None and tls == "none" and given["host"] not in _LOOPBACK:
            raise _malformed(source, f"{where}: a password is not sent without TLS")
    elif kind == "command":
        given["argv"] = _list(data.pop("argv", None), f"{where}.argv", source, re.compile(r"[^\x00]+", re.S))
        if not os.path.isabs(given["argv"][0]):
            raise _malformed(source, f"{where}.argv must begin with the absolute path of a program")
    else:
        given["url"] = _url(read.text("url", pattern=_LINE), kind, where, source)
    if kind == "webhook":
        headers = as_object(data.pop("headers", {}), source, f"{where}.headers")
        for header, text in headers.items():
            if not _HEADER.fullmatch(header) or not isinstance(text, str) or not _LINE.fullmatch(text):
                raise _malformed(source, f"{where}.headers must be names with one line of text each")
        given |= {
            "headers": headers,
            "hmac_key": read.optional(lambda key: read.text(key, pattern=_LINE), "hmac_key"),
            "hmac_header": read.text("hmac_header", pattern=_HEADER, default=Channel.hmac_header),
        }
    read.finish()
    return Channel(name=name, type=kind, **given)


def _list(value: Any, where: str, source: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _malformed(source, f"{where} must be a list with something in it")
    if not all(isinstance(one, str) and pattern.fullmatch(one) for one in value):
        raise _malformed(source, f"{where} must be texts like {pattern.pattern}")
    return tuple(value)


def _flag(data: dict[str, Any], key: str, source: str) -> bool:
    value = data.pop(key, False)
    if not isinstance(value, bool):
        raise _malformed(source, f"{key} must be true or false")
    return value


def _url(text: str, kind: str, where: str, source: str) -> str:
    """https; a generic webhook on this very host may do without."""
    parts = _split(text)
    plain = parts is not None and parts[0] == "http" and kind == "webhook" and parts[1] in _LOOPBACK
    if parts is None or not (parts[0] == "https" or plain):
        raise _malformed(source, f"{where}.url must begin with https:// and name a host")
    return text


def _proxy(text: str, source: str) -> str:
    parts = _split(text)
    if parts is None or parts[0] not in ("http", "https"):
        raise _malformed(source, "proxy must be like http://proxy.example.com:3128")
    return text


def _split(text: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(text)
        return (parts.scheme, parts.hostname) if parts.hostname else None
    except ValueError:
        return None


def _malformed(source: str, happened: str) -> Refused:
    remedy = "Correct it; docs/knowing.md has an example of every kind of channel."
    return _refused("notify-file-malformed", source, happened, remedy)


def _refused(code: str, path: str, happened: str, remedy: str) -> Refused:
    return Refused(
        code,
        attempted=f"read who is to be told, {path}",
        happened=happened,
        remedy=remedy,
        details={"path": path},
    )
