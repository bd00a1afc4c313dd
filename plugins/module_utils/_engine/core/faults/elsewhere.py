# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Group E: a repository on another host, and the door through which it is reached."""

from __future__ import annotations

from .fault import Fault

FAULTS = (
    Fault(
        "E01",
        "stopped",
        ("repository-unreachable",),
        title=("The repository's host cannot be reached", "リポジトリのホストに接続不能"),
        cause=(
            "It is down, the network is cut, its sshd does not take the key, or its own key is another one.",
            "停止、ネットワークの切断、鍵の拒否、またはホスト鍵の変更。",
        ),
        answer=(
            "Told in ssh's own words. WAL stays on the server, which tries again; a backup fails and leaves nothing "
            "half; a restore waits a little, then stops where it is, and the same command goes on from there. Recovery "
            "is never ended by it.",
            "ssh のメッセージをそのまま示します。WAL はサーバに残り、再送されます。バックアップは失敗し、中途半端な"
            "ものは残りません。リストアは少し待ってから停止し、同じコマンドで続きから再開します。これによりリカバリが途中で"
            "終わることはありません。",
        ),
        remedy=(
            "Try the way by hand with the ssh command of the message, as the cluster's owner.",
            "メッセージに示す ssh コマンドを、クラスタの所有者として実行して確認してください。",
        ),
    ),
    Fault(
        "E02",
        "stopped",
        ("door-protocol", "door-version"),
        title=(
            "What answers there is no door, or another version's",
            "応答するものが door でない、または別の版",
        ),
        cause=(
            "The key's line has no forced command, a shell's profile writes before it, or the hosts have different "
            "versions of dbkeeper.",
            "鍵の行に強制コマンドがない、シェルのプロファイルが先に出力している、または dbkeeper の版が異なる。",
        ),
        answer=(
            "Refused at the first words, before anything is asked for.",
            "最初のやり取りで、何も要求しないうちに拒否します。",
        ),
        remedy=(
            "Run the role backup again: it sets up both sides.",
            "role backup を再実行してください。両側を設定します。",
        ),
    ),
    Fault(
        "E03",
        "stopped",
        ("door-refused", "door-closed", "lease-of-another", "label-taken", "archive-conflict"),
        title=("A client asks for what it may not", "許可されない要求"),
        cause=(
            "A path for a name, another verb, a name that is there already, somebody else's lease, a key that may only "
            "read: a compromised database host, or a mistake.",
            "名前としてのパス、未知の動詞、既にある名前、他者のリース、読み取り専用の鍵。侵害されたデータベースホスト、"
            "または誤り。",
        ),
        answer=(
            "There are no words for deleting, renaming or overwriting. Each refusal is logged with key and address, in "
            "syslog and in door.log, and nothing that is stored changes.",
            "削除、改名、上書きを表す言葉はありません。拒否のたびに鍵とアドレスを syslog と door.log に記録し、"
            "保存済みのものは変わりません。",
        ),
        remedy=(
            "Find in door.log on the repository's host who uses the key; keep him out with the module keeper_door, "
            "access none.",
            "リポジトリのホストの door.log で鍵の使用者を確認し、モジュール keeper_door (access: none) で締め出して"
            "ください。",
        ),
    ),
    Fault(
        "E04",
        "handled",
        ("repository-unreachable",),
        title=("The way is cut in the middle of a file", "ファイルの途中での切断"),
        cause=(
            "sshd, a router or the client ends while bytes are on their way.",
            "転送中の sshd、ルータ、クライアントの停止。",
        ),
        answer=(
            "A file of a backup goes on where it ended, a segment is fetched again, a push leaves nothing under any "
            "name and is sent again, a backup that was being taken is failed and its data removed. Only a way that "
            "stays cut ends a restore (E01).",
            "バックアップのファイルは途切れた位置から続け、セグメントは取得し直します。送信途中のものは何も残らず"
            "再送され、取得中のバックアップは失敗としてデータを取り除きます。リストアが止まるのは、切断が続く場合だけ"
            "です (E01)。",
        ),
    ),
    Fault(
        "E05",
        "stopped",
        ("repository-full", "repository-not-writable"),
        title=("No space there, or no right to write", "空き容量または書き込み権限の不足"),
        cause=(
            "The file system of the repository is full or read-only.",
            "リポジトリのファイルシステムが満杯、または読み取り専用。",
        ),
        answer=(
            "The same error as for a repository on this host, told through the door. WAL stays on the server; a backup "
            "removes what it has written.",
            "このホストのリポジトリと同じエラーを door 経由で示します。WAL はサーバに残り、バックアップは書いたものを"
            "取り除きます。",
        ),
        remedy=(
            "Make space there (dbkeeper expire), or mount it read-write; the server goes on by itself.",
            "空き容量を確保するか (dbkeeper expire)、書き込み可能にしてください。サーバは自動的に続行します。",
        ),
    ),
    Fault(
        "E06",
        "handled",
        ("archive-conflict", "door-refused"),
        title=("Somebody wants to fill the repository", "リポジトリを埋め尽くす試み"),
        cause=(
            "Who has the key may add; he may add again and again.",
            "鍵を持つ者は追加できるため、繰り返し追加できます。",
        ),
        answer=(
            "Bounded: files kept aside (16 in a directory), leases (256), evidence (65,536), numbers of timelines "
            "(16 beyond the highest), door.log (twice 16 MB). Not bounded: WAL and backups themselves, which must be "
            "taken; the check of free space tells.",
            "上限あり: 別名で残すファイル (ディレクトリごとに 16)、リース (256)、証跡 (65,536)、タイムライン番号 "
            "(最大値の 16 先まで)、door.log (16 MB 2 本)。上限なし: 受け取るべき WAL とバックアップ自体。空き容量の"
            "確認で分かります。",
        ),
    ),
)
