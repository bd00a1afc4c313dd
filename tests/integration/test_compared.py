# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Every fault of archive, backup and target, beside plain PostgreSQL with ``cp``; ours never loses in silence.

``tools/compared_pages.py`` makes docs/recovery-faults-compared.md from what this reports.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from .compared_worlds import Pair, rewrite_tar
from .harness import damage
from .harness.installation import default_installation, installations
from .harness.sandbox import Sandbox
from .harness.workload import Key
from .harness.world import lsn_text, utc

Damage = Callable[[Pair], None]
Plain = Callable[[Pair], dict[str, str]]
Ours = Callable[[Pair], dict[str, Any]]
Wanted = Callable[[Pair], set[Key]]


def nothing(pair: Pair) -> None:
    """The archive is as it should be."""


def everything(pair: Pair) -> set[Key]:
    return pair.world.all_rows()


@dataclass(frozen=True)
class Trial:
    """A fault and a target; ``backup`` is the one that plain PostgreSQL is given."""

    fault: str
    damage: Damage = nothing
    plain: Plain = field(default=lambda pair: {})
    ours: Ours = field(default=lambda pair: {"latest": True})
    wanted: Wanted = everything
    backup: str = "b"
    promoted: bool = False
    command: Callable[[Pair], str] = field(default=lambda pair: "")
    variant: str = ""


def middle(pair: Pair) -> str:
    """The segment that is damaged."""
    names = pair.segments()
    return names[len(names) // 2]


def inside(change: Callable[[bytes], bytes]) -> Damage:
    """The same change of the plain bytes in both archives."""

    def act(pair: Pair) -> None:
        name = middle(pair)
        path = pair.plain / name
        path.write_bytes(change(path.read_bytes()))
        damage.rewrite(pair.ours(name), change)

    return act


def both(act: Callable[[Any], None]) -> Damage:
    """The same done to the file in both archives."""

    def do(pair: Pair) -> None:
        name = middle(pair)
        act(pair.plain / name)
        act(pair.ours(name))

    return do


def other_content(pair: Pair) -> None:
    name = middle(pair)
    other = pair.segments()[0]
    damage.replace(pair.plain / name, pair.plain / other)
    damage.replace(pair.ours(name), pair.ours(other))


def unmounted(pair: Pair) -> None:
    for path in list(pair.plain.iterdir()):
        path.unlink()
    repository = pair.cluster.repository / pair.cluster.name
    repository.rename(repository.with_name("elsewhere"))
    repository.mkdir()


def tail_of_backup(pair: Pair) -> None:
    """From the segment on in which the backup ends."""
    stop = pair.world.backups[-1].stop_lsn >> 20
    for path in list(pair.plain.iterdir()):
        if len(path.name) == 24 and int(path.name[16:], 16) >= stop:
            path.unlink()
            pair.ours(path.name).unlink()


def no_history(pair: Pair) -> None:
    (pair.plain / "00000002.history").unlink()
    pair.ours("00000002.history").unlink()


def childless(pair: Pair) -> None:
    for path in list(pair.plain.iterdir()):
        if len(path.name) == 24 and path.name.startswith("00000002"):
            path.unlink()
            pair.ours(path.name).unlink()


def garbage_history(pair: Pair) -> None:
    for path in (pair.plain / "00000002.history", pair.ours("00000002.history")):
        path.write_text("garbage\n")


def twice(pair: Pair) -> None:
    """A second place, looked into first, has other bytes."""
    name = middle(pair)
    content = bytearray((pair.plain / name).read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    (pair.plain / "second").mkdir()
    (pair.plain / "second" / name).write_bytes(content)
    pair.ours(name).with_suffix("").write_bytes(content)


def partial(pair: Pair) -> None:
    """The last segment never got whole."""
    name = pair.segments()[-1]
    (pair.plain / name).rename(pair.plain / f"{name}.partial")
    content = damage.plain(pair.ours(name))
    pair.ours(name).unlink()
    pair.ours(name).with_name(f"{name}.partial").write_bytes(content)


def leftovers(pair: Pair) -> None:
    name = middle(pair)
    for path in (pair.plain / f"{name}.part", pair.ours(name).with_name(f".{name}.zst.part")):
        path.write_bytes(b"x" * 1000)


def stored_backup(pair: Pair, label: str = "b") -> Any:
    return pair.cluster.repository / pair.cluster.name / "base" / pair.labels[label]


def no_manifest(pair: Pair) -> None:
    (pair.backups["b"] / "backup_manifest").unlink()
    (stored_backup(pair) / "backup_manifest").unlink()


def heap_truncated(pair: Pair) -> None:
    """A table's file lost its end."""
    largest = max((pair.backups["b"] / "base").glob("*/[0-9]*"), key=lambda path: path.stat().st_mtime)
    oid = pair.cluster.value("SELECT pg_relation_filepath('ledger_entries')")
    path = pair.backups["b"] / str(oid)
    damage.truncate(path if path.exists() else largest, 8192)
    damage.flip_bit(next(stored_backup(pair).glob("base.tar*")))


def without(*members: str) -> Damage:
    """Files that are not in the backup."""

    def act(pair: Pair) -> None:
        for member in members:
            (pair.backups["b"] / member).unlink()
        rewrite_tar(next(stored_backup(pair).glob("base.tar.zst")), *members)

    return act


def half_copied(pair: Pair) -> None:
    """pg_basebackup was killed; the catalog says that it runs."""
    for path in sorted((pair.backups["b"] / "base").glob("5/*"))[::2]:
        path.unlink()
    for label in ("a", "b"):
        entry = stored_backup(pair, label) / "backup.json"
        entry.write_text(entry.read_text().replace('"verified"', '"running"'))


def drill(pair: Pair) -> None:
    pair.add_drill()


def at(pair: Pair) -> datetime:
    """A moment in the middle of what followed the newest backup."""
    ends = [end for end in pair.world.ends if end.committed and end.time > pair.world.backups[-1].done_at]
    return ends[len(ends) // 2].time + timedelta(microseconds=1)


def rows_at(pair: Pair) -> set[Key]:
    stop = pair.world.stop_at_time(at(pair), True)
    assert stop is not None
    return pair.world.rows_before(stop)


def flipped(content: bytes) -> bytes:
    """A bit in the middle of what is used."""
    changed = bytearray(content)
    at = next(at for at in range(len(content.rstrip(b"\0")) // 2, len(content)) if content[at])
    changed[at] ^= 0x10
    return bytes(changed)


def wrong_system(content: bytes) -> bytes:
    return content[:24] + bytes(byte ^ 0x5A for byte in content[24:32]) + content[32:]


def early(pair: Pair) -> datetime:
    """Before the first backup, and after the first work."""
    ends = [end for end in pair.world.ends if end.committed and end.time < pair.world.backups[0].asked_at]
    return ends[len(ends) // 2].time


def rows_early(pair: Pair) -> set[Key]:
    stop = pair.world.stop_at_time(early(pair), True)
    assert stop is not None
    return pair.world.rows_before(stop)


def naive(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def soon(pair: Pair) -> datetime:
    return datetime.now(timezone.utc) + timedelta(hours=1)


def rows_late(pair: Pair) -> set[Key]:
    return pair.world.rows_before(pair.world.points["late"])


def idle(pair: Pair) -> datetime:
    return datetime.now(timezone.utc) - timedelta(milliseconds=200)


def aborted(pair: Pair) -> int:
    """An xid that was never used."""
    return max(end.xid for end in pair.world.ends) + 100_000


BEYOND = 1 << 30

TRIALS = [
    Trial(
        "A01",
        plain=lambda p: {"recovery_target_time": utc(early(p))},
        ours=lambda p: {"time": utc(early(p))},
        wanted=rows_early,
        backup="a",
    ),
    Trial(
        "A02",
        plain=lambda p: {"recovery_target_lsn": lsn_text(p.world.backups[-1].start_lsn)},
        ours=lambda p: {"lsn": lsn_text(p.world.backups[-1].start_lsn)},
        wanted=lambda p: p.world.rows_before(p.world.backups[-1].start_lsn),
    ),
    Trial(
        "A03", plain=lambda p: {"recovery_target_time": utc(soon(p))}, ours=lambda p: {"time": utc(soon(p))}
    ),
    Trial(
        "A04", plain=lambda p: {"recovery_target_time": utc(idle(p))}, ours=lambda p: {"time": utc(idle(p))}
    ),
    Trial(
        "A04",
        plain=lambda p: {"recovery_target_time": utc(idle(p))},
        ours=lambda p: {"time": utc(idle(p)), "allow_idle_gap": True},
        variant="allowed",
    ),
    Trial(
        "A05",
        plain=lambda p: {"recovery_target_time": naive(at(p)), "timezone": "Asia/Tokyo"},
        ours=lambda p: {"time": naive(at(p))},
        wanted=rows_at,
    ),
    Trial(
        "A06",
        plain=lambda p: {"recovery_target_time": "2026-10-25 02:30:00 Europe/Paris"},
        ours=lambda p: {"time": "2026-10-25 02:30:00 Europe/Paris"},
        wanted=lambda p: set(),
    ),
    Trial("A07", plain=lambda p: {"recovery_target_time": "yesterday"}, ours=lambda p: {"time": "yesterday"}),
    Trial(
        "A08",
        plain=lambda p: {"recovery_target_name": "late", "recovery_target_time": utc(at(p))},
        ours=lambda p: {"name": "late", "time": utc(at(p))},
    ),
    Trial("A09", plain=lambda p: {"recovery_target_name": "nobody"}, ours=lambda p: {"name": "nobody"}),
    Trial(
        "A10",
        plain=lambda p: {"recovery_target_xid": str(aborted(p))},
        ours=lambda p: {"xid": str(aborted(p))},
    ),
    Trial(
        "A11",
        plain=lambda p: {"recovery_target_lsn": lsn_text(p.world.ends[-1].lsn + BEYOND)},
        ours=lambda p: {"lsn": lsn_text(p.world.ends[-1].lsn + BEYOND)},
    ),
    Trial(
        "A12",
        plain=lambda p: {"recovery_target_timeline": "7"},
        ours=lambda p: {"latest": True, "timeline": 7},
    ),
    Trial("A13", drill),
    Trial("A14", drill, backup="a"),
    Trial(
        "A15",
        drill,
        plain=lambda p: {"recovery_target_name": "late"},
        ours=lambda p: {"name": "late"},
        wanted=rows_late,
        backup="a",
    ),
    Trial("B01", both(damage.delete)),
    Trial(
        "B02",
        both(damage.delete),
        plain=lambda p: {"recovery_target_name": "late"},
        ours=lambda p: {"name": "late"},
        wanted=rows_late,
    ),
    Trial("B03", inside(lambda content: b"")),
    Trial("B03", inside(damage.half_inside), variant="half"),
    Trial("B04", inside(damage.zeros_inside)),
    Trial("B05", other_content),
    Trial("B06", inside(flipped)),
    Trial("B07", inside(wrong_system)),
    Trial("B08", both(damage.unreadable)),
    Trial("B09", unmounted),
    Trial("B10", tail_of_backup),
    Trial("B11", no_history, promoted=True, backup="a"),
    Trial("B12", childless, promoted=True, backup="a"),
    Trial("B13", garbage_history, promoted=True, backup="a"),
    Trial("B14", twice, command=lambda p: f"cp {p.plain}/second/%f %p || cp {p.plain}/%f %p"),
    Trial("B15", partial),
    Trial("B16", leftovers),
    Trial("B17", no_manifest),
    Trial("B18", heap_truncated),
    Trial("B20", without("backup_label")),
    Trial("B21", without("global/pg_control")),
    Trial("B22", half_copied),
]


def compare(sandbox: Sandbox, major: int, trials: list[Trial], cell: Callable[..., None]) -> list[str]:
    """Each trial on both sides; what ours did wrong."""
    wrong = []
    pairs: dict[bool, Pair] = {}
    for trial in trials:
        if trial.promoted not in pairs:
            name = "two" if trial.promoted else "one"
            pairs[trial.promoted] = Pair(sandbox, installations()[major], name, promoted=trial.promoted)
        pair = pairs[trial.promoted]
        with pair.kept():
            trial.damage(pair)
            wanted = trial.wanted(pair)
            plain = pair.recover_plain(trial.backup, trial.plain(pair), wanted, trial.command(pair))
            ours = pair.recover_ours(trial.ours(pair), wanted)
        cell(
            fault=trial.fault,
            variant=trial.variant,
            major=major,
            plain=plain.kind,
            plain_text=plain.text,
            ours=ours.kind,
            ours_text=ours.text,
        )
        if ours.kind == "wrong":
            wrong.append(f"{trial.fault} {trial.variant} on {major}: {ours.text}")
    return wrong


@pytest.mark.matrix
@pytest.mark.parametrize("major", sorted(installations()))
def test_no_fault_loses_rows_in_silence(sandbox: Sandbox, major: int, cell: Callable[..., None]) -> None:
    """All of them on this version, or those that DBKEEPER_TEST_FAULTS names (B01 B02)."""
    only = os.environ.get("DBKEEPER_TEST_FAULTS", "").split()
    wrong = compare(sandbox, major, [trial for trial in TRIALS if not only or trial.fault in only], cell)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_a_slice_of_the_faults(sandbox: Sandbox, cell: Callable[..., None]) -> None:
    chosen = [trial for trial in TRIALS if trial.fault in ("A14", "B01", "B06")]
    wrong = compare(sandbox, default_installation().major, chosen, cell)
    assert not wrong, "\n".join(wrong)
