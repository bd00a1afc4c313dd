# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What pg_basebackup says of damaged pages (fault B19): which files, how many pages, the first few blocks.

The server goes on after a wrong checksum, sends everything, and ends with an error; the program keeps the files
then, whole but for the manifest's name (PostgreSQL source, basebackup.c and pg_basebackup.c; seen on 14 to 18).
A copy of a damaged cluster may be the only copy there is, so it is kept, and marked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

#: pg_basebackup's own word at its end, when nothing but checksums was wrong.
ENDED_BY_CHECKSUMS = "checksum error occurred"
UNFINISHED_MANIFEST = "backup_manifest.tmp"

_WORDS_KEPT = 20
_BLOCK = re.compile(r'checksum verification failed in file "(?:\./)?(.+)", block (\d+)')
_TOTAL = re.compile(r'file "(?:\./)?(.+)" has a total of (\d+) checksum verification failure')


def page_faults(lines: Sequence[str]) -> dict[str, Any] | None:
    """``count`` and ``files`` (path, count, blocks: the first that were named), or None where nothing was said.

    Paths are below the data directory; those of a tablespace begin with its ``pg_tblspc/<oid>``. The server's warnings
    are in its own language (``lc_messages``), the program's word at the end is not: where only that one is understood
    there are damaged pages all the same, nobody knows how many (``count`` 0) and where; ``words`` has what was said.
    """
    blocks: dict[str, list[int]] = {}
    totals: dict[str, int] = {}
    for line in lines:
        if found := _BLOCK.search(line):
            blocks.setdefault(found[1], []).append(int(found[2]))
        elif found := _TOTAL.search(line):
            totals[found[1]] = int(found[2])
    files = [
        {
            "path": path,
            "count": max(totals.get(path, 0), len(blocks.get(path, ()))),
            "blocks": blocks.get(path, []),
        }
        for path in sorted({*blocks, *totals})
    ]
    if files:
        return {"count": sum(int(str(file["count"])) for file in files), "files": files}
    if any(ENDED_BY_CHECKSUMS in line for line in lines):
        return {"count": 0, "files": [], "words": list(lines[-_WORDS_KEPT:])}
    return None


def describe(faults: dict[str, Any]) -> str:
    """``9 damaged pages in 2 files, base/5/16384 first``."""
    files = faults["files"]
    if not files:
        said = next(iter(faults.get("words", ())), "nothing more")
        return f"damaged pages that it named in another language ({said})"
    pages = f"{faults['count']} damaged page{'s' if faults['count'] != 1 else ''}"
    more = f"{len(files)} files, {files[0]['path']} first" if len(files) > 1 else str(files[0]["path"])
    return f"{pages} in {more}"
