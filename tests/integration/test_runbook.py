# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The runbook works as it is written: its commands are taken out of the text and run, on real clusters."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli.install import build, engine_sources

from .harness.cluster import Cluster
from .harness.workload import recovered_rows
from .harness.world import World


def printed(cluster: Cluster, language: str) -> str:
    """The text as a person gets it."""
    argv = [str(cluster.command), "runbook", "--config", str(cluster.config_path), "--lang", language]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks(text: str, section: str) -> list[str]:
    """The shell blocks of a section, found as a reader finds them: by the heading's anchor and the fences."""
    part = text.split(f'<a id="{section}"></a>')[1].split('<a id="')[0]
    return [piece.split("\n```")[0] for piece in part.split("```sh\n")[1:]]


def paste(script: str, *, expect: int = 0) -> str:
    """Run it in a shell, as it stands."""
    done = subprocess.run(
        ["sh", "-e", "-u", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        cwd="/",
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
    )
    assert done.returncode == expect, f"{script}\n--- {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@cache
def program() -> bytes:
    """The real host command, one file."""
    return build(engine_sources(), sys.executable)[0]


def install_program(cluster: Cluster) -> None:
    """In the place of the launcher of the tests."""
    cluster.command.unlink()
    cluster.command.write_bytes(program())
    cluster.command.chmod(0o755)


@pytest.fixture
def kept(make_cluster: Callable[..., Cluster]) -> World:
    """A cluster with the real program, a backup, and work after it; all archived."""
    cluster = make_cluster()
    install_program(cluster)
    world = World.begin(cluster).work().backup().work()
    world.finish()
    return world


def test_both_languages_have_the_same_commands(kept: World) -> None:
    english, japanese = (printed(kept.cluster, language) for language in ("en", "ja"))
    for section in ("look", "here", "check", "undo", "elsewhere", "program", "plain"):
        assert blocks(english, section) == blocks(japanese, section) != []
    assert "手作業" in japanese and "by hand" in english
    answer = kept.cluster.keeper("runbook").expect(0)
    assert answer["commands"]["plain"] == blocks(english, "plain")
    for fact in (kept.cluster.data_directory, kept.cluster.repository, kept.backups[0].label):
        assert f"{fact}" in english


def test_restore_and_undo_on_this_host(kept: World) -> None:
    text = printed(kept.cluster, "en")
    kept.cluster.sql("DROP TABLE ledger_entries CASCADE")
    kept.cluster.archive_all()
    paste("\n".join(blocks(text, "look")))
    target = f"set -- --target-time '{kept.marks['after work 1'].isoformat()}'"
    here = blocks(text, "here")
    paste("\n".join([here[0], target, *here[1:]]))
    assert recovered_rows(kept.cluster.dsn()) == kept.all_rows()
    said = paste("\n".join(blocks(text, "check")))
    assert " f " in said.replace("|", " ")
    paste("\n".join(blocks(text, "undo")))
    assert kept.cluster.sql("SELECT 1 FROM pg_class WHERE relname = 'ledger_entries'") == []


def test_restore_on_a_host_of_which_nothing_is_left(kept: World) -> None:
    """Data, configuration, program and state are gone; the repository has all that is needed, this text included."""
    cluster = kept.cluster
    system_id, name = cluster.system_id, cluster.name
    cluster.crash()
    for path in (cluster.parent, cluster.socket_directory, cluster.state_directory, cluster.root / "bin"):
        shutil.rmtree(path)
    configuration = json.loads(cluster.config_path.read_text())
    shutil.rmtree(cluster.config_path.parent)
    rescue = cluster.repository / name / "rescue"
    text = (rescue / "RUNBOOK.md").read_text()
    # Without anything installed the program answers from the repository alone.
    answer = paste("\n".join(blocks(text, "program")[0].splitlines()))
    assert kept.backups[0].label in answer
    paste("\n".join(blocks(text, "elsewhere")))
    assert json.loads(cluster.config_path.read_text()) == configuration
    assert cluster.system_id == system_id
    assert recovered_rows(cluster.dsn()) == kept.all_rows()
    paste("\n".join(blocks(text, "check")))


def test_with_postgresqls_own_programs_only(kept: World) -> None:
    """The program is gone, too; a hole in the archive stops the recovery, and nothing is promoted past it."""
    cluster = kept.cluster
    # A tablespace whose path has what sed and the shell take for something of theirs.
    place = cluster.root / 'fast|disk & "$(id)"'
    place.mkdir(mode=0o700)
    cluster.sql(f"CREATE TABLESPACE fast LOCATION '{place}'")
    cluster.sql("CREATE TABLE moved TABLESPACE fast AS SELECT 7 AS n")
    cluster.keeper("backup", "--label", "spread").expect(0)
    for number in (8, 9):
        cluster.sql(f"INSERT INTO moved VALUES ({number})")
        cluster.switch_wal()
    cluster.archive_all()
    plain = blocks(printed(cluster, "ja"), "plain")
    cluster.stop()
    shutil.rmtree(cluster.state_directory)
    cluster.command.unlink()
    # First with a hole: the server ends with FATAL, and says where.
    segments = cluster.archived_segments()
    hole = segments[-2]
    aside = hole.with_name(".aside")
    hole.rename(aside)
    broken = paste("\n".join(plain[:4]) + "\n" + plain[4].split('"$BIN"/psql')[0])
    assert "FATAL" in broken and hole.name[:24] in broken
    work = cluster.data_directory.with_name("data.by-hand")
    assert not (work / "data" / "postmaster.pid").exists()
    shutil.rmtree(work)
    shutil.rmtree(f"{place}.by-hand")
    aside.rename(hole)
    # Then as it is.
    cluster.command.write_bytes(program())
    cluster.command.chmod(0o755)
    said = paste("\n".join(plain))
    assert "no recovery target specified" in said
    assert recovered_rows(cluster.dsn()) == kept.all_rows()
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 2
    shutil.rmtree(place)
    assert cluster.sql("SELECT n FROM moved ORDER BY n") == [(7,), (8,), (9,)]
    assert cluster.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'") == (
        f"{place}.by-hand"
    )
    assert (cluster.parent / "data.before-by-hand").is_dir()
    cluster.archive_all()
    assert (cluster.timeline_directory(2).parent / "00000002.history").exists()
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0
