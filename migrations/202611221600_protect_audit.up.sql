-- Rows of the audit log are added and nothing else, whatever a program or a person with psql sends: Postgres refuses to change,
-- delete or truncate them. What is older than the audit log is kept for goes by `clean_audit` alone (store/src/clean/rows.rs).

create function audit_is_kept() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('orch.cleans_audit', true) = 'yes' then
        return old;
    end if;
    raise exception 'rows of the audit log are neither changed nor deleted' using errcode = 'OR002',
        hint = 'old ones go by `audit_retention`, or by `orch db clean --tables audit`';
end $$;
create trigger audit_is_kept before update or delete on audit for each row execute function audit_is_kept();
create trigger audit_is_not_emptied before truncate on audit for each statement execute function audit_is_kept();

-- Deletes the oldest rows of before a moment and returns them, so that they can be archived by the same statement. Of some DAGs
-- (none: of all and of no DAG), not of others. The setting is in force in here only; not as a part of the function (`create function …
-- set`), which only a superuser may write.
create function clean_audit(before timestamptz, most bigint, only_dags text[], except_dags text[]) returns setof audit
    language plpgsql as $$
begin
    perform set_config('orch.cleans_audit', 'yes', true);
    return query delete from audit where ctid = any(array(select ctid from audit
        where at < before and (cardinality(only_dags) = 0 or dag_id = any(only_dags))
            and coalesce(dag_id <> all(except_dags), true)
        order by at limit most for update skip locked))
    returning *;
    perform set_config('orch.cleans_audit', '', true);
end $$;

-- Binaries of before cannot clean the audit log: their pass fails, is told, and is done by another one. All else they can.
update schema_guard set version = 27;
