-- Takes everything back; only for tests and for an empty installation.
drop function ledger_words(smallint[]);
drop table audit, setting, api_user, unfolded, waiting, held, ready, log_chunk, output_part, output, failure, attempt,
    task_instance, dag_run_detail, dag_run, stop_order, duty, process, worker, queue, dag, dag_version, schema_guard;
drop function running_runs(text);
drop function isoformat(timestamptz);
drop function make_partitions(timestamptz);
drop function uuid_of_moment(timestamptz);
drop function fence_lost();
drop type run_type;
drop type run_state;
drop type task_state;
