-- A run that is cleared after its end has a second active period, and `ended_at` of the first one is overwritten. The clear adds the
-- time between the two here, so that the duration of the run is the sum of its active periods. Runs that were cleared before have 0: the
-- end of their earlier periods is not stored.
alter table dag_run add column idle_micros bigint not null default 0;

-- The duration of a run in seconds, null until the run has ended. The same as `active_time` in store/src/run/active.rs.
create function active_seconds(started_at timestamptz, ended_at timestamptz, idle_micros bigint) returns float8
    language sql immutable as $$
    select case when ended_at >= started_at
        then greatest(extract(epoch from ended_at - started_at)::float8 - idle_micros::float8 / 1000000, 0)
        when ended_at < started_at then 0 end
$$;

update schema_guard set version = 44;
