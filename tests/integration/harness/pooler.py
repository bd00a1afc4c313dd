# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A throw-away PgBouncer before a throw-away server, both of an ordinary user, with TLS on both sides."""

from __future__ import annotations

import getpass
import os
import subprocess
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.execute import converge
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.lookup import ensure_lookup
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.process import find
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.request import PoolerRequest

from .cluster import Cluster
from .installation import run

#: Where the distribution has it, and where tools/fetch_pgbouncer.py puts a newer one.
PACKAGED = "/usr/sbin/pgbouncer"
FETCHED = "/var/cache/dbkeeper-test/pgbouncer"
VARIABLE = "DBKEEPER_TEST_PGBOUNCER"

HBA = """\
local all postgres trust
local all pgbouncer peer map=pooler
local all all scram-sha-256
hostssl all pgbouncer 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 scram-sha-256
"""
PASSWORDS = {"alice": "opensesame", "bob": 'it\'s 日本 \\ "quoted"'}


def a_program_a_day() -> list[Any]:
    """Parameters of a test: all versions in the matrix, at every run the one whose turn it is today."""
    found = programs()
    today = date.today().toordinal() % max(len(found), 1)
    return [
        pytest.param(path, id=version, marks=() if number == today else pytest.mark.matrix)
        for number, (version, path) in enumerate(found.items())
    ]


@lru_cache(maxsize=1)
def programs() -> dict[str, str]:
    """Every PgBouncer found, by version."""
    fetched = [f"{FETCHED}/{name}/sbin/pgbouncer" for name in _names(FETCHED)]
    places = [*filter(None, os.environ.get(VARIABLE, "").split(":")), PACKAGED, *fetched]
    found: dict[str, str] = {}
    for place in places:
        if os.path.exists(place):
            said = subprocess.run([place, "--version"], check=True, capture_output=True, text=True).stdout
            found.setdefault(said.split()[1], place)
    return found


def _names(place: str) -> list[str]:
    return sorted(os.listdir(place)) if os.path.isdir(place) else []


class Certificates:
    """A private CA and what it has signed, made with the openssl program."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700)
        self._openssl(
            "req", "-x509", *self._key("ca"), "-out", self.path("ca.crt"), "-subj", "/CN=tests", "-days", "3"
        )
        self.make("server", "server")
        self.make("pooler", "pgbouncer")

    def path(self, name: str) -> str:
        """Where a file is."""
        return str(self.directory / name)

    def make(self, name: str, subject: str, *, days: int = 2) -> None:
        """A key and a certificate for 127.0.0.1 and localhost; anew where there is one."""
        self._openssl("req", *self._key(name), "-out", self.path(f"{name}.csr"), "-subj", f"/CN={subject}")
        names = self.directory / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        argv = [
            "x509",
            "-req",
            "-in",
            self.path(f"{name}.csr"),
            "-out",
            self.path(f"{name}.crt"),
            "-days",
            str(days),
        ]
        argv += ["-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"), "-CAcreateserial"]
        self._openssl(*argv, "-extfile", str(names))

    def _key(self, name: str) -> tuple[str, ...]:
        return (
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            self.path(f"{name}.key"),
        )

    def _openssl(self, *argv: str) -> None:
        run(["openssl", *argv], environment=dict(os.environ))
        for path in self.directory.glob("*.key"):
            path.chmod(0o600)


class Pooler:
    """One pooler as the module would keep it: :meth:`apply` is the module, but for its process."""

    def __init__(self, cluster: Cluster, program: str, *, name: str = "pool") -> None:
        self.cluster = cluster
        self.root = cluster.root / name
        for directory in ("etc", "run", "log"):
            (self.root / directory).mkdir(parents=True, mode=0o700)
        self.certificates = Certificates(self.root / "tls")
        self.port = cluster.sandbox.ports.take()
        self.socket_directory = self.root / "run"
        self.config_file = self.root / "etc" / "pgbouncer.ini"
        self.auth_file = self.root / "etc" / "userlist.txt"
        self.log_file = self.root / "log" / "pgbouncer.log"
        self.params: dict[str, Any] = {
            "databases": [self.database("app")],
            "settings": self.settings(),
            "user_settings": {},
            "lookup_role": "pgbouncer",
            "userlist": {},
            "kept_connections": 3,
            "restart": "first_install",
            "state": "started",
            "manager": "daemon",
            "unit": "pgbouncer.service",
            "program": program,
            "config_file": str(self.config_file),
            "auth_file": str(self.auth_file),
            "log_file": str(self.log_file),
            "user": getpass.getuser(),
            "timeout_seconds": 60,
        }

    @classmethod
    def with_server(cls, cluster: Cluster, program: str, *, max_connections: int = 40) -> Pooler:
        """A running server that is ready to be pooled: TLS, roles, the database app, the lookup. No pooler yet."""
        pooler = cls(cluster, program)
        path = pooler.certificates.path
        (cluster.data_directory / "pg_hba.conf").write_text(HBA)
        (cluster.data_directory / "pg_ident.conf").write_text(f"pooler {getpass.getuser()} pgbouncer\n")
        cluster.set(
            listen_addresses="127.0.0.1",
            ssl="on",
            ssl_cert_file=path("server.crt"),
            ssl_key_file=path("server.key"),
            ssl_ca_file=path("ca.crt"),
            max_connections=str(max_connections),
            log_statement="all",
        )
        cluster.restart()
        for role, password in PASSWORDS.items():
            cluster.sql(f"CREATE ROLE {role} LOGIN PASSWORD {_literal(password)}")
        cluster.sql("CREATE DATABASE app")
        ensure_lookup(pooler.server, "pgbouncer", ["app"], check=False)
        return pooler

    @property
    def server(self) -> ClusterConfig:
        """The server as modules are told of it."""
        return ClusterConfig.from_dict(self.cluster.config, source="the test")

    def database(self, name: str, **options: Any) -> dict[str, Any]:
        """An entry for a database of the server."""
        return {"name": name, "host": "127.0.0.1", "port": self.cluster.port, **options}

    def settings(self, **more: Any) -> dict[str, Any]:
        """Where it listens, and TLS on both sides."""
        path = self.certificates.path
        return {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": str(self.socket_directory),
            "client_tls_cert_file": path("server.crt"),
            "client_tls_key_file": path("server.key"),
            "server_tls_ca_file": path("ca.crt"),
            "server_tls_cert_file": path("pooler.crt"),
            "server_tls_key_file": path("pooler.key"),
            **more,
        }

    def apply(self, *, check: bool = False, **params: Any) -> dict[str, Any]:
        """Configure it; ``params`` stay for later calls, but for ``state``."""
        self.params |= {name: value for name, value in params.items() if name != "state"}
        return converge(PoolerRequest.from_dict(self.params | params), check=check)

    def set(self, **settings: Any) -> dict[str, Any]:
        """Change settings, which stay for later calls, and apply them."""
        return self.apply(settings=self.params["settings"] | settings)

    @property
    def pid(self) -> int | None:
        """The pooler's process, as the engine finds it; None when there is none."""
        process = find(str(self.config_file))
        return process.pid if process else None

    def files(self) -> dict[str, bytes]:
        """Everything in its configuration's directory, but for the lock."""
        return {
            path.name: path.read_bytes()
            for path in self.config_file.parent.iterdir()
            if path.name != ".dbkeeper.lock"
        }

    def log(self) -> str:
        """What it has written."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def dsn(self, database: str = "app", user: str = "alice", password: str | None = None) -> str:
        """How a client comes in: over TLS, and sure whom it talks to."""
        values = {
            "host": "127.0.0.1",
            "port": self.port,
            "dbname": database,
            "user": user,
            "password": password if password is not None else PASSWORDS.get(user, "none"),
            "sslmode": "verify-full",
            "sslrootcert": self.certificates.path("ca.crt"),
            "connect_timeout": 60,
        }
        return psycopg.conninfo.make_conninfo(**values)

    def connect(self, database: str = "app", user: str = "alice", **options: Any) -> psycopg.Connection[Any]:
        """A client with psycopg, in autocommit mode."""
        password = options.pop("password", None)
        return psycopg.connect(self.dsn(database, user, password), autocommit=True, **options)

    def psql(
        self, sql: str, *, user: str = "alice", password: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A client with psql; its status is for the test to judge."""
        environment = self.cluster.installation.environment | {
            "PGPASSWORD": password or PASSWORDS.get(user, "none")
        }
        place = self.dsn(user=user, password="").replace("password=''", "")
        argv = [self.cluster.installation.program("psql"), "-X", "-w", "-At", "-d", place, "-c", sql]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=240)

    def console(self, command: str) -> list[dict[str, Any]]:
        """The admin console as a person has it: psql over the socket."""
        argv = [self.cluster.installation.program("psql"), "-X", "-w", "--csv"]
        argv += ["-h", str(self.socket_directory), "-p", str(self.port), "-U", "pgbouncer", "-d", "pgbouncer"]
        text = run([*argv, "-c", command], environment=self.cluster.installation.environment)
        head, *rows = [line.split(",") for line in text.splitlines()] or [[]]
        return [dict(zip(head, row)) for row in rows]

    def shown(self, name: str) -> str:
        """A setting as the running pooler has it."""
        return next(str(row["value"]) for row in self.console("SHOW CONFIG") if row["key"] == name)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
