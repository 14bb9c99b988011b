drop table kafka_abort;
update schema_guard set version = 41;
