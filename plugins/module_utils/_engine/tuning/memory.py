# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The rules that divide memory, and the budget that holds them together.

Sums are made from the values before they are rounded down: so no value falls when memory grows, and what is
promised stays below what was reckoned with.
"""

from __future__ import annotations

from .case import Case, Choice
from .units import GB, KB, MB, size_text, step_down

#: What all promises together may come to, as a share of memory: 12/10 (not all connections sort at once).
LIMIT = (12, 10)
_CONNECTIONS = {"web": 200, "oltp": 300, "dw": 40, "desktop": 20, "mixed": 100}
_FEWEST_CONNECTIONS = 10
_FEWEST_ACTIVE = 20
#: Sorts and hashes of one query at the same time.
_NODES = 3
_LEAST_WORK_MEM, _MOST_WORK_MEM = 4 * MB, 256 * MB
SMALLEST_WORK_MEM = 64 * KB
#: Below this a connection serves nobody: its process alone takes more.
LEAST_PER_CONNECTION = MB
_HUGE_FROM = 2 * GB


def autovacuum_workers(case: Case) -> Choice:
    """3, 4 from 16 CPUs, 5 from 32."""
    cpus = case.facts.cpus
    return Choice(5 if cpus >= 32 else 4 if cpus >= 16 else 3, "autovacuum_workers", {"cpus": cpus})


def max_parallel_workers(case: Case) -> Choice:
    """One a CPU, and no more than the processes that were given by hand allow."""
    cpus, processes = case.facts.cpus, case.pinned("max_worker_processes")
    if isinstance(processes, int) and processes < cpus:
        return Choice(processes, "within_processes")
    return Choice(cpus, "one_a_cpu")


def _shared_buffers(case: Case) -> Choice:
    """Before rounding."""
    quarter = case.share // 4
    reason = "sixteenth" if case.request.intent == "desktop" else "quarter"
    wanted = Choice(quarter, reason, {"memory": case.available})
    data = case.request.data_bytes
    if data is not None and data * 5 // 4 < quarter:
        wanted = Choice(data * 5 // 4, "data_size", {"data": data})
    if int(wanted.value) < 128 * MB:
        wanted = Choice(128 * MB, "shared_buffers_default")
    most = case.available * 2 // 5
    return wanted if int(wanted.value) <= most else Choice(most, "two_fifths", {"memory": case.available})


def decide_shared_buffers(case: Case) -> Choice:
    """25 % (desktop 1/16) of memory, not above 1.25 times the data, from 128 MB, never above 40 %."""
    raw = _shared_buffers(case)
    return Choice(step_down(int(raw.value), MB), raw.reason, raw.about)


def decide_effective_cache_size(case: Case) -> Choice:
    """75 % of memory (desktop: a quarter), and never below shared_buffers."""
    desktop = case.request.intent == "desktop"
    wanted = step_down(case.share if desktop else case.share * 3 // 4, MB)
    buffers = case.number("shared_buffers")
    if wanted < buffers:
        return Choice(buffers, "as_shared_buffers")
    return Choice(wanted, "quarter" if desktop else "three_quarters", {"memory": case.available})


def _maintenance(case: Case) -> Choice:
    """Before rounding."""
    part = 8 if case.request.intent == "dw" else 16
    most = 8 * GB if case.facts.version >= 17 else GB
    wanted = case.share // part
    if wanted > most:
        return Choice(most, "maintenance_cap", {"most": most})
    if wanted < 16 * MB:
        return Choice(min(16 * MB, case.available // 8), "maintenance_least")
    return Choice(wanted, "part", {"part": part, "memory": case.available})


def decide_maintenance_work_mem(case: Case) -> Choice:
    """1/16 of memory (dw: 1/8), up to 1 GB before 17 (VACUUM used no more), 8 GB since."""
    raw = _maintenance(case)
    return Choice(step_down(int(raw.value), MB), raw.reason, raw.about)


def _autovacuum_work_mem(case: Case) -> Choice:
    """Before rounding."""
    pinned = case.pinned("maintenance_work_mem")
    maintenance = int(pinned if pinned is not None else _maintenance(case).value)
    workers = max(1, case.number("autovacuum_max_workers"))
    part = max(MB, case.share // 8 // workers)
    if maintenance <= part:
        return Choice(maintenance, "as_maintenance")
    return Choice(part, "eighth_of_all", {"workers": workers, "memory": case.available})


def decide_autovacuum_work_mem(case: Case) -> Choice:
    """As maintenance_work_mem, and all workers together an eighth of memory at most."""
    raw = _autovacuum_work_mem(case)
    return Choice(step_down(int(raw.value), MB), raw.reason, raw.about)


def _reckoned(case: Case) -> tuple[int, int]:
    """(shared_buffers, all of autovacuum) as sums are made with: given by hand, or before rounding."""
    buffers = case.pinned("shared_buffers")
    each = case.pinned("autovacuum_work_mem")
    if isinstance(each, int) and each < 0:
        pinned = case.pinned("maintenance_work_mem")
        each = int(pinned if pinned is not None else _maintenance(case).value)
    workers = case.number("autovacuum_max_workers")
    return (
        int(buffers if buffers is not None else _shared_buffers(case).value),
        workers * int(each if each is not None else _autovacuum_work_mem(case).value),
    )


def limit_bytes(case: Case) -> int:
    """What all promises together may come to."""
    return case.available * LIMIT[0] // LIMIT[1]


def room_for_connections(case: Case) -> int:
    """What of the limit is left for all connections; 0 where nothing is."""
    buffers, autovacuum = _reckoned(case)
    return max(0, limit_bytes(case) - buffers - autovacuum)


def decide_max_connections(case: Case) -> Choice:
    """As asked, or what is usual for the intent as far as memory allows."""
    asked, intent = case.request.connections, case.request.intent
    if asked:
        return Choice(asked, "connections_asked")
    usual = _CONNECTIONS[intent]
    pinned = case.pinned("work_mem")
    each = max(SMALLEST_WORK_MEM, int(pinned) if pinned is not None else _LEAST_WORK_MEM)
    fitting = room_for_connections(case) // each
    if fitting < usual:
        fitting = max(_FEWEST_CONNECTIONS, fitting // 10 * 10)
        return Choice(fitting, "connections_cut", {"intent": intent, "usual": usual})
    return Choice(usual, "connections_usual", {"intent": intent})


def active_connections(case: Case) -> int:
    """How many work at the same time: 1.25 times what was seen, else a quarter of all, and 20 at least."""
    seen, all_of_them = case.request.active_connections, case.number("max_connections")
    active = -(-seen * 5 // 4) if seen else max(_FEWEST_ACTIVE, all_of_them // 4)
    return max(1, min(active, all_of_them))


def decide_work_mem(case: Case) -> Choice:
    """What is left of 80 % of memory, for three nodes in each that works; 4 MB to 256 MB, within the limit."""
    buffers, autovacuum = _reckoned(case)
    active, parallel = active_connections(case), case.number("max_parallel_workers")
    left = max(0, case.share * 8 // 10 - buffers - autovacuum)
    about = {"active": active, "parallel": parallel}
    wanted = Choice(left // (_NODES * (active + parallel)), "work_mem_share", about)
    if int(wanted.value) < _LEAST_WORK_MEM:
        wanted = Choice(_LEAST_WORK_MEM, "work_mem_least")
    elif int(wanted.value) > _MOST_WORK_MEM:
        wanted = Choice(_MOST_WORK_MEM, "work_mem_most")
    connections = max(1, case.number("max_connections"))
    fitting = room_for_connections(case) // connections
    if fitting < int(wanted.value):
        wanted = Choice(fitting, "work_mem_limit", {"connections": connections})
    # Below 1 MB a step is what PostgreSQL's least is.
    unit = MB if int(wanted.value) >= MB else SMALLEST_WORK_MEM
    return Choice(step_down(int(wanted.value), unit), wanted.reason, wanted.about)


def autovacuum_bytes(case: Case) -> int:
    """All workers of autovacuum together."""
    each = case.number("autovacuum_work_mem")
    return case.number("autovacuum_max_workers") * (
        each if each >= 0 else case.number("maintenance_work_mem")
    )


def promised_bytes(case: Case) -> int:
    """What other clusters of the host see this one promised (cluster/host_others.py reckons the same)."""
    connections = case.number("max_connections")
    active = min(connections, max(_FEWEST_ACTIVE, connections // 4))
    return case.number("shared_buffers") + active * case.number("work_mem") + autovacuum_bytes(case)


def huge_pages_needed(case: Case) -> int | None:
    """About how many huge pages shared memory takes; the server says it exactly (-C, from 15 on)."""
    page = case.facts.huge_page_bytes
    if not page:
        return None
    # Beside the buffers: their headers and mapping, WAL buffers, locks, and some for each connection.
    shared = case.number("shared_buffers") * 103 // 100 + 48 * MB + case.number("max_connections") * 64 * KB
    return -(-shared // page)


def decide_huge_pages(case: Case) -> Choice:
    """``try`` from 2 GB of shared_buffers; it never keeps a server from starting."""
    if case.number("shared_buffers") < _HUGE_FROM:
        return Choice("off", "huge_pages_off")
    count, page = huge_pages_needed(case), case.facts.huge_page_bytes
    if count is None or page is None:
        return Choice("try", "huge_pages_try")
    return Choice("try", "huge_pages_count", {"count": count, "page": size_text(page)})
