# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Where PostgreSQL's programs are on this machine, by major."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

#: Folders that hold one installation a major: ``<folder>/<major>/bin/postgres``.
SEARCHED = ("/usr/lib/postgresql", "/var/cache/dbkeeper-test/postgresql")
VARIABLE = "DBKEEPER_TEST_POSTGRESQL"


@dataclass(frozen=True, order=True)
class Installation:
    """The programs of one major."""

    major: int
    bin_directory: Path

    def program(self, name: str) -> str:
        """The path of a program."""
        return str(self.bin_directory / name)

    @property
    def environment(self) -> dict[str, str]:
        """What its programs need to be started with: C locale, UTC, none of the caller's PG variables."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "LC_")) and name not in ("LANG", "LANGUAGE", "TZ")
        }
        return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@lru_cache(maxsize=1)
def installations() -> dict[int, Installation]:
    """All majors found, oldest first. The environment variable's folders (a colon list) come first.

    Such a folder is one installation (it has ``bin/initdb``) or holds one a major. Where a major is found
    twice the first place wins.
    """
    found: dict[int, Installation] = {}
    for place in [*filter(None, os.environ.get(VARIABLE, "").split(":")), *SEARCHED]:
        candidates = [place, *(os.path.join(place, name) for name in _names(place))]
        for candidate in candidates:
            bin_directory = Path(candidate) / "bin"
            if (bin_directory / "initdb").exists():
                major = _major(bin_directory)
                found.setdefault(major, Installation(major, bin_directory))
    return dict(sorted(found.items()))


def each_major(*every_run: int) -> list[Any]:
    """Parameters of a test: all majors in the matrix, at every run those named (the default one and the newest)."""
    chosen = every_run or (default_installation().major, max(installations()))
    return [
        pytest.param(major, marks=() if major in chosen else pytest.mark.matrix) for major in installations()
    ]


def a_major_a_day(*, least: int = 0) -> list[Any]:
    """Parameters of a test: all majors (from ``least``) in the matrix, at every run the one whose turn it is today."""
    majors = [major for major in installations() if major >= least]
    today = majors[date.today().toordinal() % len(majors)]
    return [pytest.param(major, marks=() if major == today else pytest.mark.matrix) for major in majors]


def an_installation_a_day() -> list[Any]:
    """The same, as installations."""
    return [
        pytest.param(installations()[param.values[0]], marks=param.marks, id=str(param.values[0]))
        for param in a_major_a_day()
    ]


def _names(place: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(place) if re.fullmatch(r"\d{2}", name))
    except FileNotFoundError:
        return []


def _major(bin_directory: Path) -> int:
    said = subprocess.run(
        [bin_directory / "postgres", "--version"], check=True, capture_output=True, text=True
    )
    match = re.search(r"\) (\d+)", said.stdout)
    assert match, said.stdout
    return int(match[1])


def default_installation() -> Installation:
    """15 where it is (the major of the oldest supported Debian), else the newest."""
    found = installations()
    if not found:
        raise RuntimeError(
            f"no PostgreSQL programs below {', '.join(SEARCHED)}; set {VARIABLE} or install them"
        )
    return found.get(15) or found[max(found)]


def run(
    argv: list[str], *, environment: dict[str, str], timeout: float = 240.0, stdin: str | None = None
) -> str:
    """Run a program that must end well and return what it said. Raises AssertionError with its words."""
    done = subprocess.run(
        argv,
        input=stdin,
        env=environment,
        timeout=timeout,
        text=True,
        check=False,
        capture_output=True,
        cwd="/",
    )
    if done.returncode != 0:
        raise AssertionError(f"{argv} ended with status {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout
