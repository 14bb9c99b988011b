-- The outcome of a file; it replaces an earlier one.
insert into lake.etl_control (table_name, source_file, month, state, sha256, bytes, rows, quarantined, found, run_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (table_name, source_file) do update set
    month = excluded.month, state = excluded.state, sha256 = excluded.sha256, bytes = excluded.bytes, rows = excluded.rows,
    quarantined = excluded.quarantined, found = excluded.found, run_id = excluded.run_id, updated_at = now()
