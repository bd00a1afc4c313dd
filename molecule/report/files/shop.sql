-- A shop after TPC-H, a tenth of its smallest size, with few customers who order most; events by the month; a queue.
SELECT setseed(0.5);
CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name text NOT NULL);
CREATE TABLE customer (c_custkey int PRIMARY KEY, c_name text NOT NULL, c_nationkey int NOT NULL REFERENCES nation,
    c_mktsegment text, c_acctbal numeric(12, 2));
CREATE TABLE part (p_partkey int PRIMARY KEY, p_name text NOT NULL, p_brand text NOT NULL, p_retailprice numeric(12, 2));
CREATE TABLE orders (o_orderkey int PRIMARY KEY, o_custkey int NOT NULL REFERENCES customer, o_orderstatus "char" NOT NULL,
    o_totalprice numeric(12, 2), o_orderdate date NOT NULL, o_clerk text);
CREATE TABLE lineitem (l_orderkey int NOT NULL REFERENCES orders, l_linenumber int NOT NULL, l_partkey int NOT NULL,
    l_quantity int, l_extendedprice numeric(12, 2), l_shipdate date NOT NULL, l_returnflag "char" NOT NULL,
    PRIMARY KEY (l_orderkey, l_linenumber));
INSERT INTO nation SELECT g, 'nation ' || g FROM generate_series(0, 24) g;
INSERT INTO customer SELECT g, 'Customer#' || g, g % 25, (ARRAY['AUTOMOBILE', 'BUILDING', '家具'])[1 + g % 3], random() * 10000
FROM generate_series(1, 15000) g;
INSERT INTO part SELECT g, 'part ' || g, 'Brand#' || g % 25, 900 + g % 1000 FROM generate_series(1, 20000) g;
INSERT INTO orders SELECT g, 1 + floor(15000 * random() ^ 4)::int, CASE WHEN g % 50 = 0 THEN 'O' ELSE 'F' END,
    random() * 100000, '2020-01-01'::date + (g / 100), 'Clerk#' || g % 100
FROM generate_series(1, 150000) g;
INSERT INTO lineitem SELECT o, l, 1 + floor(20000 * random() ^ 3)::int, 1 + o % 50, random() * 1000,
    '2020-01-03'::date + (o / 100) + l, CASE WHEN o % 100 = 0 THEN 'R' ELSE 'N' END
FROM generate_series(1, 150000) o, generate_series(1, 4) l;
-- Read by reports on a standby only.
CREATE INDEX lineitem_shipped ON lineitem (l_shipdate, l_partkey, l_orderkey);
-- Read by nobody.
CREATE INDEX lineitem_returned ON lineitem (l_returnflag, l_partkey, l_orderkey);
-- Twins that a foreign key needs one of, and beginnings of another.
CREATE INDEX customer_nation ON customer (c_nationkey);
CREATE INDEX customer_nation_again ON customer (c_nationkey);
CREATE INDEX orders_date ON orders (o_orderdate);
CREATE INDEX orders_date_again ON orders (o_orderdate);
CREATE INDEX orders_date_status ON orders (o_orderdate, o_orderstatus);

CREATE TABLE events (at timestamptz NOT NULL, device int NOT NULL, kind text NOT NULL, value float8) PARTITION BY RANGE (at);
CREATE TABLE events_2026_09 PARTITION OF events FOR VALUES FROM ('2026-09-01 00:00+00') TO ('2026-10-01 00:00+00');
CREATE TABLE events_2026_10 PARTITION OF events FOR VALUES FROM ('2026-10-01 00:00+00') TO ('2026-11-01 00:00+00');
CREATE TABLE events_2026_11 PARTITION OF events FOR VALUES FROM ('2026-11-01 00:00+00') TO ('2026-12-01 00:00+00');
INSERT INTO events SELECT '2026-09-01 00:00+00'::timestamptz + g * interval '50 seconds', g % 200, 'kind ' || g % 7, random()
FROM generate_series(0, 150000) g;
CREATE INDEX events_device_at ON events (device, at);
CREATE INDEX events_device ON events (device);
CREATE INDEX events_2026_09_kind ON events_2026_09 (kind);

CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue text NOT NULL, state text NOT NULL,
    due timestamptz NOT NULL DEFAULT now(), payload text);
CREATE INDEX jobs_ready ON jobs (due, id) WHERE state = 'ready';
INSERT INTO jobs (queue, state, payload) SELECT 'mail', CASE WHEN g % 100 = 0 THEN 'ready' ELSE 'done' END, repeat('x', 200)
FROM generate_series(1, 20000) g;
VACUUM ANALYZE;
