drop function find_topic;
drop function append_records;
drop table topic_record;
drop table topic_partition;
drop table topic;
update schema_guard set version = 25;
