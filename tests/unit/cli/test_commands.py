# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Every command is there with its options, and only the one that is asked for is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli import commands

ENGINE = commands.__name__.rsplit(".", 2)[0]
#: What a look at the help of one command loads, told as names below the engine.
LOADS = f"""
import sys
sys.path[:0] = {sys.path!r}
from {ENGINE}.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    sys.stderr.write("\\n".join(name[{len(ENGINE) + 1}:] for name in sys.modules if name.startswith({ENGINE + "."!r})))
"""


def loaded(*words: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOADS, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_says_what_it_can_do(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.run_command([name, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"dbkeeper {name}" in said and "--cluster" in said
    assert commands.COMMANDS[name][0].split(";")[0].split(",")[0] in " ".join(said.split())


def test_all_of_them_are_listed_and_another_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.run_command(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert all(f" {name} " in said for name in (*commands.COMMANDS, "receive", "archive-push", "archive-get"))
    with pytest.raises(SystemExit) as ended:
        commands.run_command(["bakcup"])
    assert ended.value.code == 2


@pytest.mark.parametrize("words", [["--nagios", "--nosuch"], ["--nagios", "--config", "/nonexistent/x.json"]])
def test_a_monitor_that_is_told_nothing_is_told_that_it_is_unknown(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, of a word that argparse does not know, would be a failed check."""
    assert commands.run_command(["check", *words]) == 3
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("DBKEEPER UNKNOWN - ?: ")


def test_a_mistake_of_ours_is_unknown_to_a_monitor_and_no_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stumble(cluster: str | None, path: str | None) -> None:
        raise TypeError("a | b\nc")

    monkeypatch.setattr(commands, "load_configuration", stumble)
    assert commands.run_command(["check", "--nagios"]) == 3
    said = capsys.readouterr()
    assert said.out == "DBKEEPER UNKNOWN - ?: TypeError: a / b c\n" and "stumble" in said.err
    with pytest.raises(TypeError):
        commands.run_command(["check"])


def test_only_what_is_asked_for_is_loaded() -> None:
    notify = loaded("notify", "--help")
    assert "cli.notify" in notify
    assert not notify & {
        "recovery.operation",
        "copies.operation",
        "backup.base",
        "watch.check",
        "logical.load",
    }
    copy = loaded("copy", "--help")
    assert "copies.operation" in copy and not copy & {"recovery.operation", "watch.check"}
    # What a summary says is looked at by everything: loaded where the word is read, before another user is become.
    assert "watch.check" in loaded("notify", "--summary", "--help")
