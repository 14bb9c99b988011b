-- Tasks that wait for a condition without a slot. A row of `waiting` with a kind is looked at by workers; one without
-- waits for its time alone, and schedulers wake it.
alter table waiting
    add column kind text,                   -- of the condition: file, sql, …
    add column config json,                 -- what belongs to that kind
    add column poke_ms bigint not null default 0, -- between two looks; `wake_at` is the next one, or when the look under way counts as lost
    add column give_up_at timestamptz,
    add column on_timeout text not null default 'fail' check (on_timeout in ('fail', 'skip', 'resume')),
    add column carried json,                -- what one call of the body says to the next
    add column answer json,                 -- how the wait ended, for the next call of the body
    add column looked_by integer,           -- the worker that looks
    add column looks integer not null default 0, -- with `looked_by` the fence of an answer
    add column errors integer not null default 0, -- looks in a row that failed
    add column last_error text;
drop index waiting_due;
create index waiting_due on waiting (wake_at) where kind is null;
create index waiting_look on waiting (queue, wake_at) where kind is not null;
create index waiting_give_up on waiting (give_up_at) where kind is not null and give_up_at is not null;

-- How the last wait of the try `attempt` ended: {"attempt", "end", "carried"}.
alter table task_instance add column resumed json;

update schema_guard set version = 10;
