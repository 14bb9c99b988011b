-- What contracts found of the data of assets, and how far tries are. A check is told in the transaction that records how
-- its task ended, so it is there exactly if that is; a check that made its task fail too.

create table asset_check (
    id bigint generated always as identity primary key,
    -- No foreign key, as with events: a contract may be about data that no DAG names, and a check outlives its run.
    uri text not null,
    name text not null,
    kind text not null,
    policy text not null check (policy in ('fail', 'warn', 'quarantine')),
    outcome text not null check (outcome in ('pass', 'warn', 'fail', 'quarantined')),
    rows bigint not null check (rows >= 0),
    bad bigint not null check (bad >= 0),
    -- What was found, for people: secrets are masked, and it is short.
    sample text not null default '' check (char_length(sample) <= 2000),
    run uuid not null,
    dag_id text not null,
    run_id text not null,
    task_id text not null,
    map_index integer not null,
    try_no smallint not null,
    attempt uuid not null,
    at timestamptz not null default now()
);
create index asset_check_uri on asset_check (uri, id desc);
create index asset_check_run on asset_check (run);
create index asset_check_at on asset_check (at);

-- The last word of a try about its rows and bytes; a row only of those that say something.
create table progress (
    run uuid not null,
    attempt uuid not null,
    lease_no smallint not null,
    rows bigint not null,
    bytes bigint not null,
    -- Since its body began, by the clock of its worker.
    after_ms bigint not null,
    at timestamptz not null default now(),
    primary key (run, attempt)
) with (fillfactor = 50);
create index progress_at on progress (at);

-- Steps of `ctx.commit` work as `orch_lake`: it writes the tables of the lake and what it is granted, and cannot read
-- orch's own. Where this user may make no roles, steps work as this user.
create schema if not exists lake;
do $$
begin
    if not exists (select from pg_roles where rolname = 'orch_lake') then
        begin
            create role orch_lake nologin;
        exception when duplicate_object or unique_violation or insufficient_privilege then
            null;
        end;
    end if;
    if not exists (select from pg_roles where rolname = 'orch_lake') then
        return;
    end if;
    -- Of a role that somebody else made this user may not become a member.
    if not pg_has_role(current_user, 'orch_lake', 'usage') then
        begin
            execute format('grant orch_lake to %I', current_user);
        exception when insufficient_privilege then
            null;
        end;
    end if;
    grant usage on schema lake to orch_lake;
    grant select, insert, update, delete on all tables in schema lake to orch_lake;
    alter default privileges in schema lake grant select, insert, update, delete on tables to orch_lake;
    grant insert on asset_check to orch_lake;
    execute format('grant usage on schema %I to orch_lake', current_schema());
end $$;

-- Whether the current user can become that role: from Postgres 16 on being a member is not enough.
create function steps_have_a_role() returns boolean language sql stable as $$
    select exists (select from pg_roles where rolname = 'orch_lake' and pg_has_role(current_user, oid,
        case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end))
$$;

update schema_guard set version = 13;
