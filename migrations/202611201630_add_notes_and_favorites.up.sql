-- What people write about task instances, which DAGs they like best, and what the body was that came with an idempotency
-- key: another body under the same key is refused.

-- By the task's id, not its position: a run that goes on in another version keeps its notes.
create table instance_note (
    run uuid not null references dag_run on delete cascade,
    map_index integer not null,
    task_id text not null,
    note text not null,
    primary key (run, task_id, map_index)
);

create table favorite (
    user_name text not null references api_user (name) on delete cascade,
    dag_id text not null references dag on delete cascade,
    primary key (user_name, dag_id)
);
create index favorite_dag on favorite (dag_id);

alter table dag_run_detail add column request_hash bytea;

update schema_guard set version = 4;
