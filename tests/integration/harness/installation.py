# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Where PostgreSQL's programs are on this machine, by major."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

#: Lists of directories that hold one directory a major: ``<directory>/<major>/bin/postgres``.
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
    """All majors found, oldest first. The environment variable's directories (colon list) come first.

    Where one major is found twice the first place wins.
    """
    places = [place for place in os.environ.get(VARIABLE, "").split(":") if place] + list(SEARCHED)
    found: dict[int, Installation] = {}
    for place in places:
        if not os.path.isdir(place):
            continue
        for entry in os.scandir(place):
            bin_directory = Path(entry.path) / "bin"
            if re.fullmatch(r"\d{2}", entry.name) and (bin_directory / "initdb").exists():
                found.setdefault(int(entry.name), Installation(int(entry.name), bin_directory))
    return dict(sorted(found.items()))


def default_installation() -> Installation:
    """15 where it is (the major of the oldest supported Debian), else the newest."""
    found = installations()
    if not found:
        raise RuntimeError(
            f"no PostgreSQL programs below {', '.join(SEARCHED)}; set {VARIABLE} or install them"
        )
    return found.get(15) or found[max(found)]


def run(
    argv: list[str], *, environment: dict[str, str], timeout: float = 60.0, stdin: str | None = None
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
