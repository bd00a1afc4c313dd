# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What follows from a wish and what is there: tables of cases, no server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.blocks import wanted_text
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.candidate import fault_in
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.health import Findings, judge
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.plan import (
    Overridden,
    State,
    make_plan,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.request import (
    ConfigurationRequest,
    FileRequest,
    request_from,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.restart import may_restart
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.shown import shown
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.text import Setting, parse
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.tree import Tree
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.trial import (
    beyond_the_trial,
    by_suspicion,
    changed_names,
)

MAIN, OURS, AUTO = "/etc/pg/postgresql.conf", "/etc/pg/conf.d/10-dbkeeper.conf", "/data/postgresql.auto.conf"
HBA = "/etc/pg/pg_hba.conf"
RULES = "local all all peer\nlocal replication dbkeeper peer map=k\n"
MAPS = "k postgres dbkeeper\n"
CONTEXTS = {"max_connections": "postmaster", "work_mem": "user", "ssl": "sighup"}


def tree(*files: tuple[str, str]) -> Tree:
    settings = [
        Setting(line.name, line.value, path, line.number) for path, text in files for line in parse(text)[0]
    ]
    return Tree(MAIN, AUTO, dict(files), tuple(settings))


def state(
    before: str | None, after: str, *, running: bool = True, auto: str = "", hba: str = RULES, **options: Any
) -> State:
    old = [(MAIN, "work_mem = 4MB\n")] + ([(OURS, before)] if before is not None else [])
    access = {"hba": hba, "ident": MAPS, "hba_path": HBA, "ident_path": "/etc/pg/pg_ident.conf"}
    return State(
        texts={OURS: before, HBA: RULES},
        modes={OURS: 0o640 if before is not None else None, HBA: 0o640},
        wanted={OURS: after, HBA: hba},
        before=tree(*old, (AUTO, auto)),
        after=tree((MAIN, "work_mem = 4MB\n"), (OURS, after), (AUTO, auto)),
        system_user="postgres",
        superuser="postgres",
        backup_user="dbkeeper",
        major=15,
        running=running,
        contexts=CONTEXTS,
        access=access,
        access_before={**access, "hba": RULES},
        **options,
    )


def wish(after: str, hba: str | None = None, **options: Any) -> ConfigurationRequest:
    files = [FileRequest("settings", OURS, after)] + ([FileRequest("hba", HBA, hba)] if hba else [])
    return ConfigurationRequest(tuple(files), **options)


@pytest.mark.parametrize(
    ("before", "after", "running", "words", "trial", "at_restart"),
    [
        ("work_mem = 5MB\n", "work_mem = 5MB\n", True, [], False, ()),
        (None, "work_mem = 5MB\n", True, [f"write {OURS}", "reload"], False, ()),
        ("work_mem = 5MB\n", "work_mem = 6MB\n", True, [f"write {OURS}", "reload"], False, ()),
        # A comment is worth a file, not a restart.
        ("ssl = off\n", "# said\nssl = off\n", True, [f"write {OURS}", "reload"], False, ()),
        ("", "max_connections = 9\n", True, [f"write {OURS}", "reload"], True, ("max_connections",)),
        ("max_connections = 9\n", "", True, [f"write {OURS}", "reload"], True, ("max_connections",)),
        ("", "ssl = on\n", True, [f"write {OURS}", "reload"], True, ()),
        ("", "session_preload_libraries = 'x'\n", True, [f"write {OURS}", "reload"], True, ()),
        # The start itself is the trial.
        ("", "max_connections = 9\n", False, [f"write {OURS}", "start"], False, ("max_connections",)),
        ("a.b = 1\n", "a.b = 1\n", False, ["start"], False, ()),
    ],
)
def test_what_is_done(
    before: str | None, after: str, running: bool, words: list[str], trial: bool, at_restart: tuple[str, ...]
) -> None:
    plan = make_plan(wish(after), state(before, after, running=running))
    assert (plan.words(), plan.trial, plan.at_restart) == (words, trial, at_restart)


def test_a_server_that_is_not_to_be_started_stays_down() -> None:
    plan = make_plan(wish("a.b = 1\n", start=False), state("", "a.b = 1\n", running=False))
    assert plan.words() == [f"write {OURS}"]


def test_permissions_alone_are_a_change() -> None:
    there = state("work_mem = 5MB\n", "work_mem = 5MB\n")
    plan = make_plan(wish("work_mem = 5MB\n"), replace(there, modes={OURS: 0o644, HBA: 0o640}))
    assert plan.words() == [f"write {OURS}", "reload"]


@pytest.mark.parametrize(
    ("auto", "found"),
    [
        ("", []),
        ("work_mem = 5MB\n", []),
        ("# x\nwork_mem = 9MB\n", [Overridden("work_mem", "5MB", "9MB", AUTO, 2)]),
        ("maintenance_work_mem = 9MB\n", []),
    ],
)
def test_what_alter_system_overrides(auto: str, found: list[Overridden]) -> None:
    plan = make_plan(wish("work_mem = 5MB\n"), state("", "work_mem = 5MB\n", auto=auto))
    assert list(plan.overridden) == found


def refused(request: ConfigurationRequest, there: State) -> Refused:
    with pytest.raises(Refused) as caught:
        make_plan(request, there)
    return caught.value


def test_a_setting_twice() -> None:
    text = "work_mem = 5MB\n\nWORK_MEM = 6MB\n"
    error = refused(wish(text), state("", text))
    assert (error.code, error.details["line"], error.details["name"]) == ("setting-twice", 3, "work_mem")


def test_a_file_that_is_not_included() -> None:
    there = state("", "work_mem = 5MB\n")
    error = refused(wish("work_mem = 5MB\n"), replace(there, after=tree((MAIN, ""))))
    assert error.code == "settings-not-included"
    assert "include_dir = '/etc/pg/conf.d'" in error.remedy


@pytest.mark.parametrize(
    ("at_least", "floor", "least"),
    [
        ({"max_connections": 100}, {}, 100),
        ({}, {"max_connections": 60}, 60),
        ({"max_connections": 60}, {"max_connections": 70}, 70),
    ],
)
def test_a_standby_may_not_have_less_than_its_primary(
    at_least: dict[str, int], floor: dict[str, int], least: int
) -> None:
    text = "max_connections = 50\n"
    error = refused(wish(text, at_least=at_least), state("", text, floor=floor))
    assert (error.code, error.details["least"]) == ("standby-setting-too-low", least)
    enough = f"max_connections = {least}\n"
    assert make_plan(wish(enough, at_least=at_least), state("", enough, floor=floor)).at_restart


@pytest.mark.parametrize(
    ("hba", "code"),
    [
        (RULES, None),
        ("lokal all all peer\n" + RULES, "hba-line-malformed"),
        ("local all all reject\n" + RULES, "hba-locks-out"),
        # The keeper gets in now, and would not any more.
        ("local all all peer\n", "hba-locks-out"),
    ],
)
def test_access_rules(hba: str, code: str | None) -> None:
    there = state("", "a.b = 1\n", hba=hba)
    if code is None:
        assert make_plan(wish("a.b = 1\n", hba), there).changes
    else:
        assert refused(wish("a.b = 1\n", hba), there).code == code


def test_the_keeper_is_not_asked_for_before_it_is_there() -> None:
    there = state("", "a.b = 1\n", hba="local all all peer\n")
    nobody = replace(there, access_before={**(there.access or {}), "hba": "local all all peer\n"})
    assert make_plan(wish("a.b = 1\n", "local all all peer\n"), nobody).changes


@pytest.mark.parametrize(
    ("policy", "clients", "allowed"),
    [
        ("first_install", 0, False),
        ("when_idle", 0, True),
        ("when_idle", 1, False),
        ("allowed", 7, True),
    ],
)
def test_who_may_be_restarted(policy: str, clients: int, allowed: bool) -> None:
    assert may_restart(policy, clients) is allowed


THEIRS = "# BEGIN dbkeeper.ops other\nlocal a a peer\n# END dbkeeper.ops other\n"
MINE = "# BEGIN dbkeeper.ops backup\nlocal b b peer\n# END dbkeeper.ops backup\n"


@pytest.mark.parametrize(
    ("block", "current", "wanted"),
    [
        (None, None, "local b b peer\n"),
        (None, "anything\n", "local b b peer\n"),
        (None, THEIRS + "anything\n", THEIRS + "local b b peer\n"),
        ("backup", None, MINE),
        ("backup", "anything\n", MINE + "anything\n"),
        ("backup", THEIRS + MINE + "anything\n", THEIRS + MINE + "anything\n"),
        ("backup", MINE.replace("b b", "x x") + THEIRS, MINE + THEIRS),
    ],
)
def test_blocks(block: str | None, current: str | None, wanted: str) -> None:
    file = FileRequest("hba", HBA, "local b b peer", block)
    assert wanted_text(file, current) == wanted
    assert wanted_text(file, wanted) == wanted


@pytest.mark.parametrize(
    ("words", "code", "name", "number"),
    [
        (
            f'LOG:  unrecognized configuration parameter "wrk_mem" in file "{OURS}" line 7\n'
            f'FATAL:  configuration file "{OURS}" contains errors\n',
            "setting-unknown",
            "wrk_mem",
            7,
        ),
        (
            f'LOG:  skipping missing configuration file "{AUTO}"\n'
            f'LOG:  invalid value for parameter "work_mem": "5 apples"\n'
            f'FATAL:  configuration file "{OURS}" contains errors\n',
            "setting-invalid",
            "work_mem",
            1,
        ),
        (
            'LOG:  1 kB is outside the valid range for parameter "work_mem" (64 kB .. 2147483647 kB)\n',
            "setting-invalid",
            "work_mem",
            1,
        ),
        (f'LOG:  syntax error in file "{OURS}" line 3, near token "x"\n', "config-malformed", None, 3),
        ("postgres: something new\n", "config-malformed", None, None),
        ("", "config-malformed", None, None),
    ],
)
def test_what_the_program_says(words: str, code: str, name: str | None, number: int | None) -> None:
    fault = fault_in(words, tree((MAIN, ""), (OURS, "work_mem = '5 apples'\n")))
    assert (fault.code, fault.name, fault.number) == (code, name, number)
    assert fault.text


def test_changed_names_and_who_is_suspected_first() -> None:
    before, after = {"a": "1", "b": "2", "gone": "3"}, {"a": "1", "b": "9", "new": "libx", "zz": "4"}
    assert changed_names(before, after) == ["b", "gone", "new", "zz"]
    assert by_suspicion(["b", "gone", "new", "zz"], after, 'could not access file "libx"')[0] == "new"
    assert by_suspicion(["b", "gone", "new", "zz"], after, "perhaps by reducing zz")[0] == "zz"


@pytest.mark.parametrize(
    ("text", "role", "said"),
    [
        (
            "work_mem = 4MB\nprimary_conninfo = 'x'\n",
            "settings",
            "work_mem = 4MB\nprimary_conninfo = '(not shown)'\n",
        ),
        ("a.b = 'password=x'\n", "settings", "a.b = '(not shown)'\n"),
        ("host a a all ldap ldapbindpasswd=x y\n", "hba", "host a a all ldap ldapbindpasswd=(not shown) y\n"),
        (
            'host a a all radius radiussecrets="x y"\n',
            "hba",
            "host a a all radius radiussecrets=(not shown)\n",
        ),
    ],
)
def test_secrets_are_not_shown(text: str, role: str, said: str) -> None:
    assert shown(text, role) == said


PARAMS: dict[str, Any] = {
    "files": [],
    "restart": "allowed",
    "start": True,
    "timeout_seconds": 5,
    "at_least": {},
}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"files": [{"role": "hba", "path": "x", "content": "", "mode": "0640"}]}, "path-relative"),
        ({"files": [{"role": "hba", "path": "/x", "content": "", "mode": "u=rw"}]}, "mode-malformed"),
        (
            {"files": [{"role": "hba", "path": "/x", "content": "", "mode": "0640", "block": "a b"}]},
            "block-malformed",
        ),
        (
            {"files": [{"role": "settings", "path": "/x", "content": "", "mode": "0640", "block": "a"}]},
            "block-malformed",
        ),
        ({"files": [{"role": "hba", "path": "/x", "content": "", "mode": "0640"}] * 2}, "file-twice"),
        ({"at_least": {"max_connections": "many"}}, "minimum-malformed"),
    ],
)
def test_requests_that_cannot_be_meant(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        request_from({**PARAMS, **changes})
    assert caught.value.code == code


def test_a_request_from_options() -> None:
    file = {"role": "hba", "path": "/etc//pg/x", "content": "a", "mode": "0600", "block": None}
    request = request_from({**PARAMS, "files": [file], "at_least": {"max_connections": "9"}})
    assert request == ConfigurationRequest(
        (FileRequest("hba", "/etc/pg/x", "a", None, 0o600),), "allowed", True, {"max_connections": 9}, 5.0
    )


GOOD = Findings(kept=True, answers=True)


@pytest.mark.parametrize(
    ("changes", "name", "state_", "word"),
    [
        ({}, "settings", "ok", "as they were written"),
        ({"kept": False}, "settings", "ok", "none of them"),
        ({"drifted": ("/a",)}, "settings", "warning", "/a"),
        ({"missing": ("/a",)}, "settings", "failed", "gone: /a"),
        ({"unread": ("/a",)}, "settings", "warning", "/a"),
        ({"refused": ("/a, line 1: x",)}, "settings", "failed", "/a, line 1"),
        ({"interrupted": True}, "settings", "warning", "interrupted"),
        ({"pending": {"port": "5432"}}, "restart", "warning", "port (5432 until then)"),
        ({"access_refused": ("/h, line 2: x",)}, "access", "failed", "/h, line 2"),
        ({"access_idle": ("/h, line 2: x",)}, "access", "warning", "/h, line 2"),
        ({"command_line": {"port": "1"}}, "overrides", "warning", "port is 1"),
        ({"answers": False}, "restart", "warning", "no server answers"),
        ({"error": "no program"}, "overrides", "warning", "no program"),
    ],
)
def test_what_check_says(changes: dict[str, Any], name: str, state_: str, word: str) -> None:
    checks = judge(replace(GOOD, **changes))
    assert [check["name"] for check in checks] == ["settings", "restart", "access", "overrides"]
    found = next(check for check in checks if check["name"] == name)
    assert found["state"] == state_
    assert word in found["text"]


def test_who_is_left_when_the_trial_has_nothing_to_say() -> None:
    before = {"work_mem": "4MB", "port": "5432", "listen_addresses": "localhost", "log_directory": "log"}
    sockets = "could not create any TCP/IP sockets"
    after = {**before, "work_mem": "8MB", "listen_addresses": "192.0.2.1"}
    assert beyond_the_trial(before, after, sockets) == ["listen_addresses"]
    assert beyond_the_trial(before, {**before, "work_mem": "8MB"}, sockets) == ["work_mem"]
    words = 'could not open log file "messages/a.log": Not a directory'
    after = {**after, "log_directory": "messages"}
    assert beyond_the_trial(before, after, words) == ["log_directory"]
    assert beyond_the_trial(before, before, sockets) == []
