# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper dump``: those of the cluster's description, or one that is said here."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.home import repository_named_by
from ..cluster.wishes_dumps import ROWS
from ..core.error_words import cause
from ..core.errors import Refused
from ..core.sayings import JAPANESE, span
from ..core.sizes import format_bytes, parse_duration
from ..logical.dump import DumpRequest, described, take_dumps
from ..repository.selection import CONTENTS, FORMATS, Selection

Outcome = tuple[dict[str, Any], list[str]]

_WORDS = {
    "failed": (
        "dump {series} of {database} failed: {cause}",
        "{database} のダンプ {series} は失敗しました: {cause}",
    ),
    "nothing": (
        "nothing to do: {reason}",
        "処理はありません: 求められた条件を満たすダンプがあります ({key})",
    ),
    "would": ("would take {key}:", "次のダンプを取得する予定です: {key}"),
    "made": (
        "{key} is verified: {size}, {entries} entries, {rows} rows in {tables} tables ({proof}), {lasted}",
        "{key} は検証済みです: {size}、{entries} 項目、{tables} 表の {rows} 行 ({proof})、所要時間 {lasted}",
    ),
    "none": ("not counted: a load cannot be proven", "行数の記録なし: ロード時に照合できません"),
    "count": ("counted, contents not digested", "行数のみ記録、内容のダイジェストなし"),
    "digest": ("counted and digested", "行数と内容のダイジェストを記録"),
    "warning": ("  warning: {text}", "  警告: {text}"),
}


def word(what: str, language: str, /, **values: object) -> str:
    """One line, or a part of one."""
    return _WORDS[what][language == JAPANESE].format(**values)


def add_dump(parser: argparse.ArgumentParser) -> None:
    """Options of ``dump``."""
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="dumps of the cluster's description; without, all of them")
    add("--database", metavar="NAME", help="dump this database, whatever the description says")
    add("--label", help="a name of your own; done when a verified dump of the database has it")
    add("--max-age", metavar="DURATION", help="nothing to do if a verified dump is younger: 24h, 7d")
    add("--format", choices=FORMATS, default="custom", help="directory is written by several --jobs")
    add("--compression", default="auto", metavar="HOW", help="auto, none, gzip:1, lz4:1, zstd:3")
    add("--jobs", type=int, default=1, metavar="N", help="tables dumped at the same time")
    add("--content", choices=CONTENTS, default="all", help="definitions, rows, or both")
    for name in ("schema", "exclude-schema", "table", "exclude-table"):
        add(f"--{name}", action="append", default=[], metavar="PATTERN", help=f"as pg_dump's --{name}")
    add("--no-globals", action="store_true", help="without roles and tablespaces beside it")
    add(
        "--rows",
        choices=ROWS,
        default="auto",
        help="what a load is proven by: count, digest; auto: see the manual",
    )
    add("--lock-wait", metavar="DURATION", default="5m", help="how long a table may be locked by others")
    add("--user", metavar="ROLE", help="the role that dumps; without, the superuser")
    add("--check", action="store_true", help="show the plan only")


def dump_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """On the cluster's host."""
    repository = repository_named_by(config)
    repository.require("dump a database")
    result = take_dumps(config, repository, _requests(options, config), check=options.check)
    return result, [line for one in result["dumps"] for line in lines(one, language)]


def _requests(options: argparse.Namespace, config: ClusterConfig) -> list[DumpRequest]:
    age = _seconds(options.max_age, "--max-age")
    if options.database is None:
        if options.label:
            raise Refused(
                "request-contradictory",
                attempted=f"take the dumps of cluster {config.cluster}",
                happened=f"--label {options.label} is given without --database",
                remedy="A label of your own is for one database: dbkeeper dump --database NAME --label LABEL.",
            )
        wanted = described(config, options.names)
        return [replace(one, max_age_seconds=age) for one in wanted] if age is not None else wanted
    if options.names:
        raise Refused(
            "request-contradictory",
            attempted=f"dump database {options.database}",
            happened="both --database and names of described dumps are given",
            remedy="Give one of them.",
        )
    return [
        DumpRequest(
            database=options.database,
            label=options.label,
            format=options.format,
            compression=options.compression,
            jobs=options.jobs,
            selection=Selection(
                options.content,
                tuple(options.schema),
                tuple(options.exclude_schema),
                tuple(options.table),
                tuple(options.exclude_table),
            ),
            globals=not options.no_globals,
            max_age_seconds=age,
            rows=options.rows,
            lock_wait_seconds=_seconds(options.lock_wait, "--lock-wait") or 0,
            user=options.user,
        )
    ]


def _seconds(text: str | None, option: str) -> int | None:
    return parse_duration(text, attempted=f"understand {option}") if text else None


def lines(result: dict[str, Any], language: str) -> list[str]:
    """What a dump did, or would do."""
    if "error" in result:
        about = {"series": result["series"], "database": result["database"]}
        return [
            word("failed", language, cause=cause(result["error"], remedy=False).within(language), **about)
        ]
    plan = result["plan"]
    if not result["changed"]:
        return [word("nothing", language, reason=plan["reason"], key=plan["key"])]
    if not result["executed"]:
        return [word("would", language, key=plan["key"]), *(f"  {step}" for step in plan["steps"])]
    made = result["dump"]
    rows = made["rows"]
    proof = "none" if not rows["tables"] else "digest" if rows["digested"] == rows["tables"] else "count"
    said = word(
        "made",
        language,
        key=made["key"],
        size=format_bytes(made["stored_bytes"]),
        entries=made["contents"],
        rows=rows["rows"],
        tables=rows["tables"],
        proof=word(proof, language),
        lasted=span(sum(made["seconds"].values())).within(language),
    )
    return [said, *(word("warning", language, text=text) for text in made["warnings"])]
