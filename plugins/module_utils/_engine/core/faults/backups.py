# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Faults B17 to B22: what a base backup holds."""

from __future__ import annotations

from .fault import Fault, Words

_BRING_BACK: Words = (
    "Bring the file back from a copy of the repository, or name another backup (`--backup`).",
    "リポジトリの複製から戻すか、別のバックアップを指定してください (`--backup`)。",
)
_WHILE_STAGED: Words = (
    "Seen while the copy is staged beside the live cluster, which is not touched.",
    "稼働中のクラスタとは別の場所への展開中に検出し、稼働中のクラスタには触れません。",
)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "B17",
        "stopped",
        (
            "backup-file-missing",
            "backup-file-damaged",
            "backup-file-unreadable",
            "manifest-unsupported",
            "backup-entry-damaged",
        ),
        title=("Manifest missing, malformed or wrong", "マニフェストの欠落、破損、不一致"),
        cause=(
            "Without it nobody can say whether the backup is whole.",
            "バックアップが完全であることを確認できません。",
        ),
        answer=(
            "The plan looks at it before anything is staged: names, sizes, the manifest's own checksum. Entries that "
            "cannot be read are passed over, and the plan and `check` say so.",
            "展開の前に計画で名前、大きさ、マニフェスト自身のチェックサムを確認します。"
            "読めない登録情報は使わず、計画と `check` で示します。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B18",
        "stopped",
        ("backup-file-missing", "backup-file-damaged", "backup-file-extra", "backup-file-unreadable"),
        title=(
            "Base file missing, cut, changed or extra",
            "ベースファイルの欠落、切り詰め、改変、余分なファイル",
        ),
        cause=(
            "A stored file, or one inside it, is not the one that the manifest lists.",
            "格納ファイルまたはその中のファイルがマニフェストと一致しません。",
        ),
        answer=(
            "Names and sizes are seen by the plan, the rest while the copy is staged beside the live cluster, which is "
            "not touched. Every file is held against its SHA-256.",
            "名前と大きさは計画で、その他は稼働中のクラスタとは別の場所への展開中に検出し、"
            "稼働中のクラスタには触れません。すべてのファイルを SHA-256 で照合します。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B19",
        "stopped",
        ("page-checksum-failed", "backup-page-faults", "restored-copy-unfit", "amcheck-missing"),
        title=("Damaged pages in the live cluster", "稼働中のクラスタのページ破損"),
        cause=(
            "pg_basebackup reports checksum failures; it can do so only where data checksums are on, and the "
            "backup's plan warns where they are off.",
            "pg_basebackup がチェックサム不一致を報告しました。データチェックサムが有効な場合のみ検出でき、"
            "無効な場合はバックアップの計画で警告します。",
        ),
        answer=(
            "`backup` fails and says which files; what was copied is kept, with files and number of pages in the "
            "catalog, and no restore or incremental backup takes it by itself. `check` fails until a sound backup "
            "is there. With `--amcheck`, pg_amcheck looks at every table and index of the restored copy before "
            "the swap, checksums or not.",
            "`backup` は失敗として該当ファイルを示します。取得した内容は保持し、ファイルとページ数をカタログに記録"
            "しますが、復旧や増分バックアップの基として自動では使いません。健全なバックアップができるまで `check` "
            "は失敗します。`--amcheck` を指定すると、チェックサムの有無に関わらず、切り替え前に pg_amcheck が復旧"
            "後のすべてのテーブルとインデックスを検査します。",
        ),
        remedy=(
            "Find the pages (pg_amcheck), look at the disk, and plan a restore from an older backup. Where there is no "
            "other, `--accept-page-faults` takes it, without what lay on those pages.",
            "pg_amcheck で該当ページを調べ、ディスクを確認し、より古いバックアップからの復旧を計画してください。他"
            "にない場合は `--accept-page-faults` で使えますが、該当ページの内容は失われます。",
        ),
    ),
    Fault(
        "B20",
        "stopped",
        ("backup-file-missing",),
        title=("`backup_label` missing", "`backup_label` の欠落"),
        cause=(
            "A server would start from the wrong checkpoint.",
            "サーバが誤ったチェックポイントから起動します。",
        ),
        answer=(
            "Such a copy is never started, even where a manifest agrees.",
            "マニフェストに矛盾がなくても起動しません。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B21",
        "stopped",
        ("backup-file-missing",),
        title=(
            "`pg_control`, `PG_VERSION` or `pg_wal` missing",
            "`pg_control`、`PG_VERSION`、`pg_wal` の欠落",
        ),
        cause=("The copy is not a data directory.", "データディレクトリとして成立しません。"),
        answer=_WHILE_STAGED,
        remedy=_BRING_BACK,
    ),
    Fault(
        "B22",
        "handled",
        ("backup-not-verified", "no-backup"),
        title=("Backup still running, or failed", "取得中または失敗したバックアップ"),
        cause=(
            "Its entry says `running`, `failed` or `expired`.",
            "状態が `running`、`failed`、`expired` です。",
        ),
        answer=(
            "Only verified backups are chosen; one that is named and is not verified is refused.",
            "検証済みのものだけを選びます。指定されたものが検証済みでなければ拒否します。",
        ),
        remedy=(
            "Choose a verified one (`dbkeeper info`), or take one.",
            "検証済みのものを選ぶ (`dbkeeper info`) か、新たに取得してください。",
        ),
    ),
)
