# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""By what the content of a stored file is known: its identity, a text that two files share only if they hold the same.

There are two kinds. Plain: SHA-256 of the plain bytes, in hex; it holds for every form in which they are stored.
Packed: ``zstd:`` and SHA-256 of the stored bytes, of which there are several times fewer. It is as good, because one
zstd frame has one meaning (RFC 8878), and it is taken only of a file that is one frame with a checksum of its content
and nothing else, so that whoever unpacks it is told when what comes out is not what went in. It says less: the same
segment packed otherwise has another one, and is then read again rather than believed.

Identities of different kinds are never equal. So whoever holds a file against one that he knows asks for its kind.
"""

from __future__ import annotations

#: Of the plain bytes; of the stored bytes where they are zstd's; of those where that is enough, else of the plain ones.
PLAIN, PACKED, CHEAPEST = "plain", "packed", "cheapest"
_MARK = "zstd:"


def packed_identity(sha256_hex: str) -> str:
    """The identity by stored bytes."""
    return _MARK + sha256_hex


def kind_of(identity: str | None) -> str:
    """In which kind to ask for the content that may be this; the cheapest where nothing is known."""
    if not identity:
        return CHEAPEST
    return PACKED if identity.startswith(_MARK) else PLAIN


def brief(identity: str) -> str:
    """For messages."""
    kind = " of the packed bytes" if kind_of(identity) == PACKED else ""
    return f"SHA-256 {identity.rpartition(':')[2][:16]}…{kind}"
