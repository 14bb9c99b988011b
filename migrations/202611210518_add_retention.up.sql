-- What became of old rows, for people; and logs that were rolled over to an archive (store/src/rollover.rs) and are looked at
-- again, for a day.

create table cleanup (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    -- `scheduler`, or who sat at the command line.
    actor text not null,
    table_name text not null,
    -- The Monday of a week that went as a whole; null: rows of any time.
    week date,
    how text not null check (how in ('dropped', 'deleted', 'archived', 'exported', 'rolled over')),
    -- Of a week that was dropped or archived: as many as Postgres guessed; null: it had no guess.
    rows bigint check (rows >= 0),
    -- Where they are now: a table, or a place in the archive; null: nowhere.
    place text
);
create index cleanup_at on cleanup (at desc, id desc);
create index cleanup_rolled_over on cleanup (week) where how = 'rolled over';

create table recalled_log (
    run uuid not null,
    attempt uuid not null,
    lease_no smallint not null,
    seq integer not null,
    lines integer not null,
    created_at timestamptz not null,
    body text not null,
    recalled_at timestamptz not null default now(),
    primary key (run, attempt, lease_no, seq)
);
create index recalled_log_at on recalled_log (recalled_at);

-- Every log that can be read at once.
create view kept_log as
    select run, attempt, lease_no, seq, lines, created_at, body from log_chunk
    union all
    select run, attempt, lease_no, seq, lines, created_at, body from recalled_log;

update schema_guard set version = 18;
