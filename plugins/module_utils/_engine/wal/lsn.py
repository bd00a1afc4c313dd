# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""WAL positions: integers inside, PostgreSQL's ``X/Y`` text outside."""

from __future__ import annotations

import re

from ..core.errors import Refused

_FORM = re.compile(r"^([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})$")


def parse_lsn(text: str, *, attempted: str = "read a WAL position") -> int:
    """``16/B374D848`` as a byte position. Raises :class:`Refused` (``lsn-malformed``, fault A07)."""
    match = _FORM.match(text.strip())
    if not match:
        raise Refused(
            "lsn-malformed",
            attempted=attempted,
            happened=f"{text!r} is not a WAL position",
            remedy="Write it as PostgreSQL does: two hexadecimal numbers with a slash, such as 16/B374D848.",
        )
    return int(match[1], 16) << 32 | int(match[2], 16)


def format_lsn(lsn: int) -> str:
    """The form of the server's own messages and functions: ``16/B374D848``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
