# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Schemas that other people published, fetched by the ordinary clients of packages and never kept here; and rows for
any schema at all, skewed as real ones are. For tests of the matrix, which may use the network."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg

from .harness.cluster import Cluster
from .harness.template import SUPERUSER

#: Half of all choices fall on the first sixteenth of what there is to choose from.
_SKEWED = "power(random(), 4)"
_PARENTS = 2000
_TABLES = """
SELECT c.oid::bigint, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname = %s ORDER BY c.oid
"""
_COLUMNS = """
SELECT a.attnum, quote_ident(a.attname), a.attnotnull, a.atthasdef OR a.attidentity <> '', t.typname, t.typcategory,
       CASE WHEN t.typcategory = 'S' AND a.atttypmod > 4 THEN a.atttypmod - 4 END,
       (SELECT min(e.enumlabel) FROM pg_enum e WHERE e.enumtypid = t.oid),
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND a.attnum = ANY(i.indkey))
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum
"""
_REFERENCES = """
SELECT k.conkey[1], k.confrelid::bigint, quote_ident(a.attname)
FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = k.confkey[1]
WHERE k.contype = 'f' AND k.conrelid = %s AND cardinality(k.conkey) = 1
"""
_OF_TYPE = {
    "uuid": "gen_random_uuid()",
    "json": "'{}'",
    "jsonb": "'{}'",
    "bytea": "decode(md5(g::text), 'hex')",
    "date": "current_date - (400 * random())::int",
    "time": "'12:00'",
    "bool": "random() < 0.05",
    "bpchar": "substr(md5(g::text), 1, 2)",
    "point": "point(random(), random())",
    "inet": "('192.0.2.' || g % 250)::inet",
    "interval": "'1 day'",
}
_OF_CATEGORY = {
    "N": "1 + floor(30 * power(random(), 3))",
    "S": "md5(g::text)",
    "D": "now() - 400 * random() * interval '1 day'",
    "A": "'{}'",
}


def debian(package: str, folder: Path) -> Path:
    """What is in a package of the distribution: downloaded, unpacked, not installed."""
    folder.mkdir()
    subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / "in")], check=True)
    return folder / "in"


def pypi(package: str, folder: Path) -> Path:
    """What is in a wheel: downloaded, unpacked, not installed."""
    folder.mkdir()
    argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", package]
    subprocess.run(argv, cwd=folder, check=True)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "in")
    return folder / "in"


def loaded(cluster: Cluster, script: Path, *, schema: str = "public", database: str = "postgres") -> None:
    """A script as its authors would load it: by psql, which stops at the first error."""
    text = script
    if script.suffix == ".gz":
        text = cluster.root / script.stem
        with open(text, "wb") as handle:
            subprocess.run(["gzip", "-dc", str(script)], stdout=handle, check=True)
    cluster.program(
        "psql",
        *("-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(cluster.socket_directory), "-p", str(cluster.port)),
        *("-U", SUPERUSER, "-d", database, "-c", f"SET search_path = {schema}, public", "-f", str(text)),
    )


def filled(
    cluster: Cluster, database: str, schema: str, rows: int, larger: Mapping[str, int]
) -> dict[str, str]:
    """Rows for every table of a schema, parents before children; what took none, and why.

    Keys of parents are chosen skewed: few have most of the children. ``larger``: tables that get more rows.
    """
    refused: dict[str, str] = {}
    with cluster.connect(database) as connection:
        run = connection.execute
        run(f"SELECT setseed(0.5); SET search_path = {schema}, public".encode())
        tables = {int(oid): (str(name), str(plain)) for oid, name, plain in run(_TABLES, [schema]).fetchall()}
        references = {
            oid: {
                int(column): (int(parent), str(key))
                for column, parent, key in run(_REFERENCES, [oid]).fetchall()
                if parent in tables
            }
            for oid in tables
        }
        for oid in _parents_first(references):
            name, plain = tables[oid]
            columns = run(_COLUMNS, [oid]).fetchall()
            many = larger.get(plain, rows)
            values = dict(_values(run, tables, references[oid], columns, oid))
            if not values:
                continue
            statement = (
                f"INSERT INTO {name} ({', '.join(values)}) SELECT {', '.join(values.values())} "
                f"FROM generate_series(1, {many}) AS g ON CONFLICT DO NOTHING"
            )
            try:
                run(statement.encode())
            except psycopg.Error as error:
                refused[plain] = str(error).splitlines()[0]
        run(b"VACUUM ANALYZE")
    return refused


def _values(
    run: Any,
    tables: Mapping[int, tuple[str, str]],
    references: Mapping[int, tuple[int, str]],
    columns: Iterable[Any],
    own: int,
) -> Iterable[tuple[str, str]]:
    """Column -> what is put into it for row number g. What may be null is, but for references."""
    for number, column, needed, given, kind, category, longest, label, unique in columns:
        if number in references:
            parent, key = references[number]
            keys = run(
                f"SELECT {key}::text FROM {tables[parent][0]} ORDER BY random() LIMIT {_PARENTS}".encode()
            )
            chosen = sorted(str(row[0]) for row in keys.fetchall())
            if parent == own and needed:
                yield column, f"(100000 + g)::{kind}"
            elif parent != own and chosen:
                listed = ", ".join("'" + one.replace("'", "''") + "'" for one in chosen)
                spread = f"1 + g % {len(chosen)}" if unique else f"1 + floor({len(chosen)} * {_SKEWED})"
                yield column, f"((ARRAY[{listed}])[({spread})::int])::{kind}"
        elif unique and category == "N":
            yield column, f"(100000 + g)::{kind}" if kind != "int2" else "g"
        elif unique and category == "S":
            yield column, f"left(md5(g::text) || {number}, {longest or 40})"
        elif needed and not given:
            said = f"'{label}'" if label else _OF_TYPE.get(kind) or _OF_CATEGORY.get(category)
            if said:
                cut = longest and category == "S" and kind != "bpchar"
                yield column, f"left({said}, {longest})" if cut else said


def _parents_first(references: Mapping[int, Mapping[int, tuple[int, str]]]) -> list[int]:
    """Tables in an order in which parents come first, as far as there is one."""
    done: list[int] = []
    left = list(references)
    while left:
        ready = [
            oid
            for oid in left
            if all(parent in done or parent == oid for parent, _key in references[oid].values())
        ] or left[:1]
        done += ready
        left = [oid for oid in left if oid not in ready]
    return done
