drop table stream_started;
drop function move_reader(text, bigint, text, text, text, text, text, text, integer[], bigint[], bigint[], bigint[]);
drop table topic_reader_partition;
drop table topic_reader;
update schema_guard set version = 29;
