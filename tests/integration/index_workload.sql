-- What people add to the tables of pgbench, to a time series and to a queue. Names say nothing to the report.
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime, filler)
SELECT g % 10, 1, g, g, '2026-01-01'::timestamp + g * interval '1 minute', '' FROM generate_series(1, 20000) g;
CREATE INDEX accounts_aid ON pgbench_accounts (aid);
CREATE INDEX accounts_aid_again ON pgbench_accounts (aid);
CREATE INDEX accounts_bid_aid ON pgbench_accounts (bid, aid);
CREATE INDEX history_tid ON pgbench_history (tid);
CREATE INDEX history_tid_time ON pgbench_history (tid, mtime);

CREATE TABLE readings (sensor int NOT NULL, at timestamptz NOT NULL, value float8) PARTITION BY RANGE (at);
CREATE TABLE readings_1 PARTITION OF readings FOR VALUES FROM ('2026-02-01 00:00+00') TO ('2026-02-04 00:00+00');
CREATE TABLE readings_2 PARTITION OF readings FOR VALUES FROM ('2026-02-04 00:00+00') TO ('2026-02-07 00:00+00');
INSERT INTO readings SELECT g % 50, '2026-02-01 00:00+00'::timestamptz + g * interval '12 seconds', g
FROM generate_series(0, 43000) g;
CREATE INDEX readings_sensor ON readings (sensor);
CREATE INDEX readings_sensor_at ON readings (sensor, at);
CREATE INDEX readings_1_own ON readings_1 (sensor, at);

CREATE TABLE jobs (id int PRIMARY KEY, state text, priority int, owner text, code text UNIQUE, at timestamptz DEFAULT now());
INSERT INTO jobs SELECT g, CASE WHEN g % 100 = 0 THEN 'ready' ELSE 'done' END, g % 10, 'owner ' || g % 2000, 'c' || g
FROM generate_series(1, 20000) g;
CREATE INDEX jobs_ready ON jobs (priority DESC, id) WHERE state = 'ready';
CREATE INDEX jobs_state ON jobs (state) WHERE state = 'ready';
CREATE INDEX jobs_owner ON jobs (owner);
CREATE INDEX jobs_owner_pattern ON jobs (owner text_pattern_ops);
CREATE INDEX jobs_owner_lower ON jobs (lower(owner));
CREATE UNIQUE INDEX jobs_code ON jobs (code);
CREATE INDEX jobs_never ON jobs (at);
CREATE TABLE job_steps (job int REFERENCES jobs (id), step int);
INSERT INTO job_steps SELECT g % 1000 + 1, g FROM generate_series(1, 20000) g;
CREATE INDEX steps_job ON job_steps (job);
CREATE INDEX steps_job_step ON job_steps (job, step);
