# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Faults B01 to B16: what the archive holds."""

from __future__ import annotations

from .fault import Fault, Words

_BRING_BACK: Words = (
    "Bring the segment back from a copy of the archive or from the server's `pg_wal`, or take the last "
    "commit that is named.",
    "アーカイブの複製またはサーバの `pg_wal` からセグメントを戻すか、"
    "表示された最後のコミットを指定してください。",
)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "B01",
        "stopped",
        ("segment-missing", "live-wal-not-archived"),
        title=("Segment missing in the middle", "途中のセグメントの欠落"),
        cause=(
            "A file of the archive was deleted, or never arrived.",
            "アーカイブのファイルが削除されたか、届いていません。",
        ),
        answer=(
            "First and last missing segment and the last reachable commit are named. An archive that lost its end is "
            "told from one that ends by the live cluster, by backups that ended behind it, and by timelines that began "
            "there. When it happens after the plan, replay stops and nothing is swapped.",
            "欠落の最初と最後のセグメント、到達可能な最後のコミットを示します。末尾を失ったアーカイブは、"
            "稼働していたクラスタ、それより後に完了したバックアップ、そこから分岐したタイムラインにより見分けます。"
            "計画後に発生した場合は再生を停止し、切り替えは行いません。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B02",
        "stopped",
        ("segment-missing",),
        title=("Segment missing before the target", "目標より前のセグメントの欠落"),
        cause=("As B01, with a target behind the hole.", "B01 と同じで、目標が欠落より後にあります。"),
        answer=(
            "A hole behind the target does not matter; the plan warns of it.",
            "目標より後の欠落は影響しません (計画で警告します)。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B03",
        "stopped",
        ("segment-wrong-size", "segment-corrupt"),
        title=("Segment cut short or empty", "セグメントの切り詰め、空ファイル"),
        cause=(
            "Its plain size is not the segment size, or what is stored cannot be unpacked.",
            "展開後の大きさがセグメント長と異なるか、格納されたファイルを展開できません。",
        ),
        answer=(
            "Every planned segment is measured. When it happens after the plan, replay stops and nothing is swapped.",
            "計画のすべてのセグメントの大きさを確認します。計画後に発生した場合は再生を停止し、切り替えは行いません。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B04",
        "stopped",
        ("segment-zero-filled", "segment-corrupt"),
        title=("Segment full of zeros", "ゼロで埋まったセグメント"),
        cause=(
            "Its first page is all zeros, as after a crash of the archive's host.",
            "アーカイブのホストの障害後などに、先頭ページがすべてゼロになっています。",
        ),
        answer=(
            "When it happens after the plan, replay stops and nothing is swapped.",
            "計画後に発生した場合は再生を停止し、切り替えは行いません。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B05",
        "stopped",
        ("segment-wrong-content", "segment-changed"),
        title=("Segment with the content of another", "別のセグメントの内容"),
        cause=(
            "The address in its first page is not that of its name.",
            "先頭ページの位置がファイル名と一致しません。",
        ),
        answer=(
            "The refusal says whose content it is. When it happens after the plan, replay stops and nothing is "
            "swapped.",
            "どのセグメントの内容かを示します。計画後に発生した場合は再生を停止し、切り替えは行いません。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B06",
        "stopped",
        ("segment-corrupt", "segment-changed"),
        title=("Flipped bytes inside a segment", "セグメント内部の破損"),
        cause=(
            "A record's checksum is wrong, or its records do not continue those of the segment before.",
            "レコードのチェックサムが誤っているか、前のセグメントに続いていません。",
        ),
        answer=(
            "Every record is read by `pg_waldump` when a segment is new or has changed, and the bytes are bound to "
            "the plan by SHA-256. What rots without a change of size or times is seen by replay, which then stops; "
            "nothing is swapped, and the next plan reads that segment again.",
            "新規または変更されたセグメントのすべてのレコードを `pg_waldump` で読み、内容を SHA-256 "
            "で計画に結び付けます。大きさや時刻が変わらない劣化は再生時に検出して停止し、切り替えは行いません。"
            "次の計画ではそのセグメントを読み直します。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B07",
        "stopped",
        ("segment-wrong-system",),
        title=("Segment of another database system", "別のデータベースシステムのセグメント"),
        cause=(
            "Two clusters archive to one place, or somebody copied files.",
            "二つのクラスタが同じ場所にアーカイブしているか、ファイルが複製されています。",
        ),
        answer=(
            "Its system identifier is named; archiving it is refused in the first place. When it happens after the "
            "plan, replay stops and nothing is swapped.",
            "システム識別子を示します。アーカイブの時点でも拒否します。計画後に発生した場合は再生を停止し、"
            "切り替えは行いません。",
        ),
        remedy=_BRING_BACK,
    ),
    Fault(
        "B08",
        "stopped",
        (
            "segment-unreadable",
            "history-unreadable",
            "repository-unreadable",
            "repository-missing",
            "plan-unreadable",
        ),
        title=("Archived file that cannot be read", "読み取れないアーカイブファイル"),
        cause=("Permissions, a stale mount, a failing disk.", "権限、失効したマウント、ディスク障害など。"),
        answer=(
            "The plan reads what is new or has changed, and tries again what it could not read. In the middle of "
            "replay `archive-get` answers 255, which stops the server and never promotes it; nothing is swapped.",
            "計画時に新規または変更されたファイルを読み、読めなかったものは再び試します。再生中は `archive-get` が 255 "
            "を返し、サーバは停止します (昇格も切り替えも行いません)。",
        ),
        remedy=(
            "Give the cluster's owner access, or mend the mount, then run the same command again: it continues.",
            "クラスタの所有者に権限を与えるかマウントを修復し、同じコマンドを再実行してください (続きから再開)。",
        ),
    ),
    Fault(
        "B09",
        "stopped",
        ("repository-missing", "repository-unreadable", "segment-missing"),
        title=("Repository not mounted, or empty", "リポジトリの未マウント、空"),
        cause=(
            "The marker `repository.json` is not there, or the archive holds nothing.",
            "目印の `repository.json` がないか、アーカイブが空です。",
        ),
        answer=(
            "Nothing is written below an empty mount point, and nothing is believed to be absent.",
            "空のマウントポイントには何も書き込まず、「存在しない」とも判断しません。",
        ),
        remedy=(
            "Mount the file system; a new repository is made by the role `backup`.",
            "ファイルシステムをマウントしてください。新しいリポジトリはロール `backup` が作成します。",
        ),
    ),
    Fault(
        "B10",
        "stopped",
        ("segment-missing", "wal-not-in-repository"),
        title=("WAL of the backup's own window missing", "バックアップ自身に必要な WAL の欠落"),
        cause=(
            "Without it the backup never becomes consistent.",
            "これがないとバックアップは整合状態になりません。",
        ),
        answer=(
            "A backup counts as verified only with its WAL in the repository, and the plan proves it again.",
            "必要な WAL がリポジトリにあるものだけを検証済みとし、計画時にも再確認します。",
        ),
        remedy=(
            "Bring the segment back, or name an older backup.",
            "セグメントを戻すか、より古いバックアップを指定してください。",
        ),
    ),
    Fault(
        "B11",
        "stopped",
        ("history-missing",),
        title=("History file of a timeline missing", "タイムライン履歴ファイルの欠落"),
        cause=(
            "There are segments of a timeline, and nothing says where it left its parent.",
            "セグメントはありますが、親からの分岐位置が分かりません。",
        ),
        answer=(
            "Refused for everything that the timeline might change. Where its parent is asked for by number, the new "
            "timeline takes another number. When it happens after the plan, replay stops and nothing is swapped.",
            "そのタイムラインが影響し得る目標はすべて拒否します。親を番号で指定した場合、"
            "新しいタイムラインは別の番号になります。計画後に発生した場合は再生を停止し、切り替えは行いません。",
        ),
        remedy=(
            "Bring the `.history` file back from a copy, or from `pg_wal` of the server that made it; or name "
            "another timeline.",
            "複製または作成元サーバの `pg_wal` から `.history` を戻すか、別のタイムラインを指定してください。",
        ),
    ),
    Fault(
        "B12",
        "stopped",
        ("timeline-ambiguous", "segment-missing"),
        title=("History there, the timeline's segments missing", "履歴はあるがセグメントが欠落"),
        cause=(
            "A timeline began, and none of its WAL is archived yet.",
            "タイムラインは始まっていますが、その WAL がまだアーカイブされていません。",
        ),
        remedy=(
            "Have its WAL archived, or say that the parent is meant (`--timeline`).",
            "その WAL をアーカイブさせるか、親のタイムラインを指定してください (`--timeline`)。",
        ),
    ),
    Fault(
        "B13",
        "stopped",
        ("history-damaged", "history-changed"),
        title=("History file empty or garbage", "履歴ファイルの破損"),
        cause=(
            "It does not say in PostgreSQL's form where the timeline began.",
            "分岐位置が PostgreSQL の形式で書かれていません。",
        ),
        answer=(
            "Every history is parsed, and its text is bound to the plan by SHA-256: when it changes after the plan, "
            "replay stops and nothing is swapped.",
            "すべての履歴を解析し、内容を SHA-256 で計画に結び付けます。計画後に変更された場合は再生を停止し、"
            "切り替えは行いません。",
        ),
        remedy=(
            "Bring it back from a copy, or from `pg_wal` of the server that made the timeline.",
            "複製または作成元サーバの `pg_wal` から戻してください。",
        ),
    ),
    Fault(
        "B14",
        "stopped",
        ("segment-duplicate", "archive-conflict"),
        title=("One segment stored twice", "同じセグメントが二重に存在"),
        cause=(
            "Two servers write one timeline, or somebody added a copy with another suffix.",
            "二つのサーバが同じタイムラインを書いているか、別の拡張子の複製が置かれています。",
        ),
        answer=(
            "The plan refuses. On archiving nothing is overwritten, both files are kept, `dbkeeper check` fails.",
            "計画は拒否します。アーカイブ時には上書きせず両方を残し、`dbkeeper check` が失敗します。",
        ),
        remedy=(
            "Find out which belongs to the cluster's history, and move the other one out of the repository.",
            "クラスタの履歴に属する方を確認し、もう一方をリポジトリの外へ移してください。",
        ),
    ),
    Fault(
        "B15",
        "handled",
        ("target-after-last-commit", "restore-point-unknown", "xid-not-in-archive", "lsn-out-of-range"),
        title=("Only `.partial` of the last segment there", "最後のセグメントが `.partial` のみ"),
        cause=(
            "A timeline ended in the middle of a segment, or pg_receivewal was writing it when the host was lost.",
            "タイムラインがセグメントの途中で終わったか、ホストの喪失時に pg_receivewal が書き込み中でした。",
        ),
        answer=(
            "It is named by `info`, by plans and by the refusals that it might lift, and never taken for a segment "
            "without consent. With it, it counts up to its last sound record; the plan says how many commits that "
            "adds, and what follows. `archive-get` hands it out under the real name.",
            "`info`、計画、関係する拒否で名前を示し、同意なしには使いません。同意した場合は最後の正常なレコードまで使い、"
            "加わるコミット数と残りの状態を計画で示します。`archive-get` は本来の名前で渡します。",
        ),
        remedy=(
            "Plan with `--use-partial` (`use_partial: true`), or choose a target in the archived part.",
            "`--use-partial` (`use_partial: true`) を付けて計画するか、アーカイブ済みの範囲を目標に指定してください。",
        ),
    ),
    Fault(
        "B16",
        "handled",
        (),
        title=("Temporary files left in the archive", "アーカイブに残った一時ファイル"),
        cause=(
            "A push or a backup was killed, or somebody put files there.",
            "アーカイブやバックアップの処理が強制終了されたか、誰かがファイルを置きました。",
        ),
        answer=(
            "They are ignored. `info` lists them with their age, `check` warns of those older than an hour; the next "
            "push of the same name removes its own.",
            "無視します。`info` は経過時間とともに一覧し、`check` は 1 時間を超えたものを警告します。"
            "同じ名前の次のアーカイブ時には自動で削除します。",
        ),
        remedy=(
            "Remove them by name when no work is going on.",
            "作業が行われていないときに、名前を指定して削除してください。",
        ),
    ),
)
