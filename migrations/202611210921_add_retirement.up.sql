-- How it goes with what schedulers clean by themselves (store/src/clean/passes.rs): an archive that is down is seen, and tried
-- again sooner than within the hour, as is a pass whose scheduler was killed.

create table retirement (
    one boolean primary key default true check (one),
    -- When a pass last came to its end.
    done_at timestamptz,
    -- Since when each has failed, how many, and why the last one did; null: the last one went well.
    failing_since timestamptz,
    failures integer not null default 0,
    error text,
    -- The next pass begins then, if the hour is not over sooner; null: it need not.
    retry_at timestamptz,
    check ((failing_since is null) = (failures = 0) and (failing_since is null) = (error is null))
);

update schema_guard set version = 20;
