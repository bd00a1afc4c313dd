# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Building the host command: the engine, as it is imported here and now, in one file that Python runs.

No copy of the engine is kept anywhere: the sources come from whoever imported us, be it a checkout, an installed
collection or the archive that Ansible sends to a host. Byte code goes in beside them, because the server
calls the command for every segment.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pkgutil
import py_compile
import re
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

from ..core.errors import Failed
from ..core.files import make_directory, write_durable

#: Where the host command is, unless somebody says otherwise.
ARCHIVE = "/usr/local/lib/dbkeeper/dbkeeper.pyz"
LINK = "/usr/local/bin/dbkeeper"
INTERPRETER = "/usr/bin/python3"

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MEMBER = "dbkeeper_engine"
# Parsing the whole engine would take a second of every run of the role backup.
_IMPORT = re.compile(r"^[ \t]*from (\.+)([\w.]*) import (\([^)]*\)|[^\n]*)", re.M)
_NAME = re.compile(r"\w+")
_START = f"{_MEMBER}/cli/main.py"
_STAMP = "stamp"
_MAIN = f"from {_MEMBER}.cli.main import main\nraise SystemExit(main())\n"
_MODE = 0o755


def engine_sources() -> dict[str, str]:
    """Path inside the archive -> source, of the modules that the command imports at some time, and no others.

    So it is the same where the whole engine lies and on a host, which was sent a part of it.
    """
    package = __name__.rsplit(".", 2)[0]
    found = dict(_sources(package))
    if _START not in found:
        raise Failed(
            "engine-incomplete",
            attempted="build the host command",
            happened=f"{package} has no cli/main.py",
            remedy="Install the collection again.",
        )
    return {path: found[path] for path in _reached(found)}


def _reached(sources: dict[str, str]) -> set[str]:
    """Modules that can be come to from the first one, and the packages that they are in."""
    reached: set[str] = set()
    pending = {_START}
    while pending:
        path = pending.pop()
        reached.add(path)
        folders = path.split("/")[:-1]
        found = {"/".join([*folders[:depth], "__init__.py"]) for depth in range(1, len(folders) + 1)}
        for dots, module, names in _IMPORT.findall(sources[path]):
            base = "/".join(filter(None, [*folders[: len(folders) - len(dots) + 1], *module.split(".")]))
            # What is imported from a package may be a module of it.
            found |= {f"{base}.py", *(f"{base}/{name}.py" for name in _NAME.findall(names))}
        pending |= (found & set(sources)) - reached
    return reached


def _sources(package: str) -> Iterator[tuple[str, str]]:
    yield _source(package, package, is_package=True)
    root = importlib.util.find_spec(package)
    locations = root.submodule_search_locations if root else None
    for module in pkgutil.walk_packages(locations, prefix=f"{package}."):
        yield _source(module.name, package, is_package=module.ispkg)


def _source(name: str, package: str, *, is_package: bool) -> tuple[str, str]:
    spec = importlib.util.find_spec(name)
    loader: Any = spec.loader if spec else None
    text = loader.get_source(name) if loader else None
    # Ansible's loader on the controller gives bytes.
    text = text.decode() if isinstance(text, bytes) else text
    path = (_MEMBER + name[len(package) :]).replace(".", "/")
    return f"{path}/__init__.py" if is_package else f"{path}.py", text or ""


def digest_of(sources: dict[str, str]) -> str:
    """SHA-256 of the sources: the same on the controller and on every host."""
    return hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()


def stamp_of(digest: str, interpreter: str) -> str:
    """What tells one archive from another: the digest of its sources, and the Python that its byte code is for."""
    return f"{digest}-{'.'.join(map(str, sys.version_info[:3]))}-{interpreter}"


def build(sources: dict[str, str], interpreter: str) -> tuple[bytes, str]:
    """The archive and its stamp.

    It runs isolated and without the site packages: nothing of the host's Python can change what it does, and
    it starts in half the time.
    """
    stamp = stamp_of(digest_of(sources), interpreter)
    buffer = io.BytesIO()
    with (
        tempfile.TemporaryDirectory() as scratch,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive,
    ):
        for path, source in sorted({**sources, "__main__.py": _MAIN}.items()):
            _add(archive, path, source.encode())
            _add(archive, f"{path}c", _byte_code(scratch, path, source))
        _add(archive, _STAMP, stamp.encode())
    return f"#!{interpreter} -IS\n".encode() + buffer.getvalue(), stamp


def _byte_code(scratch: str, path: str, source: str) -> bytes:
    """Unchecked byte code: valid for this Python only; another one falls back to the source."""
    plain, compiled = f"{scratch}/module.py", f"{scratch}/module.pyc"
    with open(plain, "w", encoding="utf-8") as handle:
        handle.write(source)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(plain, compiled, dfile=path, doraise=True, invalidation_mode=mode)
    with open(compiled, "rb") as result:
        return result.read()


def _add(archive: zipfile.ZipFile, path: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(path, _EPOCH), data)


def installed_stamp(path: str) -> str | None:
    """The stamp of the archive at ``path``, or None when there is none that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(_STAMP).decode()
    except (OSError, KeyError, zipfile.BadZipFile):
        return None


def is_installed(digest: str) -> bool:
    """Whether the command is in its usual place, made of the sources with this digest for the Python here."""
    return _is_usable(ARCHIVE, stamp_of(digest, INTERPRETER)) and _is_linked(LINK, ARCHIVE)


def _is_usable(path: str, stamp: str) -> bool:
    return installed_stamp(path) == stamp and stat.S_IMODE(os.stat(path).st_mode) == _MODE


def _is_linked(link: str, path: str) -> bool:
    return os.path.islink(link) and os.readlink(link) == path


def install(path: str, link: str, interpreter: str, *, check: bool) -> dict[str, Any]:
    """Install or update the command; no change when the same one is there.

    ``path`` is the archive, ``link`` the name on the PATH that leads to it.
    """
    sources = engine_sources()
    stamp = stamp_of(digest_of(sources), interpreter)
    before = installed_stamp(path)
    usable = _is_usable(path, stamp)
    linked = _is_linked(link, path)
    steps = [] if usable else [f"write {path}"]
    steps += [] if linked else [f"link {link} to it"]
    if steps and not check:
        if not usable:
            make_directory(os.path.dirname(path), 0o755)
            write_durable(path, build(sources, interpreter)[0], _MODE)
        if not linked:
            make_directory(os.path.dirname(link), 0o755)
            temporary = f"{link}.{os.getpid()}"
            os.symlink(path, temporary)
            os.rename(temporary, link)
    return {
        "changed": bool(steps),
        "executed": bool(steps) and not check,
        "plan": steps,
        "path": path,
        "stamp": stamp,
        "diff": {"before": {"stamp": before}, "after": {"stamp": stamp}},
    }
