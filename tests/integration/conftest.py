# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Fixtures of the integration tests: real servers, run by an ordinary user."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.integration.harness.catcher import Certificate, MailCatcher, WebCatcher, make_certificate
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.installation import installations
from tests.integration.harness.matrix import Matrix
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.world import SETTINGS, Frozen, World, standard_past

USER = "dbkeeper-test"


def pytest_configure(config: pytest.Config) -> None:
    """PostgreSQL's server refuses to run as root, and so do these tests."""
    config.addinivalue_line("markers", "slow: takes more than ten seconds")
    if os.geteuid() == 0:
        pytest.exit(
            "The integration tests start PostgreSQL servers, which refuse to run as root. "
            f"Run them as an ordinary user: make test-integration, or runuser -u {USER} -- pytest.",
            returncode=2,
        )
    if not installations():
        pytest.exit(
            "The integration tests found no PostgreSQL programs: make test-integration gets them.",
            returncode=2,
        )

    # A process under nohup passes on that SIGHUP is ignored; the commands started here meet it as from a terminal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.pluginmanager.register(Matrix(config), "dbkeeper-matrix")


class SharedTogether(LoadScopeScheduling):
    """Tests of a module that share what it makes once (a server, a past) run in one process, in their order.

    Else each process would make it for itself, and take some minutes more. All other tests run wherever there is room.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _shares(module.rpartition("/")[2]) else nodeid


@cache
def _shares(name: str) -> bool:
    path = Path(__file__).with_name(name)
    return path.is_file() and re.search(r"scope=.(module|session)", path.read_text()) is not None


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedTogether:
    """Only called where there are several processes."""
    return SharedTogether(config, log)


@pytest.fixture
def cell(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Says, as often as one likes, what a test was, for the report of the matrix: ``cell(major=17, zone="UTC")``."""

    def say(**facts: object) -> None:
        record_property("cell", facts)

    return say


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A place on disk for one test; its servers are stopped and its files removed."""
    place = Sandbox()
    yield place
    place.close()


@pytest.fixture(scope="session")
def session_sandbox() -> Iterator[Sandbox]:
    """A place on disk for what all tests of one process share."""
    place = Sandbox()
    yield place
    place.close()


@pytest.fixture(scope="session")
def frozen(session_sandbox: Sandbox) -> Frozen:
    """A stopped cluster with two backups, two restore points and a busy past; see :func:`standard_past`."""
    return standard_past(Cluster(session_sandbox, settings=SETTINGS).start()).freeze()


@pytest.fixture
def world(frozen: Frozen, sandbox: Sandbox) -> World:
    """A running copy of it, to be restored, damaged and killed."""
    return frozen.thaw(sandbox)


@pytest.fixture
def make_cluster(sandbox: Sandbox) -> Callable[..., Cluster]:
    """Make and start clusters; takes what :class:`Cluster` takes."""

    def make(name: str = "main", **options: Any) -> Cluster:
        return Cluster(sandbox, name, **options).start()

    return make


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    """A running cluster that archives."""
    return make_cluster()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of a server on loopback, for clients that verify."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def web(certificate: Certificate) -> Iterator[WebCatcher]:
    """A web server that keeps what it is sent."""
    server = WebCatcher(certificate)
    yield server
    server.close()


@pytest.fixture
def mail(certificate: Certificate) -> Iterator[MailCatcher]:
    """A mail server that keeps what it is sent."""
    server = MailCatcher(certificate)
    yield server
    server.close()
