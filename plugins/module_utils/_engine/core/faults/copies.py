# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Faults F01 to F08: copies in other places."""

from __future__ import annotations

from .fault import Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        "F01",
        "stopped",
        ("copy-missing", "copy-stranger", "copy-bucket-missing"),
        title=("Place of a copy not mounted, gone, or another's", "コピー先が未マウント、消失、または別物"),
        cause=(
            "The marker `copy.json` is not there, or is of another cluster or encryption; the bucket is gone.",
            "マーカー `copy.json` がないか、別のクラスタまたは別の暗号化のものです。またはバケットがありません。",
        ),
        answer=(
            "Nothing is written. A place that had a marker once is not prepared again without being told so.",
            "何も書き込みません。以前マーカーがあった場所は、明示されない限り再準備しません。",
        ),
        remedy=(
            "Mount the file system or make the bucket again; for a really new place: "
            "`dbkeeper copy NAME --prepare --anew`.",
            "ファイルシステムをマウントするか、バケットを作り直してください。新しい場所なら "
            "`dbkeeper copy NAME --prepare --anew` です。",
        ),
    ),
    Fault(
        "F02",
        "stopped",
        ("copy-denied", "copy-credentials-exposed", "copy-credentials-unreadable"),
        title=("Copy refuses the key, or the key lies open", "コピー先が鍵を拒否、または鍵が公開状態"),
        cause=(
            "Credentials are wrong or expired, rights are missing, or others can read the file.",
            "認証情報の誤りや期限切れ、権限の不足、または他者が読めるファイルです。",
        ),
        answer=("Not tried again, for it does not pass by itself.", "自然に回復しないため、再試行しません。"),
        remedy=(
            "Give the key its rights, mode 0600; change one that others could read.",
            "鍵に権限とモード 0600 を与え、他者が読めた鍵は交換してください。",
        ),
    ),
    Fault(
        "F03",
        "stopped",
        ("copy-unreachable", "copy-full"),
        title=("Copy overloaded, silent or full", "コピー先の過負荷、無応答、満杯"),
        cause=(
            "Errors 500, `SlowDown`, time-outs, cut connections, no space.",
            "500 番台のエラー、`SlowDown`、タイムアウト、切断、空き容量の不足です。",
        ),
        answer=(
            "Tried up to six times with growing pauses; what arrived stays, and the next run sends the rest. Other "
            "copies are served all the same.",
            "間隔を広げながら 6 回まで試します。届いたものは残り、次の実行で続きを送ります。他のコピーは続行します。",
        ),
        remedy=(
            "See that the place is up and has space, then run `dbkeeper copy` again.",
            "コピー先の稼働と空きを確認し、`dbkeeper copy` を再実行してください。",
        ),
    ),
    Fault(
        "F04",
        "stopped",
        ("copy-digest-wrong",),
        title=("What is stored is not what was sent", "保存内容が送信内容と不一致"),
        cause=(
            "A transfer was cut or damaged, and the store answered that all was well.",
            "転送が途切れたか破損したのに、保存先が成功と応答しました。",
        ),
        answer=(
            "Each object is held against its digest where it lies, removed when it differs, and sent again.",
            "保存先で 1 つずつダイジェストと照合し、異なれば削除して送り直します。",
        ),
        remedy=(
            "Run it again; if it stays so, test memory and network of both hosts.",
            "再実行してください。続く場合は両ホストのメモリとネットワークを検査してください。",
        ),
    ),
    Fault(
        "F05",
        "stopped",
        ("copy-source-damaged", "copy-conflict"),
        title=("Damage in the repository would spread to the copy", "リポジトリの破損がコピーへ波及"),
        cause=(
            "A finished file of the repository is not what it was: a disk that rots, or somebody overwrote it.",
            "リポジトリの完成済みファイルが変化しました (ディスクの劣化、上書きなど)。",
        ),
        answer=(
            "Nothing finished is overwritten in a copy, and a damaged backup is not listed there.",
            "コピーの完成済みのものは上書きせず、破損したバックアップは一覧に載せません。",
        ),
        remedy=(
            "Find out which of the two is right, and move the wrong one away.",
            "どちらが正しいか確認し、誤った方を移動してください。",
        ),
    ),
    Fault(
        "F06",
        "stopped",
        ("copy-object-damaged", "copy-object-missing", "copy-sheet-damaged"),
        title=("Damage in the copy", "コピーの破損"),
        cause=(
            "An object or a list of the copy was damaged or removed.",
            "コピーのオブジェクトまたは一覧が破損、または削除されました。",
        ),
        answer=(
            "Seen when it is brought back: a backup appears only when all of it is there and right.",
            "取り戻すときに分かります。バックアップは全部が正しく揃ったときだけ現れます。",
        ),
        remedy=(
            "Bring back from another copy; while the repository has it, `dbkeeper copy --check-all` sends it again.",
            "別のコピーから取り戻してください。リポジトリにあるうちは `dbkeeper copy --check-all` で送り直せます。",
        ),
    ),
    Fault(
        "F07",
        "stopped",
        ("copy-identity-missing", "copy-sealing-failed", "copy-key-unusable", "copy-tool-missing"),
        title=("Key of an encrypted copy missing or wrong", "暗号化したコピーの鍵がない、または異なる"),
        cause=(
            "No private key was given, it belongs to nobody of the recipients, a public key cannot be used, or `age` "
            "or `gpg` is not installed.",
            "秘密鍵が指定されていない、受取人の鍵ではない、公開鍵が使えない、または `age` や `gpg` がありません。",
        ),
        answer=(
            "A wrong key and a damaged object are told apart by the digest of what is stored.",
            "鍵の誤りとオブジェクトの破損は、保存内容のダイジェストで区別します。",
        ),
        remedy=(
            "Bring the private key for the time of the restore: `--identity FILE`.",
            "復旧の間だけ秘密鍵を置き、`--identity FILE` で指定してください。",
        ),
    ),
    Fault(
        "F08",
        "stopped",
        ("copy-nothing", "copy-no-room"),
        title=(
            "Copy has nothing for the target, or it does not fit",
            "コピーに目標の分がない、または入らない",
        ),
        cause=(
            "Its oldest backup is younger than the target, or the directory has too little space.",
            "最も古いバックアップが目標より新しいか、ディレクトリの空きが不足しています。",
        ),
        remedy=(
            "Choose a later target, another copy, or more space; `dbkeeper copy --list` shows what there is.",
            "より新しい目標、別のコピー、または空きのある場所を選んでください (`dbkeeper copy --list` で一覧)。",
        ),
    ),
)
