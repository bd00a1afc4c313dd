# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Nothing that a run prints, starts or leaves behind tells a secret."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from tests.playbook_runs import playbook
from tests.server_hosts import servers, store

GIVEN = "4-g1ven-passw0rd"


class ProcessList(threading.Thread):
    """Every command line on this machine, the hosts' included: they share its kernel."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        self.seen.add((entry / "cmdline").read_bytes())
                    except OSError:
                        continue
            time.sleep(0.01)


def secrets() -> list[str]:
    """All that the store holds, and what was given: passwords, and the key of the authority."""
    found = [GIVEN]
    for path in store().rglob("*"):
        if path.is_file() and path.suffix not in (".crt", ".lock") and path.name != ".gitignore":
            text = path.read_text(encoding="utf-8").strip()
            lines = [line for line in text.splitlines() if line and "-----" not in line]
            assert lines, path
            found += lines if len(lines) == 1 else lines[1:2]
    return found


def test_no_secret_is_seen(tmp_path: Path) -> None:
    roles = [
        *servers()[0].variables()["postgresql_roles"],
        {"name": "auditor", "member_of": ["app_readonly"]},
        {"name": "given", "password": GIVEN},
    ]
    given = tmp_path / "given.json"
    given.touch(mode=0o600)
    given.write_text(json.dumps({"postgresql_roles": roles}), encoding="utf-8")
    watched = ProcessList()
    watched.start()
    try:
        run = playbook("site", "-vvv", "--diff", "-e", f"@{given}")
    finally:
        watched.enough.set()
        watched.join()
    assert run.status == 0, run.out
    assert any("Keep the roles" in task for _host, task in run.changed)
    hidden = secrets()
    assert len(hidden) >= 2 * 3 + 1
    told = [secret for secret in hidden if secret in run.out]
    assert told == []
    lines = b"\n".join(watched.seen)
    assert len(watched.seen) > 50
    assert [secret for secret in hidden if secret.encode() in lines] == []
    for path in store().rglob("*"):
        assert path.stat().st_mode & 0o077 == 0 or path.suffix == ".crt" or path.name == ".gitignore", path
    for server in servers():
        # The needles come as a file: sudo would write a command line with them into the journal.
        needles = tmp_path / "needles"
        needles.write_text("\n".join(hidden) + "\n", encoding="utf-8")
        copied = server.host.ansible(
            "copy", f"src={needles} dest=/root/needles mode=0600", check=False, become=True
        )
        assert "failed" not in copied, copied
        # Found where they are known to be; otherwise finding nothing elsewhere would prove nothing.
        assert server.host.run("grep -qF -f /root/needles /root/needles").rc == 0
        everybody = server.host.run(
            "find / -xdev -type f -perm -004 -not -path '/proc/*' -not -path '/usr/*' -print0"
            " | xargs -0 grep -lF -f /root/needles"
        )
        logs = server.host.run(
            "grep -rlF -f /root/needles /var/log /etc /var/lib/dbkeeper /root/.ansible /tmp"
        )
        server.host.run("rm -f /root/needles")
        assert everybody.stdout.strip() == "", everybody.stdout
        assert logs.stdout.strip() == "", logs.stdout
        assert (
            server.sql("SELECT rolpassword ~ '^SCRAM-SHA-256' FROM pg_authid WHERE rolname = 'given'") == "t"
        )
