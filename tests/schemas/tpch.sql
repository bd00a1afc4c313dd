-- A schema like that of TPC-H with data as real ones are: skewed, in the order of its dates, with columns that are
-- hardly ever filled, and with the indexes that have gathered over the years. The same rows every time: nothing is
-- random, and no program but the server is needed.
--
-- Size by the setting tpch.scale (1 is 6 million lines, 0.01 when nothing is set); tables are made in the first schema
-- of search_path. By psql:  PGOPTIONS='-c tpch.scale=0.05' psql -v ON_ERROR_STOP=1 -f tpch.sql
CREATE FUNCTION tpch_scale() RETURNS float8 LANGUAGE sql STABLE AS
$$ SELECT coalesce(nullif(current_setting('tpch.scale', true), ''), '0.01')::float8 $$;
CREATE FUNCTION tpch_count(whole bigint) RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT greatest(20, (whole * tpch_scale())::bigint) $$;
-- Evenly spread from 0 up to 1, by a row's number and a salt.
CREATE FUNCTION tpch_even(row_number bigint, salt bigint) RETURNS float8 LANGUAGE sql IMMUTABLE AS
$$ SELECT (hashint8extended(row_number, salt) & 1073741823) / 1073741824.0::float8 $$;
-- From 1 to most, the first ones far more often (Zipf: the k-th as often as 1/k).
CREATE FUNCTION tpch_skewed(row_number bigint, salt bigint, most bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT least(most, floor(power(most + 1, tpch_even(row_number, salt)))::bigint) $$;
CREATE FUNCTION tpch_of(choices text[], row_number bigint, salt bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT choices[1 + floor(tpch_even(row_number, salt) * cardinality(choices))::int] $$;

CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name text NOT NULL UNIQUE);
CREATE TABLE nation (
    n_nationkey int PRIMARY KEY, n_name text NOT NULL, n_regionkey int NOT NULL REFERENCES region
);
CREATE TABLE supplier (
    s_suppkey bigint PRIMARY KEY, s_name text NOT NULL, s_nationkey int NOT NULL REFERENCES nation,
    s_acctbal numeric(12, 2) NOT NULL, s_comment text
);
CREATE TABLE customer (
    c_custkey bigint PRIMARY KEY, c_name text NOT NULL, c_nationkey int NOT NULL REFERENCES nation,
    c_phone text NOT NULL, c_acctbal numeric(12, 2) NOT NULL, c_mktsegment text NOT NULL, c_email text UNIQUE
);
CREATE TABLE part (
    p_partkey bigint PRIMARY KEY, p_name text NOT NULL, p_brand text NOT NULL, p_type text NOT NULL,
    p_size int NOT NULL, p_container text NOT NULL, p_retailprice numeric(12, 2) NOT NULL CHECK (p_retailprice >= 0)
);
CREATE TABLE partsupp (
    ps_partkey bigint NOT NULL, ps_suppkey bigint NOT NULL,
    ps_availqty int NOT NULL, ps_supplycost numeric(12, 2) NOT NULL, PRIMARY KEY (ps_partkey, ps_suppkey)
);
CREATE TABLE orders (
    o_orderkey bigint PRIMARY KEY, o_custkey bigint NOT NULL, o_orderstatus "char" NOT NULL,
    o_totalprice numeric(12, 2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority text NOT NULL,
    o_clerk text NOT NULL, o_cancelled_on date, o_comment text
);
CREATE TABLE lineitem (
    l_orderkey bigint NOT NULL, l_linenumber int NOT NULL,
    l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_quantity numeric(6, 0) NOT NULL,
    l_extendedprice numeric(12, 2) NOT NULL, l_discount numeric(4, 2) NOT NULL, l_tax numeric(4, 2) NOT NULL,
    l_returnflag "char" NOT NULL, l_linestatus "char" NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL,
    l_receiptdate date NOT NULL, l_shipinstruct text NOT NULL, l_shipmode text NOT NULL, l_claim text,
    PRIMARY KEY (l_orderkey, l_linenumber)
);

INSERT INTO region SELECT ordinality, name
FROM unnest('{AFRICA,AMERICA,ASIA,EUROPE,MIDDLE EAST}'::text[]) WITH ORDINALITY AS names(name);
INSERT INTO nation SELECT g, 'NATION ' || lpad(g::text, 2, '0'), 1 + g % 5 FROM generate_series(1, 25) g;
INSERT INTO supplier SELECT g, 'Supplier#' || lpad(g::text, 9, '0'), 1 + floor(tpch_even(g, 1) * 25),
    round((tpch_even(g, 2) * 11000 - 1000)::numeric, 2),
    CASE WHEN tpch_even(g, 3) < 0.02 THEN 'Customer Complaints' WHEN tpch_even(g, 3) < 0.3 THEN 'carefully packed' END
FROM generate_series(1, tpch_count(10000)) g;
INSERT INTO customer SELECT g, 'Customer#' || lpad(g::text, 9, '0'), tpch_skewed(g, 4, 25),
    (10 + tpch_skewed(g, 4, 25)) || '-' || lpad(g::text, 9, '0'), round((tpch_even(g, 5) * 11000 - 1000)::numeric, 2),
    tpch_of('{AUTOMOBILE,BUILDING,BUILDING,BUILDING,FURNITURE,HOUSEHOLD,MACHINERY}', g, 6),
    CASE WHEN tpch_even(g, 7) < 0.4 THEN 'c' || g || '@example.org' END
FROM generate_series(1, tpch_count(150000)) g;
INSERT INTO part SELECT g, tpch_of('{almond,blue,forest,green,ivory,khaki,linen,puff}', g, 8) || ' '
    || tpch_of('{azure,black,coral,dim,gold,honey,lace,metallic}', g, 9),
    'Brand#' || 1 + floor(tpch_even(g, 10) * 5) || 1 + floor(tpch_even(g, 11) * 5),
    tpch_of('{STANDARD,SMALL,MEDIUM,LARGE,ECONOMY,PROMO}', g, 12) || ' '
    || tpch_of('{ANODIZED,BURNISHED,PLATED,POLISHED,BRUSHED}', g, 13) || ' '
    || tpch_of('{TIN,NICKEL,BRASS,STEEL,COPPER}', g, 14),
    1 + floor(tpch_even(g, 15) * 50), tpch_of('{SM,MED,LG,JUMBO,WRAP}', g, 16) || ' '
    || tpch_of('{CASE,BOX,BAG,JAR,PKG,PACK,CAN,DRUM}', g, 17), 900 + g % 1000 + round((g / 10.0)::numeric, 2) % 200
FROM generate_series(1, tpch_count(200000)) g;
INSERT INTO partsupp SELECT p, (p + i * (s / 4)) % s + 1, 1 + floor(tpch_even(p * 4 + i, 18) * 9999),
    round((1 + tpch_even(p * 4 + i, 19) * 999)::numeric, 2)
FROM (SELECT tpch_count(10000) OFFSET 0) AS counts(s), generate_series(1, tpch_count(200000)) p, generate_series(0, 3) i;
-- Old orders are done, the newest are open; every third customer has never ordered.
INSERT INTO orders SELECT g, k - CASE WHEN k % 3 = 0 THEN 1 ELSE 0 END,
    CASE WHEN g < 0.94 * n THEN 'F' WHEN g < 0.97 * n THEN 'P' ELSE 'O' END, round((1000 + tpch_even(g, 21) * 400000)::numeric, 2),
    '1992-01-01'::date + (g * 2400 / n)::int, tpch_of('{1-URGENT,2-HIGH,3-MEDIUM,4-NOT SPECIFIED,5-LOW}', g, 22),
    'Clerk#' || lpad(tpch_skewed(g, 23, clerks)::text, 9, '0'),
    CASE WHEN tpch_even(g, 24) < 0.03 THEN '1992-01-20'::date + (g * 2400 / n)::int END,
    CASE WHEN tpch_even(g, 25) < 0.01 THEN 'special requests ' || g WHEN tpch_even(g, 25) < 0.2 THEN 'final deposits' END
FROM (
    SELECT g, n, greatest(50, n / 100) AS clerks, tpch_skewed(g, 20, customers) AS k
    FROM (SELECT tpch_count(1500000), tpch_count(150000) OFFSET 0) AS counts(n, customers), generate_series(1, n) g
) AS made;
INSERT INTO lineitem SELECT o_orderkey, i, p, (p + floor(tpch_even(line, 28) * 4)::bigint * (s / 4)) % s + 1, quantity,
    quantity * (900 + p % 1000), floor(tpch_even(line, 30) * 11) / 100, floor(tpch_even(line, 31) * 9) / 100,
    CASE WHEN shipped > '1995-06-17' THEN 'N' WHEN tpch_even(line, 32) < 0.1 THEN 'R' ELSE 'A' END,
    CASE WHEN shipped > '1995-06-17' THEN 'O' ELSE 'F' END, shipped,
    o_orderdate + 30 + floor(tpch_even(line, 34) * 60)::int, shipped + 1 + floor(tpch_even(line, 35) * 30)::int,
    tpch_of('{DELIVER IN PERSON,COLLECT COD,NONE,NONE,NONE,TAKE BACK RETURN}', line, 36),
    tpch_of('{TRUCK,TRUCK,TRUCK,TRUCK,MAIL,MAIL,SHIP,RAIL,AIR,REG AIR,FOB}', line, 37),
    CASE WHEN tpch_even(line, 38) < 0.005 THEN 'claim ' || line END
FROM (
    SELECT o_orderkey, o_orderdate, i, line, s, tpch_skewed(line, 27, parts) AS p,
        1 + floor(tpch_even(line, 29) * 50)::int AS quantity, o_orderdate + 1 + floor(tpch_even(line, 33) * 120)::int AS shipped
    FROM (
        SELECT o_orderkey, o_orderdate, i, o_orderkey * 8 + i AS line, s, parts
        FROM (SELECT tpch_count(10000), tpch_count(200000) OFFSET 0) AS counts(s, parts), orders,
            generate_series(1, 1 + floor(tpch_even(o_orderkey, 26) * 7)::int) i OFFSET 0
    ) AS numbered OFFSET 0
) AS made ORDER BY o_orderkey, i;

ALTER TABLE partsupp ADD FOREIGN KEY (ps_partkey) REFERENCES part, ADD FOREIGN KEY (ps_suppkey) REFERENCES supplier;
ALTER TABLE orders ADD FOREIGN KEY (o_custkey) REFERENCES customer;
ALTER TABLE lineitem ADD FOREIGN KEY (l_orderkey) REFERENCES orders ON DELETE CASCADE,
    ADD FOREIGN KEY (l_partkey, l_suppkey) REFERENCES partsupp (ps_partkey, ps_suppkey);
-- Foreign keys: some with an index, some without, one whose index has only the first of its columns.
CREATE INDEX supplier_nation ON supplier (s_nationkey);
CREATE INDEX partsupp_supplier ON partsupp (ps_suppkey);
CREATE INDEX orders_customer ON orders (o_custkey);
CREATE INDEX lineitem_part ON lineitem (l_partkey);
-- What was added later, for one query each.
CREATE INDEX orders_customer_date ON orders (o_custkey, o_orderdate DESC);
CREATE INDEX partsupp_part ON partsupp (ps_partkey);
CREATE INDEX lineitem_order ON lineitem (l_orderkey);
CREATE INDEX lineitem_shipdate ON lineitem (l_shipdate);
CREATE INDEX lineitem_shipdate_covering ON lineitem (l_shipdate) INCLUDE (l_discount, l_quantity, l_extendedprice);
CREATE INDEX orders_date ON orders (o_orderdate);
CREATE INDEX orders_date_ranges ON orders USING brin (o_orderdate) WITH (pages_per_range = 16);
CREATE INDEX orders_open ON orders (o_orderdate) WHERE o_orderstatus = 'O';
CREATE INDEX orders_open_priority ON orders (o_orderdate, o_orderpriority) WHERE o_orderstatus = 'O';
CREATE INDEX orders_clerk ON orders (o_clerk);
CREATE INDEX orders_clerk_again ON orders (o_clerk);
CREATE INDEX orders_clerk_pattern ON orders (o_clerk text_pattern_ops);
CREATE INDEX orders_cancelled ON orders (o_cancelled_on);
CREATE UNIQUE INDEX customer_email ON customer (c_email);
CREATE INDEX customer_name_lower ON customer (lower(c_name));
CREATE INDEX customer_area ON customer (substr(c_phone, 1, 2));
CREATE INDEX lineitem_returned ON lineitem (l_partkey) WHERE l_returnflag = 'R';
CREATE INDEX lineitem_late ON lineitem ((l_receiptdate - l_commitdate));
CREATE INDEX lineitem_claim ON lineitem (l_claim) WHERE l_claim IS NOT NULL;
CREATE INDEX part_container ON part (p_container, p_brand);

DROP FUNCTION tpch_of, tpch_skewed, tpch_even, tpch_count, tpch_scale;
