# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""WAL streamed to the repository's host as it is written, by the unit that the role has set up, before any disaster."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.disaster_hosts import address, host, position, postgres, received, streamed, streaming_unit, until
from tests.playbook_runs import playbook

SLOT = "dbkeeper_receive"


def wrote(word: str = "streamed") -> int:
    """Commit something in the middle of a segment; the position behind it."""
    told = postgres(host("database"), f"SELECT pg_logical_emit_message(true, 'test', '{word}')")
    end = position(told)
    assert end is not None
    return end


def arrives(end: int, seconds: float = 30) -> None:
    """Wait until it lies on the other host, whether or not its segment is full."""
    until(lambda: streamed() >= end, seconds, f"position {end:X} in the stream\n{said()}")


def said() -> str:
    """The last words of the unit."""
    return str(host("repository").check_output(f"journalctl -q -n 30 --no-pager -u {streaming_unit()}"))


def main_pid() -> str:
    return str(host("repository").check_output(f"systemctl show -P MainPID {streaming_unit()}"))


def check() -> dict[str, Any]:
    """What the database's host says of the stream."""
    told = host("database").run("runuser -u postgres -- dbkeeper check --cluster main --json")
    (found,) = [one for one in json.loads(told.stdout)["checks"] if one["name"] == "receive"]
    return dict(found)


def test_a_commit_is_there_before_its_segment_is_full() -> None:
    """Whose segment is closed just now, by archive_timeout, is not counted."""
    for turn in range(10):
        begun, word = time.monotonic(), f"commit-{turn}-{uuid.uuid4()}"
        wrote(word)
        looked = f"timeout 2 sh -c 'until grep -qs {word} {received()}/*.partial; do sleep 0.01; done'"
        if host("repository").run(looked).rc == 0:
            print(f"streamed within {time.monotonic() - begun:.1f} s")
            break
    else:
        raise AssertionError(said())
    arrives(wrote())
    assert check()["state"] == "ok", check()


def test_its_slot_is_guarded_and_its_role_may_do_nothing_else() -> None:
    database = host("database")
    slot = "SELECT active, temporary, wal_status FROM pg_replication_slots"
    assert postgres(database, f"{slot} WHERE slot_name = '{SLOT}'") == "t|f|reserved"
    assert postgres(database, "SHOW max_slot_wal_keep_size") == "1GB"
    flags = "rolsuper, rolcreatedb, rolcreaterole, rolreplication"
    assert postgres(database, f"SELECT {flags} FROM pg_roles WHERE rolname = '{SLOT}'") == "f|f|f|t"
    connection = "pg_stat_replication JOIN pg_stat_ssl USING (pid)"
    assert postgres(database, f"SELECT ssl FROM {connection} WHERE application_name = '{SLOT}'") == "t"


def test_it_runs_as_the_repositorys_user_and_tells_no_password() -> None:
    repository = host("repository")
    assert repository.check_output(f"ps -o user= -p {main_pid()}") == "dbkeeper"
    secret = repository.check_output("cat /var/lib/dbkeeper/.receive*").rsplit(":", 1)[1]
    assert len(secret) > 10
    files = repository.check_output("stat -c '%U %a' /var/lib/dbkeeper/.receive*")
    assert files == "dbkeeper 600"
    # As everybody on the host may see it.
    told = repository.check_output(f"ps -eo args; cat /etc/systemd/system/{streaming_unit()}; {journal()}")
    assert secret not in told


def journal() -> str:
    return f"journalctl -q --no-pager -u {streaming_unit()}"


def test_killed_it_comes_back_by_itself() -> None:
    """Its program and pg_receivewal, at once: nothing that the server keeps for it is lost."""
    before = main_pid()
    host("repository").check_output(f"systemctl kill --signal=KILL {streaming_unit()}")
    end = wrote()
    until(lambda: main_pid() not in ("0", before), 60, "its next start")
    arrives(end)


def test_a_server_that_is_restarted_is_followed() -> None:
    host("database").check_output("systemctl restart postgresql@15-main")
    arrives(wrote(), 60)


def interruptions() -> int:
    return str(host("repository").check_output(journal())).count("receive-interrupted")


@contextmanager
def cut_off() -> Iterator[None]:
    """No packet passes between the two any more, and nobody is told: a cable, or a host without power."""
    repository = host("repository")
    place = address("database")
    rules = (
        f"add table inet cut; add chain inet cut from {{ type filter hook input priority 0; }};"
        f" add chain inet cut to {{ type filter hook output priority 0; }};"
        f" add rule inet cut from ip saddr {place} tcp sport 5432 drop;"
        f" add rule inet cut to ip daddr {place} tcp dport 5432 drop"
    )
    repository.check_output("nft %s", rules)
    try:
        yield
    finally:
        repository.check_output("nft delete table inet cut")


def test_a_connection_that_is_dead_without_a_word_is_noticed() -> None:
    """pg_receivewal alone would sit there for hours, and what comes after is on one host only."""
    before = interruptions()
    with cut_off():
        begun = time.monotonic()
        end = wrote()
        until(lambda: interruptions() > before, 60, "it to be noticed")
        print(f"noticed within {time.monotonic() - begun:.1f} s")
        assert postgres(host("database"), "SELECT 1") == "1"
    arrives(end, 120)
    until(lambda: check()["state"] == "ok", 60, "the check to be content again")


def test_a_stream_that_does_not_come_fails_the_play() -> None:
    """The unit alone would try again for ever, and nobody would know."""
    one = ("--limit", "database", "--tags", "backup_configure")
    wrong = playbook(
        "site", *one, "-e", "backup_receive_address=localhost", "-e", "__backup_receive_patience=5"
    )
    assert wrong.status != 0 and "receive-not-streaming" in wrong.out, wrong.out
    assert f"journalctl -u {streaming_unit()}" in " ".join(wrong.out.split())
    right = playbook("site", *one)
    assert right.status == 0, right.out
    arrives(wrote())
