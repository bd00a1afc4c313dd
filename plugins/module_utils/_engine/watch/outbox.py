# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Messages on their way: kept as files until every channel has them, tried again with growing pauses, given up at last.

Each try is a run in the history. A channel that fails is left alone for the rest of a round.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from ..core.clock import format_utc, label_time, parse_utc, utc_now
from ..core.errors import Failed, KeeperError, Refused
from ..core.files import make_directory, write_json
from ..core.locks import locked
from ..core.run import run as run_program
from .notify_decide import STILL, TEST, Event
from .notify_file import Channel, NotifyWishes
from .notify_text import Message, compose
from .record import recording

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60, 6 * 3600
GIVEN_UP_AFTER = timedelta(days=7)
#: More are not kept: something is wrong with what makes them, and the oldest say it, too.
MOST_WAITING = 200
_PATIENCE_SECONDS = 60.0


class Outbox:
    """The messages of one cluster."""

    def __init__(
        self, state_directory: str, cluster: str, language: str, complain: Callable[[str], None]
    ) -> None:
        self._history = state_directory
        self._directory = f"{state_directory}/notify"
        self._cluster = cluster
        self._language = language
        self._complain = complain

    def put(self, event: Event, wishes: NotifyWishes) -> None:
        """Keep a message for every channel that wants it; nothing is sent yet. Raises OSError."""
        kind = "failure" if event.kind == STILL else event.kind
        channels = {
            channel.name: {"attempts": 0, "next_at": format_utc(event.at), "error": None}
            for channel in wishes.channels
            if kind in channel.events
        }
        waiting = list(self.waiting())
        if not channels or len(waiting) >= MOST_WAITING:
            return
        make_directory(f"{self._directory}/outbox", 0o700)
        identity = f"{label_time(event.at)}-{uuid.uuid4().hex[:12]}"
        value = {"format": 1, "id": identity, "event": event.to_dict(), "channels": channels}
        write_json(self._path(identity), value, 0o600)

    def waiting(self) -> Iterator[dict[str, Any]]:
        """What has not reached everybody, oldest first; what cannot be read is passed over."""
        try:
            names = sorted(os.listdir(f"{self._directory}/outbox"))
        except OSError:
            return
        for name in names:
            if not name.endswith(".json"):
                continue
            with contextlib.suppress(OSError, ValueError):
                with open(f"{self._directory}/outbox/{name}", encoding="utf-8") as handle:
                    value = json.load(handle)
                if isinstance(value, dict) and {"id", "event", "channels"} <= set(value):
                    yield value

    def deliver(self, wishes: NotifyWishes, now: datetime | None = None) -> list[dict[str, Any]]:
        """Send what is due; each try as ``channel``, ``key``, ``kind`` and ``error`` (None: it arrived).

        Raises :class:`Refused` ``busy`` when another delivers for more than a minute.
        """
        attempted = f"deliver notifications of cluster {self._cluster}"
        with locked(
            f"{self._directory}/deliver.lock", "notify", attempted=attempted, patience=_PATIENCE_SECONDS
        ):
            return self._round(wishes, now or utc_now())

    def send_now(self, event: Event, channel: Channel, wishes: NotifyWishes, identity: str) -> None:
        """One message by one channel. Raises :class:`KeeperError`, without secrets in its text."""
        language = channel.language or wishes.language or self._language
        message = compose(event, cluster=self._cluster, host=socket.gethostname(), language=language)
        try:
            _send(message, channel, wishes, identity, event.at)
        except KeeperError as error:
            raise Failed(
                error.code,
                attempted=channel.hide(error.attempted),
                happened=channel.hide(error.happened),
                remedy=error.remedy,
                details={"retry_after_seconds": error.details.get("retry_after_seconds")},
            ) from None

    def _round(self, wishes: NotifyWishes, now: datetime) -> list[dict[str, Any]]:
        known = {channel.name: channel for channel in wishes.channels}
        resting: dict[str, str] = {}
        tries: list[dict[str, Any]] = []
        for item in self.waiting():
            event = Event.from_dict(item["event"])
            for name in list(item["channels"]):
                entry = item["channels"][name]
                if name not in known:
                    # Nobody is there any more.
                    del item["channels"][name]
                elif name in resting:
                    entry["next_at"] = max(entry["next_at"], resting[name])
                elif parse_utc(entry["next_at"]) <= now:
                    tried = self._try(item, event, known[name], wishes, now)
                    tries.append(tried)
                    if tried["error"] is None or tried["given_up"]:
                        del item["channels"][name]
                    if tried["error"] is not None:
                        resting[name] = entry["next_at"]
            self._keep(item)
        return tries

    def _try(
        self, item: dict[str, Any], event: Event, channel: Channel, wishes: NotifyWishes, now: datetime
    ) -> dict[str, Any]:
        entry = item["channels"][channel.name]
        tried: dict[str, Any] = {"channel": channel.name, "key": event.key, "kind": event.kind, "error": None}
        facts = {"name": channel.name, "kind": event.kind, "label": event.key}
        given_up = False
        try:
            with recording(self._history, "notify", door="command", complain=self._complain) as run:
                run.done({"changed": True, "history": facts})
                self.send_now(event, channel, wishes, item["id"])
        except KeeperError as error:
            entry["attempts"] += 1
            pause = min(FIRST_PAUSE_SECONDS * 2 ** (entry["attempts"] - 1), LONGEST_PAUSE_SECONDS)
            asked = error.details.get("retry_after_seconds") or 0
            moment = now + timedelta(seconds=max(pause, min(asked, LONGEST_PAUSE_SECONDS)))
            entry.update(next_at=format_utc(moment), error={"code": error.code, "happened": error.happened})
            tried["error"] = error.to_dict()
            # Delivered to some, or waited for long enough.
            given_up = error.code == "notify-partly-refused" or now - event.at > GIVEN_UP_AFTER
        return {**tried, "given_up": given_up}

    def _keep(self, item: dict[str, Any]) -> None:
        path = self._path(item["id"])
        if item["channels"]:
            write_json(path, item, 0o600)
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def _path(self, identity: str) -> str:
        return f"{self._directory}/outbox/{identity}.json"


def _send(message: Message, channel: Channel, wishes: NotifyWishes, identity: str, at: datetime) -> None:
    timeout = float(wishes.timeout_seconds)
    if channel.type == "command":
        body = json.dumps({**message.data, "id": identity}, ensure_ascii=False).encode()
        run_program(
            channel.argv,
            attempted=f"tell {channel.name} by {channel.argv[0]}",
            remedy="Run the program by hand with such JSON on its standard input: dbkeeper notify --test.",
            timeout=timeout,
            stdin=body,
        )
        return
    context = _trust(wishes, channel)
    if channel.type == "mail":
        # Mail and HTTP are large to load, and most commands send nothing.
        from .notify_mail import PartlyRefused, send_mail

        try:
            send_mail(message, channel, identity=identity, at=at, context=context, timeout=timeout)
        except PartlyRefused as error:
            raise Failed(
                "notify-partly-refused",
                attempted=f"send mail by {channel.host}:{channel.port}",
                happened=f"some have it, others were refused: {error}",
                remedy="Correct the addresses of the channel; this message is not sent again.",
            ) from None
        return
    from .notify_web import post

    post(message, channel, identity=identity, context=context, proxy=wishes.proxy, timeout=timeout)


def _trust(wishes: NotifyWishes, channel: Channel) -> ssl.SSLContext:
    """The system's authorities, and the one that is named."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if wishes.ca_file:
        try:
            context.load_verify_locations(wishes.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Refused(
                "notify-ca-unreadable",
                attempted=f"tell {channel.name}",
                happened=f"ca_file {wishes.ca_file}: {error}",
                remedy="Put a certificate of an authority in PEM there, readable by the cluster's owner.",
            ) from error
    return context


def trial_event(now: datetime) -> Event:
    """What ``dbkeeper notify --test`` sends."""
    return Event(TEST, "test", now)
