# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Faults A: targets and the catalog. Found by calculation, before anything is touched."""

from __future__ import annotations

from .fault import Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        "A01",
        "stopped",
        ("target-before-oldest-backup",),
        title=("Target before the oldest backup ended", "目標が最古のバックアップの完了より前"),
        cause=(
            "A backup can be replayed from its end on, and no verified one ends before the target.",
            "バックアップは完了時点以降にしか復旧できませんが、目標より前に完了した検証済みバックアップがありません。",
        ),
        remedy=(
            "Take the earliest time or LSN that the refusal names, or `immediate` with that backup.",
            "表示された最も早い時刻または LSN を指定するか、そのバックアップで `immediate` を指定してください。",
        ),
    ),
    Fault(
        "A02",
        "handled",
        ("target-before-oldest-backup", "lsn-out-of-range"),
        title=("Target inside a backup's own window", "目標がバックアップの取得中"),
        cause=(
            "The newest backup had not ended yet at the target.",
            "目標の時点で最新のバックアップがまだ完了していません。",
        ),
        answer=(
            "The newest backup that ends before the target is used. A backup that was named and does not is refused, "
            "as A01.",
            "目標より前に完了した最新のバックアップを使います。指定されたバックアップが該当しない場合は A01 "
            "と同じく拒否します。",
        ),
        remedy=(
            "Leave the backup's label out, or take the earliest point that the refusal names.",
            "バックアップの指定を外すか、表示された最も早い復旧点を指定してください。",
        ),
    ),
    Fault(
        "A03",
        "stopped",
        ("target-in-future", "target-after-last-commit"),
        title=(
            "Target in the future, or after the last archived commit",
            "目標が未来、または最後のアーカイブ済みコミットより後",
        ),
        cause=(
            "The asked time has not come, or the WAL of that time is not in the archive.",
            "指定時刻がまだ来ていないか、その時刻の WAL がアーカイブにありません。",
        ),
        answer=(
            "The last reachable commit is named. `restore` first has the running server archive its current segment.",
            "到達可能な最後のコミットを示します。`restore` は先に稼働中のサーバに現在のセグメントをアーカイブさせます"
            "。",
        ),
        remedy=(
            "Check the zone; `SELECT pg_switch_wal()`; or ask for `latest` or for the LSN that is named.",
            "タイムゾーンを確認し、`SELECT pg_switch_wal()` を実行するか、`latest` または表示された LSN "
            "を指定してください。",
        ),
    ),
    Fault(
        "A04",
        "stopped",
        ("target-after-last-commit", "live-wal-not-archived"),
        title=("Target in an idle time", "目標がコミットのない時間帯"),
        cause=(
            "Nobody committed after the asked time, so nothing in the WAL proves that all up to it is archived.",
            "指定時刻より後のコミットがないため、そこまでの WAL がすべてアーカイブ済みであることを確認できません。",
        ),
        answer=(
            "An allowed gap begins behind all that the live cluster has: it archives that first, and one that crashed "
            "with more is refused.",
            "空白を許可した場合も、稼働中のクラスタが持つ WAL を先にアーカイブさせます。"
            "未アーカイブの WAL を持ったまま異常終了したクラスタの場合は拒否します。",
        ),
        remedy=(
            "Allow the gap (`--allow-idle-gap`, `allow_idle_gap: true`): the restore goes to the archive's end.",
            "空白を許可してください (`--allow-idle-gap`、`allow_idle_gap: true`)。アーカイブの末尾まで復旧します。",
        ),
    ),
    Fault(
        "A05",
        "stopped",
        ("time-without-zone",),
        title=("Time without a zone", "タイムゾーンのない時刻"),
        cause=("Servers and people would read it differently.", "サーバと人で解釈が異なります。"),
        remedy=(
            "Add an offset or a zone's name: `2026-11-21 03:04:05+09:00`, `2026-11-21 03:04:05 Asia/Tokyo`.",
            "オフセットまたはタイムゾーン名を付けてください: `2026-11-21 03:04:05+09:00`、`2026-11-21 03:04:05 "
            "Asia/Tokyo`。",
        ),
    ),
    Fault(
        "A06",
        "stopped",
        ("time-ambiguous", "time-nonexistent", "zone-unknown", "time-malformed"),
        title=(
            "Zone unknown or abbreviated, or a local time that happens twice or never",
            "不明または略称のタイムゾーン、二度ある時刻、存在しない時刻",
        ),
        cause=(
            "CET or JST mean different things in different places; where clocks change, an hour happens twice or not "
            "at all.",
            "CET や JST などの略称は場所により意味が異なります。夏時間の切替では同じ時刻が二度あるか、"
            "まったくありません。",
        ),
        answer=(
            "Zones by name are resolved here. For a time that is not clear, both moments are named in UTC.",
            "タイムゾーン名はここで解決します。不明確な時刻には両方の候補を UTC で示します。",
        ),
        remedy=(
            "Use an offset, or one of the two moments in UTC.",
            "オフセットを使うか、示された UTC の時刻を指定してください。",
        ),
    ),
    Fault(
        "A07",
        "stopped",
        ("time-malformed", "target-malformed", "target-missing", "lsn-malformed"),
        title=("Target that cannot be read", "解釈できない目標"),
        cause=(
            "A word such as `yesterday`, a date that does not exist, a bad LSN, xid, name or timeline, or no target.",
            "`yesterday` のような語、存在しない日付、不正な LSN・xid・名前・タイムライン、または目標の指定なし。",
        ),
        remedy=(
            "Correct the target; `dbkeeper info` shows what can be reached.",
            "目標を修正してください。`dbkeeper info` で到達可能な範囲を確認できます。",
        ),
    ),
    Fault(
        "A08",
        "stopped",
        ("targets-conflict",),
        title=("Two targets", "複数の目標"),
        cause=(
            "More than one of time, LSN, xid, name, latest and immediate was given.",
            "時刻、LSN、xid、名前、latest、immediate のうち複数が指定されました。",
        ),
        remedy=("Give exactly one.", "一つだけ指定してください。"),
    ),
    Fault(
        "A09",
        "stopped",
        ("restore-point-unknown", "restore-point-ambiguous"),
        title=("Restore point unknown, or its name given twice", "リストアポイントが不明、または同名が複数"),
        cause=(
            "No archived WAL holds the name, or more than one place does.",
            "アーカイブ済み WAL にその名前がないか、複数の位置にあります。",
        ),
        answer=(
            "Known names, or the LSNs of the places, are listed.",
            "既知の名前、または各位置の LSN を一覧で示します。",
        ),
        remedy=(
            "Take a name or an LSN of the list; a point made just now is archived with its segment (`SELECT "
            "pg_switch_wal()`).",
            "一覧の名前または LSN を指定してください。作成直後のものは `SELECT pg_switch_wal()` "
            "でアーカイブされます。",
        ),
    ),
    Fault(
        "A10",
        "stopped",
        ("xid-not-in-archive", "xid-aborted"),
        title=(
            "Transaction not archived, rolled back, or only a subtransaction",
            "トランザクションが未アーカイブ、ロールバック済み、またはサブトランザクション",
        ),
        cause=(
            "There is no commit of that number to stop at.",
            "停止位置となるその番号のコミットがありません。",
        ),
        remedy=(
            "Take the top-level xid or the LSN that the refusal names; a running one has no commit yet.",
            "表示された親トランザクションの xid または LSN を指定してください。"
            "実行中のものにはまだコミットがありません。",
        ),
    ),
    Fault(
        "A11",
        "stopped",
        ("lsn-out-of-range",),
        title=(
            "LSN before the oldest backup's end, or after the end of the archive",
            "LSN が最古のバックアップの完了前、またはアーカイブの末尾より後",
        ),
        cause=(
            "The position cannot be reached on the timeline.",
            "そのタイムラインでは到達できない位置です。",
        ),
        remedy=(
            "Choose a position in the interval that is named.",
            "表示された範囲の位置を指定してください。",
        ),
    ),
    Fault(
        "A12",
        "stopped",
        ("timeline-unknown",),
        title=("Timeline that nobody knows", "存在しないタイムライン"),
        cause=(
            "The asked timeline has no history file in the archive.",
            "指定されたタイムラインの履歴ファイルがアーカイブにありません。",
        ),
        answer=(
            "Each timeline is listed with its parent, the LSN of the fork and the last commit before it (a history "
            "file knows no time).",
            "各タイムラインを、親、分岐の LSN、分岐前の最後のコミットとともに示します "
            "(履歴ファイルに時刻はありません)。",
        ),
        remedy=("Choose one of those listed.", "一覧から選んでください。"),
    ),
    Fault(
        "A13",
        "handled",
        ("timeline-not-descendant",),
        title=(
            "The newest timeline does not go on from the backup",
            "最新のタイムラインがバックアップに続いていない",
        ),
        cause=(
            "The backup was taken after the fork, on the other branch.",
            "バックアップは分岐の後に別の枝で取得されています。",
        ),
        answer=(
            "Ancestry is judged by where the backup STOPS; where a cluster lives, `latest` is its own timeline. An "
            "asked timeline that no backup leads to is refused.",
            "系譜はバックアップの終了位置で判定し、クラスタがあれば `latest` はそのタイムラインを指します。"
            "どのバックアップからも到達できないタイムラインの指定は拒否します。",
        ),
        remedy=(
            "Choose the timeline of a backup, or one that goes on from it.",
            "バックアップのタイムライン、またはそれに続くものを指定してください。",
        ),
    ),
    Fault(
        "A14",
        "stopped",
        ("timeline-ambiguous",),
        title=(
            "The newest timeline is a drill's or a forgotten one",
            "最新のタイムラインが訓練用または放棄されたもの",
        ),
        cause=(
            "Several branches go on from the backup, and the target means different states on them.",
            "バックアップから複数の枝が続き、目標の示す状態が枝により異なります。",
        ),
        answer=(
            "All branches are listed with what the target is there. Where a cluster lives, `latest` means its branch.",
            "各枝での目標の意味を一覧で示します。稼働中のクラスタがあれば `latest` はその枝を指します。",
        ),
        remedy=(
            "Say which timeline is meant (`--timeline`).",
            "タイムラインを指定してください (`--timeline`)。",
        ),
    ),
    Fault(
        "A15",
        "stopped",
        (
            "restore-point-unknown",
            "xid-not-in-archive",
            "xid-aborted",
            "lsn-out-of-range",
            "target-after-last-commit",
            "timeline-ambiguous",
        ),
        title=("Target on another branch only", "目標が別の枝にのみ存在"),
        cause=(
            "The name, xid, position or time belongs to a branch other than the one that was asked for.",
            "名前、xid、位置、時刻が、指定された枝とは別の枝にあります。",
        ),
        answer=(
            "The refusal names the timeline that holds the target, with LSN and backup. Without a timeline all "
            "branches are searched, and the one that holds the target is taken.",
            "目標のあるタイムラインを LSN とバックアップとともに示します。"
            "タイムラインの指定がなければすべての枝を調べ、"
            "目標のある枝を使います。",
        ),
        remedy=(
            "Leave the timeline out, or name the one that is told.",
            "タイムラインの指定を外すか、示されたものを指定してください。",
        ),
    ),
    Fault(
        "A16",
        "stopped",
        (
            "no-backup",
            "backup-unknown",
            "backup-not-verified",
            "version-mismatch",
            "architecture-mismatch",
            "system-mismatch",
            "system-ambiguous",
        ),
        title=(
            "No usable backup, or one of another version or system",
            "使用可能なバックアップがない、またはバージョンやシステムが異なる",
        ),
        cause=(
            "There is no verified backup; or programs, data directory and backup are not of one major version and one "
            "system.",
            "検証済みバックアップがないか、プログラム・データディレクトリ・バックアップのメジャーバージョンまたはシス"
            "テムが一致しません。",
        ),
        remedy=(
            "Take a backup (`dbkeeper backup`); correct `bin_directory`, the repository or the cluster's name as the "
            "refusal says.",
            "バックアップを取得する (`dbkeeper backup`) か、表示に従い `bin_directory`、リポジトリ、"
            "クラスタ名を修正してください。",
        ),
    ),
    Fault(
        "A17",
        "stopped",
        (
            "chain-broken",
            "chain-checksums-changed",
            "backup-file-missing",
            "backup-file-damaged",
            "combine-failed",
            "combined-copy-unfit",
            "incremental-not-possible",
            "wal-summaries-missing",
        ),
        title=(
            "Incremental chain broken, or checksums switched inside it",
            "増分バックアップの連鎖の破損、途中でのチェックサム切替",
        ),
        cause=(
            "An incremental backup needs every backup that it is built on, each whole, all with pages of one kind.",
            "増分バックアップには基となるすべてのバックアップが必要で、それぞれが完全で、ページの形式が同じでなければな"
            "りません。",
        ),
        answer=(
            "The catalog knows every chain; one that lost a link is passed over for an older backup, and the plan "
            "says so. Each link is held against its own manifest before pg_combinebackup sees it, the result "
            "against its manifest afterwards, all beside the live cluster. A new chain begins with a full backup "
            "after a promotion, a switch of checksums, lost WAL summaries or a lost file.",
            "連鎖はカタログが把握し、欠けた連鎖は使わずに古いバックアップを選び、計画に明記します。各バックアップ"
            "は pg_combinebackup に渡す前に、結合結果はその後に、マニフェストと照合します。いずれも稼働中のクラス"
            "タとは別の場所で行います。昇格、チェックサムの切替、WAL サマリやファイルの喪失の後は、フルバックアッ"
            "プから新しい連鎖を始めます。",
        ),
        remedy=(
            "Bring the missing backup back from a copy, or name another one (`--backup`); take a full one now "
            "(`dbkeeper backup --kind full`).",
            "欠けたバックアップを複製から戻すか、別のバックアップを指定し (`--backup`)、フルバックアップを取得して"
            "ください (`dbkeeper backup --kind full`)。",
        ),
    ),
    Fault(
        "A18",
        "handled",
        (),
        title=("Clocks that went back", "時計の巻き戻り"),
        cause=(
            "A backup ended in the future, or commit times do not grow with the WAL.",
            "バックアップの完了時刻が未来か、コミット時刻が WAL の順に増えていません。",
        ),
        answer=(
            "The order of the WAL decides, not that of times. With both times it is told when a backup is passed over "
            "for it, when one ended in the future (it does not count as young), and when a commit of the asked time "
            "comes after the stop.",
            "時刻ではなく WAL の順序で判定します。そのために使わないバックアップ、未来に完了したバックアップ "
            "(新しいとはみなしません)、停止位置より後にある指定時刻以前のコミットは、両方の時刻とともに警告します。",
        ),
        remedy=(
            "Correct the host's clock; ask for the LSN or the xid where the time is not clear.",
            "ホストの時計を修正し、時刻が不明確な場合は LSN または xid を指定してください。",
        ),
    ),
)
