# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a key of the repository's door is good for, and what it is not: tried from hosts that have one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.disaster_hosts import ROOT, archived, host, streaming_unit

SSH = (
    "runuser -u postgres -- timeout 20 ssh -n -i /etc/dbkeeper/keys/main -o BatchMode=yes"
    " -o UserKnownHostsFile=/etc/dbkeeper/keys/main.known_hosts -o StrictHostKeyChecking=yes"
)
LOG = f"{ROOT}/main/door.log"


@pytest.fixture(scope="module", autouse=True)
def nothing_streams() -> Iterator[None]:
    """What is streamed changes by itself, and is not to be changed by anybody else either."""
    repository, unit = host("repository"), streaming_unit()
    repository.check_output("systemctl stop %s", unit)
    yield
    repository.check_output("systemctl start %s", unit)


def stored() -> str:
    """Names, sizes and times of all that is finished in the repository."""
    listed = host("repository").check_output(
        f"find {ROOT} -type f -not -name door.log -not -name '*.lock' -not -path '*/leases/*'"
        " -printf '%p %s %T@ %m %u\\n' | sort"
    )
    return str(listed)


def door() -> str:
    """The user and host of the door, as the database hosts reach it."""
    return f"dbkeeper@{host('repository').ansible.get_variables()['ansible_host']}"


@pytest.fixture(params=["database", "spare"])
def client(request: pytest.FixtureRequest) -> Any:
    """A host whose key may append, and one whose key may read."""
    return host(request.param)


def segments() -> set[str]:
    return set(archived())


def gone(before: str, after: str) -> set[str]:
    """What is not there any more as it was; the server archives meanwhile."""
    return set(before.splitlines()) - set(after.splitlines())


@pytest.mark.parametrize(
    "command",
    [
        f"rm -rf {ROOT}",
        "sh",
        "dbkeeper door --root / --cluster main --access append",
        "$(touch /tmp/owned); `touch /tmp/owned`; touch /tmp/owned",
        "scp -t /tmp",
    ],
)
def test_no_command_but_the_door(client: Any, command: str) -> None:
    before = stored()
    client.run(f"{SSH} {door()} '{command}'")
    assert gone(before, stored()) == set()
    assert not host("repository").file("/tmp/owned").exists
    assert "REFUSED command" in host("repository").check_output(f"tail -n 20 {LOG}")


def test_no_terminal_and_no_forwarding(client: Any) -> None:
    # ssh ends with 255, which testinfra takes for a lost connection of its own.
    told = client.run(f"{SSH} -tt {door()}; test $? = 0")
    assert "PTY allocation request failed" in told.stderr
    told = client.run(f"{SSH} -N -o ExitOnForwardFailure=yes -R 9999:localhost:22 {door()}; test $? = 0")
    assert told.rc != 0 and "forwarding failed" in told.stderr


def test_a_key_that_reads_cannot_add() -> None:
    spare, before = host("spare"), stored()
    name = "00000001000000000000007F"
    spare.check_output(f"install -o postgres -m 600 /dev/null /tmp/{name}; truncate -s 16M /tmp/{name}")
    told = spare.run(f"runuser -u postgres -- dbkeeper archive-push --cluster main /tmp/{name}")
    assert told.rc != 0, told.stdout
    assert gone(before, stored()) == set()
    assert name not in segments()


def test_a_key_that_appends_cannot_change_what_is_stored() -> None:
    """The same name with other bytes, as a database host would send that somebody else has taken over."""
    database, before = host("database"), stored()
    name = archived()[0]
    server = "/var/lib/postgresql/15/main/pg_wal"
    forged = f"/tmp/forged/{name}"
    database.check_output("rm -rf /tmp/forged; install -d -o postgres /tmp/forged")
    database.check_output(
        f"cp $(ls {server}/0000* | grep -v history | tail -n 1) {forged}; chown postgres {forged}"
    )
    database.check_output(f"printf forged | dd of={forged} bs=1 seek=9000 conv=notrunc")
    told = database.run(f"runuser -u postgres -- dbkeeper archive-push --cluster main {forged}")
    assert told.rc != 0, told.stdout
    assert gone(before, stored()) == set()


def test_the_doors_user_cannot_open_it_wider() -> None:
    repository = host("repository")
    keys = repository.file("/var/lib/dbkeeper/.ssh/authorized_keys")
    assert (keys.user, keys.mode) == ("root", 0o644)
    assert all(line.startswith("restrict,command=") for line in keys.content_string.splitlines())
    told = repository.run("runuser -u dbkeeper -- sh -c 'echo x >> /var/lib/dbkeeper/.ssh/authorized_keys'")
    assert told.rc != 0
    assert repository.file(ROOT).mode == 0o700
