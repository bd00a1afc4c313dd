# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A configuration read by the server's own program before it is anywhere near the server.

``postgres -C`` reads all files, checks every name and every value, and starts nothing. It reads a copy.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from ..cluster.config import ClusterConfig
from ..core.errors import Refused
from ..core.run import run
from .tree import Tree, write_copy

_ATTEMPTED = "have the server's program read the configuration"
_MESSAGE = re.compile(r"^.*?\b(?:LOG|ERROR|FATAL|PANIC|WARNING):  ?(.*)$")
_PLACE = re.compile(r' ?in file "([^"]+)" line (\d+)')
_UNKNOWN = re.compile(r'unrecognized configuration parameter "([^"]+)"')
_VALUE = re.compile(r'parameter "([^"]+)"')
_IGNORED = ("skipping missing configuration file", "contains errors")
#: Columns of postgres --describe-config (source: help_config.c).
_NAME, _CONTEXT = 0, 1


@dataclass(frozen=True)
class Fault:
    """What the server's program does not accept: ``code`` is setting-unknown, setting-invalid or config-malformed."""

    code: str
    text: str
    name: str | None = None
    path: str | None = None
    number: int | None = None


@contextlib.contextmanager
def scratch(purpose: str) -> Iterator[str]:
    """A directory for our eyes only, gone afterwards. Its path is short: a socket may lie in it."""
    place = next((path for path in ("/tmp", "/var/tmp") if os.access(path, os.W_OK)), None)
    directory = tempfile.mkdtemp(prefix=f"dbkeeper-{purpose}-", dir=place)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def find_fault(config: ClusterConfig, tree: Tree) -> Fault | None:
    """What the server's program says against a configuration; None when it takes it.

    Raises what :func:`core.run.run` raises when the program cannot be run.
    """
    with scratch("settings") as directory:
        main = write_copy(tree, directory)
        argv = [config.program("postgres"), "-C", "data_directory"]
        argv += ["-D", directory + os.path.dirname(tree.auto), "-c", f"config_file={main}"]
        argv += ["-c", f"data_directory={directory + os.path.dirname(tree.auto)}"]
        # What it says must be what we can read, whatever the candidate wants.
        for name, value in (("log_destination", "stderr"), ("log_line_prefix", ""), ("lc_messages", "C")):
            argv += ["-c", f"{name}={value}"]
        os.makedirs(directory + os.path.dirname(tree.auto), mode=0o700, exist_ok=True)
        done = run(argv, attempted=_ATTEMPTED, accept=range(0, 256), timeout=60)
    return fault_in(done.err.replace(directory, ""), tree) if done.status else None


def fault_in(words: str, tree: Tree) -> Fault:
    """The first fault in what the program said, with the place it is at. Pure."""
    said = [match[1] for match in map(_MESSAGE.match, words.splitlines()) if match]
    telling = [text for text in said if not any(part in text for part in _IGNORED)] or said
    text = telling[0] if telling else " ".join(words.split()) or "it gave no reason"
    place, unknown, value = _PLACE.search(text), _UNKNOWN.search(text), _VALUE.search(text)
    path, number = (place[1], int(place[2])) if place else (None, None)
    text = _PLACE.sub("", text, count=1)
    if unknown:
        return Fault("setting-unknown", text, unknown[1], path, number)
    if value and not place:
        setting = tree.effective().get(value[1].lower())
        if setting:
            return Fault("setting-invalid", text, value[1], setting.path, setting.number)
    code = "setting-invalid" if value else "config-malformed"
    return Fault(code, text, value[1] if value else None, path, number)


def refusal(config: ClusterConfig, fault: Fault) -> Refused:
    """The fault for a person."""
    where = f"{fault.path}, line {fault.number}: " if fault.path and fault.number else ""
    return Refused(
        fault.code,
        attempted=f"check the configuration of cluster {config.cluster} before it is placed",
        happened=f"{where}{fault.text}",
        remedy=_remedy(config, fault),
        details={
            "name": fault.name,
            "file": fault.path,
            "line": fault.number,
            "words": fault.text,
        },
    )


def _remedy(config: ClusterConfig, fault: Fault) -> str:
    if fault.code == "setting-unknown":
        return (
            f"Correct the name, or take {fault.name} out: PostgreSQL {config.version} does not know it. "
            "Nothing was changed."
        )
    if fault.code == "setting-invalid":
        return f"Give {fault.name} a value that PostgreSQL {config.version} takes. Nothing was changed."
    return "Correct the file. Nothing was changed."


def contexts(config: ClusterConfig) -> dict[str, str]:
    """When each setting takes effect, by name in lower case: ``postmaster`` means at a start only.

    Raises what :func:`core.run.run` raises.
    """
    done = run(
        [config.program("postgres"), "--describe-config"], attempted="ask which settings need a restart"
    )
    rows = [line.split("\t") for line in done.out.splitlines()]
    return {row[_NAME].lower(): row[_CONTEXT].lower() for row in rows if len(row) > _CONTEXT}
