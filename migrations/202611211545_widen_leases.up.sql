-- Every look of a sensor and every deferral is a new lease of the same try: 32,767 of them are three days of looks, one each
-- 10 seconds. After that nothing could be recorded of the try, nor given to others when its worker was lost.
drop view kept_log;
alter table task_instance alter column lease_no type integer;
alter table attempt alter column lease_no type integer;
alter table failure alter column lease_no type integer;
alter table log_chunk alter column lease_no type integer;
alter table recalled_log alter column lease_no type integer;
alter table ready alter column lease_no type integer;
alter table waiting alter column lease_no type integer;
alter table progress alter column lease_no type integer;
create view kept_log as
    select run, attempt, lease_no, seq, lines, created_at, body from log_chunk
    union all
    select run, attempt, lease_no, seq, lines, created_at, body from recalled_log;

-- Runs that cannot be moved on: what is stored of them cannot be read, or what follows cannot be written. The others go on;
-- a scheduler tries these again now and then. The row goes when the run is folded again, or deleted.
create table parked_run (
    run uuid primary key references dag_run on delete cascade,
    why text not null,
    parked_at timestamptz not null default now(),
    tried_at timestamptz not null default now()
);

update schema_guard set version = 23;
