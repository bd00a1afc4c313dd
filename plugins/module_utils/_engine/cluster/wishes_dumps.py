# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which logical dumps are to be taken of a cluster and how many stay: keys ``dumps`` and ``dump_retention``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import KeeperError, Refused
from ..repository.selection import CONTENTS, FORMATS, Selection
from ..retention.policy import DumpPolicy, Generations

Invalid = Callable[[str], Refused]

_LABEL = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,39}")
COMPRESSION = re.compile(r"auto|none|(?P<tool>gzip|lz4|zstd)(:(?P<level>\d{1,2}))?")
ROWS = ("auto", "digest", "count", "none")
_LISTS = ("schemas", "exclude_schemas", "tables", "exclude_tables")


@dataclass(frozen=True)
class DumpWish:
    """A dump that is to be taken again and again; ``label`` names the series.

    ``compression``: ``auto`` (zstd where this version's pg_dump has it, else gzip), ``none``, or ``zstd:3`` and the
    like. ``jobs`` is for the format ``directory``. ``globals``: roles and tablespaces beside it. ``max_age_seconds``:
    nothing is done while a verified one is younger (None: always). ``rows``: what is recorded of each table's
    rows at the snapshot of the dump, so that a load can be proven: ``count``, ``digest`` (their content as well),
    ``none``, or ``auto``: counted always, digested where the host has processors to spare. ``lock_wait_seconds``: how
    long a table may be locked by others.
    """

    label: str
    database: str
    format: str = "custom"
    compression: str = "auto"
    jobs: int = 1
    selection: Selection = Selection()
    globals: bool = True
    max_age_seconds: int | None = None
    rows: str = "auto"
    lock_wait_seconds: int = 300

    def to_dict(self) -> dict[str, Any]:
        """As the cluster's description has it."""
        value = asdict(self)
        selection = value.pop("selection")
        return {**value, **{k: list(v) if isinstance(v, tuple) else v for k, v in selection.items()}}


def read_dumps(value: Any, invalid: Invalid) -> tuple[DumpWish, ...]:
    """The key ``dumps``. Raises what ``invalid`` makes."""
    if not isinstance(value, list):
        raise invalid("dumps is not a list")
    found = tuple(_wish(item, f"dumps[{number}]", invalid) for number, item in enumerate(value))
    labels = [one.label for one in found]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise invalid(f"two dumps have the label {twice[0]!r}")
    return found


def _wish(value: Any, where: str, invalid: Invalid) -> DumpWish:
    if not isinstance(value, Mapping):
        raise invalid(f"{where} is not an object")
    data = {name: item for name, item in value.items() if item is not None}
    unknown = sorted(set(data) - set(DumpWish.__dataclass_fields__) - set(Selection.__dataclass_fields__))
    if unknown or "selection" in data:
        raise invalid(f"unknown: {where}.{(unknown or ['selection'])[0]}")

    def take(name: str, default: Any, good: Callable[[Any], bool], wanted: str) -> Any:
        item = data.get(name, default)
        if not good(item):
            raise invalid(f"{where}.{name} is {item!r}; it must be {wanted}")
        return item

    def number(name: str, default: int | None, most: int | None = None) -> Any:
        def good(item: Any) -> bool:
            whole = isinstance(item, int) and not isinstance(item, bool) and item >= 1
            return (item is None and default is None) or (whole and (most is None or item <= most))

        return take(name, default, good, "a whole number from 1" + (f" to {most}" if most else ""))

    def texts(name: str) -> tuple[str, ...]:
        def good(item: Any) -> bool:
            return isinstance(item, list) and all(isinstance(one, str) and one for one in item)

        return tuple(take(name, [], good, "a list of texts"))

    content = take("content", "all", lambda item: item in CONTENTS, f"one of {', '.join(CONTENTS)}")
    return DumpWish(
        label=take(
            "label", None, lambda item: isinstance(item, str) and bool(_LABEL.fullmatch(item)), "a label"
        ),
        database=take(
            "database", None, lambda item: isinstance(item, str) and item != "", "a database's name"
        ),
        format=take("format", "custom", lambda item: item in FORMATS, f"one of {', '.join(FORMATS)}"),
        compression=take(
            "compression",
            "auto",
            lambda item: isinstance(item, str) and bool(COMPRESSION.fullmatch(item)),
            "auto, none, or gzip, lz4 or zstd with a level: zstd:3",
        ),
        jobs=number("jobs", 1, 64),
        selection=Selection(content, *(texts(name) for name in _LISTS)),
        globals=take("globals", True, lambda item: isinstance(item, bool), "true or false"),
        max_age_seconds=number("max_age_seconds", None),
        rows=take("rows", "auto", lambda item: item in ROWS, f"one of {', '.join(ROWS)}"),
        lock_wait_seconds=number("lock_wait_seconds", 300),
    )


def read_dump_retention(value: Any, invalid: Invalid) -> DumpPolicy:
    """The key ``dump_retention``; ``schema`` in it holds the same keys for dumps without rows."""
    if not isinstance(value, Mapping):
        raise invalid("dump_retention is not an object")
    data = dict(value)
    schema = data.pop("schema", None)
    dumps = _generations(data, "dump_retention", invalid)
    return DumpPolicy(
        dumps, None if schema is None else _generations(schema, "dump_retention.schema", invalid)
    )


def _generations(value: Any, where: str, invalid: Invalid) -> Generations:
    if not isinstance(value, Mapping):
        raise invalid(f"{where} is not an object")
    unknown = sorted(set(value) - Generations.names())
    if unknown:
        raise invalid(f"unknown: {where}.{unknown[0]}")
    try:
        return Generations(**{name: item for name, item in value.items() if item is not None})
    except KeeperError as error:
        raise invalid(f"{where}: {error.happened}") from error
