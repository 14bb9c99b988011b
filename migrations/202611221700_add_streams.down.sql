drop table stream_minute;
drop table stream_partition;
drop table stream;
update schema_guard set version = 27;
