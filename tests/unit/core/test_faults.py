# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The catalogue of faults, the code and the pages agree: `python tools/fault_pages.py` after a change of the first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.faults.catalogue import (
    FAULTS,
    by_code,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.faults.fault import LANGUAGES, Fault
from tools.fault_pages import PAGES, STATUSES, page

CHECKOUT = Path(__file__).resolve().parents[3]
ENGINE = CHECKOUT / "plugins/module_utils/_engine"
#: A of targets, B of content, C of hosts, D of the way: 73 when the list was made; E of a repository elsewhere.
NUMBERS = {"A": 18, "B": 22, "C": 20, "D": 13, "E": 6, "F": 8}
ROW = re.compile(r'^\| <a id="([a-f]\d\d)"></a>([A-F]\d\d) \|(.*)\|$')
CODE_ROW = re.compile(r"^\| `([a-z-]+)` \| (.*) \|$")
SLUG = re.compile(r"`([a-z]+(?:-[a-z]+)*)`")
JAPANESE = re.compile("[぀-ヿ一-鿿]")


def sources() -> Iterator[Path]:
    """The engine without the catalogue."""
    return (path for path in ENGINE.rglob("*.py") if "faults" not in path.relative_to(ENGINE).parts)


@cache
def raised() -> frozenset[str]:
    """What the engine passes to anything that is called, also by way of a condition: codes are among it."""
    found = set()
    for path in sources():
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            for given in [*call.args, *(keyword.value for keyword in call.keywords)]:
                choices = [given.body, given.orelse] if isinstance(given, ast.IfExp) else [given]
                found.update(
                    one.value
                    for one in choices
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                )
    return frozenset(found)


#: Groups of which every id is done: by an error or by doing the work all the same, named by the code that answers it.
DONE = ("A", "D", "E")
#: Codes whose tests are being written.
AWAITED: set[str] = set()
ID = re.compile(r"(?<![0-9A-Za-z])([A-Fa-f]\d\d)(?![0-9A-Za-z])")
RANGE = re.compile(r"\b([A-F])(\d\d) to \1(\d\d)\b")


@cache
def answered() -> frozenset[str]:
    """The ids that a docstring of a module, class or function of the engine names, also as ``B01 to B08``."""
    words = [
        ast.get_docstring(node) or ""
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
    ]
    found = {identity for text in words for identity in ID.findall(text)}
    for text in words:
        for group, first, last in RANGE.findall(text):
            found |= {f"{group}{number:02}" for number in range(int(first), int(last) + 1)}
    return frozenset(found)


@cache
def tried() -> tuple[frozenset[str], frozenset[str]]:
    """The texts that tests hold, and the ids that they name: in a test's name, its docstring or its cases."""
    texts: set[str] = set()
    names: set[str] = set()
    for path in (CHECKOUT / "tests").rglob("*.py"):
        if path == Path(__file__).resolve():
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        about = ast.get_docstring(tree, clean=False)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value != about:
                texts.add(node.value)
            elif isinstance(node, ast.FunctionDef):
                names.add(node.name.replace("_", " "))
    return frozenset(texts), frozenset(one.upper() for text in texts | names for one in ID.findall(text))


def rows(language: str) -> dict[str, str]:
    """Id -> the rest of its row."""
    matches = [ROW.match(line) for line in PAGES[language].read_text(encoding="utf-8").splitlines()]
    found = [(match[2], match[3]) for match in matches if match]
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.parametrize("language", PAGES)
def test_pages_are_up_to_date(language: str) -> None:
    assert PAGES[language].read_text(encoding="utf-8") == page(language)


def test_every_id_of_the_list_is_there_once() -> None:
    expected = [f"{group}{number:02}" for group, last in NUMBERS.items() for number in range(1, last + 1)]
    assert len(expected) == 73 + 6 + 8
    assert [fault.id for fault in FAULTS] == expected


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_every_code_is_one_that_the_engine_raises(fault: Fault) -> None:
    assert set(fault.codes) <= raised()
    assert len(set(fault.codes)) == len(fault.codes)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_what_is_claimed_fits_the_status(fault: Fault) -> None:
    """An error has a code, what is handled without one says how, what is not done is said and never hidden."""
    assert fault.status in STATUSES
    if fault.status == "stopped":
        assert fault.codes and fault.remedy
    if fault.status == "handled":
        assert fault.answer
    if fault.status == "partly":
        assert fault.codes or fault.answer
    if fault.status == "open":
        assert not fault.codes and not fault.answer
    assert (fault.missing is not None) == (fault.status in ("partly", "open"))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_every_code_is_asserted_by_a_test(fault: Fault) -> None:
    texts, _ids = tried()
    assert set(fault.codes) - texts <= AWAITED


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.id[0] in DONE], ids=lambda fault: fault.id
)
def test_what_is_done_is_named_where_it_is_done_and_where_it_is_tried(fault: Fault) -> None:
    _texts, ids = tried()
    assert fault.status in ("stopped", "handled")
    assert fault.id in answered(), "no docstring of the engine names it"
    assert fault.id in ids or set(fault.codes) & AWAITED, "no test names it"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_every_text_is_in_every_language(fault: Fault) -> None:
    for words in (fault.title, fault.cause, fault.answer, fault.remedy, fault.missing):
        if words is None:
            continue
        assert len(words) == len(LANGUAGES)
        english, japanese = words
        assert english and not JAPANESE.search(english)
        assert JAPANESE.search(japanese)
        assert "|" not in english + japanese and "\n" not in english + japanese


@pytest.mark.parametrize("language", PAGES)
def test_a_row_names_no_other_codes_than_its_faults(language: str) -> None:
    known = set(by_code())
    told = {
        identity: {slug for slug in SLUG.findall(rest) if slug in known}
        for identity, rest in rows(language).items()
    }
    assert told == {fault.id: set(fault.codes) for fault in FAULTS}


@pytest.mark.parametrize("language", PAGES)
def test_a_code_leads_to_the_faults_that_name_it_and_to_no_other(language: str) -> None:
    lines = PAGES[language].read_text(encoding="utf-8").splitlines()
    matches = [match for match in map(CODE_ROW.match, lines) if match]
    told = {match[1]: re.findall(r"\[([A-F]\d\d)\]\(#([a-f]\d\d)\)", match[2]) for match in matches}
    assert len(told) == len(matches)
    expected = {fault.id: fault.codes for fault in FAULTS}
    assert set(told) == {code for codes in expected.values() for code in codes}
    for code, links in told.items():
        assert [identity for identity, _anchor in links] == [one for one in expected if code in expected[one]]
        assert all(anchor == identity.lower() for identity, anchor in links)


def test_the_ids_that_the_code_speaks_of_are_those_of_the_list() -> None:
    spoken = {
        identity
        for path in sources()
        for identity in re.findall(r"\b[A-F]\d\d\b", path.read_text(encoding="utf-8"))
    }
    assert spoken <= {fault.id for fault in FAULTS}


def named_in(text: str) -> set[str]:
    """The ids that a text speaks of; "B01 to B04" and "B01-B04" speak of all between."""
    found = set(re.findall(r"\b[A-F]\d\d\b", text))
    for first, last in re.findall(r"\b([A-F]\d\d)(?: to |-)([A-F]\d\d)\b", text):
        found |= {f"{first[0]}{number:02}" for number in range(int(first[1:]), int(last[1:]) + 1)}
    return found


@cache
def named_by_engine_and_tests() -> tuple[set[str], set[str]]:
    """The ids that the engine's code names, and those that tests on real servers do."""
    tests = CHECKOUT.glob("tests/integration/test_*.py")
    engine, tried = (
        "\n".join(path.read_text(encoding="utf-8") for path in paths) for paths in (sources(), tests)
    )
    return named_in(engine), named_in(tried)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_every_fault_is_answered_by_code_that_names_it_and_tried_on_a_real_server(fault: Fault) -> None:
    """Who changes that code finds the fault by its id, and so does who looks for the proof that it is answered."""
    engine, tried = named_by_engine_and_tests()
    if fault.status != "open":
        assert fault.id in engine
        assert fault.id in tried
