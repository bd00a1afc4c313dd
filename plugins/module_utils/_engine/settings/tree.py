# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The configuration as a whole: postgresql.conf, all that it includes, and what ALTER SYSTEM has written.

Read from disk with some files replaced by candidates, so that what a change would mean is known before it is
made; and written out elsewhere, so that a program can read it there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..cluster.config import ClusterConfig
from ..core.errors import Refused
from .text import Line, Setting, parse, quote

AUTO_FILE = "postgresql.auto.conf"
#: The server's own limit (CONF_FILE_MAX_DEPTH).
_DEEPEST = 10


@dataclass(frozen=True)
class Tree:
    """All settings in the order in which the server reads them, and the files that they came from."""

    main: str
    auto: str
    files: Mapping[str, str]
    settings: tuple[Setting, ...]
    malformed: tuple[tuple[str, int], ...] = ()

    def effective(self) -> dict[str, Setting]:
        """The last of each name, which is the one that counts."""
        return {setting.name: setting for setting in self.settings}

    def values(self) -> dict[str, str]:
        """Name to value."""
        return {name: setting.value for name, setting in self.effective().items()}

    def of_file(self, path: str) -> list[Setting]:
        """What one file sets."""
        return [setting for setting in self.settings if setting.path == path]


@dataclass
class _Reading:
    overlay: Mapping[str, str]
    files: dict[str, str] = field(default_factory=dict)
    settings: list[Setting] = field(default_factory=list)
    malformed: list[tuple[str, int]] = field(default_factory=list)

    def text(self, path: str) -> str | None:
        if path in self.overlay:
            return self.overlay[path]
        return read_text(path)

    def read(self, path: str, depth: int = 0) -> None:
        text = self.text(path)
        if text is None or depth > _DEEPEST:
            # The server says so in its own words when it parses the candidate.
            return
        self.files[path] = text
        lines, malformed = parse(text)
        self.malformed += [(path, number) for number in malformed]
        for line in lines:
            if line.includes:
                for included in self.included(line, path):
                    self.read(included, depth + 1)
            else:
                self.settings.append(Setting(line.name, line.value, path, line.number))

    def included(self, line: Line, path: str) -> list[str]:
        target = os.path.normpath(os.path.join(os.path.dirname(path), line.value))
        if line.name != "include_dir":
            return [target]
        try:
            names = set(os.listdir(target))
        except OSError:
            names = set()
        names |= {os.path.basename(added) for added in self.overlay if os.path.dirname(added) == target}
        # As GetConfFilesInDir does: no hidden ones, in the order of their bytes.
        wanted = [name for name in names if name.endswith(".conf") and not name.startswith(".")]
        return [f"{target}/{name}" for name in sorted(wanted, key=os.fsencode)]


def main_file(config: ClusterConfig) -> str:
    """The postgresql.conf of a cluster."""
    return config.config_file or f"{config.data_directory}/postgresql.conf"


def read_tree(config: ClusterConfig, overlay: Mapping[str, str]) -> Tree:
    """The configuration of a cluster, with the files of ``overlay`` (path to text) in place of those on disk.

    What is not there counts as empty. Raises :class:`Refused` (``file-unreadable``).
    """
    main, auto = main_file(config), f"{config.data_directory}/{AUTO_FILE}"
    reading = _Reading(overlay)
    reading.read(main)
    reading.read(auto)
    return Tree(main, auto, reading.files, tuple(reading.settings), tuple(reading.malformed))


def read_text(path: str) -> str | None:
    """A file's text whatever its encoding, None when it is not there. Raises :class:`Refused` (``file-unreadable``)."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as handle:
            return handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Refused(
            "file-unreadable",
            attempted=f"read {path}",
            happened=str(error.strerror),
            remedy="Give the owner of the cluster the right to read it.",
            details={"path": path},
        ) from error


def write_copy(tree: Tree, directory: str) -> str:
    """Write the whole configuration below ``directory``, each file at its own path, and return the main file's.

    Lines keep their numbers; absolute includes point into the copy. ``directory`` must be for our eyes only.
    """
    for path, text in tree.files.items():
        copy = directory + path
        os.makedirs(os.path.dirname(copy), mode=0o700, exist_ok=True)
        with open(copy, "w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
            handle.write(_redirected(text, path, directory))
    _make_include_directories(tree, directory)
    return directory + tree.main


def _redirected(text: str, path: str, directory: str) -> str:
    lines = text.split("\n")
    for line in parse(text)[0]:
        if line.includes and os.path.isabs(line.value):
            lines[line.number - 1] = f"{line.name} {quote(directory + os.path.normpath(line.value))}"
    return "\n".join(lines)


def _make_include_directories(tree: Tree, directory: str) -> None:
    """Directories that are there, but hold nothing, must be there in the copy too."""
    for path, text in tree.files.items():
        for line in parse(text)[0]:
            target = os.path.normpath(os.path.join(os.path.dirname(path), line.value))
            if line.name == "include_dir" and os.path.isdir(target):
                os.makedirs(directory + target, mode=0o700, exist_ok=True)
