-- What is asked of tpch.sql: reports like those of TPC-H, and what an application does in between. A line "-- name"
-- begins a statement, a semicolon at the end of a line ends it.
-- q01 prices of what was shipped
SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), avg(l_discount), count(*)
FROM lineitem WHERE l_shipdate <= date '1998-09-02' GROUP BY l_returnflag, l_linestatus ORDER BY 1, 2;
-- q02 cheapest supplier of a part
SELECT s_acctbal, s_name, n_name, p_partkey FROM part, supplier, partsupp, nation, region
WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND p_size = 15 AND p_type LIKE '%BRASS' AND s_nationkey = n_nationkey
  AND n_regionkey = r_regionkey AND r_name = 'EUROPE' AND ps_supplycost = (
    SELECT min(ps_supplycost) FROM partsupp, supplier, nation, region WHERE p_partkey = ps_partkey
    AND s_suppkey = ps_suppkey AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'EUROPE')
ORDER BY s_acctbal DESC, n_name, s_name, p_partkey LIMIT 100;
-- q03 largest orders that are not shipped
SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate FROM customer, orders, lineitem
WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey AND o_orderdate < date '1995-03-15'
  AND o_orderdate >= date '1995-03-01' AND l_shipdate > date '1995-03-15'
GROUP BY l_orderkey, o_orderdate ORDER BY revenue DESC, o_orderdate, l_orderkey LIMIT 10;
-- q04 priorities of orders that came late
SELECT o_orderpriority, count(*) FROM orders WHERE o_orderdate >= date '1993-07-01' AND o_orderdate < date '1993-10-01'
  AND EXISTS (SELECT FROM lineitem WHERE l_orderkey = o_orderkey AND l_commitdate < l_receiptdate)
GROUP BY o_orderpriority ORDER BY o_orderpriority;
-- q05 revenue by nation
SELECT n_name, sum(l_extendedprice * (1 - l_discount)) AS revenue FROM customer, orders, lineitem, supplier, nation, region
WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey AND c_nationkey = s_nationkey
  AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'ASIA' AND o_orderdate >= date '1994-01-01'
  AND o_orderdate < date '1994-04-01' GROUP BY n_name ORDER BY revenue DESC;
-- q06 what a discount cost
SELECT sum(l_extendedprice * l_discount) FROM lineitem WHERE l_shipdate >= date '1994-01-01'
  AND l_shipdate < date '1994-02-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24;
-- q10 customers who sent back
SELECT c_custkey, c_name, sum(l_extendedprice * (1 - l_discount)) AS revenue FROM customer, orders, lineitem
WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND o_orderdate >= date '1993-10-01' AND o_orderdate < date '1993-11-01'
  AND l_returnflag = 'R' GROUP BY c_custkey, c_name ORDER BY revenue DESC, c_custkey LIMIT 20;
-- q11 stock of a nation
SELECT ps_partkey, sum(ps_supplycost * ps_availqty) AS value FROM partsupp, supplier, nation
WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'NATION 07' GROUP BY ps_partkey ORDER BY value DESC LIMIT 20;
-- q12 ship modes and priorities
SELECT l_shipmode, count(*) FILTER (WHERE o_orderpriority IN ('1-URGENT', '2-HIGH')) FROM orders, lineitem
WHERE o_orderkey = l_orderkey AND l_shipmode IN ('MAIL', 'SHIP') AND l_commitdate < l_receiptdate
  AND l_receiptdate >= date '1994-01-01' AND l_receiptdate < date '1994-02-01' GROUP BY l_shipmode ORDER BY l_shipmode;
-- q13 how many orders customers have
SELECT c_count, count(*) FROM (SELECT c_custkey, count(o_orderkey) FROM customer LEFT JOIN orders
  ON c_custkey = o_custkey AND o_comment NOT LIKE '%special%requests%' GROUP BY c_custkey) AS c (key, c_count)
GROUP BY c_count ORDER BY 2 DESC, 1 DESC;
-- q14 promoted parts
SELECT 100 * sum(l_extendedprice) FILTER (WHERE p_type LIKE 'PROMO%') / sum(l_extendedprice) FROM lineitem, part
WHERE l_partkey = p_partkey AND l_shipdate >= date '1995-09-01' AND l_shipdate < date '1995-10-01';
-- q17 small orders of a part
SELECT sum(l_extendedprice) / 7.0 FROM lineitem, part WHERE p_partkey = l_partkey AND p_brand = 'Brand#23'
  AND p_container = 'MED BOX' AND l_quantity < (SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE l_partkey = p_partkey);
-- q18 large orders
SELECT c_name, o_orderkey, sum(l_quantity) FROM customer, orders, lineitem WHERE o_orderkey IN (
    SELECT l_orderkey FROM lineitem GROUP BY l_orderkey HAVING sum(l_quantity) > 270)
  AND c_custkey = o_custkey AND o_orderkey = l_orderkey GROUP BY c_name, o_orderkey ORDER BY 3 DESC, 2 LIMIT 100;
-- q20 suppliers with too much in stock
SELECT s_name FROM supplier, nation WHERE s_suppkey IN (SELECT ps_suppkey FROM partsupp WHERE ps_partkey IN (
    SELECT p_partkey FROM part WHERE p_name LIKE 'forest%') AND ps_availqty > (SELECT 0.5 * sum(l_quantity) FROM lineitem
    WHERE l_partkey = ps_partkey AND l_suppkey = ps_suppkey AND l_shipdate >= date '1994-01-01' AND l_shipdate < date '1995-01-01'))
  AND s_nationkey = n_nationkey AND n_name = 'NATION 03' ORDER BY s_name;
-- q22 customers without orders
SELECT substr(c_phone, 1, 2), count(*), sum(c_acctbal) FROM customer WHERE substr(c_phone, 1, 2) IN ('13', '31', '23')
  AND c_acctbal > 5000 AND NOT EXISTS (SELECT FROM orders WHERE o_custkey = c_custkey) GROUP BY 1 ORDER BY 1;
-- a01 one order
SELECT * FROM orders JOIN lineitem ON l_orderkey = o_orderkey WHERE o_orderkey = 4711 ORDER BY l_linenumber;
-- a02 the newest orders of the best customer
SELECT o_orderkey, o_totalprice FROM orders WHERE o_custkey = 1 ORDER BY o_orderdate DESC LIMIT 5;
-- a03 how often a rare customer ordered
SELECT count(*) FROM orders WHERE o_custkey = 1201;
-- a04 a customer by name
SELECT c_custkey FROM customer WHERE lower(c_name) = 'customer#000000017';
-- a05 a customer by mail
SELECT c_custkey FROM customer WHERE c_email = 'c17@example.org';
-- a06 what is open
SELECT o_orderpriority, count(*) FROM orders WHERE o_orderstatus = 'O' AND o_orderdate < date '1998-07-10' GROUP BY 1 ORDER BY 1;
-- a07 what was cancelled in a month
SELECT count(*) FROM orders WHERE o_cancelled_on >= date '1995-01-01' AND o_cancelled_on < date '1995-02-01';
-- a08 a clerk's orders
SELECT sum(o_totalprice) FROM orders WHERE o_clerk = 'Clerk#000000041';
-- a09 clerks by the beginning of their names
SELECT count(*) FROM orders WHERE o_clerk LIKE 'Clerk#00000014%';
-- a10 what came back of a part
SELECT count(*), sum(l_quantity) FROM lineitem WHERE l_partkey = 12 AND l_returnflag = 'R';
-- a11 very late lines
SELECT l_orderkey FROM lineitem WHERE l_receiptdate - l_commitdate > 118 ORDER BY 1;
-- a12 claims
SELECT count(*) FROM lineitem WHERE l_claim = 'claim 4242';
-- a13 lines by a column that has no index
SELECT count(*) FROM lineitem WHERE l_suppkey = 17 AND l_shipinstruct = 'COLLECT COD';
-- w01 an order is delivered
UPDATE orders SET o_orderstatus = 'F' WHERE o_orderkey = 4712;
-- w02 a price changes
UPDATE partsupp SET ps_supplycost = ps_supplycost + 1 WHERE ps_partkey = 15 AND ps_suppkey IN (SELECT s_suppkey FROM supplier WHERE s_nationkey = 3);
-- w03 an order is withdrawn
DELETE FROM orders WHERE o_orderkey = 4713;
