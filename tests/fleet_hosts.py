# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The hosts of the scenario report, the work that is done on them, and the report as its readers have it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import testinfra

from tests.playbook_runs import Run, playbook

PROJECT = Path(__file__).resolve().parents[1]
SCENARIO = "report"
FILES = PROJECT / "molecule" / SCENARIO / "files"
NAMES = ("primary", "reader", "spare")


def scratch() -> Path:
    """Where the run keeps what it needs outside of the hosts."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


@cache
def host(name: str) -> Any:
    """A host as testinfra sees it."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


def bed(*words: str) -> None:
    """The power switch of the hosts."""
    verb, *names = words
    argv = [sys.executable, "-m", "tests.bed", verb, "--group", SCENARIO, *names]
    done = subprocess.run(argv, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def ask(name: str, statement: str, database: str = "shop") -> str:
    """What the superuser is told over the socket."""
    done = host(name).run("runuser -u postgres -- psql -XAt -d %s -c %s", database, statement)
    assert done.rc == 0, done.stderr
    return str(done.stdout.strip())


def until(question: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)


def caught_up(*names: str) -> None:
    """Standbys have replayed what the primary has written."""
    written = ask("primary", "SELECT pg_current_wal_lsn()")
    for name in names or NAMES[1:]:
        until(
            lambda name=name: ask(name, f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == "t",
            f"the primary's WAL on {name}",
        )


def work() -> None:
    """Everything that the report is about: a bank, a shop with events and a queue, and an index that was not built."""
    for name in ("shop.sql", "shop.pgbench"):
        copied = host("primary").ansible(
            "copy", f"src={FILES / name} dest=/tmp/{name} mode=0644", check=False
        )
        assert "failed" not in copied, copied
    run = "cd /tmp && runuser -u postgres -- "
    host("primary").check_output(run + "psql -qX -v ON_ERROR_STOP=1 -d shop -f /tmp/shop.sql")
    failed = host("primary").run(
        run + "psql -X -d shop -c 'CREATE UNIQUE INDEX CONCURRENTLY lineitem_part ON lineitem (l_partkey)'"
    )
    assert failed.rc != 0 and "could not create unique index" in failed.stderr
    host("primary").check_output(run + "pgbench -q -i -s 2 bank && " + run + "pgbench -c 2 -t 200 bank")
    host("primary").check_output(run + "pgbench -n -c 2 -t 200 -f /tmp/shop.pgbench shop")
    caught_up()


def state() -> dict[str, str]:
    """Of each host what a report must not change: objects, settings, files of the configuration and of the keeper."""
    objects = (
        "SELECT md5(string_agg(c::text, ',' ORDER BY oid)) FROM (SELECT oid, relname, relfilenode, reloptions"
        " FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace) c"
    )
    settings = "SELECT md5(string_agg(name || setting, ',' ORDER BY name)) FROM pg_settings"
    roles = "SELECT md5(string_agg(r::text, ',' ORDER BY rolname)) FROM pg_roles r"
    statement = f"SELECT ({objects}), ({settings}), ({roles})"
    files = "find /etc/postgresql /etc/dbkeeper /etc/cron.d -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"
    return of_each(lambda name: f"{ask(name, statement)} {host(name).check_output(files)}")


def kept() -> dict[str, str]:
    """Of each host the readings that its next report compares with."""
    files = "find /var/lib/dbkeeper/report -type f -print0 | sort -z | xargs -0 sha256sum"
    return of_each(lambda name: str(host(name).check_output(files)))


def of_each(question: Callable[[str], str]) -> dict[str, str]:
    """What all hosts say, asked at once."""
    with ThreadPoolExecutor(len(NAMES)) as pool:
        return dict(zip(NAMES, pool.map(question, NAMES)))


def age(name: str, days: int) -> None:
    """Let the readings of the indexes on a host be older than they are: time, and nothing else, passes."""
    script = scratch() / "age.py"
    script.write_text(AGING, encoding="utf-8")
    copied = host(name).ansible("copy", f"src={script} dest=/root/age.py mode=0600", check=False)
    assert "failed" not in copied, copied
    host(name).check_output(f"python3 /root/age.py {days}")


AGING = """
import glob, gzip, json, os, sys
from datetime import datetime, timedelta, timezone

days = int(sys.argv[1])
form = "%Y-%m-%dT%H:%M:%S"
(path,) = glob.glob("/var/lib/dbkeeper/report/*/baseline.json.gz")
with gzip.open(path, "rb") as handle:
    kept = json.loads(handle.read())

def earlier(text):
    moment = datetime.strptime(text[:19], form) - timedelta(days=days)
    return moment.strftime(form) + text[19:]

for areas in kept["nodes"].values():
    area = areas["index"]
    for name, value in area["data"].items():
        if name.startswith("window:"):
            value["since"] = earlier(value["since"])
    for entries in area["data"]["indexes"].values():
        for entry in entries.values():
            entry[2] -= days * 86400
owner = os.stat(path)
with open(path, "wb") as handle:
    handle.write(gzip.compress(json.dumps(kept).encode()))
os.chown(path, owner.st_uid, owner.st_gid)
"""


@dataclass(frozen=True)
class Report:
    """A run of the playbook and its four files."""

    run: Run
    directory: Path

    def text(self, name: str) -> str:
        """One of the files."""
        return (self.directory / name).read_text(encoding="utf-8")

    @property
    def document(self) -> dict[str, Any]:
        """What programs read."""
        return dict(json.loads(self.text("report.json")))

    @property
    def page(self) -> dict[str, Any]:
        """What the page draws: the document and the words of both languages, as they are packed in it."""
        found = re.search(
            r'<script type="application/octet-stream" id="data">([^<]+)<', self.text("report.html")
        )
        assert found is not None
        return dict(json.loads(zlib.decompress(base64.b64decode(found[1]))))

    def told(self, node: str, part: str, language: str) -> dict[str, str]:
        """The one gap of a node of which the page says ``part``, in the words of a language: what, why, remedy."""
        texts = [gap["texts"][language] for gap in self.page["document"]["not_seen"] if gap["node"] == node]
        (text,) = [one for one in texts if part in " ".join(one.values())]
        return dict(text)

    @property
    def cluster(self) -> dict[str, Any]:
        """The only cluster that there is."""
        (cluster,) = self.document["clusters"]
        return dict(cluster)

    @property
    def states(self) -> dict[str, str]:
        """How much was seen of each node."""
        return {node["name"]: node["state"] for node in self.cluster["nodes"]}

    def findings(self, name: str, thing: str | None = None) -> list[dict[str, Any]]:
        """The findings of a class, about an object where it is named."""
        return [
            finding
            for finding in self.cluster["findings"]
            if finding["class"] == name and thing in (None, (finding["object"] or {}).get("name"))
        ]

    def gaps(self, node: str) -> list[tuple[str, str, str]]:
        """(what, why, remedy) of everything that was not seen of a node."""
        return [
            (gap["what"], gap["why"], gap["remedy"])
            for gap in self.document["not_seen"]
            if gap["node"] == node
        ]


def report(*arguments: str, **variables: Any) -> Report:
    """Run the playbook as its page says."""
    directory = scratch() / "report"
    variables = {"report_directory": str(directory), **variables}
    return Report(playbook("report", *arguments, "-e", json.dumps(variables)), directory)


def apply(*identities: str, check: bool = False, **variables: Any) -> Run:
    """Act on findings of the last report by their ids, as somebody does who has read it."""
    path = FILES / "apply.yml"
    variables = {
        "approve": list(identities),
        "report": str(scratch() / "report" / "report.json"),
        **variables,
    }
    return playbook(str(path), *(["--check"] if check else []), "-e", json.dumps(variables))


def benchmark() -> Run:
    """A short workload test, directly and through the pooler, as docs/report.md has it."""
    secret = (
        "lookup('dbkeeper.ops.secret', inventory_hostname ~ '/main/bench', store=postgresql_secret_store)"
    )
    login = {"login_host": "127.0.0.1", "login_user": "bench", "login_password": f"{{{{ {secret} }}}}"}
    few = {"seconds": 1, "scale": 1, "clients": 2, "workloads": "read_only,read_write"}
    variables = {f"benchmark_{name}": value for name, value in few.items()}
    variables |= {"benchmark_pooler": {"login_port": 6432}, "report_login": login}
    return playbook("benchmark", "-e", json.dumps(variables))
