# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A server as in production (fsync, checksums, 16 MB segments), full of mixed data."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli.install import install
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.template import SUPERUSER, Kind

from .record import say

SETTINGS = {
    "fsync": "on",
    "autovacuum": "on",
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "min_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "log_min_messages": "warning",
}
DATABASE = "postgres"

#: Tables of about 100 MB with their indexes for each unit, by what they hold.
_MAKE = {
    "documents": (
        "CREATE TABLE documents (id bigint GENERATED ALWAYS AS IDENTITY, made timestamptz, body jsonb)",
        "INSERT INTO documents (made, body) SELECT now() - g * interval '1 second', jsonb_build_object("
        " 'customer', md5(g::text), 'amount', round((random() * 10000)::numeric, 2), 'lines',"
        " (SELECT jsonb_agg(jsonb_build_object('sku', (random() * 100000)::int, 'count', (random() * 9)::int))"
        "  FROM generate_series(1, 5 + g % 5)), 'note', repeat('delivered in time ', (g % 7)::int))"
        " FROM generate_series(1, {units} * 130000) g",
        "CREATE INDEX ON documents (made); CREATE INDEX ON documents ((body ->> 'customer'))",
    ),
    "messages": (
        "CREATE TABLE messages (id bigint GENERATED ALWAYS AS IDENTITY, author int, words text)",
        "INSERT INTO messages (author, words) SELECT (random() * 50000)::int,"
        " (SELECT string_agg((ARRAY['invoice','order','please','thanks','regards','delivery','tomorrow','the','of',"
        "  'and','number','customer','question','answer','price','total'])[1 + (random() * 15)::int]"
        "  || CASE WHEN h % 6 = 0 THEN ' ' || (random() * 1e6)::int::text ELSE '' END, ' ')"
        "  FROM generate_series(1, 20 + g % 60) h) FROM generate_series(1, {units} * 190000) g",
        "CREATE INDEX ON messages (author)",
    ),
    "files": (
        "CREATE EXTENSION IF NOT EXISTS pgcrypto; CREATE TABLE files (id bigint PRIMARY KEY, content bytea);"
        " ALTER TABLE files ALTER content SET STORAGE EXTERNAL",
        "INSERT INTO files SELECT g, gen_random_bytes(1000) FROM generate_series(1, {units} * 85000) g",
        "SELECT 1",
    ),
}
_MORE = (
    "INSERT INTO documents (made, body) SELECT made, body || '{\"copy\": true}' FROM documents ORDER BY id LIMIT 60000",
    "INSERT INTO files SELECT g + coalesce((SELECT max(id) FROM files), 0), gen_random_bytes(1000)"
    " FROM generate_series(1, 60000) g",
    "UPDATE messages SET words = words || ' (read)' WHERE id % 23 = 0",
)


class Server(Cluster):
    """A cluster whose host command is the archive that the role installs."""

    def __init__(self, sandbox: Sandbox, name: str, **settings: str) -> None:
        super().__init__(sandbox, name, kind=Kind(segment_mb=16), settings=SETTINGS | settings)
        self.command = self.root / "bin" / "dbkeeper-installed"
        # Byte code belongs to one Python, and this one's modules were looked for when it was made.
        interpreter = os.path.realpath(sys.executable)
        install(str(self.root / "bin" / "dbkeeper.pyz"), str(self.command), interpreter, check=False)
        self.write_config(command=str(self.command))
        self.archive_with(f"{self.command} archive-push --config {self.config_path} %p")

    @property
    def ours(self) -> str:
        """The archive_command of ours."""
        return f"{self.command} archive-push --config {self.config_path} %p"

    def archive_with(self, command: str) -> None:
        """Whoever is measured gets the WAL, and nobody else."""
        self.set(archive_command=command)
        if self.running:
            self.reload()

    def fill(self, megabytes: int) -> None:
        """Mixed data of about that size: a quarter each of pgbench, documents, messages, random bytes."""
        units = max(1, round(megabytes / 400))
        say(f"{self.name}: filling with {megabytes} MB")
        self.sql("SET synchronous_commit = off")
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(self._make, *statements, units) for statements in _MAKE.values()]
            self.pgbench("--initialize", "--quiet", f"--scale={units * 7}")
            for job in jobs:
                job.result()
        self.sql("CREATE TABLE marks (id int PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")
        self.sql("VACUUM ANALYZE")
        self.sql("CHECKPOINT")

    def _make(self, table: str, rows: str, indexes: str, units: int) -> None:
        for statement in (*table.split(";"), rows.format(units=units), *indexes.split(";")):
            self.sql(statement)

    def work(self, megabytes: int) -> None:
        """Write at least so much WAL: small transactions, large inserts, updates."""
        say(f"{self.name}: working until there are {megabytes} MB of WAL")
        begun = self.value("SELECT pg_current_wal_lsn()::text")
        while self.value("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s)", begun) < megabytes << 20:
            self.pgbench(
                "--time=5", "--client=8", "--jobs=2", "--no-vacuum", PGOPTIONS="-c synchronous_commit=off"
            )
            for statement in _MORE:
                self.sql(statement)

    def pgbench(self, *argv: str, **environment: str) -> None:
        """Run pgbench on the cluster."""
        where = ["-h", str(self.socket_directory), "-p", str(self.port), "-U", SUPERUSER]
        subprocess.run(
            [self.installation.program("pgbench"), *where, *argv, DATABASE],
            env=self.installation.environment | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    def mark(self, number: int) -> str:
        """Commit a row; the moment after it, by the server's clock."""
        self.sql("INSERT INTO marks VALUES (%s)", number)
        return str(self.value("SELECT clock_timestamp()::text"))

    def keep_wal(self) -> str:
        """From now on no segment is removed; returns the first of them."""
        self.set(wal_keep_size="64GB")
        self.reload()
        return self.current_segment()

    def segments(self, first: str) -> list[Path]:
        """Every finished segment from ``first`` on, oldest first."""
        current = self.current_segment()
        directory = self.data_directory / "pg_wal"
        return sorted(
            path for path in directory.iterdir() if len(path.name) == 24 and first <= path.name < current
        )

    def size_bytes(self) -> int:
        """Of all databases."""
        return int(self.value("SELECT sum(pg_database_size(oid)) FROM pg_database"))

    def quiet(self) -> None:
        """Wait until no host command works aside; the next measurement is not to pay for it."""
        from tests.integration.harness.waiting import wait_for

        def nothing() -> bool:
            return not any(_is_push(pid) for pid in self.sandbox.processes())

        wait_for(nothing, "the end of what archive-push does aside", timeout=120)


def _is_push(pid: int) -> bool:
    try:
        return b"archive-push" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def must(argv: Sequence[str], **options: Any) -> None:
    """Run a program that must end well; its words only if it doesn't."""
    done = subprocess.run(
        list(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with status {done.returncode}:\n{done.stdout[-4000:]}")
