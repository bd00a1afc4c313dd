# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Mistakes in settings and access rules, on real servers: the old ones stay in effect, the culprit is named."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import (
    Failed,
    KeeperError,
    Refused,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.operation import configure
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.request import (
    ConfigurationRequest,
    FileRequest,
)

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations
from .harness.waiting import wait_for
from .settings_help import HBA, Configured
from .slices import sliced

GOOD = "work_mem = '7MB'\nmax_connections = 40\n"


@pytest.fixture
def configured(cluster: Cluster) -> Configured:
    found = Configured(cluster)
    found.apply(GOOD, HBA)
    return found


def refused(
    configured: Configured, code: str, *words: str, settings: str | None = None, hba: str | None = None
) -> KeeperError:
    """The wish is refused, and server and files are as they were; so they are in check mode."""
    before, started, pid = configured.tree(), configured.started_at(), configured.cluster.pid
    found: list[KeeperError] = []
    for check in (True, False):
        with pytest.raises(Refused) as caught:
            configured.apply(settings, hba, check=check)
        assert caught.value.code == code, caught.value.to_text()
        found.append(caught.value)
    text = found[0].to_text()
    assert text == found[1].to_text()
    for word in words:
        assert word in text, text
    assert configured.tree() == before
    assert (configured.cluster.pid, configured.started_at()) == (pid, started)
    assert configured.show("work_mem") == "7MB"
    assert configured.cluster.value("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == 0
    # And nothing is in the way of the next change.
    assert configured.apply(GOOD.replace("7MB", "6MB"), HBA)["changed"]
    assert configured.show("work_mem") == "6MB"
    return found[0]


@pytest.mark.parametrize("major", a_major_a_day())
def test_an_unknown_setting(make_cluster: Callable[..., Cluster], major: int) -> None:
    configured = Configured(make_cluster(installation=installations()[major]))
    configured.apply(GOOD, HBA)
    error = refused(
        configured,
        "setting-unknown",
        "shared_bufers",
        f"{configured.settings}, line 3",
        settings=GOOD + "shared_bufers = '1GB'\n",
    )
    assert error.details["name"] == "shared_bufers"
    assert (error.details["file"], error.details["line"]) == (str(configured.settings), 3)


@pytest.mark.parametrize("major", a_major_a_day())
@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("work_mem = 'plenty'", "work_mem"),
        ("max_connections = 0", "max_connections"),
        ("wal_level = 'everything'", "wal_level"),
        ("fsync = maybe", "fsync"),
    ],
)
def test_a_bad_value(make_cluster: Callable[..., Cluster], major: int, line: str, name: str) -> None:
    configured = Configured(make_cluster(installation=installations()[major]))
    configured.apply(GOOD, HBA)
    settings = (
        "".join(item for item in GOOD.splitlines(True) if not item.startswith(name)) + f"# said\n{line}\n"
    )
    number = len(settings.splitlines())
    error = refused(configured, "setting-invalid", name, f"line {number}", settings=settings)
    assert (error.details["name"], error.details["line"]) == (name, number)


def test_a_line_that_makes_no_sense(configured: Configured) -> None:
    refused(configured, "config-malformed", "line 3", "syntax error", settings=GOOD + "work mem 4 MB\n")


def test_a_setting_given_twice(configured: Configured) -> None:
    refused(configured, "setting-twice", "line 3", "in line 1", settings=GOOD + "Work_Mem = '8MB'\n")


def test_a_file_that_nothing_includes(configured: Configured) -> None:
    other = configured.cluster.root / "elsewhere-dbkeeper.conf"
    wish = ConfigurationRequest((FileRequest("settings", str(other), GOOD),))
    with pytest.raises(Refused) as caught:
        configure(configured.config, wish, check=False)
    assert caught.value.code == "settings-not-included"
    assert not other.exists()


def test_a_mistake_of_somebody_else_is_told_before_ours_is_placed(configured: Configured) -> None:
    theirs = configured.directory / "50-theirs.conf"
    theirs.write_text("no_such_setting = 1\n")
    with pytest.raises(Refused) as caught:
        configured.apply("work_mem = '8MB'\n", HBA)
    assert (caught.value.code, caught.value.details["file"]) == ("setting-unknown", str(theirs))
    assert configured.settings.read_text() == GOOD


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("host all all 192.0.2.0/33 scram-sha-256", "192.0.2.0/33"),
        ("host all all 192.0.2.0/24 scram", "scram"),
        ("lokal all all peer", "lokal"),
    ],
)
def test_a_bad_line_of_the_access_rules(configured: Configured, line: str, word: str) -> None:
    error = refused(configured, "hba-line-malformed", word, settings=GOOD, hba=HBA + line + "\n")
    assert error.details["line"] == len(HBA.splitlines()) + 1


@pytest.mark.parametrize(
    ("hba", "who"),
    [
        ("local all all reject\n" + HBA, "postgres"),
        ("host all all 127.0.0.1/32 scram-sha-256\n", "postgres"),
        ("local all all scram-sha-256\n", "postgres"),
        ("local all all trust\n", "dbkeeper"),
    ],
)
def test_rules_that_lock_out_the_superuser_or_the_keeper(configured: Configured, hba: str, who: str) -> None:
    refused(configured, "hba-locks-out", who, settings=GOOD, hba=hba)


def test_what_only_the_server_knows_of_access_rules_is_found_before_the_reload(
    configured: Configured,
) -> None:
    """A method that this build of the server lacks: our parser knows it, the server does not."""
    built = configured.cluster.program("pg_config", "--configure")
    missing = next((line for option, line in _METHODS if option not in built), None)
    assert missing, built
    before = configured.tree()
    with pytest.raises(Refused) as caught:
        configured.apply(GOOD.replace("7MB", "9MB"), HBA + missing)
    assert caught.value.code == "access-refused", caught.value.to_text()
    assert caught.value.details["line"] == len(HBA.splitlines()) + 1
    assert configured.tree() == before
    assert configured.show("work_mem") == "7MB"


_METHODS = [
    ("--with-bsd-auth", "host all all 192.0.2.0/24 bsd\n"),
    ("--with-pam", "host all all 192.0.2.0/24 pam\n"),
]

#: Parsed by every server, and none starts with it.
CANNOT_START = {
    "shared memory": ("shared_buffers = '8191GB'\n", "shared_buffers"),
    "library": ("shared_preload_libraries = 'no_such_library'\n", "shared_preload_libraries"),
    "combination": ("wal_level = minimal\n", "wal_level"),
    "session library": ("session_preload_libraries = 'no_such_library'\n", "session_preload_libraries"),
    "certificate": ("ssl = on\nssl_cert_file = '/nonexistent/server.crt'\n", "ssl"),
}


@pytest.mark.parametrize("case", CANNOT_START)
def test_what_parses_and_cannot_start_is_refused_while_the_server_runs(
    configured: Configured, case: str
) -> None:
    line, name = CANNOT_START[case]
    error = refused(
        configured, "setting-prevents-start", name, settings=GOOD + line + "wal_buffers = '4MB'\n"
    )
    assert error.details["culprit"] == [name]
    assert error.details["words"]


@pytest.mark.parametrize("major", a_major_a_day())
def test_a_stopped_server_that_does_not_start_gets_its_old_files_back(
    make_cluster: Callable[..., Cluster], major: int
) -> None:
    configured = Configured(make_cluster(installation=installations()[major]))
    configured.apply(GOOD, HBA)
    before = configured.tree()
    configured.cluster.stop()
    with pytest.raises(Failed) as caught:
        configured.apply(GOOD + "wal_buffers = '4MB'\nshared_preload_libraries = 'no_such_library'\n", HBA)
    assert caught.value.code == "server-did-not-start"
    assert caught.value.details["culprit"] == ["shared_preload_libraries"]
    assert "no_such_library" in caught.value.details["words"]
    assert configured.tree() == before
    # It is up again, with what it had.
    assert caught.value.details["running"] is True
    assert configured.show("work_mem") == "7MB"


def test_a_first_start_that_fails_leaves_nothing_behind(cluster: Cluster) -> None:
    configured = Configured(cluster)
    cluster.stop()
    with pytest.raises(Failed) as caught:
        configured.apply("shared_buffers = '8191GB'\n" + GOOD)
    assert caught.value.details["culprit"] == ["shared_buffers"]
    assert not configured.settings.exists()
    assert not cluster.running
    assert configured.apply(GOOD)["plan"] == [f"write {configured.settings}", "start"]


def test_a_restart_after_which_the_server_does_not_come_back(configured: Configured) -> None:
    """The trial starts, the real one does not: what is in its way lies in the real data directory."""
    configured.apply("max_connections = 50\nlog_directory = 'messages'\nlogging_collector = on\n", HBA)
    blocked = configured.cluster.data_directory / "messages"
    blocked.write_text("no directory\n")
    with pytest.raises(Failed) as caught:
        configured.restart()
    assert caught.value.code == "server-did-not-start"
    assert caught.value.details["running"] is True
    assert caught.value.details["culprit"] == ["log_directory"] and "log_directory" in caught.value.happened
    assert configured.settings.read_text() == GOOD
    assert (configured.show("max_connections"), configured.show("logging_collector")) == ("40", "off")
    # The same wish once more, after the obstacle is gone.
    blocked.unlink()
    configured.apply("max_connections = 50\nlog_directory = 'messages'\nlogging_collector = on\n", HBA)
    assert configured.restart()["plan"] == ["restart"]
    assert configured.show("logging_collector") == "on"


def test_a_reload_after_which_nobody_gets_in_is_taken_back(configured: Configured) -> None:
    """It parses, the server takes it over, and every new connection has to wait until its client has given up."""
    before, started = configured.tree(), configured.started_at()
    with pytest.raises(Failed) as caught:
        configured.apply(GOOD + "pre_auth_delay = 45\n", HBA)
    error = caught.value
    assert (error.code, error.details["culprit"]) == ("configuration-undone", ["pre_auth_delay"])
    assert "with pre_auth_delay changed" in error.happened and error.details["read_again"] is True
    assert configured.tree() == before
    # The server has read them, too: without that nobody would get in to correct anything.
    assert (configured.show("pre_auth_delay"), configured.show("work_mem")) == ("0", "7MB")
    assert configured.started_at() == started
    assert configured.apply(GOOD, HBA)["changed"] is False


def test_a_restart_is_tried_first(configured: Configured) -> None:
    """Somebody placed a file behind our back: the handler finds out before it stops anything."""
    configured.apply(GOOD.replace("= 40", "= 50"), HBA)
    configured.settings.write_text(
        GOOD.replace("= 40", "= 50") + "shared_preload_libraries = 'no_such_library'\n"
    )
    pid = configured.cluster.pid
    with pytest.raises(Refused) as caught:
        configured.restart()
    assert caught.value.details["culprit"] == ["shared_preload_libraries"]
    assert configured.cluster.pid == pid


STEPS = [f"{step}:{status}" for step in ("place", "inspect", "reload") for status in ("begun", "done")]


def some(steps: list[str], *always: str) -> list[Any]:
    """Where most can go wrong; the other moments come by turns, and all of them in the matrix."""
    return sliced([(step,) for step in steps], [(step,) for step in always], 3)


@pytest.mark.parametrize("step", some(STEPS, "place:done", "reload:begun"))
def test_killed_at_any_step_the_next_run_ends_as_if_nothing_had_been(
    configured: Configured, step: str
) -> None:
    wish: dict[str, Any] = {
        "settings": "work_mem = '9MB'\nmax_connections = 40\n",
        "hba": HBA + "local all x reject\n",
    }
    configured.killed_at(step, **wish)
    assert configured.cluster.running
    result = configured.apply(**wish)
    assert "undo an interrupted change" in result["plan"] and result["changed"]
    assert configured.show("work_mem") == "9MB"
    assert configured.hba.read_text() == wish["hba"]
    assert configured.cluster.value("SELECT count(*) FROM pg_hba_file_rules") == 4
    assert configured.apply(**wish)["changed"] is False


@pytest.mark.parametrize("step", some(STEPS, "place:done", "reload:begun"))
def test_killed_at_any_step_another_wish_finds_the_files_as_they_were(
    configured: Configured, step: str
) -> None:
    before = configured.tree()
    configured.killed_at(step, "work_mem = '9MB'\n", HBA + "local all x reject\n")
    result = configured.apply(GOOD, HBA)
    assert result["plan"] == ["undo an interrupted change"]
    assert configured.tree() == before
    assert configured.show("work_mem") == "7MB"
    assert configured.cluster.value("SELECT count(*) FROM pg_hba_file_rules") == 3


@pytest.mark.parametrize("step", some(["place:done", "start:begun", "start:done"], "start:begun"))
def test_killed_while_it_starts_a_stopped_server(configured: Configured, step: str) -> None:
    configured.cluster.stop()
    wish = "work_mem = '9MB'\nmax_connections = 50\n"
    configured.killed_at(step, wish, HBA)
    result = configured.apply(wish, HBA, restart="allowed")
    assert configured.cluster.running
    if result["restart_allowed"]:
        configured.restart()
    assert (configured.show("work_mem"), configured.show("max_connections")) == ("9MB", "50")
    assert configured.apply(wish, HBA)["changed"] is False


@pytest.mark.parametrize("step", some(["stop:begun", "stop:done", "start:begun", "start:done"], "stop:done"))
def test_killed_in_a_restart(configured: Configured, step: str) -> None:
    wish = "work_mem = '9MB'\nmax_connections = 50\n"
    configured.apply(wish, HBA)
    configured.killed_at(step, operation="bring_into_effect")
    configured.apply(wish, HBA, restart="allowed")
    configured.restart()
    assert configured.cluster.running
    assert (configured.show("work_mem"), configured.show("max_connections")) == ("9MB", "50")
    assert configured.apply(wish, HBA)["changed"] is False


def test_killed_in_a_trial_nothing_of_it_is_left_by_the_next_run(configured: Configured) -> None:
    # Whoever connects to the server of the trial waits, so that it stands until it is seen.
    running = configured.start("post_auth_delay = 600\n" + GOOD.replace("= 40", "= 50"), HBA)

    def trial() -> Path | None:
        """Its directory, once a server is in it."""
        for path in Path("/tmp").glob("dbkeeper-trial-*"):
            with contextlib.suppress(OSError, ValueError):
                owner = json.loads((path / "owner.json").read_text())
                if owner["pid"] == running.pid and (path / "data/postmaster.pid").exists():
                    return path
        return None

    found = wait_for(trial, "a trial")
    assert found is not None
    running.kill()
    running.communicate()
    assert configured.apply(GOOD, HBA)["changed"] is False
    assert not found.exists()
    wait_for(lambda: str(found) not in processes(), "the end of the server in it")


def processes() -> str:
    """The command lines of everything that runs."""
    said = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            said.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(said)


def test_a_restore_that_is_half_done_is_not_disturbed(configured: Configured) -> None:
    journal = configured.cluster.state_directory / "restore.journal.json"
    journal.write_text('{"format": 1, "identity": "x", "state": "running", "data": {}, "steps": {}}')
    before = configured.tree()
    with pytest.raises(Refused) as caught:
        configured.apply("work_mem = '9MB'\n", HBA)
    assert caught.value.code == "restore-unfinished"
    assert configured.tree() == before
