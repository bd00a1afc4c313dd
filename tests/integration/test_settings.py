# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Settings on real servers: what takes effect and how, and what is told of the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.memory import held_by
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.operation import configure
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.parts import all_in_effect
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.request import (
    ConfigurationRequest,
    FileRequest,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.tree import read_tree

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations
from .harness.template import BACKUP_USER
from .harness.waiting import wait_for
from .settings_help import HBA, Configured


@pytest.fixture
def configured(cluster: Cluster) -> Configured:
    return Configured(cluster)


@pytest.mark.parametrize("major", a_major_a_day())
def test_a_setting_that_a_reload_brings_into_effect(make_cluster: Callable[..., Cluster], major: int) -> None:
    configured = Configured(make_cluster(installation=installations()[major]))
    before = configured.started_at()
    result = configured.apply("work_mem = '7MB'\n", HBA)
    assert result["plan"] == [f"write {configured.settings}", f"write {configured.hba}", "reload"]
    assert (result["changed"], result["pending_restart"], result["warnings"]) == (True, [], [])
    assert configured.show("work_mem") == "7MB"
    assert configured.started_at() == before
    again = configured.apply("work_mem = '7MB'\n", HBA)
    assert (again["changed"], again["plan"], again["executed"]) == (False, [], False)


def test_check_mode_tells_the_same_and_does_nothing(configured: Configured) -> None:
    before = configured.tree()
    wish = ("work_mem = '7MB'\nmax_connections = 50\n", HBA)
    told = configured.apply(*wish, check=True)
    assert configured.tree() == before
    assert not configured.cluster.value("SELECT bool_or(pending_restart) FROM pg_settings")
    done = configured.apply(*wish)
    assert told["executed"] is False
    assert done["executed"] is True
    for key in ("changed", "plan", "diff", "pending_restart", "overridden", "restart_allowed"):
        assert told[key] == done[key], key
    assert done["diff"][0]["after"] == wish[0]


def test_what_needs_a_restart_is_reported_and_done_only_if_allowed(configured: Configured) -> None:
    before = configured.started_at()
    wish = "max_connections = 50\nwork_mem = '5MB'\n"
    result = configured.apply(wish)
    waiting = [{"name": "max_connections", "running": "40", "wanted": "50"}]
    assert (result["pending_restart"], result["restart_allowed"]) == (waiting, False)
    assert "a restart is needed for max_connections (40 until then)" in result["warnings"][0]
    assert configured.show("work_mem") == "5MB"
    # The second run changes nothing and still tells.
    assert configured.apply(wish)["changed"] is False
    assert configured.restart("first_install")["changed"] is False
    assert configured.started_at() == before
    # With another policy the first task is changed, so that the handler is called.
    allowed = configured.apply(wish, restart="allowed")
    assert (allowed["changed"], allowed["plan"], allowed["restart_allowed"]) == (True, [], True)
    assert configured.restart(check=True)["plan"] == ["restart"]
    assert configured.started_at() == before
    done = configured.restart()
    assert (done["plan"], done["pending_restart"]) == (["restart"], [])
    assert configured.show("max_connections") == "50"
    assert configured.started_at() > before
    assert configured.restart()["changed"] is False


@pytest.mark.parametrize("major", a_major_a_day())
def test_what_is_taken_out_and_needs_a_restart_waits_for_it(
    make_cluster: Callable[..., Cluster], major: int
) -> None:
    configured = Configured(make_cluster(installation=installations()[major]))
    configured.apply("max_worker_processes = 11\nmax_files_per_process = 900\nwork_mem = '5MB'\n")
    configured.restart()
    before = configured.started_at()
    # As where somebody no longer gives them, or tuning is switched off.
    told = configured.apply("work_mem = '6MB'\n", check=True)
    done = configured.apply("work_mem = '6MB'\n")
    waiting = [
        {"name": "max_files_per_process", "running": "900", "wanted": None},
        {"name": "max_worker_processes", "running": "11", "wanted": None},
    ]
    for result in (told, done):
        assert result["plan"] == [f"write {configured.settings}", "reload"]
        assert sorted(result["pending_restart"], key=lambda item: str(item["name"])) == waiting
        assert "a restart is needed for max_files_per_process (900 until then)" in result["warnings"][0]
    assert configured.show("work_mem") == "6MB"
    assert configured.started_at() == before
    assert configured.apply("work_mem = '6MB'\n")["changed"] is False
    found = checks(configured)
    assert found["settings"][0] == "ok", found
    assert found["restart"][0] == "warning" and "max_worker_processes" in found["restart"][1], found
    assert configured.apply("work_mem = '6MB'\n", restart="allowed")["restart_allowed"] is True
    assert configured.restart()["pending_restart"] == []
    assert (configured.show("max_worker_processes"), configured.show("max_files_per_process")) == (
        "8",
        "1000",
    )
    assert configured.apply("work_mem = '6MB'\n")["changed"] is False


def test_when_idle_waits_for_clients(configured: Configured) -> None:
    before = configured.started_at()
    configured.apply("max_connections = 50\n")
    with configured.cluster.connect():
        assert configured.apply("max_connections = 50\n", restart="when_idle")["changed"] is False
        assert configured.restart("when_idle")["plan"] == []
        assert configured.started_at() == before
    clients = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    wait_for(lambda: configured.cluster.value(clients) == 1, "the end of the client's process")
    assert configured.restart("when_idle")["plan"] == ["restart"]


def test_a_stopped_server_is_started_with_all(configured: Configured) -> None:
    configured.cluster.stop()
    result = configured.apply("max_connections = 50\nshared_preload_libraries = 'pg_stat_statements'\n", HBA)
    assert result["plan"][-1] == "start"
    assert (result["running"], result["pending_restart"]) == (True, [])
    assert configured.show("shared_preload_libraries") == "pg_stat_statements"


def test_a_changed_port_is_followed(configured: Configured) -> None:
    old, new = configured.cluster.port, configured.cluster.sandbox.ports.take()
    configured.cluster.write_config(port=new)
    result = configured.apply(f"port = {new}\n")
    assert result["pending_restart"] == [{"name": "port", "running": str(old), "wanted": str(new)}]
    configured.restart()
    configured.cluster.port = new
    assert configured.show("port") == str(new)


def test_alter_system_that_overrides_ours_is_found(configured: Configured) -> None:
    configured.cluster.sql("ALTER SYSTEM SET work_mem = '3MB'")
    configured.cluster.reload()
    result = configured.apply("work_mem = '7MB'\nmaintenance_work_mem = '70MB'\n")
    auto = f"{configured.cluster.data_directory}/postgresql.auto.conf"
    assert result["overridden"] == [
        {"name": "work_mem", "wanted": "7MB", "effective": "3MB", "file": auto, "line": 3}
    ]
    assert "ALTER SYSTEM RESET" in result["warnings"][0] and "work_mem is 3MB" in result["warnings"][0]
    assert configured.show("work_mem") == "3MB"
    # Known without any change, too.
    assert (
        configured.apply("work_mem = '7MB'\nmaintenance_work_mem = '70MB'\n")["overridden"]
        == result["overridden"]
    )
    configured.cluster.sql("ALTER SYSTEM RESET work_mem")
    assert configured.apply("work_mem = '7MB'\nmaintenance_work_mem = '70MB'\n")["overridden"] == []


def test_a_later_file_that_overrides_ours_is_found_unless_it_is_ours(configured: Configured) -> None:
    (configured.directory / "20-dbkeeper-archiving.conf").write_text("archive_timeout = 60\n")
    (configured.directory / "99-somebody.conf").write_text("# theirs\nwork_mem = '2MB'\n")
    result = configured.apply("work_mem = '7MB'\narchive_timeout = 30\n")
    (found,) = result["overridden"]
    assert (found["name"], found["effective"], found["line"]) == ("work_mem", "2MB", 2)
    assert found["file"].endswith("99-somebody.conf")


def test_the_tree_is_what_the_server_reads(configured: Configured) -> None:
    """Our reading of the files against pg_file_settings, escapes and inclusions included."""
    configured.apply(
        "application_name = 'a''b\\tc\\\\d'\nmy.value = 0x1F\nwork_mem=8MB # said\nSearch_Path '\"$user\", public'\n"
        "log_line_prefix '%m [%p] %q%u@%d/%a '\ncheckpoint_completion_target .9\n"
    )
    ours = [
        (item.path, item.number, item.name, item.value) for item in read_tree(configured.config, {}).settings
    ]
    theirs = configured.cluster.sql(
        "SELECT sourcefile, sourceline, lower(name), setting FROM pg_file_settings ORDER BY seqno"
    )
    assert ours == theirs


def test_blocks_of_others_in_the_access_rules_are_kept(configured: Configured) -> None:
    configured.apply(hba=HBA)
    block = FileRequest("hba", str(configured.hba), "local all backup_reader trust", block="reader")
    assert configure(configured.config, ConfigurationRequest((block,)), check=False)["changed"]
    assert not configure(configured.config, ConfigurationRequest((block,)), check=False)["changed"]
    text = "# BEGIN dbkeeper.ops reader\nlocal all backup_reader trust\n# END dbkeeper.ops reader\n" + HBA
    assert configured.hba.read_text() == text
    # The whole file again, as the other role writes it: the block stays.
    assert not configured.apply(hba=HBA)["changed"]
    assert configured.hba.read_text() == text


def test_what_one_role_sees_spares_the_next_its_work(configured: Configured) -> None:
    block = FileRequest("hba", str(configured.hba), "local all backup_reader trust", block="reader")
    archiving = FileRequest("settings", str(configured.directory / "20-dbkeeper.conf"), "work_mem = '7MB'\n")
    secret = FileRequest(
        "settings", str(configured.directory / "30-dbkeeper.conf"), "primary_conninfo = 'password=x'"
    )
    mine = [block, archiving]
    assert all_in_effect(mine, configured.apply(hba=HBA)["in_effect"], "") is False
    configure(configured.config, ConfigurationRequest((*mine, secret)), check=False)
    for check in (True, False):
        seen = configured.apply(hba=HBA, check=check)
        assert seen["changed"] is False
        assert all_in_effect(mine, seen["in_effect"], BACKUP_USER) is True
        assert all_in_effect(mine, seen["in_effect"], "nobody") is False
        # A digest would help whoever guesses.
        assert all_in_effect([secret], seen["in_effect"], "") is False

    def seen_after(statement: str) -> bool:
        configured.cluster.sql(statement)
        configured.cluster.sql("SELECT pg_reload_conf()")
        return all_in_effect(mine, configured.apply(hba=HBA)["in_effect"], "")

    assert seen_after("ALTER SYSTEM SET work_mem = '3MB'") is False
    assert seen_after("ALTER SYSTEM RESET work_mem") is True
    Path(archiving.path).chmod(0o600)
    assert all_in_effect(mine, configured.apply(hba=HBA)["in_effect"], "") is False
    Path(archiving.path).chmod(0o640)
    configured.hba.write_text(
        configured.hba.read_text().replace("backup_reader trust", "backup_reader reject")
    )
    assert all_in_effect(mine, configured.apply(hba=HBA)["in_effect"], "") is False
    assert all_in_effect([archiving], configured.apply("max_connections = 50\n")["in_effect"], "") is False
    configured.cluster.stop()
    assert configured.apply(hba=HBA, start=False)["in_effect"] == {"parts": [], "replication_roles": []}


def test_secrets_are_in_no_diff(configured: Configured) -> None:
    result = configured.apply(
        "primary_conninfo = 'host=db1 password=hunter2'\nwork_mem = '7MB'\n",
        HBA + "host all all 192.0.2.0/24 reject\n",
    )
    assert "hunter2" not in str(result)
    assert "work_mem = '7MB'" in result["diff"][0]["after"]
    assert "password=hunter2" in configured.settings.read_text()


def checks(configured: Configured) -> dict[str, tuple[str, str]]:
    """State and text of the checks that are about the configuration."""
    answer = configured.cluster.keeper("check")
    found = {item["name"]: (item["state"], item["text"]) for item in answer.data["checks"]}
    return {name: found[name] for name in ("settings", "restart", "access", "overrides")}


def test_check_of_a_configuration_that_is_as_it_was_written(configured: Configured) -> None:
    configured.apply("work_mem = '7MB'\n", HBA)
    assert {state for state, _text in checks(configured).values()} == {"ok"}
    assert "as they were written" in checks(configured)["settings"][1]


def test_check_tells_drift_pending_restarts_access_rules_and_overrides(configured: Configured) -> None:
    configured.apply("work_mem = '7MB'\nmax_connections = 50\n", HBA)
    configured.cluster.sql("ALTER SYSTEM SET work_mem = '3MB'")
    configured.hba.write_text(HBA + "host all all 192.0.2.0/33 scram-sha-256\n")
    found = checks(configured)
    assert found["restart"] == ("warning", "a restart is needed for max_connections (40 until then)")
    assert found["access"][0] == "failed" and "line 4" in found["access"][1]
    assert found["overrides"][0] == "warning"
    assert "work_mem is 3MB and not 7MB, because of" in found["overrides"][1]
    assert found["settings"][0] == "warning" and str(configured.hba) in found["settings"][1]
    assert "changed by somebody else" in found["settings"][1]


def test_check_finds_a_setting_with_which_the_server_would_not_start_again(configured: Configured) -> None:
    configured.apply("work_mem = '7MB'\n", HBA)
    theirs = configured.directory / "50-theirs.conf"
    theirs.write_text("no_such_setting = 1\n")
    state, text = checks(configured)["settings"]
    assert state == "failed" and "no_such_setting" in text and str(theirs) in text
    theirs.write_text("work_mem = '9MB'\n")
    state, text = checks(configured)["settings"]
    assert (state, str(theirs) in text) == ("warning", True)
    theirs.unlink()
    configured.settings.unlink()
    state, text = checks(configured)["settings"]
    assert state == "failed" and "gone" in text


def test_check_of_a_server_that_is_down(configured: Configured) -> None:
    configured.apply("work_mem = '7MB'\n", HBA)
    configured.cluster.stop()
    found = checks(configured)
    assert found["settings"][0] == "ok"
    assert found["restart"] == ("warning", "not known, as no server answers")
    assert found["access"][0] == "warning"


def test_what_only_keeps_nothing_is_no_archiving(configured: Configured) -> None:
    """What the role postgresql sets until the role backup says better."""
    configured.apply("archive_command = '/bin/true'\n")
    answer = configured.cluster.keeper("check")
    assert next(item for item in answer.data["checks"] if item["name"] == "archiving")["state"] == "failed"


def test_what_the_server_holds_is_known_to_its_trial(configured: Configured) -> None:
    held = held_by(configured.cluster.pid)
    size = configured.cluster.value(
        "SELECT setting::bigint * 8192 FROM pg_settings WHERE name = 'shared_buffers'"
    )
    assert size < held.shared_bytes < 20 * size
    assert held.huge_pages is False
