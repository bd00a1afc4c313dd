# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A random life as it was at some of its moments, with a repository that expires by a policy of its own and a copy that
is brought up to date at each: by the engine's plans, carried out here."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.wishes_copies import CopyPolicy
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.keep import plan_keep, prove_keep
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.lived import remembered
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.objects import Group, Item
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.sheets import WHOLE, Kept, Sheet
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.sieve import sieve
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.policy import Policy
from tests.unit.copies.lives import Segments, copied, sheets_of
from tests.unit.retention.history import Life

Sheets = dict[str, Sheet]


def at(life: Life, moment: datetime) -> Life:
    """All of a life that had come by then."""
    one = copy.copy(life)
    one.backups = [each for each in life.backups if life.stopped[each.label] <= moment]
    one.stopped = {label: when for label, when in life.stopped.items() if when <= moment}
    one.commits = [each for each in life.commits if each.true <= moment]
    came = [place for place, when in life.arrivals.items() if when <= moment]
    one.archived = {t: {number for other, number in came if other == t} for t, _number in came}
    one.forks = {child: fork for child, fork in life.forks.items() if child in one.archived}
    one.timeline = max(came, key=lambda place: (life.arrivals[place], place))[0]
    return one


def holding(life: Life, labels: set[str], present: Segments) -> Life:
    """The same life of which no more is there than this."""
    one = copy.copy(life)
    one.backups = [each for each in life.backups if each.label in labels]
    one.missing = {(t, n) for t, numbers in life.archived.items() for n in numbers} - present
    return one


def held(life: Life, sheets: Sheets) -> tuple[set[str], Segments]:
    """The labels and segments that sheets tell of."""
    keys = {key for sheet in sheets.values() if sheet.kind == "wal" for key in sheet.objects}
    names = {key.rpartition("/")[2][:24] for key in keys}
    labels = {name[5:] for name, sheet in sheets.items() if sheet.kind == "base" and sheet.state == WHOLE}
    every = {(t, n) for t, numbers in life.archived.items() for n in numbers}
    return labels, {one for one in every if life.name(*one) in names}


def groups_of(sheets: Sheets) -> list[Group]:
    """What a repository is that has just this, and the files of the histories."""
    found = []
    for name, sheet in sorted(sheets.items(), key=lambda one: (one[1].kind != "wal", one[0])):
        items = [
            Item(key, "", kept.bytes, kept.signature, kept.modified_at) for key, kept in sheet.objects.items()
        ]
        place = name.rpartition("/")[0]
        items += [Item(f"{place}/{text}", "", 9, "", 0.0) for text in sheet.facts.get("histories", ())]
        if items:
            found.append(Group(name, sheet.kind, tuple(items), sheet.facts))
    return found


def lying(sheets: Sheets) -> dict[str, int]:
    """Everything that lies in a copy."""
    return {kept.name: kept.bytes for sheet in sheets.values() for kept in sheet.objects.values()}


@dataclass
class Stages:
    """``life`` in some stages. What a copy keeps is the life's own policy; the repository has another."""

    life: Life
    elsewhere: bool = False
    copy: Sheets = field(default_factory=dict)
    left_out: int = 0
    moved_at: datetime | None = None

    def __post_init__(self) -> None:
        self.dice = random.Random(f"stages {self.life.seed}")
        window = self.dice.choice([None, 3600, 86400, 5 * 86400, 30 * 86400])
        wal = self.dice.choice([None, None, 3600, 2 * 86400])
        self.repository_policy = Policy(self.dice.randint(1, 4), window, wal)
        self.policy = CopyPolicy(self.life.policy)
        self.gone: set[str] = set()
        self.remembered: Sheets = {}

    def moments(self) -> Iterator[Life]:
        """The life as it was before each run. Not while the clock is astray: nobody knows then that it will be set
        right again, and one that is wrong by less than a leap cannot be told from one that is right."""
        life = self.life
        # A segment without a commit may come at the very moment of the one before.
        wrong = {when for place, when in life.arrivals.items() if life.astray and life.came[place] != when}
        known = sorted(set(life.arrivals.values()) - wrong)
        for moment in sorted({*self.dice.sample(known, min(5, len(known))), known[-1]}):
            now = at(life, moment)
            if now.backups:
                yield now

    def repository(self, now: Life) -> Sheets:
        """What it has, after its own expiry; sometimes somebody has moved it, and all its files are of that day."""
        if self.dice.random() < 0.1:
            self.moved_at = max(self.life.arrivals[t, n] for t in now.archived for n in now.archived[t])
        every = sheets_of(now, elsewhere=self.elsewhere)
        sheets = {name: one.without(self.gone) for name, one in every.items()}
        sheets = {name: one for name, one in sheets.items() if one.objects or name.endswith("/histories")}
        # What is built on a backup that is gone is none any more.
        whole = copied(holding(now, held(now, sheets)[0], set()))
        sheets = {
            name: self._dated(one)
            for name, one in sheets.items()
            if one.kind != "base" or name.removeprefix("base/") in whole
        }
        if self.dice.random() < 0.6:
            plan = plan_keep(self.repository_policy, None, {**sheets, **self.remembered}, {})
            self.gone |= {*plan.wal, *(key for name in plan.groups for key in sheets[name].objects)}
            self.remembered = {"lived": remembered(plan.lived, plan.before)}
            sheets = {
                name: one.without(set(plan.wal)) for name, one in sheets.items() if name not in plan.groups
            }
        return sheets

    def _dated(self, sheet: Sheet) -> Sheet:
        if self.moved_at is None:
            return sheet
        least = (self.moved_at + timedelta(minutes=1)).timestamp()
        return replace(
            sheet,
            objects={
                key: replace(one, modified_at=max(least, one.modified_at), signature="moved")
                if one.modified_at < least
                else one
                for key, one in sheet.objects.items()
            },
        )

    def chosen(self, repository: Sheets) -> list[Group]:
        """What the engine would send."""
        every = groups_of(repository)
        groups = sieve(every, self.copy, lying(self.copy), "", self.policy)
        self.left_out += sum(len(one.items) for one in every) - sum(len(one.items) for one in groups)
        return groups

    def send(self, groups: list[Group], until: int | None = None) -> set[str]:
        """In order; ``until``: killed before that item. The keys of what had not been there."""
        sent = set()
        for group in groups:
            known = self.copy.get(group.name)
            objects = dict(known.objects) if known else {}
            for item in group.items:
                if until == 0:
                    # A sheet that is not whole yet, and one that was goes on as it is.
                    state = known.state if known else "partial"
                    self.copy[group.name] = Sheet(group.name, group.kind, state, group.facts, objects)
                    return sent
                until = None if until is None else until - 1
                if item.key not in objects:
                    sent.add(item.key)
                    objects[item.key] = Kept(
                        item.key, item.bytes, "", item.bytes, "", item.signature, item.modified_at
                    )
            self.copy[group.name] = Sheet(group.name, group.kind, WHOLE, group.facts, objects)
        return sent

    def expire(self) -> set[str]:
        """By the copy's own policy; the keys of all that went."""
        plan = plan_keep(self.policy.base, None, self.copy, {})
        prove_keep(plan, self.copy, {})
        gone = {*plan.wal, *(key for name in plan.groups for key in self.copy[name].objects)}
        if gone:
            left = {name: one for name, one in self.copy.items() if name not in plan.groups}
            self.copy = {name: one.without(set(plan.wal)) for name, one in left.items()}
            self.copy["lived"] = remembered(plan.lived, plan.before)
        return gone
