# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One host, one request, and the values as they are decided: what the rules read and write.

A rule asks for another's value by name, so the order in which they stand does not matter; a value given by
hand answers in the place of its rule, and so goes into the arithmetic of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .facts import HostFacts
from .request import Request
from .units import KB, parse_count, parse_size, size_text

#: Groups of the settings file, in their order.
GROUPS = (
    "Connections",
    "Memory",
    "WAL and checkpoints",
    "Planner and disks",
    "Parallel work",
    "Autovacuum",
)


@dataclass(frozen=True)
class Choice:
    """A value and why: ``reason`` is a key of :data:`.words.REASONS`, ``about`` what its sentence names.

    ``value`` is a count, bytes or a text, as the rule's ``kind`` says.
    """

    value: int | str
    reason: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """How one setting is decided. ``decide`` answers None where PostgreSQL's default is right.

    ``kind``: ``bytes`` (``unit`` is what a bare number means), ``count`` or ``text``. ``restart``: takes effect
    at a restart only, in the versions before ``reload_since``.
    """

    name: str
    group: str
    source: str
    decide: Callable[[Case], Choice | None]
    kind: str = "count"
    unit: int = KB
    restart: bool = False
    reload_since: int = 0

    def takes_effect(self, version: int) -> str:
        """``restart`` or ``reload``."""
        return "restart" if self.restart and not 0 < self.reload_since <= version else "reload"

    def text(self, value: int | str) -> str:
        """The value as postgresql.conf writes it."""
        return size_text(int(value)) if self.kind == "bytes" else str(value)

    def parse(self, text: str) -> int | str:
        """A value given by hand. Raises Refused (``setting-malformed``)."""
        if self.kind == "bytes":
            return parse_size(self.name, text, self.unit)
        return parse_count(self.name, text) if self.kind == "count" else text


class Case:
    """The blackboard of one decision."""

    def __init__(self, request: Request, facts: HostFacts, rules: Mapping[str, Rule]) -> None:
        self.request = request
        self.facts = facts
        self.rules = rules
        self._choices: dict[str, Choice | None] = {}

    @property
    def available(self) -> int:
        """Bytes of memory that this cluster may reckon with."""
        return self.facts.available_bytes

    @property
    def share(self) -> int:
        """What of it is PostgreSQL's: all but on a desktop, whose owner has other work for three quarters."""
        return self.available // 4 if self.request.intent == "desktop" else self.available

    def pinned(self, name: str) -> int | str | None:
        """The value given by hand."""
        text = self.request.pinned.get(name)
        return None if text is None else self.rules[name].parse(text)

    def choice(self, name: str) -> Choice | None:
        """What was decided, each rule asked once."""
        if name not in self._choices:
            pinned = self.pinned(name)
            if pinned is not None:
                self._choices[name] = Choice(pinned, "pinned")
            else:
                self._choices[name] = self._at_least_the_primarys(name, self.rules[name].decide(self))
        return self._choices[name]

    def number(self, name: str) -> int:
        """A decided count or size, for rules that always decide."""
        choice = self.choice(name)
        return int(choice.value) if choice else 0

    def _at_least_the_primarys(self, name: str, choice: Choice | None) -> Choice | None:
        least = self.request.minima.get(name)
        # Where a rule left it to PostgreSQL's default, that is enough.
        if least is None or choice is None or int(choice.value) >= least:
            return choice
        return Choice(least, "primary")
