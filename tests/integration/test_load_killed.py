# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Loads and their undoing, killed or cut off from the server at every step of the engine's own list.

Run again they end, given up they leave what was there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical import load_execute

from .harness.cluster import Cluster
from .load_help import databases, dumped, open_databases, within
from .slices import points, sliced
from .test_kill_everything import LOSSES

#: Without globals, which nobody asks for here.
STEPS = tuple(step for step in load_execute.STEPS if step != load_execute.GLOBALS)
UNDO_STEPS = tuple(
    step for step in STEPS if step in (load_execute.CLOSE, load_execute.SWAP, load_execute.OPEN)
)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """Database app with a dump in each format."""
    yield from dumped()


def test_the_steps_are_the_journals_own(server: Cluster) -> None:
    """Those that are killed below are all that there are."""
    server.sql("CREATE DATABASE journalled")
    options = ["c", "--database", "app", "--into", "journalled", "--replace", "--confirm", "journalled"]
    passed = len(server.steps())
    server.keeper("load", *options).expect()
    load = server.steps()[passed:]
    server.keeper("load", "--undo", "--into", "journalled", "--confirm", "journalled").expect()
    undo = server.steps()[passed + len(load) :]
    assert load == [f"{step}:{status}" for step in load_execute.STEPS for status in ("begun", "done")]
    assert undo == [f"{step}:{status}" for step in UNDO_STEPS for status in ("begun", "done")]


@pytest.mark.parametrize(
    ("again", "steps"),
    [
        pytest.param(True, ("close",), id="again"),
        pytest.param(False, ("prove",), id="undo"),
        pytest.param(True, STEPS, id="again, every step", marks=pytest.mark.matrix),
        pytest.param(False, STEPS, id="undo, every step", marks=pytest.mark.matrix),
    ],
)
def test_killed_at_every_step(server: Cluster, again: bool, steps: tuple[str, ...]) -> None:
    """Run again, it is finished; given up, what was there is there, and lets people in."""
    server.sql("CREATE DATABASE victim")
    within(server, "victim", "CREATE TABLE old_one (a int)")
    options = ["c", "--database", "app", "--into", "victim", "--replace", "--confirm", "victim", "--again"]
    for step in steps:
        for status in ("begun", "done"):
            assert server.keeper("load", *options, kill_at=f"{step}:{status}").status == -9
            swapped = (step, status) in (("swap", "done"), ("open", "begun"), ("open", "done"))
            if again:
                done = server.keeper("load", *options[:-1]).expect()
                assert not done["executed"] or done["load"]["proof"] == "digest", (step, status)
                assert within(server, "victim", "SELECT count(*) FROM orders") == [(300,)]
                server.keeper("load", "--undo", "--into", "victim", "--confirm", "victim").expect()
            else:
                confirm = ["--confirm", "victim"] if (step, status) == ("open", "done") else []
                given_up = server.keeper("load", "--undo", "--into", "victim", *confirm).expect()
                if swapped and not confirm:
                    # Nothing to give up any more: it is finished, and can be undone.
                    assert given_up["plan"]["action"] == "finish"
                    server.keeper("load", "--undo", "--into", "victim", "--confirm", "victim").expect()
            assert within(server, "victim", "SELECT count(*) FROM old_one") == [(0,)], (step, status)
            closed = [one for one in open_databases(server) if one[1:] != (True, -1)]
            assert not closed, (step, status)
            assert not [name for name in databases(server) if name.startswith("dbkeeper_load")]
            for name in databases(server):
                if name.startswith("victim_"):
                    server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    server.sql("DROP DATABASE victim WITH (FORCE)")


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param((("swap", "renamed"),), id="a slice"),
        pytest.param(
            [(step, status) for step in UNDO_STEPS for status in ("begun", "done")],
            id="every step",
            marks=pytest.mark.matrix,
        ),
    ],
)
def test_an_undo_killed_at_every_step(
    server: Cluster, cell: Callable[..., None], moments: list[tuple[str, str]]
) -> None:
    """Run again, it is done; run once more, there is nothing to do."""
    undo = ["--undo", "--into", "back", "--confirm", "back"]
    for step, status in moments:
        server.sql("CREATE DATABASE back CONNECTION LIMIT 9")
        within(server, "back", "CREATE TABLE old_one (a int)")
        options = ["c", "--database", "app", "--into", "back", "--replace", "--confirm", "back"]
        kept = server.keeper("load", *options).expect()["load"]["kept"]
        at = "begun" if status == "renamed" else status
        assert server.keeper("load", *undo, kill_at=f"{step}:{at}").status == -9
        if status == "renamed":
            # Killed after the server had committed both names, before the journal said so.
            journal = json.loads((server.state_directory / "load.journal.json").read_text())
            aside = journal["data"]["kept"]
            server.sql(f'ALTER DATABASE back RENAME TO "{aside}"')
            server.sql(f'ALTER DATABASE "{kept}" RENAME TO back')
        done = server.keeper("load", *undo).expect()
        assert (done["changed"], done["plan"]["action"]) == (True, "undo"), (step, status)
        assert within(server, "back", "SELECT count(*) FROM old_one") == [(0,)], (step, status)
        aside = done["plan"]["put_aside"]
        assert within(server, aside, "SELECT count(*) FROM orders") == [(300,)]
        mine = [one for one in open_databases(server) if one[0].startswith("back")]
        assert mine == [("back", True, 9), (aside, True, 9)], (step, status)
        again = server.keeper("load", *undo).expect()
        assert (again["changed"], again["plan"]["put_aside"]) == (False, aside)
        for name in ("back", aside):
            server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        cell(step=step, status=status, operation="load --undo")


@pytest.mark.parametrize(
    ("step", "loss"), sliced(points(STEPS, tuple(LOSSES)), ((load_execute.SWAP, "server"),), 16)
)
def test_a_load_that_loses_its_server_at_any_step(server: Cluster, step: str, loss: str) -> None:
    """It ends well or fails; what was there is there until the new one has its name, and the next run finishes."""
    server.sql("CREATE DATABASE victim")
    within(server, "victim", "CREATE TABLE old_one (a int)")
    options = ["c", "--database", "app", "--into", "victim", "--replace", "--confirm", "victim"]
    running = server.keeper_start("load", *options, "--again", pause_at=f"{step}:begun")
    running.wait_paused()
    LOSSES[loss](server)
    running.resume()
    ended = running.wait()
    assert ended.status in (0, 3), str(ended)
    if not server.running:
        server.start()
    assert "victim" in databases(server)
    done = server.keeper("load", *options).expect()
    assert not done["executed"] or done["load"]["proof"] == "digest"
    assert within(server, "victim", "SELECT count(*) FROM orders") == [(300,)]
    server.keeper("load", "--undo", "--into", "victim", "--confirm", "victim").expect()
    assert within(server, "victim", "SELECT count(*) FROM old_one") == [(0,)]
    assert not [one for one in open_databases(server) if one[1:] != (True, -1)]
    assert not [name for name in databases(server) if name.startswith("dbkeeper_load")]
    for name in databases(server):
        if name.startswith("victim"):
            server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
