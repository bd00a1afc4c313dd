# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""WAL summaries: what a server (17 and later) must have kept to tell which blocks changed since a backup began."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ..cluster.config import ClusterConfig
from ..cluster.psql import query
from ..wal.lsn import format_lsn, parse_lsn

#: From this major version on there are incremental base backups.
SUMMARIZES = 17

_SUMMARIES = """
SELECT json_build_object(
  'on', current_setting('summarize_wal')::bool,
  'keep_minutes', (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_summary_keep_time'),
  'summarized', (SELECT summarized_lsn::text FROM pg_get_wal_summarizer_state()),
  'ranges', (SELECT coalesce(json_agg(json_build_array(tli, start_lsn::text, end_lsn::text)), '[]'::json)
     FROM pg_available_wal_summaries())
)
"""


@dataclass(frozen=True)
class Summaries:
    """``ranges`` are (timeline, start, end) of the summaries that are there; ``keep_seconds`` 0: for ever.

    ``summarized_lsn``: how far the server has come; it ends a summary where a checkpoint began.
    """

    on: bool
    keep_seconds: int
    ranges: tuple[tuple[int, int, int], ...] = ()
    summarized_lsn: int = 0

    def missing_from(self, timeline: int, start_lsn: int) -> int | None:
        """The first position from ``start_lsn`` on that no summary covers although the server is past it, or None.

        What has not been summarized yet is not missing: the server waits for it when the backup begins.
        """
        mine = sorted((start, end) for line, start, end in self.ranges if line == timeline)
        covered = start_lsn
        for start, end in mine:
            if start <= covered < end:
                covered = end
        past = max([self.summarized_lsn, *(end for _dummy, end in mine)])
        return covered if covered < past else None


def ask_summaries(config: ClusterConfig, version_num: int) -> Summaries | None:
    """None where the server has none by its version. Raises as :func:`query` does."""
    if version_num < SUMMARIZES * 10000:
        return None
    value = json.loads(str(query(config, _SUMMARIES)[0][0]))
    ranges: Sequence[Sequence[str]] = value["ranges"]
    return Summaries(
        on=bool(value["on"]),
        keep_seconds=60 * int(value["keep_minutes"]),
        ranges=tuple((int(line), parse_lsn(start), parse_lsn(end)) for line, start, end in ranges),
        summarized_lsn=parse_lsn(str(value["summarized"] or "0/0")),
    )


def describe_missing(summaries: Summaries, timeline: int, start_lsn: int) -> str | None:
    """What is not there, in words, or None."""
    missing = summaries.missing_from(timeline, start_lsn)
    if missing is None:
        return None
    keep = f"the server keeps them for {summaries.keep_seconds // 60} min (wal_summary_keep_time)"
    return f"no WAL summary covers {format_lsn(missing)} on timeline {timeline}: {keep}"
