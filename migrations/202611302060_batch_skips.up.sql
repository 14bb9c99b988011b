-- Instances that a run ended before they started, and whose rows are not written yet: the elements of a long map take longer than a run
-- may be locked. A batch goes in the statement that writes its rows.
create table unwritten_skip (
    run uuid not null references dag_run on delete cascade,
    batch integer not null check (batch >= 0),
    rev integer not null,                   -- of the end of the run
    -- Ranges of elements, one in each position of the arrays. -1 to -1: the task is not mapped.
    tasks smallint[] not null,
    firsts integer[] not null,
    lasts integer[] not null,
    primary key (run, batch)
);

update schema_guard set version = 43;
