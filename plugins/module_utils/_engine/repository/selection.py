# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What of a database a dump holds, and in which form: the words that wishes, requests and entries share."""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ("custom", "directory", "plain")
CONTENTS = ("all", "schema", "data")


@dataclass(frozen=True)
class Selection:
    """What of a database is in a dump; patterns as pg_dump's. Empty: all of it."""

    content: str = "all"
    schemas: tuple[str, ...] = ()
    exclude_schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing of the database is left out."""
        return not (self.schemas or self.exclude_schemas or self.tables or self.exclude_tables)

    @property
    def kind(self) -> str:
        """``schema`` where there are no rows in it, else ``dump``: they have generations of their own."""
        return "schema" if self.content == "schema" else "dump"
