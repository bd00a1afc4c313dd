# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What pg_receivewal's last words mean, whatever language the server speaks.

The texts are PostgreSQL 15's own translations (its message catalogs), as pg_receivewal prints them.
"""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.receive_words import (
    Ended,
    why_ended,
)

SLOT = "keeper_2"
NOTHING, GONE, LOST = Ended(False, False), Ended(True, False), Ended(True, True)
SEGMENT = "0000000100000000000000A3"
REMOVED = {
    "en": "ERROR:  requested WAL segment {} has already been removed",
    "de": "FEHLER:  das angeforderte WAL-Segment {} wurde schon entfernt",
    "fr": "ERREUR:  le segment demandé du journal de transaction, {}, a déjà été supprimé",
    "ja": "ERROR:  要求された WAL セグメント {} はすでに削除されています",
    "ko": "오류:  요청한 {} WAL 조각 파일은 이미 지워졌음",
    "zh": "错误:  所要求的WAL段{}已经被删除",
}
NOT_THERE = {
    "en": "ERROR:  requested starting point 0/3000000 on timeline 1 is not in this server's history",
    "de": "FEHLER:  angeforderter Startpunkt 0/3000000 auf Zeitleiste 1 ist nicht in der History dieses Servers",
    "fr": "ERREUR:  le point de reprise 0/3000000 de la timeline 1 n'est pas dans l'historique du serveur",
    "ja": "ERROR:  タイムライン1上の要求された開始ポイント0/3000000はサーバーの履歴にありません",
    "ko": "오류:  요청된 0/3000000 시작 위치(타임라인 1)가 이 서버 내역에 없습니다.",
    "ru": "ОШИБКА:  в истории сервера нет запрошенной начальной точки 0/3000000 на линии времени 1",
}
GIVEN_UP = {
    "en": f'ERROR:  can no longer get changes from replication slot "{SLOT}"',
    "18": f'ERROR:  can no longer access replication slot "{SLOT}"',
    "de": f"FEHLER:  aus Replikations-Slot »{SLOT}« können keine Änderungen mehr gelesen werden",
    "ja": f'ERROR:  すでにレプリケーションスロット"{SLOT}"から変更を取り出すことはできません',
    "uk": f'ПОМИЛКА:  більше не можна отримувати зміни з слоту реплікації "{SLOT}"',
}
STREAM = "pg_receivewal: error: unexpected termination of replication stream: "
BEGIN = 'pg_receivewal: error: could not send replication command "START_REPLICATION": '


@pytest.mark.parametrize("language", REMOVED)
def test_wal_that_the_server_has_removed(language: str) -> None:
    """pg_receivewal says it in two lines at times; what comes after it changes nothing."""
    lines = ["pg_receivewal: starting log streaming at 0/A3000000 (timeline 1)"]
    assert why_ended([*lines, STREAM + REMOVED[language].format(SEGMENT)], SLOT) == GONE


@pytest.mark.parametrize("language", NOT_THERE)
def test_a_beginning_that_the_server_never_had(language: str) -> None:
    """The DETAIL names where it forked, in a line of its own."""
    lines = [
        BEGIN + NOT_THERE[language],
        "DETAIL:  This server's history forked from timeline 1 at 0/2000148.",
    ]
    assert why_ended(lines, SLOT) == GONE


@pytest.mark.parametrize("language", GIVEN_UP)
def test_a_slot_that_the_server_gave_up(language: str) -> None:
    """The name's own digits are none of the message."""
    assert why_ended([BEGIN + GIVEN_UP[language]], SLOT) == LOST


@pytest.mark.parametrize(
    "line",
    [
        BEGIN + f'ERROR:  replication slot "{SLOT}" is active for PID 4711',
        BEGIN + f'ERROR:  レプリケーションスロット"{SLOT}"はPID4711で使用中です',
        BEGIN
        + "ERROR:  requested starting point 0/5000000 is ahead of the WAL flush position of this server 0/4000000",
        BEGIN
        + "ERROR:  要求された開始ポイント0/5000000はサーバーのWALフラッシュ位置0/4000000より進んでいます",
        BEGIN + "FATAL:  terminating connection due to administrator command",
        STREAM + f'ERROR:  could not open file "pg_wal/{SEGMENT}": Permission denied',
        STREAM + f"ERROR:  could not read from WAL segment {SEGMENT}, offset 8192: Input/output error",
        STREAM + f"ERROR:  ログセグメント{SEGMENT}、オフセット8192を読み取れませんでした: Input/output error",
        STREAM + f"ERROR:  could not read from WAL segment {SEGMENT}, offset 0: read 0 of 8192",
        "pg_receivewal: error: unexpected termination of replication stream: ",
        f'pg_receivewal: error: could not write 8192 bytes to WAL file "{SEGMENT}": No space left on device',
        "pg_receivewal: error: could not receive data from WAL stream: server closed the connection unexpectedly",
    ],
)
def test_what_can_pass_is_tried_again_with_what_is_there(line: str) -> None:
    """Nothing is put aside and no slot is dropped for it."""
    assert why_ended([line], SLOT) == NOTHING
