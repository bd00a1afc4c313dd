# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A host that is not like the one on which the backup was taken (C11, C12, C15, C17, C18, C19)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from .harness.cluster import Cluster
from .harness.installation import each_major, installations
from .harness.sandbox import Sandbox
from .harness.spare import spare_for
from .harness.workload import recovered_rows
from .harness.world import Frozen, World

CONFIRM = ("--confirm", "main")
TARGET = ("--latest",)


@pytest.fixture
def lost(frozen: Frozen, sandbox: Sandbox) -> World:
    """A world whose host is gone; only the repository is left."""
    world = frozen.thaw(sandbox, start=False)
    for path in (world.cluster.parent, world.cluster.config_path.parent, world.cluster.state_directory):
        shutil.rmtree(path)
    return world


def entries(cluster: Cluster) -> list[Any]:
    return sorted((cluster.repository / cluster.name / "base").glob("*/backup.json"))


def recorded(cluster: Cluster, change: Callable[[dict[str, Any]], None]) -> None:
    """As if the backups had been taken on a host that is otherwise."""
    for path in entries(cluster):
        entry = json.loads(path.read_text())
        change(entry["settings"])
        path.write_text(json.dumps(entry))


def database(settings: dict[str, Any]) -> dict[str, Any]:
    return next(item for item in settings["databases"] if item["name"] == "postgres")


def refused(spare: Cluster, code: str, *words: str, options: tuple[str, ...] = TARGET) -> dict[str, Any]:
    """Plan and restore say no, and nothing has changed."""
    with spare.unchanged():
        spare.keeper("restore", *options, *CONFIRM).refused(code)
        return spare.keeper("plan", *options).refused(code, *words)


def test_what_a_new_host_must_have_is_recorded_with_every_backup(lost: World) -> None:
    """Against what the server and its files say of themselves."""
    settings = json.loads(entries(lost.cluster)[-1].read_text())["settings"]
    assert settings["build"]["block_size"] == "8192" and "64 bit" in settings["build"]["machine"]
    assert {"$libdir/plpgsql", "$libdir/dict_snowball"} <= set(database(settings)["libraries"])
    assert database(settings)["extensions"] == {"plpgsql": "1.0"}


def versioned(cluster: Cluster) -> tuple[str, str] | None:
    """A collation of this server whose order is a library's, ICU's if it is built with it; and the version."""
    rows = cluster.sql(
        "SELECT collname, pg_collation_actual_version(oid) FROM pg_collation WHERE collprovider IN ('i', 'c') "
        "AND collencoding IN (-1, pg_char_to_encoding('UTF8')) AND pg_collation_actual_version(oid) IS NOT NULL "
        "ORDER BY collname <> 'de-x-icu', collprovider DESC, collname LIMIT 1"
    )
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


@pytest.mark.parametrize("major", each_major(max(installations())))
def test_c18_another_version_of_the_library_that_orders_text(sandbox: Sandbox, major: int) -> None:
    """A real collation; the recorded version is that of another host. Refused, or named on the card.

    A server that is built without ICU, on a host with no locale but C, has none: then only the record speaks of one.
    """
    cluster = Cluster(sandbox, installation=installations()[major]).start()
    name, actual = versioned(cluster) or ("de-x-icu", None)
    if actual:
        cluster.sql(f'CREATE TABLE people (name text COLLATE "{name}")')
        cluster.sql("CREATE INDEX people_name ON people (name)")
    world = World.begin(cluster).work().backup().work().finish()
    if actual:
        settings = json.loads(entries(cluster)[-1].read_text())["settings"]
        [found] = [item for item in database(settings)["collations"] if item["name"] == name]
        assert (found["version"], found["indexes"]) == (actual, 1)
        assert found["examples"] == ["public.people_name"]
    cluster.stop()
    spare = spare_for(cluster, sandbox, installation=cluster.installation)
    # The same library: nothing to say. (Asked without a server, the host gives the server's own answer.)
    notes = spare.keeper("plan", *TARGET).expect(0)["plan"]["notes"]
    assert [note for note in notes if note["key"] == "note_reindex"] == []

    def older(settings: dict[str, Any]) -> None:
        collations = database(settings)["collations"]
        if actual is None:
            made = {
                "name": name,
                "provider": "i",
                "locale": "de",
                "indexes": 1,
                "examples": ["public.people_name"],
            }
            collations.append(made)
        for item in collations:
            if item["name"] == name:
                item["version"] = "57.1"

    recorded(cluster, older)
    found_here = f"is {actual or 'unknown'} here"
    error = refused(spare, "collation-changed", name, "57.1", found_here, "postgres", "REINDEX")
    assert error["details"]["collations"][0]["examples"] == ["public.people_name"]
    options = (*TARGET, "--accept-collation-change")
    [note] = [
        item
        for item in spare.keeper("plan", *options).expect(0)["plan"]["notes"]
        if item["key"] == "note_reindex"
    ]
    assert note["values"]["examples"] == "public.people_name" and note["values"]["count"] == 1
    done = spare.keeper("restore", *options, *CONFIRM).expect(0)
    assert recovered_rows(spare.dsn()) == world.all_rows()
    assert note in json.loads(Path(done["evidence"]).read_text())["notes"]


def test_c18_a_locale_that_the_host_does_not_have(lost: World, sandbox: Sandbox) -> None:
    recorded(lost.cluster, lambda settings: database(settings).update(collate="tlh_KX.UTF-8"))
    refused(spare_for(lost.cluster, sandbox), "locale-missing", "tlh_KX.UTF-8")


def test_c18_a_backup_that_recorded_nothing_is_refused_only_where_it_matters(
    frozen: Frozen, sandbox: Sandbox
) -> None:
    """On its own host it says that it could not compare; on another one, unknown order is as good as another."""
    world = frozen.thaw(sandbox)

    def old(settings: dict[str, Any]) -> None:
        del settings["build"]
        for item in settings["databases"]:
            for name in ("libraries", "collations", "provider", "locale", "version"):
                item.pop(name, None)

    recorded(world.cluster, old)
    notes = world.cluster.keeper("plan", *TARGET).expect(0)["plan"]["notes"]
    assert "note_not_recorded" in [note["key"] for note in notes]
    # C and C.UTF-8 are ordered by bytes everywhere: nothing is unknown about them.
    world.cluster.stop()
    spare = spare_for(world.cluster, sandbox)
    spare.keeper("plan", *TARGET).expect(0)


def test_c11_a_library_of_an_extension_is_not_installed(lost: World, sandbox: Sandbox) -> None:
    recorded(lost.cluster, lambda settings: database(settings)["libraries"].append("$libdir/postgis-3"))
    spare = spare_for(lost.cluster, sandbox)
    refused(spare, "library-missing", "$libdir/postgis-3", "used in postgres", "--accept-missing-libraries")
    options = (*TARGET, "--accept-missing-libraries")
    notes = spare.keeper("plan", *options).expect(0)["plan"]["notes"]
    assert "note_libraries_missing" in [note["key"] for note in notes]


def test_c11_a_preloaded_library_is_not_installed(lost: World, sandbox: Sandbox) -> None:
    """No consent helps: the server would not start."""
    spare = spare_for(lost.cluster, sandbox, settings={"shared_preload_libraries": "auto_explain, not_here"})
    refused(spare, "library-missing", "not_here (preloaded")
    refused(spare, "library-missing", options=(*TARGET, "--accept-missing-libraries"))


def test_a_configuration_that_the_program_does_not_take(lost: World, sandbox: Sandbox) -> None:
    """C10 on a new host: seen in the plan, in the words of the server's own program."""
    spare = spare_for(lost.cluster, sandbox, settings={"shared_buffer": "1GB"})
    refused(spare, "server-configuration-unfit", "shared_buffer")


def test_c19_more_memory_than_the_host_has(lost: World, sandbox: Sandbox) -> None:
    refused(
        spare_for(lost.cluster, sandbox, settings={"shared_buffers": "4000GB"}),
        "memory-too-small",
        "shared memory",
    )


def test_c19_huge_pages_that_the_host_does_not_have(lost: World, sandbox: Sandbox) -> None:
    spare = spare_for(lost.cluster, sandbox, settings={"huge_pages": "on", "shared_buffers": "64GB"})
    refused(spare, "huge-pages-too-few", "vm.nr_hugepages")


def test_another_kind_of_machine(lost: World, sandbox: Sandbox) -> None:
    """A16: files of another architecture or build cannot be read, whatever the version."""
    recorded(lost.cluster, lambda settings: settings["build"].update(machine="s390x 64 bit big-endian"))
    spare = spare_for(lost.cluster, sandbox)
    refused(spare, "architecture-mismatch", "s390x", "pg_dump")
    recorded(
        lost.cluster,
        lambda settings: settings["build"].update(machine=None, block_size="32768"),
    )
    refused(spare, "architecture-mismatch", "block_size", "32768", "8192")


def test_c15_who_is_talked_to_after_the_swap_is_on_the_card(sandbox: Sandbox) -> None:
    cluster = Cluster(sandbox, settings={"wal_level": "logical"}).start()
    cluster.sql("CREATE SUBSCRIPTION news CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)")
    cluster.sql("ALTER SUBSCRIPTION news ENABLE")
    cluster.sql("CREATE FOREIGN DATA WRAPPER paper")
    cluster.sql("CREATE SERVER archive_of_1998 FOREIGN DATA WRAPPER paper")
    world = World.begin(cluster).work().backup().work().point("beta").work().finish()
    running = cluster.keeper_start("restore", "--target-name", "beta", *CONFIRM, pause_at="replay:done")
    running.wait_paused()
    # While it is staged nobody fetches: no launcher of logical replication is there.
    [work] = cluster.parent.glob("data.dbkeeper-*")
    assert "max_logical_replication_workers = '0'" in (work / "staged.conf").read_text()
    running.resume()
    plan = running.wait().expect(0)["plan"]
    told = {note["key"]: note["values"] for note in plan["notes"]}
    assert told["note_subscriptions"] == {"names": "news"}
    assert told["note_foreign_servers"] == {"names": "archive_of_1998 (postgres)"}
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])


def test_c17_leftovers_of_a_standby_make_no_standby(world: World) -> None:
    """Both signals in the copy: exactly one is left when recovery begins, and a promoted primary comes of it."""
    cluster = world.cluster
    running = cluster.keeper_start("restore", "--target-name", "beta", *CONFIRM, pause_at="configure:begun")
    running.wait_paused()
    [staging] = cluster.parent.glob("data.dbkeeper-*/data")
    for name in ("standby.signal", "recovery.signal"):
        (staging / name).touch()
    running.resume()
    running.wait().expect(0)
    assert not cluster.value("SELECT pg_is_in_recovery()")
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    assert not list(cluster.data_directory.glob("*.signal"))


def test_c12_more_prepared_transactions_than_the_backup_knew_of(sandbox: Sandbox) -> None:
    """The primary raised the limit after the backup; the new host has no room for what was prepared."""
    cluster = Cluster(sandbox, settings={"max_prepared_transactions": "0"}).start()
    cluster.keeper("backup").expect(0)
    cluster.set(max_prepared_transactions="5")
    cluster.restart()
    cluster.sql("CREATE TABLE held (number int)")
    for number in range(3):
        with cluster.connect() as connection:
            connection.execute("BEGIN")
            connection.execute("INSERT INTO held VALUES (%s)", (number,))
            connection.execute(f"PREPARE TRANSACTION 'held-{number}'".encode())
    cluster.archive_all()
    cluster.stop()
    spare = spare_for(cluster, sandbox, settings={"max_prepared_transactions": "2"})
    answer = spare.keeper("restore", *TARGET, *CONFIRM)
    answer.failed("restored-configuration-unfit", "3 prepared transactions", "max_prepared_transactions is 2")
    assert not spare.data_directory.exists() and spare.pid is None
    spare.set(max_prepared_transactions="5")
    spare.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert spare.value("SELECT count(*) FROM pg_prepared_xacts") == 3
    spare.sql("COMMIT PREPARED 'held-1'")
    assert spare.sql("SELECT number FROM held") == [(1,)]


def test_c13_a_configuration_from_the_backup_that_means_another_place(sandbox: Sandbox) -> None:
    """Nothing of it is swapped in when its port or sockets are not those of the cluster's description."""
    cluster = Cluster(sandbox).start()
    world = World.begin(cluster).work().backup().work().finish()
    cluster.stop()
    for path in (cluster.parent, cluster.state_directory):
        shutil.rmtree(path)
    spare = spare_for(cluster, sandbox, external_config=False)
    answer = spare.keeper("restore", *TARGET, *CONFIRM)
    answer.failed("restored-configuration-unfit", str(cluster.port), "nothing was swapped")
    assert not spare.data_directory.exists() and spare.pid is None
    spare.write_config(port=cluster.port, socket_directory=str(cluster.socket_directory))
    spare.keeper("restore", *TARGET, *CONFIRM).expect(0)
    assert recovered_rows(cluster.dsn()) == world.all_rows()


def test_c15_a_trigger_at_login_that_lets_nobody_in(sandbox: Sandbox) -> None:
    """17 and later: neither the staged server nor a backup nor what dbkeeper does after the swap is hindered by it."""
    cluster = Cluster(sandbox, installation=installations()[max(installations())]).start()
    cluster.sql(
        "CREATE FUNCTION nobody() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'nobody comes in'; END$$"
    )
    cluster.sql("CREATE EVENT TRIGGER nobody ON login EXECUTE FUNCTION nobody()")
    with pytest.raises(psycopg.OperationalError, match="nobody comes in"):
        cluster.sql("SELECT 1")
    cluster.options = "-c event_triggers=off"
    cluster.sql("ALTER EVENT TRIGGER nobody ENABLE ALWAYS")
    world = World.begin(cluster).work().backup().work().point("beta").work().finish()
    done = cluster.keeper("restore", "--target-name", "beta", "--amcheck", *CONFIRM).expect(0)
    assert done["record"]["amcheck"]["passed"] is True
    assert done["record"]["new_backup"] and done["record"]["archived_segment"]
    assert recovered_rows(cluster.dsn()) == world.rows_before(world.points["beta"])
    # It is as it was for everybody else.
    cluster.options = ""
    with pytest.raises(psycopg.OperationalError, match="nobody comes in"):
        cluster.sql("SELECT 1")
