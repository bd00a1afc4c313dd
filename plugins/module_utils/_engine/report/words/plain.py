# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says of things while it looks at them, and of errors, in Japanese: by the English of a result.

A result names what was not seen, and why, in English, for those who read JSON; here is the other language of each such
phrase. ``{name}`` stands for what is filled in. What PostgreSQL or the system said themselves is quoted as it was said.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .entry import Pair

#: Things that are looked at.
THINGS: tuple[Pair, ...] = (
    Pair("the baseline", "これまでの実行の記録 (ベースライン)"),
    Pair("the certificate", "証明書"),
    Pair("disks and the certificate", "ディスクと証明書"),
    Pair("disk of {what}", "{what} のディスク"),
    Pair("the keeper's repository", "バックアップのリポジトリ"),
    Pair("restored copy", "復元したコピー"),
    Pair("settings of the planner", "プランナーの設定"),
    Pair("predicates of pg_qualstats", "pg_qualstats の述語"),
    Pair("the sample rate of pg_qualstats", "pg_qualstats のサンプリング率"),
    Pair("the list of databases", "データベースの一覧"),
    Pair("the database's collation", "データベースの照合順序"),
    Pair("the time of the statistics' reset", "統計情報がリセットされた日時"),
    Pair("the archiver", "アーカイバー"),
    Pair("the WAL directory", "WAL ディレクトリ"),
    Pair("tables", "テーブル"),
    Pair("locked tables", "ロックされているテーブル"),
    Pair("sequences", "シーケンス"),
    Pair("values of sequences", "シーケンスの値"),
    Pair("sequences ({count})", "シーケンス {count} 個"),
    Pair("invalid objects", "無効なオブジェクト"),
    Pair("extensions", "拡張"),
    Pair("extension {name}", "拡張 {name}"),
    Pair("statistics of columns", "列の統計情報"),
    Pair("column statistics", "列の統計情報"),
    Pair("exact bloat of {name}", "{name} の肥大化の実測"),
    Pair("exact bloat", "肥大化の実測"),
    Pair("settings", "設定"),
    Pair("sessions", "セッション"),
    Pair("locks", "ロック"),
    Pair("waits for locks", "ロック待ち"),
    Pair("standbys", "スタンバイ"),
    Pair("replication slots", "レプリケーションスロット"),
    Pair("databases", "データベース"),
    Pair("prepared transactions", "プリペアドトランザクション"),
    Pair("checkpoints", "チェックポイント"),
    Pair("tablespaces", "テーブル空間"),
    Pair("segments that wait for the archiver", "アーカイブ待ちのセグメント"),
    Pair("recovery", "リカバリ"),
    Pair("subscriptions", "サブスクリプション"),
    Pair("definitions of indexes", "インデックスの定義"),
    Pair("density of {name}", "{name} の密度"),
    Pair("amcheck of {name}", "{name} の amcheck"),
    Pair("resets of statistics", "統計情報のリセット"),
    Pair("temporary files", "一時ファイル"),
    Pair("indexes", "インデックス"),
    Pair("index on {name}", "{name} のインデックス"),
    Pair("constraints", "制約"),
    Pair("partitions", "パーティション"),
    Pair("running builds of indexes", "実行中のインデックス作成"),
    Pair("operators", "演算子"),
    Pair("columns", "列"),
    Pair("operator classes", "演算子クラス"),
    Pair("options of operator classes", "演算子クラスのオプション"),
    Pair("schemas", "スキーマ"),
    Pair("objects of extensions", "拡張のオブジェクト"),
    Pair("collations", "照合順序"),
    Pair("access methods", "アクセスメソッド"),
    Pair("table {name}", "テーブル {name}"),
    Pair("statements", "SQL 文"),
    Pair("statements of other users ({count})", "他のユーザーの SQL 文 {count} 件"),
    Pair("statements of pg_stat_statements", "pg_stat_statements の SQL 文"),
    Pair("texts of statements", "SQL 文のテキスト"),
    Pair("memory for the texts of statements", "SQL 文のテキストを読むためのメモリー"),
    Pair("generic plans", "汎用プラン"),
    Pair("roles", "ロール"),
    Pair("database {name}", "データベース {name}"),
    Pair("{thing} in database {name}", "データベース {name}: {thing}"),
    Pair("the generic plan of statement {name}", "SQL 文 {name} の汎用プラン"),
)
#: Why they were not seen.
REASONS: tuple[Pair, ...] = (
    Pair("check mode restores nothing", "チェックモードでは復元を行いません"),
    Pair("it allows no connections", "接続が許可されていません (datallowconn)"),
    Pair("CONNECT on it is missing", "CONNECT 権限がありません"),
    Pair("no database has the extension", "拡張がどのデータベースにもありません"),
    Pair("their queryid is hidden", "queryid を参照できません"),
    Pair(
        "the server is on another host: run the module there",
        "サーバは別のホストにあります。そのホストでモジュールを実行してください",
    ),
    Pair(
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA, or pg_read_all_data",
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA、または pg_read_all_data が必要です",
    ),
    Pair(
        "EXPLAIN (GENERIC_PLAN) is there from PostgreSQL 16 on",
        "EXPLAIN (GENERIC_PLAN) は PostgreSQL 16 以降で使用できます",
    ),
    Pair(
        "version {version}: ALTER EXTENSION pg_stat_statements UPDATE",
        "バージョン {version} です。ALTER EXTENSION pg_stat_statements UPDATE を実行してください",
    ),
    Pair(
        "CREATE EXTENSION hypopg in {name}, on a copy",
        "コピーのデータベース {name} で CREATE EXTENSION hypopg を実行してください",
    ),
    Pair("not asked", "問い合わせていません"),
    Pair("streams from the primary", "プライマリーからストリーミングしています"),
    Pair("database {name} not seen", "データベース {name} は確認できませんでした"),
    Pair(
        "it has format {format}, this version knows {known}",
        "形式が {format} です (このバージョンの形式は {known})",
    ),
    # Why a host, or one of its reports, is missing.
    Pair("It was not asked.", "問い合わせていません。"),
    Pair("It gave no answer.", "応答がありませんでした。"),
    # Ansible's own words for a host that is not there; what ssh says of it is quoted.
    Pair(
        'Task failed: Data could not be sent to remote host "{host}". Make sure this host can be reached over ssh: '
        "{said}",
        "ホスト {host} に SSH で接続できません: {said}",
    ),
    Pair(
        "Task failed: Failed to connect to the host via ssh: {said}",
        "ホストに SSH で接続できません: {said}",
    ),
    Pair("Failed to connect to the host via ssh: {said}", "ホストに SSH で接続できません: {said}"),
)

#: Errors by their code: what happened (``{happened}`` quotes whoever said it) and what to do.
ERRORS: dict[str, tuple[Pair, Pair]] = {
    "server-unreachable": (
        Pair("The server cannot be reached: {happened}", "サーバに接続できません: {happened}"),
        Pair(
            "See that the server runs, that login_* options are right and that pg_hba.conf lets them in.",
            "サーバが稼働していること、login_* オプションが正しいこと、"
            "pg_hba.conf で許可されていることを確認してください。",
        ),
    ),
    "sql-failed": (
        Pair("The server refused a query: {happened}", "サーバがエラーを返しました: {happened}"),
        Pair(
            "Read the server's words; the role may lack a right.",
            "サーバのメッセージを確認してください。ロールの権限が不足している可能性があります。",
        ),
    ),
    "psycopg-missing": (
        Pair(
            "Python on the host has no psycopg: {happened}",
            "ホストの Python に psycopg がありません: {happened}",
        ),
        Pair(
            "Install python3-psycopg of the distribution on that host.",
            "そのホストに、ディストリビューションの python3-psycopg をインストールしてください。",
        ),
    ),
    "psycopg-too-old": (
        Pair("psycopg on the host is too old: {happened}", "ホストの psycopg が古すぎます: {happened}"),
        Pair("Install psycopg 3.1 or newer on that host.", "psycopg 3.1 以降をインストールしてください。"),
    ),
    "config-malformed": (
        Pair(
            "The keeper's configuration cannot be read: {happened}",
            "ホストの設定ファイルを読み取れません: {happened}",
        ),
        Pair(
            "Run the playbook that writes the configuration again.",
            "設定を配置するプレイブックを再実行してください。",
        ),
    ),
    "config-missing": (
        Pair(
            "The keeper has no configuration for that cluster: {happened}",
            "そのクラスターの設定ファイルがありません: {happened}",
        ),
        Pair(
            "See the name of the cluster, and /etc/dbkeeper.",
            "クラスター名と /etc/dbkeeper を確認してください。",
        ),
    ),
    "request-contradictory": (
        Pair("The options do not go together: {happened}", "オプションの指定に誤りがあります: {happened}"),
        Pair("See the options of the report.", "レポートのオプションを確認してください。"),
    ),
    "config-unreadable": (
        Pair(
            "The keeper's configuration cannot be read: {happened}",
            "設定ファイルを読み取れません: {happened}",
        ),
        Pair("See the rights on /etc/dbkeeper.", "/etc/dbkeeper の権限を確認してください。"),
    ),
    "file-damaged": (
        Pair("A file is damaged: {happened}", "ファイルが壊れています: {happened}"),
        Pair(
            "Put the file back, or let the playbook write it again.",
            "ファイルを復旧するか、プレイブックで配置し直してください。",
        ),
    ),
    "not-a-copy": (
        Pair("It is no restored copy: {happened}", "復元したコピーではありません: {happened}"),
        Pair(
            "Try indexes on a restored copy, and say that it is one.",
            "インデックスの検証は復元したコピーで行い、コピーであることを指定してください。",
        ),
    ),
    "program-missing": (
        Pair("A program cannot be started: {happened}", "プログラムを起動できません: {happened}"),
        Pair(
            "Install the package that holds it, or correct its directory (bin_directory).",
            "そのプログラムを含むパッケージをインストールするか、ディレクトリー (bin_directory) を修正してください。",
        ),
    ),
    "program-timeout": (
        Pair(
            "A program took too long and was stopped: {happened}",
            "プログラムが時間内に終了しなかったため停止しました: {happened}",
        ),
        Pair(
            "See what the server was busy with then; ask for less time, or fewer clients.",
            "その時点のサーバの負荷を確認し、試験時間かクライアント数を減らしてください。",
        ),
    ),
    "program-failed": (
        Pair("A program ended with an error: {happened}", "プログラムがエラーで終了しました: {happened}"),
        Pair(
            "Read what it said; the server, or the pooler, must let login_user into that database.",
            "メッセージを確認してください。サーバ (PgBouncer 経由の場合は PgBouncer) で、login_user が"
            "そのデータベースに接続できる必要があります。",
        ),
    ),
    "benchmark-not-understood": (
        Pair("What pgbench said is not understood: {happened}", "pgbench の出力を解釈できません: {happened}"),
        Pair(
            "See the version of pgbench in bin_directory; 14 to 18 are known.",
            "bin_directory にある pgbench のバージョンを確認してください (14 から 18 に対応)。",
        ),
    ),
    "system-error": (
        Pair("The operating system refused: {happened}", "OS のエラーが発生しました: {happened}"),
        Pair(
            "See what the operating system says of that file or device.",
            "該当のファイルまたはデバイスを OS 側で確認してください。",
        ),
    ),
}
_FIELD = re.compile(r"\{(\w+)\}")


def thing(text: str, language: str) -> str:
    """What was looked at, in a language; as it is where it is a name and no phrase of the catalogue."""
    return _said(THINGS, text, language)


def reason(text: str, language: str) -> str:
    """Why it was not seen, in a language; as it is where it is a quotation."""
    return _said(REASONS, text, language)


def error(code: str, happened: str, language: str) -> tuple[str, str] | None:
    """What happened and what to do, of an error by its code; None for a code that has no words here."""
    if code not in ERRORS:
        return None
    why, remedy = ERRORS[code]
    return why.of(language).format(happened=happened), remedy.of(language)


def _said(phrases: tuple[Pair, ...], text: str, language: str) -> str:
    if language != "ja":
        return text
    for pattern, pair in patterns(phrases):
        match = pattern.fullmatch(text)
        if match:
            filled = {name: _said(phrases, value, language) for name, value in match.groupdict().items()}
            return pair.ja.format_map(filled)
    return text


@lru_cache(maxsize=8)
def patterns(phrases: tuple[Pair, ...]) -> tuple[tuple[re.Pattern[str], Pair], ...]:
    """Each phrase as what it matches: those without a field first, then the ones that leave the least to a field."""
    ordered = sorted(phrases, key=lambda pair: (pair.en.count("{"), -len(_FIELD.sub("", pair.en))))
    return tuple((_pattern(pair.en), pair) for pair in ordered)


def _pattern(text: str) -> re.Pattern[str]:
    pieces = enumerate(_FIELD.split(text))
    said = "".join(f"(?P<{piece}>.+)" if number % 2 else re.escape(piece) for number, piece in pieces)
    return re.compile(said, re.DOTALL)
