# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""After the disaster: copies that the repository's host makes by its own schedule, and that disk is lost as well."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.disaster_hosts import ROOT, archived, host, postgres, until

SHELF = "/srv/shelf/main"
THERE = f"--root {ROOT} --cluster main --json"


def scheduled(job: str) -> Any:
    """Run a line of the table there as cron does: by sh, as its user, with nothing but the table's own PATH."""
    one = host("repository")
    lines = [
        found
        for line in one.check_output("cat /etc/cron.d/dbkeeper*").splitlines()
        if (found := re.match(rf"\d+ \S+ \S+ \S+ \S+ (dbkeeper) (.* {job} --scheduled .*)", line))
    ]
    path = one.check_output("grep -h ^PATH= /etc/cron.d/dbkeeper* | head -n 1")
    assert len(lines) == 1, lines
    return one.run("runuser -u %s -- env -i %s sh -c %s", lines[0][1], path, lines[0][2])


def copies_checked() -> tuple[str, str]:
    """What the check says of them: state and text."""
    told = host("repository").run(f"runuser -u dbkeeper -- dbkeeper check {THERE}")
    (found,) = [one for one in json.loads(told.stdout)["checks"] if one["name"] == "copies"]
    return found["state"], found["text"]


def test_1_the_roles_have_described_it_and_made_its_place_ready() -> None:
    """And found nothing to change in that, the second time."""
    assert host("repository").file(f"{SHELF}/copy.json").exists
    assert "shelf" in copies_checked()[1]


def test_2_the_schedule_sends_a_copy_and_the_check_says_so() -> None:
    spare, repository = host("spare"), host("repository")
    postgres(spare, "SET ROLE app_admin; CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id", "app")
    last = postgres(spare, "SELECT pg_walfile_name(pg_switch_wal())", "app")
    until(lambda: last in archived(2), 240, f"{last} in the repository")
    done = scheduled("copy")
    assert done.rc == 0, done.stdout + done.stderr
    listed = f"cd %s && find base wal -type f -name '*.zst' | grep -c /{last}"
    assert repository.check_output(listed, SHELF) == "1"
    state, text = copies_checked()
    assert state == "ok", text


def test_3_a_disk_that_is_not_mounted_is_told_and_nothing_is_written_beside_it() -> None:
    repository = host("repository")
    repository.check_output("mv /srv/shelf /srv/away && install -d -o dbkeeper -m 700 /srv/shelf")
    try:
        done = scheduled("copy")
        assert done.rc == 3 and "copy-missing" in done.stdout + done.stderr, done
        assert repository.check_output("ls -A /srv/shelf") == ""
        state, text = copies_checked()
        # A failure, once it is further behind than its owner accepts.
        assert state == "warning" and "copy-missing" in text
    finally:
        repository.check_output("rmdir /srv/shelf && mv /srv/away /srv/shelf")
    assert scheduled("copy").rc == 0
    assert copies_checked()[0] == "ok"


def test_4_the_repository_and_the_server_are_lost_and_the_copy_restores() -> None:
    spare, repository = host("spare"), host("repository")
    spare.check_output(
        "runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_ctl -D /var/lib/postgresql/15/main -m immediate stop"
    )
    spare.check_output("systemctl stop postgresql@15-main; rm -rf /var/lib/postgresql/15/main")
    repository.check_output(f"rm -rf {ROOT}/main")
    told = repository.run(f"runuser -u dbkeeper -- dbkeeper copy shelf --back {ROOT} {THERE}")
    assert told.rc == 0, told.stdout + told.stderr
    restored = spare.run("dbkeeper restore --cluster main --latest --confirm main --json")
    assert restored.rc == 0, restored.stdout + restored.stderr
    assert postgres(spare, "SELECT count(*), sum(id) FROM kept", "app") == "1000|500500"
    # It is a repository as it was: what is written next arrives there, and a copy of it goes on where it was.
    last = postgres(spare, "SELECT pg_walfile_name(pg_switch_wal())", "app")
    until(lambda: last in archived(int(last[:8], 16)), 240, f"{last} in the repository")
    assert scheduled("copy").rc == 0
