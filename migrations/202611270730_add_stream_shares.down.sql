drop table stream_process;
drop table stream_lot;
drop table stream_share;

update schema_guard set version = 34;
