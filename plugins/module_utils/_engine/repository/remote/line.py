# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One conversation for all threads of a process: requests are sent at once, answers are taken in their order.

So many fetches share one ssh, and each but the first pays no latency. A conversation that broke is replaced by a new
one at the next request; after a fork the child has its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ...core.errors import KeeperError
from .frames import DATA
from .ssh import Conversation, Way

Take = Callable[[bytes], None]
_Found = TypeVar("_Found")
_UNREACHABLE = "repository-unreachable"
_PAUSE_SECONDS = 1.0


class _Talk:
    """A conversation, and whose answer is next."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.pid = os.getpid()
        self.asked = 0
        self.heard = 0
        self.turn = threading.Condition()
        self.fault: KeeperError | None = None

    def wait(self, ticket: int) -> None:
        with self.turn:
            while self.heard != ticket and self.fault is None:
                self.turn.wait()
            if self.fault is not None:
                raise self.fault

    def done(self, fault: KeeperError | None = None) -> None:
        with self.turn:
            self.heard += 1
            self.fault = self.fault or fault
            self.turn.notify_all()


class Line:
    """Requests to one door, from any thread."""

    def __init__(self, way: Way, cluster: str) -> None:
        self.way = way
        self._cluster = cluster
        self._sending = threading.RLock()
        self._talk: _Talk | None = None

    def ask(self, verb: str, *, attempted: str, tries: int = 2, **values: Any) -> dict[str, Any]:
        """A request and its answer.

        ``tries``: a way that is cut is opened anew so many times less one, for what may be asked twice. Raises
        what the door answers, :class:`Failed` ``repository-unreachable``, ``door-protocol``.
        """
        return self._tried(tries, lambda: self._exchange({"verb": verb, **values}, attempted, None)[0])

    def fetch(
        self, verb: str, take: Take, *, attempted: str, **values: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A request whose answer is followed by pieces: each is given to ``take``; answer and end are returned."""
        return self._exchange({"verb": verb, **values}, attempted, take)

    def send(
        self,
        verb: str,
        pieces: Iterable[bytes | memoryview],
        end: Callable[[], dict[str, Any]],
        *,
        attempted: str,
        **values: Any,
    ) -> dict[str, Any]:
        """A request followed by pieces, which ``end`` (asked when they are all sent) closes; its answer."""
        with self._sending:
            talk, ticket = self._begin({"verb": verb, **values}, attempted)
            conversation = talk.conversation
            fault: KeeperError | None = None
            try:
                talk.wait(ticket)
                for piece in pieces:
                    conversation.send(DATA, piece)
                conversation.end(end())
                return conversation.answer()
            except KeeperError as error:
                fault = error
                self._drop(talk)
                raise
            except BaseException:
                fault = self._drop(talk)
                raise
            finally:
                talk.done(fault)

    def close(self) -> None:
        """Hang up; the next request calls again."""
        with self._sending:
            if self._talk is not None:
                self._drop(self._talk)

    def collect(
        self, verb: str, *, attempted: str, tries: int = 3, **values: Any
    ) -> tuple[dict[str, Any], list[bytes], dict[str, Any]]:
        """As :meth:`fetch`, for what fits into memory and may be asked again: answer, pieces and end."""

        def once() -> tuple[dict[str, Any], list[bytes], dict[str, Any]]:
            pieces: list[bytes] = []
            answer, end = self._exchange({"verb": verb, **values}, attempted, pieces.append)
            return answer, pieces, end

        return self._tried(tries, once)

    def _tried(self, tries: int, action: Callable[[], _Found]) -> _Found:
        while True:
            tries -= 1
            try:
                return action()
            except KeeperError as error:
                if error.code != _UNREACHABLE or tries < 1:
                    raise
            time.sleep(_PAUSE_SECONDS)

    def _exchange(
        self, request: dict[str, Any], attempted: str, take: Take | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        with self._sending:
            talk, ticket = self._begin(request, attempted)
        talk.wait(ticket)
        fault: KeeperError | None = None
        try:
            return self._hear(talk, take)
        except KeeperError as error:
            if error.code in (_UNREACHABLE, "door-protocol"):
                fault = error
                self._drop(talk)
            raise
        except BaseException:
            # The rest of the answer is still to come, and nobody will take it.
            fault = self._drop(talk)
            raise
        finally:
            talk.done(fault)

    def _hear(self, talk: _Talk, take: Take | None) -> tuple[dict[str, Any], dict[str, Any]]:
        conversation = talk.conversation
        answer = conversation.answer()
        if take is None:
            return answer, {}
        failure: Exception | None = None
        while True:
            piece = conversation.piece()
            if isinstance(piece, dict):
                break
            try:
                if failure is None:
                    take(piece)
            except (OSError, KeeperError) as error:
                # What is still on its way is heard to the end, so that others can go on talking.
                failure = error
        if failure is not None:
            raise failure
        return answer, piece

    def _begin(self, request: dict[str, Any], attempted: str) -> tuple[_Talk, int]:
        talk = self._talk
        if talk is None or talk.pid != os.getpid() or talk.fault is not None:
            talk = self._talk = _Talk(self.way.open(attempted))
            talk.conversation.greet(self._cluster)
        talk.conversation.attempted = attempted
        try:
            talk.conversation.ask(request)
        except KeeperError as error:
            self._drop(talk)
            with talk.turn:
                talk.fault = error
                talk.turn.notify_all()
            raise
        talk.asked += 1
        return talk, talk.asked - 1

    def _drop(self, talk: _Talk) -> KeeperError:
        if self._talk is talk:
            self._talk = None
        lost = talk.conversation.lost(ConnectionAbortedError("the conversation was broken off"))
        talk.conversation.close()
        return lost
