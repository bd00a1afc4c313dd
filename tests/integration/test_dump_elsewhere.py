# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Dumps in a repository on another host: through a real sshd and the real door, and what bad clients try there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness.cluster import Cluster
from tests.integration.harness.elsewhere import Elsewhere
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.waiting import wait_for
from tests.integration.load_help import within
from tests.integration.test_door import TRAVERSALS, Client, code

#: A database whose name tries everything that leads out of a directory.
ODD = "顧客 \"x\"/'..'"
OPTIONS = {"custom": [], "directory": ["--jobs", "2"], "plain": []}


@pytest.fixture(scope="module")
def place() -> Iterator[Sandbox]:
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def vault(place: Sandbox) -> Iterator[Elsewhere]:
    """Another host."""
    made = Elsewhere(place).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def away(place: Sandbox, vault: Elsewhere) -> Cluster:
    """A server whose repository is there; databases app and the odd one, app's dump ``good`` in the vault."""
    cluster = Cluster(place, archiving=False, elsewhere=vault).start()
    for name in ("app", '"顧客 ""x""/\'..\'"'):
        cluster.sql(f"CREATE DATABASE {name}")
    for name in ("app", ODD):
        within(
            cluster,
            name,
            "CREATE TABLE items AS SELECT n, md5(n::text) AS t FROM generate_series(1, 700) AS n",
        )
    cluster.keeper("dump", "--database", "app", "--label", "good", "--rows", "digest").expect(0)
    return cluster


@pytest.fixture
def way(vault: Elsewhere) -> Iterator[Path]:
    """What happens on the way there. Of 4 MB at least half has arrived: ssh lets 2 MB be on their way."""
    yield vault.roughen(4_000_000)
    vault.smooth()


def shelf(vault: Elsewhere) -> dict[str, str]:
    """Every file of dumps with its content."""
    return {
        str(path.relative_to(vault.archive)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((vault.archive / "dump").rglob("*"))
        if path.is_file()
    }


def entry_of(vault: Elsewhere, label: str, database: str = "app") -> dict[str, Any]:
    value = json.loads((vault.archive / "dump" / database / label / "dump.json").read_text())
    assert isinstance(value, dict)
    return value


def leftovers(cluster: Cluster) -> list[Path]:
    """Files of dumps that are still on the server's own host."""
    places = [cluster.state_directory / name for name in ("incoming", "fetched")]
    return [path for one in places if one.exists() for path in one.rglob("*") if path.is_file()]


@pytest.mark.parametrize("form", [pytest.param("custom", marks=pytest.mark.matrix), "directory", "plain"])
def test_dumped_listed_and_loaded_through_the_door(away: Cluster, vault: Elsewhere, form: str) -> None:
    options = ["--database", ODD, "--label", form, "--format", form, "--rows", "digest", *OPTIONS[form]]
    assert away.keeper("dump", *options, "--check").expect(0)["executed"] is False
    made = away.keeper("dump", *options).expect(0)["dumps"][0]["dump"]
    assert leftovers(away) == []
    (there,) = (vault.archive / "dump").glob(f"*/{form}")
    entry = json.loads((there / "dump.json").read_text())
    assert (entry["status"], entry["owner"]["door"], made["status"]) == ("verified", "append", "verified")
    assert {file["name"]: file["digest"] for file in entry["files"]} == {
        str(path.relative_to(there)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in there.rglob("*")
        if path.is_file() and path.name != "dump.json"
    }
    assert (there / "globals.sql").stat().st_mode & 0o777 == 0o600
    assert away.keeper("dump", *options).expect(0)["changed"] is False
    keys = [one["key"] for one in away.keeper("info").expect(0)["dumps"]]
    assert {"dump/app/good", made["key"]} <= set(keys)
    load = [form, "--database", ODD, "--into", f"back_{form}"]
    assert away.keeper("load", *load, "--check").expect(0)["executed"] is False
    if form != "plain":
        entries = [one["entry"] for one in away.keeper("load", *load, "--list").expect(0)["entries"]]
        assert "TABLE DATA public items" in entries
    done = away.keeper("load", *load).expect(0)
    assert (done["load"]["proof"], done["load"]["rows"]) == ("digest", 700)
    assert away.sql("SELECT count(*) FROM items", database=f"back_{form}") == [(700,)]
    assert leftovers(away) == []
    # What is loaded already is known without a byte of the dump.
    for path in there.glob("dump.*"):
        if path.name != "dump.json":
            path.rename(there / f".{path.name}")
    assert away.keeper("load", *load).expect(0)["changed"] is False
    away.keeper("load", *load[:3], "--into", "other").failed("dump-file-missing")
    assert leftovers(away) == []
    assert list((vault.archive / "leases").iterdir()) == []
    for path in there.glob(".dump.*"):
        path.rename(there / path.name[1:])


def test_directories_that_killed_doors_left_go_with_the_next_dump(away: Cluster, vault: Elsewhere) -> None:
    """Without an entry they are nobody's. What holds a file of somebody else's stays."""
    places = {name: vault.archive / "dump" / "app" / name for name in ("empty", "temporary", "others")}
    for place in places.values():
        place.mkdir()
    (places["temporary"] / ".tmp-x").touch()
    (places["others"] / "found.txt").touch()
    before = {name: digest for name, digest in shelf(vault).items() if "/temporary/" not in name}
    away.keeper("dump", "--database", "app", "--label", "after").expect(0)
    assert [name for name, place in places.items() if place.exists()] == ["others"]
    assert before.items() <= shelf(vault).items() and entry_of(vault, "after")["status"] == "verified"
    (places["others"] / "found.txt").unlink()
    places["others"].rmdir()


def test_a_dump_that_rots_there_is_not_loaded(away: Cluster, vault: Elsewhere) -> None:
    away.keeper("dump", "--database", "app", "--label", "rotten").expect(0)
    path = vault.archive / "dump" / "app" / "rotten" / "dump.custom"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(bytes(data))
    away.keeper("load", "rotten", "--database", "app", "--into", "rot").failed("dump-file-damaged", "digest")
    assert away.sql("SELECT 1 FROM pg_database WHERE datname = 'rot'") == []


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("dump", marks=pytest.mark.matrix),
        pytest.param("globals", marks=pytest.mark.matrix),
        pytest.param("list", marks=pytest.mark.matrix),
        "seal",
    ],
)
def test_killed_it_leaves_nothing_there_and_the_next_one_nothing_here(
    away: Cluster, vault: Elsewhere, step: str
) -> None:
    before = shelf(vault)
    options = ["--database", "app", "--label", f"killed-{step}"]
    assert away.keeper("dump", *options, kill_at=f"{step}:begun").status == -9
    assert shelf(vault) == before
    made = away.keeper("dump", *options).expect(0)["dumps"][0]["dump"]
    assert made["status"] == "verified"
    assert leftovers(away) == []


def test_the_way_is_cut_while_a_dump_is_sent(away: Cluster, vault: Elsewhere) -> None:
    """Half of a dump there is no dump: its entry says so, its data is gone, and the next one is whole."""
    client = Client(vault)
    begun = {**entry_of(vault, "good"), "label": "cut", "status": "running", "files": [], "rows": {}}
    about = {"database": "app", "label": "cut"}
    assert client.ask({"verb": "dump-begin", "entry": begun, **about})["ok"]
    client.say({"verb": "dump-put", "name": "dump.custom", **about})
    client.send(b"D", b"x" * 100_000)
    # Nobody else dumps meanwhile, neither here nor through another door.
    other = Client(vault)
    assert (
        code(other.ask({"verb": "dump-begin", "entry": {**begun, "label": "two"}, **about, "label": "two"}))
        == "busy"
    )
    other.close()
    client.close()
    wait_for(lambda: entry_of(vault, "cut")["status"] == "failed", "the door's giving up")
    place = vault.archive / "dump" / "app" / "cut"
    away.keeper("dump", "--database", "app", "--label", "after-cut").expect(0)
    assert {path.name for path in place.iterdir()} == {"dump.json"}
    entry = entry_of(vault, "cut")
    assert (entry["status"], "connection ended" in entry["failure"]) == ("failed", True)


def far_off(cluster: Cluster) -> None:
    """A database of 14 MB."""
    if not cluster.sql("SELECT 1 FROM pg_database WHERE datname = 'far_off'"):
        cluster.sql("CREATE DATABASE far_off")
        statement = "SELECT n, md5(n::text) || md5((-n)::text) AS t FROM generate_series(1, 200000) AS n"
        within(cluster, "far_off", f"CREATE TABLE large AS {statement}")


def test_a_dump_whose_fetching_is_cut_is_never_taken_for_whole_and_the_next_run_finishes(
    away: Cluster, vault: Elsewhere, way: Path
) -> None:
    """sshd's connection and with it the door killed in the middle of a file, then nobody comes in; then we die, too."""
    far_off(away)
    options = [
        "--database",
        "far_off",
        "--label",
        "far",
        "--no-globals",
        "--compression",
        "none",
        "--rows",
        "digest",
    ]
    away.keeper("dump", *options).expect(0)
    stored = vault.archive / "dump" / "far_off" / "far" / "dump.custom"
    whole = stored.read_bytes()
    way.write_text("cut shut")
    running = away.keeper_start("load", "far", "--database", "far_off", "--into", "far_away")
    fetched = away.state_directory / "fetched" / "main" / "dump" / "far_off" / "far" / "dump.custom"
    wait_for(
        lambda: way.read_text() == "shut" and fetched.exists() and fetched.stat().st_size > 0,
        "a way that is cut in the middle",
    )
    assert running.kill().status == -9
    half = fetched.read_bytes()
    assert 0 < len(half) < len(whole) and whole.startswith(half)
    # What is here has no entry, so that nobody lists it; no database has begun.
    assert not (fetched.parent / "dump.json").exists()
    assert away.sql("SELECT datname FROM pg_database WHERE datname ~ 'far_away|dbkeeper_load'") == []
    # With the host back the rest is fetched and cut again and again; what is loaded is proven by every row.
    way.write_text("cut cut")
    done = away.keeper("load", "far", "--database", "far_off", "--into", "far_away").expect(0)
    assert way.read_text() == ""
    assert (done["load"]["proof"], done["load"]["rows"]) == ("digest", 200_000)
    assert leftovers(away) == []


def test_half_of_a_dump_that_is_not_what_was_written_is_fetched_anew(away: Cluster, vault: Elsewhere) -> None:
    """What a crash of the host made of the half that had arrived is seen by the digest of the whole."""
    away.keeper("dump", "--database", "app", "--label", "torn", "--compression", "none").expect(0)
    whole = (vault.archive / "dump" / "app" / "torn" / "dump.custom").read_bytes()
    fetched = away.state_directory / "fetched" / "main" / "dump" / "app" / "torn"
    fetched.mkdir(parents=True, mode=0o700)
    (fetched / "dump.custom").write_bytes(b"\0" * (len(whole) // 2))
    away.keeper("load", "torn", "--database", "app", "--into", "torn").expect(0)
    assert leftovers(away) == []


@pytest.mark.matrix
def test_a_way_that_stays_shut_ends_a_load_and_keeps_what_has_arrived(away: Cluster, way: Path) -> None:
    """Half a minute of tries; no row is loaded, and nothing of the half is fetched twice."""
    far_off(away)
    away.keeper(
        "dump", "--database", "far_off", "--label", "shut", "--no-globals", "--compression", "none"
    ).expect(0)
    way.write_text("cut shut")
    options = ["load", "shut", "--database", "far_off", "--into", "shut"]
    away.keeper(*options).failed("repository-unreachable")
    (half,) = [path for path in leftovers(away) if path.name == "dump.custom"]
    arrived = half.stat().st_size
    assert arrived > 0
    assert away.sql("SELECT datname FROM pg_database WHERE datname ~ '^(shut|dbkeeper_load.*)$'") == []
    way.write_text("")
    away.keeper(*options).expect(0)
    assert leftovers(away) == []


@pytest.mark.parametrize(
    "name", [*TRAVERSALS, None, 7, ["x"], {"a": 1}, "dump.directory/../../good/dump.json"]
)
def test_no_name_leads_out_of_the_shelf(away: Cluster, vault: Elsewhere, name: Any) -> None:
    before = shelf(vault)
    client = Client(vault)
    requests: list[dict[str, Any]] = [
        {"verb": "dump-get", "database": "app", "label": name, "name": "dump.custom"},
        {"verb": "dump-get", "database": "app", "label": "good", "name": name},
        {"verb": "dump-begin", "database": "app", "label": name, "entry": {}},
        {"verb": "dump-fail", "database": "app", "label": name},
    ]
    for request in requests:
        assert code(client.ask(request)) == "door-refused", request
    # A database may be called anything; where that is no text, it is refused, and elsewhere it stays in its place.
    answer = client.ask({"verb": "dump-get", "database": name, "label": "good", "name": "dump.custom"})
    assert code(answer) in ("door-refused", "repository-unreadable")
    client.close()
    assert shelf(vault) == before


def test_what_is_finished_is_never_changed_by_a_client(away: Cluster, vault: Elsewhere) -> None:
    """Neither replaced, failed, dated back, reordered, pinned nor given other files; lies about it are refused."""
    good = entry_of(vault, "good")
    about = {"database": "app", "label": "good"}
    running = {**good, "status": "running", "files": [], "rows": {}}
    before = shelf(vault)
    client = Client(vault)
    assert code(client.ask({"verb": "dump-begin", "entry": running, **about})) == "dump-label-taken"
    assert code(client.ask({"verb": "dump-fail", "why": "so", **about})) == "dump-label-taken"
    reader = Client(vault, "read")
    for verb in ("dump-begin", "dump-fail"):
        assert code(reader.ask({"verb": verb, "entry": running, **about})) == "door-refused"
    reader.close()
    for lie in (
        {"status": "verified"},
        {"database": "postgres"},
        {"files": [{"name": "dump.custom", "stored_bytes": 1, "digest": "0" * 64}]},
        {"rows": {"a": "b"}},
        {"sequence": "x"},
        {"sequence": -1},
        {"seconds": 3},
        {"warnings": [{}]},
        {"selection": {"content": "all", "schemas": "x"}},
        {"format": "tar"},
        {"more": 1},
        {"started_at": "yesterday"},
    ):
        entry = {**running, "label": "lie", **lie}
        answer = client.ask({"verb": "dump-begin", "entry": entry, "database": "app", "label": "lie"})
        assert code(answer) == "door-refused", lie
    assert shelf(vault) == before
    client.close()


def test_a_dump_of_a_stranger_with_the_key_is_one_more_and_no_more(away: Cluster, vault: Elsewhere) -> None:
    """It comes last, at the time when it came, unpinned; wrong digests and missing files end it."""
    good = entry_of(vault, "good")
    before = shelf(vault)
    about = {"database": "app", "label": "forged"}
    forged = {
        **good,
        "label": "forged",
        "sequence": 0,
        "pinned": True,
        "stopped_at": "2020-01-01T00:00:00.000000Z",
    }
    running = {**forged, "status": "running", "files": [], "rows": {}}
    content = b"nothing good"
    end = {"bytes": len(content), "digest": hashlib.sha256(content).hexdigest()}

    def send(
        *names: str, final: dict[str, Any] | None = None, wrong: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        client = Client(vault)
        try:
            begin = {"verb": "dump-begin", "entry": running, **about}
            # The door of the one before may have to tidy up first.
            wait_for(lambda: client.ask(begin)["ok"], "the turn of the one before being over")
            for name in names:
                answer = client.put({"verb": "dump-put", "name": name, **about}, content, end=wrong or end)
                if not answer["ok"]:
                    return answer
            files = [{"name": name, "stored_bytes": end["bytes"], "digest": end["digest"]} for name in names]
            text = json.dumps({**forged, "files": files, **(final or {})}).encode()
            return client.put({"verb": "dump-finish", **about}, text)
        finally:
            client.close()

    assert code(send("dump.custom", wrong={**end, "digest": "0" * 64})) == "door-refused"
    assert code(send("dump.custom", "dump.custom")) == "door-refused"
    assert code(send("../good/dump.custom")) == "door-refused"
    assert code(send("dump.custom")) == "door-refused", "it says that there are globals"
    assert code(send("dump.custom", "globals.sql", final={"data": "dump.sql"})) == "door-refused"
    assert code(send("dump.custom", "globals.sql", final={"files": []})) == "door-refused"
    assert code(send("dump.custom", "globals.sql", final={"series": "other"})) == "door-refused"
    assert code(send("dump.custom", "globals.sql", final={"rows": {"t": 1}})) == "door-refused"
    # The door of the last one sees its end, and gives up.
    wait_for(lambda: entry_of(vault, "forged")["status"] == "failed", "the last one being given up")
    assert entry_of(vault, "forged")["files"] == []
    assert {path.name for path in (vault.archive / "dump" / "app" / "forged").iterdir()} == {"dump.json"}
    assert send("dump.custom", "globals.sql")["ok"]
    kept = entry_of(vault, "forged")
    others = [
        one for one in (vault.archive / "dump" / "app").glob("*/dump.json") if one.parent.name != "forged"
    ]
    assert kept["sequence"] > max(json.loads(one.read_text())["sequence"] for one in others)
    assert (kept["pinned"], kept["stopped_at"] > good["stopped_at"]) == (False, True)
    assert {name: item for name, item in shelf(vault).items() if "/forged/" not in name} == before
    away.keeper("load", "forged", "--database", "app", "--into", "x").failed("dump-contents-unreadable")


def test_garbage_on_the_shelf_is_listed_as_such(away: Cluster, vault: Elsewhere) -> None:
    place = vault.archive / "dump" / "app" / "garbage"
    place.mkdir()
    (place / "dump.json").write_bytes(b"\xff\x00 no json")
    try:
        info = away.keeper("info").expect(0)
        assert [one["key"] for one in info["damaged_dumps"]] == ["dump/app/garbage"]
        away.keeper("load", "garbage", "--database", "app").failed("dump-entry-damaged")
    finally:
        (place / "dump.json").unlink()
        place.rmdir()
