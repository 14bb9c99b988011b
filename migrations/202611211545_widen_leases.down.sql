drop table parked_run;
drop view kept_log;
alter table task_instance alter column lease_no type smallint using least(lease_no, 32767);
alter table attempt alter column lease_no type smallint using least(lease_no, 32767);
alter table failure alter column lease_no type smallint using least(lease_no, 32767);
alter table log_chunk alter column lease_no type smallint using least(lease_no, 32767);
alter table recalled_log alter column lease_no type smallint using least(lease_no, 32767);
alter table ready alter column lease_no type smallint using least(lease_no, 32767);
alter table waiting alter column lease_no type smallint using least(lease_no, 32767);
alter table progress alter column lease_no type smallint using least(lease_no, 32767);
create view kept_log as
    select run, attempt, lease_no, seq, lines, created_at, body from log_chunk
    union all
    select run, attempt, lease_no, seq, lines, created_at, body from recalled_log;
update schema_guard set version = 22;
