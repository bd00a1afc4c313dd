# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a client may say of its backup or lease: the kinds of values that plans, expiries and runbooks reckon with.

What is false in it stays its own lie; what no dbkeeper writes must not make those stumble who read the catalog on the
repository's host, or on the one that restores.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ...wal.segment import SIZES_BYTES
from ..catalog import Backup
from . import names

_DIGITS = re.compile(r"[0-9]{1,10}")
_DEEPEST = 64
_MOST_SYSTEM = 1 << 64
_MOST_TIMELINE = 1 << 32
_LISTS_OF_TEXTS = ("libraries", "foreign_servers", "examples", "subscriptions")


def number(value: Any, most: int = 1 << 63) -> bool:
    """A whole number from 0 on, below ``most``; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < most


def text(value: Any) -> bool:
    """Of characters that can be written in UTF-8: JSON can hold halves of some that cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(value: Any, depth: int = 0) -> bool:
    """Values of JSON, not deep, all texts of them encodable."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return depth < _DEEPEST and all(text(key) and plain(item, depth + 1) for key, item in value.items())
    if isinstance(value, list):
        return depth < _DEEPEST and all(plain(item, depth + 1) for item in value)
    return value is None or isinstance(value, (bool, int, float))


def _maybe(good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or good(value)


def _object(value: Any) -> bool:
    return isinstance(value, dict) and plain(value)


def _times(value: Any) -> bool:
    return isinstance(value, dict) and all(
        text(key) and isinstance(item, (int, float)) and not isinstance(item, bool)
        for key, item in value.items()
    )


def _texts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(text, value)))


def _database(value: Any) -> bool:
    """What is recorded of one database (backup/facts.py)."""
    if not _object(value) or not text(value.get("name")):
        return False
    collations, extensions = value.get("collations"), value.get("extensions")
    return (
        all(_texts(value.get(name)) for name in _LISTS_OF_TEXTS)
        and all(
            value.get(name) is None or text(value[name])
            for name in ("provider", "locale", "collate", "ctype", "version")
        )
        and (extensions is None or isinstance(extensions, dict))
        and (value.get("jobs") is None or number(value["jobs"]))
        and (collations is None or (isinstance(collations, list) and all(map(_collation, collations))))
    )


def _collation(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and {"name", "provider", "locale", "version", "indexes", "examples"} <= set(value)
        and text(value["name"])
        and text(value["provider"])
        and _maybe(text)(value["locale"])
        and _maybe(text)(value["version"])
        and number(value["indexes"])
        and _texts(value["examples"])
    )


def _limit(value: Any) -> bool:
    """As pg_control has it: a number, or its digits."""
    return number(value, 1 << 32) or (isinstance(value, str) and bool(_DIGITS.fullmatch(value)))


def _settings(value: Any) -> bool:
    """What the server needed and had: limits are numbers, the rest as it was recorded (backup/facts.py)."""
    if not _object(value):
        return False
    limits = (item for name, item in value.items() if name.startswith("max_"))
    databases = value.get("databases")
    return (
        all(map(_limit, limits))
        and (databases is None or (isinstance(databases, list) and all(map(_database, databases))))
        and all(value.get(name) is None or _object(value[name]) for name in ("build", "changed"))
        and _texts(value.get("subscriptions"))
    )


def _tablespaces(value: Any) -> bool:
    return all(
        number(one.oid, 1 << 32)
        and text(one.path)
        and one.path.startswith("/")
        and "\0" not in one.path
        and text(one.name)
        and number(one.plain_bytes)
        and number(one.restored_bytes)
        for one in value
    )


def _files(value: Any) -> bool:
    return all(
        text(one.name)
        and number(one.stored_bytes)
        and isinstance(one.digest, str)
        and bool(names.DIGEST.fullmatch(one.digest))
        for one in value
    )


_GOOD: dict[str, Callable[[Any], bool]] = {
    "system_id": lambda value: number(value, _MOST_SYSTEM) and value > 0,
    "major": lambda value: number(value, 1000),
    "wal_segment_size": lambda value: number(value) and value in SIZES_BYTES,
    "timeline": _maybe(lambda value: number(value, _MOST_TIMELINE) and value > 0),
    **dict.fromkeys(("start_lsn", "stop_lsn"), _maybe(lambda value: number(value, 1 << 64))),
    **dict.fromkeys(("plain_bytes", "stored_bytes", "restored_bytes", "rebuilt_bytes"), number),
    **dict.fromkeys(("parent", "parent_manifest", "failure"), _maybe(text)),
    "version": text,
    "pinned": lambda value: isinstance(value, bool),
    "data_checksums": _maybe(lambda value: isinstance(value, bool)),
    **dict.fromkeys(("page_faults", "unsound"), _maybe(_object)),
    **dict.fromkeys(("owner", "manifest"), _object),
    "seconds": _times,
    "settings": _settings,
    "tablespaces": _tablespaces,
    "files": _files,
}


def check_backup(entry: Backup, attempted: str) -> Backup:
    """The entry back. Raises :class:`Refused` ``door-refused`` for what no dbkeeper writes."""
    wrong = [name for name, good in _GOOD.items() if not good(getattr(entry, name))]
    if wrong:
        raise names.refused(
            f"{wrong[0]} in its entry is nothing that a backup has: {names.shown(getattr(entry, wrong[0]))}",
            attempted=attempted,
        )
    return entry


def check_lease(lease: dict[str, Any], attempted: str) -> None:
    """Raises :class:`Refused` ``door-refused`` for what no dbkeeper writes."""
    owner, first, system = lease["owner"], lease["first_segment"], lease["system_id"]
    good = {
        "purpose": text(lease["purpose"]),
        "label": lease["label"] is None or text(lease["label"]),
        "system_id": system is None or number(system) or text(system),
        "first_segment": first is None or (isinstance(first, str) and bool(names.SEGMENT.fullmatch(first))),
        "keep": isinstance(lease["keep"], bool),
        "owner": _object(owner) and number(owner.get("pid", 0)),
    }
    wrong = [name for name, fits in good.items() if not fits]
    if wrong:
        raise names.refused(f"{wrong[0]} is nothing that a lease has", attempted=attempted)
