# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The door's side of leases and evidence: who made a lease may renew and release it, evidence is written once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

from ...core.errors import Refused
from ...core.files import fsync_directory, make_directory, write_json
from ..compressor import write_failure
from ..layout import Repository
from ..timelines import highest, take_number
from . import names
from .entries import check_lease, plain

#: More is no mistake but somebody who wants to fill the disk or to stop every expiry.
_MOST_LEASES = 256
_MOST_EVIDENCE = 65536
_MOST_VERSIONS = 100
#: A path of a data directory, and a little more.
_LONGEST_HOLDER = 4500
_MOST_TIMELINES_AHEAD = 16


def take_lease(repository: Repository, request: dict[str, Any], who: str) -> dict[str, Any]:
    """``lease-take``: ``id``, ``lease``. Raises :class:`Refused` ``lease-of-another``, ``door-refused``."""
    identity = names.text(request, "id", names.IDENTITY)
    lease = names.mapping(request, "lease")
    wanted = {"id", "purpose", "label", "system_id", "first_segment", "keep", "owner"}
    if set(lease) != wanted or lease["id"] != identity or not isinstance(lease["owner"], dict):
        raise names.refused("a lease has other parts than these", attempted="take a lease")
    check_lease(lease, "take a lease")
    path = f"{repository.leases}/{identity}.json"
    with _writing("take a lease"), _alone(repository.leases):
        try:
            _check_owner(path, identity, who)
        except FileNotFoundError:
            if len(os.listdir(repository.leases)) >= _MOST_LEASES:
                raise names.refused(
                    f"there are {_MOST_LEASES} leases already", attempted="take a lease"
                ) from None
        write_json(path, {**lease, "owner": {**lease["owner"], "door": who}})
    return {}


def release_lease(repository: Repository, request: dict[str, Any], who: str) -> dict[str, Any]:
    """``lease-release``: ``id``; no effect when it is not there."""
    identity = names.text(request, "id", names.IDENTITY)
    path = f"{repository.leases}/{identity}.json"
    with _writing("release a lease"), _alone(repository.leases):
        # Another door of the same host may have released it: then it is as it was to be.
        with contextlib.suppress(FileNotFoundError):
            _check_owner(path, identity, who)
            os.unlink(path)
            fsync_directory(repository.leases)
    return {}


def put_evidence(repository: Repository, request: dict[str, Any]) -> dict[str, Any]:
    """``evidence-put``: ``id``, ``record``. What is there stays; another story of the same gets a number."""
    identity = names.text(request, "id", names.IDENTITY)
    record = names.mapping(request, "record")
    if not plain(record):
        raise names.refused("a record of evidence has values that cannot be kept", attempted="keep evidence")
    with _writing(f"keep the evidence {identity}"), _alone(repository.evidence):
        if len(os.listdir(repository.evidence)) >= _MOST_EVIDENCE:
            raise names.refused("there are too many records of evidence already")
        for number in range(1, _MOST_VERSIONS):
            path = f"{repository.evidence}/{identity}{f'-{number}' if number > 1 else ''}.json"
            if not os.path.lexists(path):
                write_json(path, record)
                return {"path": path}
            with open(path, "rb") as handle, contextlib.suppress(ValueError):
                if json.loads(handle.read()) == record:
                    return {"path": path}
    raise names.refused(f"evidence {identity} was told {_MOST_VERSIONS} times already")


def take_timeline(repository: Repository, request: dict[str, Any]) -> dict[str, Any]:
    """``timeline-take``: ``system_id``, ``timeline``, ``holder``; ``taken`` says whether it is his now.

    Only a little beyond what is there: a reservation is never given back, and with the last number taken no restore
    could ever promote again.
    """
    system_id = names.system(request)
    timeline = names.number(request, "timeline", 0xFFFFFFFF)
    holder = request.get("holder")
    if not isinstance(holder, str) or not 0 < len(holder) <= _LONGEST_HOLDER:
        raise names.refused(f"holder is {names.shown(holder)}, which is not allowed")
    if timeline > highest(repository, system_id) + _MOST_TIMELINES_AHEAD:
        raise names.refused(f"timeline {timeline} is far beyond those that are there")
    return {"taken": take_number(repository, system_id, timeline, holder)}


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """One door at a time looks what is there and writes: of two who use one name the second sees the first's."""
    make_directory(directory)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check_owner(path: str, identity: str, who: str) -> None:
    made_by = None
    with open(path, "rb") as handle, contextlib.suppress(ValueError, AttributeError):
        made_by = json.loads(handle.read()).get("owner", {}).get("door")
    if made_by != who:
        raise Refused(
            "lease-of-another",
            attempted=f"change the lease {identity}",
            happened=f"it was made by {names.shown(made_by) if made_by else 'the host of the repository itself'}",
            remedy="Nothing was changed. Release it where it was made.",
        )


@contextlib.contextmanager
def _writing(attempted: str) -> Any:
    try:
        yield
    except OSError as error:
        raise write_failure(error, attempted=attempted) from error
