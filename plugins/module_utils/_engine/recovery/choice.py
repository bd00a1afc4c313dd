# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which backups a restore may start from: pure. The proof then takes the newest that fits the target."""

from __future__ import annotations

from ..backup.pages import describe
from ..core.errors import Refused
from ..repository.catalog import Backup, Catalog
from .request import RestoreRequest


def candidate_backups(request: RestoreRequest, catalog: Catalog, cluster: str) -> list[Backup]:
    """The one that was named, or all that are fit: verified, with all of their chain, without damaged pages.

    Raises :class:`Refused`: ``backup-unknown``, ``no-backup`` (A16), ``chain-broken``, ``chain-checksums-changed``
    (A17), ``backup-page-faults`` (B19).
    """
    attempted = f"choose a base backup of cluster {cluster}"
    if request.backup:
        named = catalog.find(request.backup)
        if named.verified:
            catalog.chain(named)
            if catalog.page_faults(named) and not request.accept_page_faults:
                raise _page_faults(named, catalog, attempted)
        return [named]
    found = catalog.usable(accept_page_faults=request.accept_page_faults)
    if found:
        return found
    damaged = catalog.usable(accept_page_faults=True)
    if damaged:
        raise _page_faults(damaged[-1], catalog, attempted)
    broken = [fault for fault in map(catalog.fault, catalog.backups) if fault is not None]
    if broken:
        raise broken[-1]
    raise Refused(
        "no-backup",
        attempted=attempted,
        happened="the repository holds no verified base backup",
        remedy="dbkeeper info shows what there is; take one with dbkeeper backup.",
    )


def _page_faults(backup: Backup, catalog: Catalog, attempted: str) -> Refused:
    found = catalog.page_faults(backup)
    text = "; ".join(f"{label} has {describe(faults)}" for label, faults in found.items())
    return Refused(
        "backup-page-faults",
        attempted=attempted,
        happened=f"{text}: the server said so when the backup was taken",
        remedy="Choose an older backup with --backup (dbkeeper info lists them), or repeat with accept_page_faults "
        "(--accept-page-faults): what lies on those pages is lost.",
        details={"page_faults": found},
    )
