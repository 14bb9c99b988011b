-- `protect_audit` made this function with a setting of its own, which only a superuser may do, until its text was amended
-- (store/src/guard/amended.rs). In a database from before that it is made anew, so that a backup can be restored by any owner.
create or replace function clean_audit(before timestamptz, most bigint, only_dags text[], except_dags text[]) returns setof audit
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

update schema_guard set version = 36;
