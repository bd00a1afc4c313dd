# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is asked of a load; what cannot be meant is refused here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..core.errors import Refused
from ..repository.selection import CONTENTS
from .rows import split_key

LATEST = "latest"
OWNERS = ("keep", "drop", "map")
PRIVILEGES = ("keep", "drop")
PROOFS = ("auto", "digest", "count", "none")


@dataclass(frozen=True)
class LoadRequest:
    """A dump, and where it goes.

    ``dump`` is a label, a key, or ``latest`` (of ``database``). ``target`` is the database that it is loaded into;
    empty: the dump's own name. An existing one is replaced with ``replace`` only, and only where ``confirm`` is its
    name; without ``replace``, ``schemas`` or ``tables`` (``schema.table``, odd names in double quotes) go into it.
    ``exclude`` are shell patterns of entries (``TRIGGER public orders *``). ``owner_map``: other owners, by role.
    ``accept_errors``: regular expressions of errors that do not fail the load. ``drain_seconds``: how long
    transactions may go on before their sessions are ended for a swap. ``proof``: what rows are held against of what the
    dump recorded: ``digest`` (of every table, or it is refused), ``count``, ``none``; ``auto``: all that is recorded.

    Raises :class:`Refused`: ``request-contradictory``, ``table-malformed``, ``pattern-malformed``.
    """

    dump: str = LATEST
    database: str | None = None
    target: str = ""
    replace: bool = False
    confirm: str | None = None
    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    content: str = "all"
    jobs: int = 1
    owners: str = "keep"
    owner_map: dict[str, str] = field(default_factory=dict)
    privileges: str = "keep"
    tablespaces: bool = True
    globals: bool = False
    accept_errors: tuple[str, ...] = ()
    analyze: bool = True
    proof: str = "auto"
    again: bool = False
    drain_seconds: int = 10

    def __post_init__(self) -> None:
        for key in self.tables:
            try:
                split_key(key)
            except ValueError as error:
                raise self._refused(
                    "table-malformed",
                    f"{key!r} is not the name of a table with its schema",
                    'Write schema.table; names with other than small letters, digits and _ in quotes: "My"."Table".',
                ) from error
        for pattern in self.accept_errors:
            try:
                re.compile(pattern)
            except re.error as error:
                raise self._refused(
                    "pattern-malformed",
                    f"{pattern!r} is no regular expression: {error}",
                    "Write a part of the error's text; a backslash before each of . ( ) [ ] * + ? ^ $ |.",
                ) from error
        for wrong, why in (
            (self.content not in CONTENTS, f"content {self.content!r} is none of {', '.join(CONTENTS)}"),
            (self.owners not in OWNERS, f"owners {self.owners!r} is none of {', '.join(OWNERS)}"),
            (self.proof not in PROOFS, f"proof {self.proof!r} is none of {', '.join(PROOFS)}"),
            (self.privileges not in PRIVILEGES, f"privileges {self.privileges!r} is neither keep nor drop"),
            (
                (self.owners == "map") != bool(self.owner_map),
                "owners are mapped with an owner map, and only with one",
            ),
            (self.jobs < 1 or self.drain_seconds < 0, "jobs is below 1, or the seconds to wait are below 0"),
            (bool(self.schemas) and bool(self.tables), "both schemas and tables are chosen"),
            (
                self.replace and bool(self.schemas or self.tables or self.content != "all"),
                "a database is replaced by a whole one, not by a part",
            ),
            (self.dump == LATEST and self.database is None, "the newest dump of which database is not said"),
        ):
            if wrong:
                raise self._refused("request-contradictory", why, "Correct the request.")

    @property
    def partial(self) -> bool:
        """Whether only a part of the dump is wanted."""
        return bool(self.schemas or self.tables)

    def _refused(self, code: str, happened: str, remedy: str) -> Refused:
        return Refused(code, attempted=f"load dump {self.dump}", happened=happened, remedy=remedy)
