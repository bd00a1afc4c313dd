# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Reading an archive that no index knows: bytes a second and core, beside what unpacking and hashing alone cost.

Processor seconds are counted, not wall time: those of the engine and of the programs that it runs, on all cores.
In the same run the parts are done alone, one after another, with nothing of ours around them: libzstd unpacking into
nothing, SHA-256 over as many bytes as are stored (of those, and not of the plain ones, the proof takes it),
pg_waldump over plain files that lie there. Whoever unpacks, hashes and reads WAL with these needs so much on this
machine at least: the yardstick for a budget that is missed.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.archive import push
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.source import NativeWalSource
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.zstdlib import Library
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.index import WalIndex
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.reader import GROUP_BYTES
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.template import Kind

from .record import Row, say

_BUDGET_BYTES = 400_000_000
_SEGMENT_MB = 16


def measure(sandbox: Sandbox, *, segments: int, repeat: int) -> list[Row]:
    """So many full segments of 16 MB, with the WAL of inserts, updates and an index."""
    cluster = Cluster(
        sandbox,
        "cold",
        kind=Kind(segment_mb=_SEGMENT_MB),
        archiving=False,
        settings={"archive_mode": "on", "archive_command": "true", "wal_keep_size": f"{segments * 20}MB"},
    ).start()
    repository = Repository(str(cluster.repository), cluster.name)
    first = cluster.switch_wal()
    cluster.sql("CREATE TABLE filler (n int PRIMARY KEY, t text, at timestamptz)")
    done = 0
    while _number(cluster.current_segment()) - _number(first) < segments + 1:
        for _dummy in range(20):
            cluster.sql(
                "INSERT INTO filler SELECT n, md5(n::text), now() FROM generate_series(%s::int, %s::int) n",
                done + 1,
                done + 2000,
            )
            done += 2000
        cluster.sql("UPDATE filler SET t = md5(t) WHERE n %% 7 = 0 AND n > %s::int", done - 40_000)
    current = cluster.current_segment()
    system_id = int(cluster.system_id)
    chosen = [
        path
        for path in sorted((cluster.data_directory / "pg_wal").iterdir())
        if len(path.name) == 24 and first < path.name < current
    ][:segments]
    for path in chosen:
        push(repository, str(path))
    bytes_read = len(chosen) * _SEGMENT_MB << 20
    bin_directory = str(cluster.installation.bin_directory)
    cluster.stop()
    source = NativeWalSource(repository, system_id)
    stored = [str(Path(repository.wal(system_id)) / path.name[:8] / f"{path.name}.zst") for path in chosen]
    index = sandbox.root / "cold-index" / str(system_id)

    def ours() -> None:
        shutil.rmtree(index, ignore_errors=True)
        report = WalIndex(str(index)).refresh(source, bin_directory)
        assert report.indexed == len(chosen) and not any(entry.fault for entry in report.entries.values())

    def plainly() -> None:
        for path in stored:
            subprocess.run(
                f"zstd -q -d -c {path} | sha256sum", shell=True, check=True, stdout=subprocess.DEVNULL
            )

    parts = _Parts(stored, [path.name for path in chosen], sandbox.root / "plain", bin_directory)
    say(f"reading {len(chosen)} segments of {_SEGMENT_MB} MB that no index knows")
    turns = {
        "ours": ours,
        "zstd and sha256sum": plainly,
        "unpack": parts.unpack,
        "hash": parts.hash,
        "pg_waldump": parts.read,
    }
    runs: dict[str, list[float]] = {name: [] for name in turns}
    for _dummy in range(max(3, repeat)):
        for name, act in turns.items():
            runs[name].append(_processor_seconds(act))
    mine, theirs, *alone = (sorted(times)[len(times) // 2] for times in runs.values())
    rate, floor = bytes_read / mine, sum(alone)
    say(f"  {rate / 1e9:.3f} GB/s and core; unpacking and hashing alone {bytes_read / theirs / 1e9:.3f}")
    said = " + ".join(f"{name} {seconds:.2f} s" for name, seconds in zip(list(turns)[2:], alone))
    say(f"  stored are {parts.stored_bytes >> 20} of {bytes_read >> 20} MB")
    say(f"  the parts alone: {said}: {bytes_read / floor / 1e9:.3f} GB/s and core")
    return [
        Row(
            f"proof of {bytes_read >> 20} MB of WAL, no index (processor seconds)",
            round(mine, 3),
            "zstd and sha256sum",
            round(theirs, 3),
            round(mine / theirs, 3),
            f">= {_BUDGET_BYTES / 1e9:g} GB/s and core",
            rate >= _BUDGET_BYTES,
            runs,
            {
                "bytes": bytes_read,
                "stored_bytes": parts.stored_bytes,
                "bytes_per_core_second": round(rate),
                "parts_alone_bytes_per_core_second": round(bytes_read / floor),
                "over_parts_alone": round(mine / floor, 3),
            },
        )
    ]


class _Parts:
    """The three things that reading WAL consists of, each alone."""

    def __init__(self, stored: list[str], names: list[str], place: Path, bin_directory: str) -> None:
        self._library = Library("libzstd.so.1")
        self._stored, self._names, self._place = stored, names, place
        self.stored_bytes = sum(os.stat(path).st_size for path in stored)
        self._program = f"{bin_directory}/pg_waldump"
        place.mkdir()
        for path, name in zip(stored, names):
            subprocess.run(["zstd", "-q", "-d", path, "-o", str(place / name)], check=True)

    def unpack(self) -> None:
        """libzstd, block by block, into nothing."""
        for path in self._stored:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                length = sum(len(block) for block in self._library.blocks(descriptor))
            finally:
                os.close(descriptor)
            assert length == _SEGMENT_MB << 20

    def hash(self) -> None:
        """As many bytes as are stored, of a block that stays near the processor."""
        block, sha = os.urandom(1 << 18), hashlib.sha256()
        for _dummy in range(self.stored_bytes // len(block)):
            sha.update(block)

    def read(self) -> None:
        """pg_waldump over as many plain segments at a time as we give it; what goes on in the next one ends it."""
        count = max(1, GROUP_BYTES // (_SEGMENT_MB << 20))
        for first in range(0, len(self._names), count):
            group = self._names[first : first + count]
            argv = ["--rmgr=Transaction", "--rmgr=XLOG", f"--path={self._place}", group[0], group[-1]]
            told = subprocess.run([self._program, *argv], capture_output=True, check=False)
            last = re.findall(rb"lsn: [0-9A-F]+/([0-9A-F]+), [^\n]*COMMIT", told.stdout)[-1]
            assert int(last, 16) // (_SEGMENT_MB << 20) == int(group[-1][16:], 16)


def _number(name: str) -> int:
    return int(name[8:16], 16) * 256 + int(name[16:], 16)


def _processor_seconds(act: Callable[[], None]) -> float:
    def spent() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    before = spent()
    act()
    return round(spent() - before, 3)
