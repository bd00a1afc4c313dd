# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What an undo tells the repository: on which timeline nobody goes on, and where life did.

Only what both control files say for certain is told. Where they do not, nothing is: then expiry takes the timeline
for a living one, and keeps more.
"""

from __future__ import annotations

from ..cluster.config import ClusterConfig
from ..cluster.controldata import ControlData, read_control_data
from ..cluster.home import repository_named_by
from ..core.clock import utc_now
from ..core.errors import KeeperError
from ..core.journal import Journal
from ..repository.given_up import GivenUp, note_given_up
from .plan import RestorePlan


def give_up(plan: RestorePlan, config: ClusterConfig, journal: Journal, aside: str | None) -> None:
    """Note the timeline of the data directory that was put ``aside``, once, in the repository that it archived to.

    Raises :class:`Failed` (``repository-not-writable``): the undo is run again then, and tells the same.
    """
    known = journal.data.get("given_up")
    if known is None and aside is not None:
        one = _given_up(plan, config, aside)
        known = one.to_dict() if one is not None else None
        journal.note(given_up=known)
    if known is not None:
        note_given_up(repository_named_by(config), GivenUp.from_dict(known))


def _given_up(plan: RestorePlan, config: ClusterConfig, aside: str) -> GivenUp | None:
    """None where it cannot be told: the one aside did not end in order, or nothing of the same system has come back."""
    old, live = _control(config, aside), _control(config, config.data_directory)
    if old is None or live is None or old.state != "shut down" or old.system_id != live.system_id:
        return None
    if live.timeline == old.timeline or live.state != "in production":
        return None
    # The last checkpoint of the one that is back: after a crash its start has made one behind all that was there.
    return GivenUp(
        old.system_id,
        old.timeline,
        old.checkpoint_lsn,
        live.timeline,
        live.checkpoint_lsn,
        utc_now().replace(microsecond=0),
        plan.id,
    )


def _control(config: ClusterConfig, data_directory: str) -> ControlData | None:
    try:
        return read_control_data(config.bin_directory, data_directory)
    except KeeperError:
        return None
