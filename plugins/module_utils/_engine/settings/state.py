# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a cluster's configuration is now, and what it would be with a wish; changes nothing."""

from __future__ import annotations

import os
import stat

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..cluster.instance import Instance
from ..core.privilege import current_user
from .blocks import wanted_text
from .candidate import contexts
from .fleet import AT_LEAST, held_up, missing, with_lines
from .plan import State
from .request import ConfigurationRequest
from .text import quote
from .tree import Tree, main_file, read_text, read_tree


def gather(config: ClusterConfig, request: ConfigurationRequest) -> State:
    """Look at files and server. Raises :class:`Refused` (``file-unreadable``), and what asking the programs
    raises."""
    texts = {file.path: read_text(file.path) for file in request.files}
    modes = {path: _mode(path) for path in texts}
    wanted: dict[str, str] = {}
    for file in request.files:
        # Two blocks of one file: the second comes on top of the first.
        wanted[file.path] = wanted_text(file, wanted.get(file.path, texts[file.path]))
    installed = os.access(config.program("postgres"), os.X_OK)
    made = os.path.isfile(f"{config.data_directory}/PG_VERSION")
    floor = _floor(config) if made and installed else {}
    held = _hold_up(config, request, wanted, floor)
    after = read_tree(config, {**_main_to_come(config, request), **wanted})
    before = read_tree(config, {})
    return State(
        texts=texts,
        modes=modes,
        wanted=wanted,
        before=before,
        after=after,
        # Before there is a cluster, its owner is the one that the packages make.
        system_user=current_user() if made else config.superuser,
        superuser=config.superuser,
        backup_user=config.backup_user,
        major=config.major,
        running=made and Instance(config).status().running,
        installed=installed,
        made=made,
        # The program is asked only where an answer would be used.
        contexts=contexts(config) if installed and before.values() != after.values() else {},
        floor=floor,
        held=held,
        access=_access(config, request, after, wanted),
        access_before=_access(config, request, before, {}),
    )


def _main_to_come(config: ClusterConfig, request: ConfigurationRequest) -> dict[str, str]:
    """In check mode the cluster may be still to be made: its postgresql.conf will include our files."""
    main = main_file(config)
    if read_text(main) is not None:
        return {}
    lines = [f"include {quote(file.path)}\n" for file in request.files if file.role == "settings"]
    return {main: "".join(lines)}


def _mode(path: str) -> int | None:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return None


def _floor(config: ClusterConfig) -> dict[str, int]:
    """The primary's values as a standby has replayed them last; nothing on a server that is no standby."""
    if not os.path.exists(f"{config.data_directory}/standby.signal"):
        return {}
    settings = read_control_data(config.bin_directory, config.data_directory).settings
    return {name: int(settings[name]) for name in AT_LEAST if name in settings}


def _hold_up(
    config: ClusterConfig, request: ConfigurationRequest, wanted: dict[str, str], floor: dict[str, int]
) -> dict[str, int]:
    """Change the settings files of ``wanted`` so that a standby has as much as its primary; what was raised."""
    mine = [file.path for file in request.files if file.role == "settings"]
    raised: dict[str, int] = {}
    for path in mine if floor else []:
        wanted[path], more = held_up(wanted[path], floor)
        raised |= more
    if floor and mine:
        more = missing(read_tree(config, wanted).values(), floor)
        wanted[mine[0]] = with_lines(wanted[mine[0]], more)
        raised |= more
    return raised


def _access(
    config: ClusterConfig, request: ConfigurationRequest, tree: Tree, wanted: dict[str, str]
) -> dict[str, str]:
    """Texts and paths of the hba and ident files: those of the request, else those that the server names."""
    home = os.path.dirname(tree.main)
    found: dict[str, str] = {}
    for role in ("hba", "ident"):
        mine = next((file.path for file in request.files if file.role == role), None)
        named = tree.values().get(f"{role}_file") or f"{home}/pg_{role}.conf"
        path = mine or os.path.join(config.data_directory, named)
        text = wanted.get(path)
        if text is None:
            text = read_text(path)
        found[f"{role}_path"] = path
        found[role] = text or ""
    return found
