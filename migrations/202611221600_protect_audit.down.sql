drop function clean_audit(timestamptz, bigint, text[], text[]);
drop trigger audit_is_not_emptied on audit;
drop trigger audit_is_kept on audit;
drop function audit_is_kept();
update schema_guard set version = 26;
