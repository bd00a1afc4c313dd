-- SPDX-License-Identifier: GPL-3.0-or-later
-- Copyright: dbkeeper.ops contributors
-- An object of every kind; what not every build of the server has is in logical_schema.py.

CREATE SCHEMA "Odd ""schema""
日本";
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', '嬉しい');
ALTER TYPE mood ADD VALUE 'ecstatic' AFTER 'sad';
CREATE TYPE pair AS (a int, b text);
CREATE TYPE spans AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN post_code AS text NOT NULL DEFAULT '100' CHECK (VALUE ~ '^\d+$');
CREATE COLLATION plain FROM "C";
CREATE FUNCTION add_one(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n + 1';
CREATE FUNCTION modern(n int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT n * 2; END;
CREATE PROCEDURE nothing(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN a := a; END $$;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- ALTER TABLE nowhere OWNER TO nobody;
  NEW.changed = '2026-11-21'; RETURN NEW;
END $$;
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE CAST (pair AS text) WITH INOUT;
CREATE SEQUENCE mid_way INCREMENT 7 START 100 CACHE 3; SELECT nextval('mid_way'), nextval('mid_way');
CREATE SEQUENCE untouched;
CREATE TABLE customers (
  id bigint GENERATED ALWAYS AS IDENTITY (START 1000 INCREMENT 10) PRIMARY KEY,
  "Näme ""x""" text COLLATE plain NOT NULL, m mood DEFAULT 'it''s ok', p pair, code post_code, pos positive,
  ra spans, tags text[], j jsonb, changed date, twice int GENERATED ALWAYS AS (pos * 2) STORED,
  CONSTRAINT "named check" CHECK (pos < 1000000), EXCLUDE USING gist (ra WITH &&)
);
INSERT INTO customers ("Näme ""x""", m, p, code, pos, ra, tags, j)
  SELECT 'customer ' || n || E'\n\\ 顧客', CASE WHEN n % 2 = 0 THEN 'sad'::mood END, ROW(n, 'x,"' || n)::pair,
         (1000 + n)::text, n, format('[%s,%s)', n, n + 0.5)::spans, ARRAY['a', NULL, 'b' || n],
         jsonb_build_object('n', n, 'f', n / 3.0) FROM generate_series(1, 200) AS n;
CREATE INDEX lower_name ON customers (lower("Näme ""x""") DESC NULLS LAST) INCLUDE (id) WHERE pos > 10;
CREATE INDEX by_json ON customers USING gin (j);
CREATE STATISTICS st (dependencies, mcv) ON m, pos FROM customers;
CREATE TRIGGER stamped BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE customers ENABLE ALWAYS TRIGGER stamped;
ALTER TABLE customers ALTER COLUMN tags SET STORAGE EXTERNAL, ALTER COLUMN pos SET STATISTICS 500;
ALTER TABLE customers CLUSTER ON customers_pkey, SET (fillfactor = 70), REPLICA IDENTITY FULL;
CREATE TABLE events (at timestamptz NOT NULL, kind text NOT NULL, customer bigint REFERENCES customers, what bytea)
  PARTITION BY LIST (kind);
CREATE TABLE events_a PARTITION OF events FOR VALUES IN ('a') PARTITION BY RANGE (at);
CREATE TABLE events_a_1 PARTITION OF events_a FOR VALUES FROM ('2026-01-01Z') TO ('2026-07-01Z');
CREATE TABLE "events A 2" PARTITION OF events_a FOR VALUES FROM ('2026-07-01Z') TO ('2027-01-01Z');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE INDEX ON events (at);
INSERT INTO events SELECT '2026-01-01Z'::timestamptz + n * interval '30 hours', CASE n % 3 WHEN 0 THEN 'b' ELSE 'a' END,
  1000 + 10 * (n % 200), decode(md5(n::text), 'hex') FROM generate_series(1, 250) AS n;
CREATE TABLE hashed (a int) PARTITION BY HASH (a);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT generate_series(1, 100);
CREATE TABLE parent (a int DEFAULT 1, gone int, b text); CREATE TABLE child (c int) INHERITS (parent);
ALTER TABLE parent DROP COLUMN gone, ADD COLUMN late int DEFAULT 5;
INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (2, 'c', 3, 4);
CREATE UNLOGGED TABLE scratch (a int); INSERT INTO scratch VALUES (1), (2);
CREATE TABLE "Odd ""schema""
日本"."表 ""t""
line" ("col ""x""
y" int PRIMARY KEY, "SELECT" text, "r" int);
INSERT INTO "Odd ""schema""
日本"."表 ""t""
line" SELECT n, '値' || n, n FROM generate_series(1, 50) AS n;
CREATE VIEW over_events WITH (security_barrier) AS SELECT kind, count(*) AS n FROM events GROUP BY kind;
CREATE VIEW checked AS SELECT * FROM parent WHERE a > 0 WITH CASCADED CHECK OPTION;
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 5;
CREATE MATERIALIZED VIEW summed AS SELECT kind, n FROM over_events; CREATE UNIQUE INDEX ON summed (kind);
CREATE MATERIALIZED VIEW empty_one AS SELECT 1 AS a WITH NO DATA;
CREATE RULE no_delete AS ON DELETE TO scratch DO INSTEAD NOTHING;
ALTER TABLE parent ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY "own only" ON parent AS RESTRICTIVE FOR SELECT TO reader USING (a > 0);
CREATE EXTENSION file_fdw; CREATE EXTENSION pg_trgm SCHEMA "Odd ""schema""
日本";
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE passwd (line text) SERVER files OPTIONS (filename '/etc/hostname');
CREATE PUBLICATION some_rows FOR TABLE customers, hashed WITH (publish = 'insert');
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noting ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION note();
CREATE TEXT SEARCH DICTIONARY simple_one (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION conf (COPY = simple);
SELECT lo_from_bytea(5001, decode(repeat('00ff', 5000), 'hex')); SELECT lo_create(5002);
SELECT lo_put(5002, 70000, 'far');
COMMENT ON TABLE customers IS 'it''s "quoted"
と日本語'; COMMENT ON COLUMN customers.m IS 'mood'; COMMENT ON LARGE OBJECT 5001 IS 'large';
COMMENT ON TRIGGER stamped ON customers IS 'stamps'; COMMENT ON TYPE mood IS 'm'; COMMENT ON SCHEMA public IS 'ours';
GRANT SELECT, UPDATE (m) ON customers TO reader; GRANT SELECT ON LARGE OBJECT 5001 TO reader;
GRANT USAGE ON SCHEMA "Odd ""schema""
日本" TO "owner one" WITH GRANT OPTION; REVOKE EXECUTE ON FUNCTION add_one FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "owner one" GRANT SELECT ON TABLES TO reader;
ALTER TABLE customers OWNER TO "owner one"; ALTER FUNCTION add_one OWNER TO "owner one"; ALTER TYPE mood OWNER TO reader;
ALTER TABLE "Odd ""schema""
日本"."表 ""t""
line" OWNER TO "owner one";
CREATE FUNCTION in_c() RETURNS int LANGUAGE internal IMMUTABLE AS 'pg_backend_pid';
CREATE OPERATOR FAMILY backwards USING btree; CREATE OPERATOR CLASS backwards FOR TYPE int USING btree FAMILY backwards
  AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint4cmp(int, int);
CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE later (c bigint REFERENCES customers DEFERRABLE INITIALLY DEFERRED, d bigint, t text COMPRESSION pglz,
  m int4multirange DEFAULT '{[1,3),[7,9)}') USING heap_too;
ALTER TABLE later ADD CONSTRAINT unproven FOREIGN KEY (d) REFERENCES customers NOT VALID;
CREATE FUNCTION after_all() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER batch AFTER INSERT ON later REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION after_all();
CREATE CONSTRAINT TRIGGER at_end AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  EXECUTE FUNCTION after_all();
INSERT INTO later VALUES (1010, NULL, repeat('圧縮', 5000)), (NULL, 1020, NULL);
