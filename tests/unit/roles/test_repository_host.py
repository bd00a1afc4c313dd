# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the role backup gives to the host of a repository: rendered by Ansible, read by the engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.repository_host import (
    RepositoryHost,
)

ROLE = Path(__file__).resolve().parents[3] / "roles/backup"
LOADER = DataLoader()
TOLD = {"channels": {"dba": {"type": "command", "argv": ["/bin/page"]}}}
COPIES = {"cloud": {"to": "s3://vault/pg", "encryption": {"tool": "age", "recipients": ["age1x"]}}}


def templar(**chosen: Any) -> tuple[Templar, dict[str, Any]]:
    variables: dict[str, Any] = {}
    for path in ("defaults/main.yml", "vars/main.yml"):
        variables |= LOADER.load_from_file(str(ROLE / path), trusted_as_template=True)
    goals = {"rpo_seconds": 900, "rto_seconds": 1800, "hours": [2]}
    variables |= {
        "postgresql_location": {
            "version": "15",
            "cluster": "main",
            "bin_directory": "/usr/lib/postgresql/15/bin",
        },
        "__backup_goals": goals,
        "ansible_facts": {"os_family": "Debian"},
        "ansible_managed": "managed",
        "inventory_hostname": "db1",
        "backup_repository_host": "vault1",
        "backup_repository": "/srv/dbkeeper/shop",
        **chosen,
    }
    return Templar(loader=LOADER, variables=variables), variables


def jobs(**chosen: Any) -> list[str]:
    """The lines of the cron table there."""
    made, _variables = templar(**chosen)
    source = (ROLE / "templates/expire.j2").read_text()
    text = made.template(trust_as_template(source))
    return [line for line in text.splitlines() if re.match(r"\d", line)]


def test_the_description_there_is_one_that_the_engine_takes() -> None:
    made, variables = templar(
        backup_repository_copies=COPIES, backup_notify=TOLD, backup_objectives={"free_days": 7}
    )
    value = made.template(variables["__backup_description_there"])
    host = RepositoryHost.from_dict(value, source="rendered")
    assert (host.cluster, host.repository) == ("main", "/srv/dbkeeper/shop")
    assert [one.name for one in host.copies] == ["cloud"] and host.objectives.free_days == 7
    assert (
        host.notify is not None
        and host.notify.file == "/etc/dbkeeper/secrets/srv-dbkeeper-shop-main/notify.json"
    )
    needed = [one["name"] for one in made.template(variables["__backup_needs_there"])]
    assert {"python3-boto3", "age"} <= set(needed) and "gnupg" not in needed


def test_nothing_is_described_where_nothing_is_wished() -> None:
    made, variables = templar()
    assert made.template(variables["__backup_described_there"]) is False
    assert [line.split("dbkeeper ")[2].split(" --")[0] for line in jobs()] == ["expire", "verify", "verify"]


def test_what_is_wished_runs_there() -> None:
    lines = jobs(backup_repository_copies=COPIES, backup_notify=TOLD, backup_schedules={"check": "off"})
    assert [re.sub(r".*/dbkeeper (\S+( --(?:retry|summary))?).*", r"\1", line) for line in lines] == [
        "expire",
        "verify",
        "verify",
        "copy",
        "notify --retry",
        "notify --summary",
    ]
    assert all(re.fullmatch(r"\d+ (\d+|\*) \* \* [*0] dbkeeper .*", line) for line in lines)
    assert all("--scheduled --root /srv/dbkeeper/shop --cluster main" in line for line in lines)
