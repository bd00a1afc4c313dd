# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which user of the operating system may be which role: pg_ident.conf.

Source: ``parse_ident_line`` and ``check_ident_usermap`` of src/backend/libpq/hba.c; manual 21.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .authfile import Malformed, Token, lines
from .hba import malformed


@dataclass(frozen=True)
class Mapping:
    """One line: in map ``name``, the user ``system_user`` may be ``role``."""

    number: int
    name: str
    system_user: Token
    role: Token

    def allows(self, system_user: str, role: str, version: int) -> bool:
        """Whether it lets that user be that role. Membership (``+role``, 16 and later) counts as no: it can
        be revoked without a change of this file."""
        wanted = self.role.text
        if self.system_user.text.startswith("/"):
            found = _search(self.system_user.text[1:], system_user)
            if found is None:
                return False
            if "\\1" in wanted and found.re.groups:
                wanted = wanted.replace("\\1", found[1] or "", 1)
        elif self.system_user.text != system_user:
            return False
        if version >= 16 and not self.role.quoted:
            if self.role.text == "all":
                return True
            if self.role.text.startswith("/"):
                return _search(self.role.text[1:], role) is not None
        return wanted == role


def parse_ident(text: str, version: int, *, path: str = "pg_ident.conf") -> list[Mapping]:
    """The mappings of a file, in order. Raises :class:`Refused` ``ident-line-malformed``."""
    found = []
    for line in lines(text):
        try:
            fields = line.fields(version)
            if not fields:
                continue
            if any(token.is_file for field in fields for token in field):
                raise Malformed("it takes in another file", "Write the names themselves.")
            if version >= 16 and fields[0][0].text.startswith("include") and len(fields) == 2:
                raise Malformed("it takes in another file", "Write the lines themselves.")
            if len(fields) < 3:
                raise Malformed(
                    "it ends too early", "A line has three words: the map, the system's user, the role."
                )
            if any(len(field) > 1 for field in fields[:3]):
                raise Malformed("more than one name between blanks", "Write one line for each.")
            name, user, role = (field[0] for field in fields[:3])
            found.append(Mapping(line.number, name.text, user, role))
        except Malformed as error:
            raise malformed("ident-line-malformed", path, line, error) from error
    return found


def may_be(mappings: list[Mapping], map_name: str | None, system_user: str, role: str, version: int) -> bool:
    """Whether the user may be the role. Without a map both must have one name."""
    if not map_name:
        return system_user == role
    return any(entry.name == map_name and entry.allows(system_user, role, version) for entry in mappings)


def _search(pattern: str, text: str) -> re.Match[str] | None:
    """Python's words for PostgreSQL's expressions: where they differ beyond plain ones, nothing is taken for
    granted."""
    try:
        return re.search(pattern, text)
    except re.error:
        return None
