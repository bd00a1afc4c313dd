# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""An expiry that dies at any of its deeds: nothing listed is broken, and the next run ends as an undisturbed one."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.retention import tree
from tests.unit.retention.history import Life
from tests.unit.retention.promises import Promises

#: In memory where there is such a place: thousands of small files, each made durable.
SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None


def die(seed: int, deaths: int | None, *, noted: bool = False) -> int:
    """Kill the expiry of one life at every deed, or at so many of them; the number of deaths."""
    life = Life(seed, undone=noted, noted=noted)
    promises, shelf = Promises(life), tree.shelf_of(life)
    with tempfile.TemporaryDirectory(dir=SHM, prefix="dbkeeper-test-") as place:
        whole = tree.plant(life, Path(place, "whole"))
        kept = tree.histories(whole)
        deeds, result = tree.run(life, whole)
        end = tree.left(whole)
        promises.check(*end)
        dumps = tree.left_dumps(whole)
        shelf.check(dumps)
        tree.nothing_of_ours(whole)
        assert tree.histories(whole) == kept
        _none, again = tree.run(life, whole)
        assert again is not None and again["changed"] is False and tree.left(whole) == end
        assert result is not None and result["changed"] == (deeds > 0) and not result["plan"]["held"]
        numbers: Sequence[int] = range(deeds)
        if deaths is not None:
            numbers = random.Random(seed).sample(range(deeds), min(deaths, deeds))
        for number in numbers:
            root = Path(place, f"death-{number}")
            dying = tree.plant(life, root)
            assert tree.run(life, dying, die_at=number)[1] is None
            promises.check(*tree.left(dying))
            shelf.promised(tree.left_dumps(dying))
            assert tree.run(life, dying)[1] is not None
            assert tree.left(dying) == end, f"life {seed}, death {number}"
            assert tree.left_dumps(dying) == dumps, f"life {seed}, death {number}"
            tree.nothing_of_ours(dying)
            assert tree.histories(dying) == kept
            shutil.rmtree(root)
        return len(numbers)


@pytest.mark.parametrize("chunk", range(4))
def test_killed_at_every_deed(chunk: int) -> None:
    assert sum(die(seed, None) for seed in range(chunk * 3, chunk * 3 + 3)) > 30


@pytest.mark.parametrize("chunk", range(4))
def test_killed_somewhere(chunk: int) -> None:
    assert sum(die(seed, 2) for seed in range(100 + chunk * 15, 115 + chunk * 15)) > 10


#: Lives in which a timeline was given up, and its window is over.
GIVEN_UP = (72, 161, 258)


@pytest.mark.parametrize("seed", GIVEN_UP)
def test_killed_while_what_was_given_up_goes(seed: int) -> None:
    assert die(seed, 6, noted=True) == 6


@pytest.mark.matrix
@pytest.mark.parametrize("chunk", range(200))
def test_ten_thousand_lives_killed_somewhere(chunk: int) -> None:
    for seed in range(1000 + chunk * 50, 1050 + chunk * 50):
        die(seed, 1)
