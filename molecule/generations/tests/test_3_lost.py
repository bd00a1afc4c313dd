# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The host and its repository are lost: the other host restores from the copy in S3."""

from __future__ import annotations

import json

from tests.generations_hosts import BALLAST, CONTENT, DAYS, REPOSITORY, Month, host, keeper, postgres
from tests.playbook_runs import playbook


def test_1_the_other_host_takes_over_the_description(month: Month) -> None:
    """Beside what it has: where the copy is, and the programs that reach it."""
    ca = {"src": str(month.vault.ca_file), "dest": "/etc/dbkeeper/vault-ca.pem", "mode": "0644"}
    host("spare").ansible("copy", " ".join(f"{name}={value}" for name, value in ca.items()), check=False)
    copies = json.dumps({"backup_copies": month.host.ansible.get_variables()["backup_copies"]})
    done = playbook("site", "-e", "target=spare", "-e", copies, "--tags", "backup_install")
    assert done.status == 0, done.out
    assert keeper(host("spare"), "copy", "--list")["copies"].keys() == {"vault"}


def test_2_the_repository_is_lost_and_the_copy_restores(month: Month) -> None:
    one, spare = month.host, host("spare")
    content, ballast = postgres(one, CONTENT), postgres(one, BALLAST)
    assert content.startswith(f"{DAYS * 200}|")
    assert keeper(one, "copy")["exit_status"] == 0
    one.check_output("systemctl stop postgresql@15-main")
    one.check_output(f"rm -rf {REPOSITORY} /var/lib/postgresql/15/main")

    spare.check_output("install -d -o postgres -g postgres -m 0750 /srv/brought")
    brought = keeper(spare, "copy", "vault", "--back", "/srv/brought")
    assert "error" not in brought, brought
    restored = spare.run(
        "dbkeeper restore --cluster main --repository /srv/brought --latest "
        "--accept-other-system --confirm main --json"
    )
    assert restored.rc == 0, restored.stdout + restored.stderr
    assert (postgres(spare, CONTENT), postgres(spare, BALLAST)) == (content, ballast)
