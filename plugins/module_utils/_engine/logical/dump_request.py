# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is asked of a dump; what cannot be meant is refused here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from ..cluster.wishes_dumps import COMPRESSION, ROWS, DumpWish
from ..core.errors import Refused
from ..repository.catalog import check_label
from ..repository.dumps import encode_name
from ..repository.selection import CONTENTS, FORMATS, Selection

_LEVELS = {"gzip": (0, 9), "lz4": (0, 12), "zstd": (1, 22)}


@dataclass(frozen=True)
class DumpRequest:
    """A dump of one database, or one that is good enough.

    With ``label`` a verified dump of that name satisfies it; with ``max_age_seconds`` the newest verified one of its
    series, if it ended no longer ago and holds the same. With neither, one is taken every time. ``series`` empty: made
    from what is selected. ``user``: the role that dumps; None: the superuser. The rest is as in
    :class:`~..cluster.wishes_dumps.DumpWish`. Raises :class:`Refused`: ``database-name-unfit``, ``label-malformed``,
    ``dump-format-unknown``, ``dump-rows-unknown``, ``compression-unknown``, ``max-age-malformed``,
    ``request-contradictory``.
    """

    database: str
    series: str = ""
    label: str | None = None
    format: str = "custom"
    compression: str = "auto"
    jobs: int = 1
    selection: Selection = Selection()
    globals: bool = True
    max_age_seconds: int | None = None
    rows: str = "auto"
    lock_wait_seconds: int = 300
    user: str | None = None

    def __post_init__(self) -> None:
        encode_name(self.database)
        if self.label is not None:
            check_label(self.label)
        chosen = self.selection
        if self.rows not in ROWS:
            raise self._refused(
                "dump-rows-unknown", f"rows {self.rows!r} is unknown", f"Write one of {', '.join(ROWS)}."
            )
        if self.format not in FORMATS or chosen.content not in CONTENTS:
            raise self._refused(
                "dump-format-unknown",
                f"format {self.format!r}, content {chosen.content!r}: one of them is unknown",
                f"Formats: {', '.join(FORMATS)}; content: {', '.join(CONTENTS)}.",
            )
        self._check_compression()
        if self.max_age_seconds is not None and self.max_age_seconds <= 0:
            raise self._refused(
                "max-age-malformed",
                f"a maximal age of {self.max_age_seconds} seconds is met by no dump",
                "Give an age above zero (24h, 7d), or none at all to take a dump every time.",
            )
        for wrong, why in self._contradictions():
            if wrong:
                raise self._refused("request-contradictory", why, "Give one of them.")

    def _contradictions(self) -> tuple[tuple[bool, str], ...]:
        chosen = self.selection
        return (
            (
                self.label is not None and self.max_age_seconds is not None,
                "both a label and a maximal age are given: either may be satisfied by another dump",
            ),
            (self.jobs > 1 and self.format != "directory", f"{self.jobs} jobs, and format {self.format}"),
            (
                bool(chosen.tables) and bool(chosen.schemas or chosen.exclude_schemas),
                "tables and schemas: pg_dump would not look at the schemas",
            ),
            (
                not all((*chosen.tables, *chosen.schemas, *chosen.exclude_tables, *chosen.exclude_schemas)),
                "one of the patterns is empty",
            ),
            (self.jobs < 1 or self.lock_wait_seconds < 1, "jobs or the time to wait for locks is below 1"),
        )

    def _check_compression(self) -> None:
        match = COMPRESSION.fullmatch(self.compression)
        least, most = _LEVELS.get(match["tool"] or "" if match else "", (0, 99))
        level = int(match["level"]) if match and match["level"] else None
        if match is None or not (level is None or least <= level <= most):
            raise self._refused(
                "compression-unknown",
                f"{self.compression!r} is no compression",
                "Write auto, none, gzip:0 to gzip:9, lz4:0 to lz4:12 or zstd:1 to zstd:22.",
            )

    @property
    def series_name(self) -> str:
        """What tells its generations from others of the same database."""
        if self.series:
            return self.series
        kind = "data" if self.selection.content == "data" else self.selection.kind
        if self.selection.whole:
            return kind
        text = json.dumps(asdict(self.selection), sort_keys=True)
        return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @classmethod
    def from_wish(cls, wish: DumpWish) -> DumpRequest:
        """From the cluster's description."""
        return cls(
            database=wish.database,
            series=wish.label,
            format=wish.format,
            compression=wish.compression,
            jobs=wish.jobs,
            selection=wish.selection,
            globals=wish.globals,
            max_age_seconds=wish.max_age_seconds,
            rows=wish.rows,
            lock_wait_seconds=wish.lock_wait_seconds,
        )

    def _refused(self, code: str, happened: str, remedy: str) -> Refused:
        return Refused(code, attempted=f"dump database {self.database}", happened=happened, remedy=remedy)
