# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The runbook's program that hands out WAL by hand: it says "no more" only where nothing more can be."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.runbook_plain import restore_wal

from .harness import damage

NAMES = [f"00000002000000000000000{number}" for number in range(3, 7)]
PARENT = "000000010000000000000002"
NONE_BEHIND = "000000020000000000000007"


class Hand:
    """An archive with two timelines, and the program as the runbook has it written."""

    def __init__(self, root: Path, *, timeline: int = 2) -> None:
        self.root = root
        self.repository = root / "repository"
        self.archive = self.repository / "wal" / "7400000000000000001"
        for name in (PARENT, *NAMES):
            path = self.archive / name[:8] / f"{name}.zst"
            path.parent.mkdir(parents=True, exist_ok=True)
            damage.store(path, name.encode())
        (self.repository / "repository.json").write_text("{}")
        (self.archive / "00000002.history").write_text("1\t0/3000000\tx\n")
        self.timeline = timeline

    def stored(self, name: str) -> Path:
        return self.archive / name[:8] / f"{name}.zst"

    def write(self) -> str:
        """What is written to the terminal."""
        values = {
            "REPOSITORY": self.repository,
            "ARCHIVE": self.archive,
            "WORK": self.root,
            "TIMELINE": self.timeline,
        }
        lines = [f"{name}={shlex.quote(str(value))}" for name, value in values.items()]
        script = "\n".join([*lines, *restore_wal()])
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout

    def ask(self, name: str) -> int:
        """As the server does; what is delivered is what was stored."""
        target = self.root / "RECOVERYXLOG"
        target.unlink(missing_ok=True)
        status = subprocess.run(
            [str(self.root / "restore-wal"), name, str(target)], capture_output=True, check=False
        ).returncode
        if status == 0 and not name.endswith(".history"):
            assert target.read_bytes() == name.encode()
        return status


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    return Hand(tmp_path)


def test_all_that_is_there_and_then_the_end(hand: Hand) -> None:
    assert NAMES[-1] in hand.write()
    assert [hand.ask(name) for name in (PARENT, *NAMES, "00000002.history")] == [0] * 6
    assert hand.ask(NONE_BEHIND) == 1 and hand.ask("00000003.history") == 1
    # Before a fork the server asks for the newest timeline first: whoever says "no more" there says nothing wrong.
    assert hand.ask("000000010000000000000003") == 255
    assert hand.ask("000000030000000000000001") == 255


def test_a_path_stays_a_path_whatever_is_in_it(tmp_path: Path) -> None:
    hand = Hand(tmp_path / """o'brien's 100% "$(touch stolen)" \\ & | `id` 's""")
    assert NAMES[-1] in hand.write()
    assert [hand.ask(name) for name in (PARENT, *NAMES, "00000002.history")] == [0] * 6
    assert hand.ask(NONE_BEHIND) == 1 and hand.ask("000000030000000000000001") == 255


def test_a_timeline_of_which_nothing_is_archived_yet(tmp_path: Path) -> None:
    hand = Hand(tmp_path, timeline=3)
    hand.write()
    assert hand.ask("000000030000000000000006") == 1
    assert hand.ask(NAMES[-1]) == 0 and hand.ask(NONE_BEHIND) == 255


def test_the_last_one_may_be_a_plain_file(hand: Hand) -> None:
    """As another archive_command wrote it: to say that there is none would lose its rows."""
    hand.stored(NAMES[-1]).unlink()
    hand.stored(NAMES[-1]).with_suffix("").write_text(NAMES[-1])
    assert NAMES[-1] in hand.write()
    assert [hand.ask(name) for name in NAMES] == [0] * 4
    assert hand.ask(NONE_BEHIND) == 1


def link_to_nowhere(hand: Hand, name: str) -> None:
    hand.stored(name).unlink()
    hand.stored(name).symlink_to("/nonexistent")


def no_timeline(hand: Hand, name: str) -> None:
    hand.stored(name).parent.rename(hand.root / "moved")


def closed_timeline(hand: Hand, name: str) -> None:
    damage.unreadable(hand.stored(name).parent)


def closed_archive(hand: Hand, name: str) -> None:
    damage.unreadable(hand.archive)


def no_repository(hand: Hand, name: str) -> None:
    hand.repository.rename(hand.root / "unmounted")
    hand.repository.mkdir()


def removed(hand: Hand, name: str) -> None:
    hand.stored(name).unlink()


def cut(hand: Hand, name: str) -> None:
    damage.truncate(hand.stored(name))


def closed(hand: Hand, name: str) -> None:
    damage.unreadable(hand.stored(name))


@pytest.mark.parametrize("name", [NAMES[1], NAMES[-1]], ids=["in the middle", "the last"])
@pytest.mark.parametrize(
    "hurt",
    [removed, cut, closed, link_to_nowhere, no_timeline, closed_timeline, closed_archive, no_repository],
)
def test_what_cannot_be_had_is_no_end(hand: Hand, name: str, hurt: Callable[[Hand, str], None]) -> None:
    hand.write()
    hurt(hand, name)
    try:
        assert hand.ask(name) == 255
    finally:
        for path in (hand.archive, hand.stored(name).parent):
            if path.exists():
                path.chmod(0o700)


def test_a_last_one_that_is_a_link_to_nowhere_is_no_end(hand: Hand) -> None:
    link_to_nowhere(hand, NAMES[-1])
    hand.write()
    assert hand.ask(NAMES[-1]) == 255 and hand.ask(NONE_BEHIND) == 1


@pytest.mark.parametrize("hurt", [closed_timeline, closed_archive])
def test_what_cannot_be_listed_when_it_is_written_is_no_end_either(
    hand: Hand, hurt: Callable[[Hand, str], None]
) -> None:
    hurt(hand, NAMES[-1])
    hand.write()
    try:
        assert hand.ask(NAMES[-1]) == 255
    finally:
        for path in (hand.archive, hand.stored(NAMES[-1]).parent):
            path.chmod(0o700)
    # Nobody knows what was there when it was written, also when it can be read again.
    assert hand.ask(NAMES[-1]) == 0 and hand.ask(NONE_BEHIND) == 255
