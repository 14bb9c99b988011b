-- What tries ask people, and what was answered. The wait itself is a row of `waiting` of kind `answer`, which no worker looks
-- at: a question is open as long as that row is there. Kept for each try, so that a new try asks anew.

create table approval (
    attempt uuid primary key,
    run uuid not null references dag_run on delete cascade,
    -- The id, not the place in a version: a run may go on in another one.
    task_id text not null,
    map_index integer not null,
    try_no smallint not null,
    question json not null,
    -- What is taken when nobody answers in time.
    fallback json,
    asked_at timestamptz not null default now(),
    give_up_at timestamptz,
    -- Answered, or its time was over. Neither: it is open, or was taken back (cleared, marked, its run ended).
    ended_at timestamptz,
    given json,
    given_by text,
    timed_out boolean not null default false,
    check (ended_at is not null or given is null and not timed_out),
    check (given_by is null or given is not null and not timed_out)
);
create index approval_run on approval (run, task_id, map_index);
create index approval_asked on approval (asked_at desc, attempt);
create index approval_ended on approval (ended_at desc) where ended_at is not null;
create index waiting_for_people on waiting (attempt) where kind = 'answer';

update schema_guard set version = 17;
