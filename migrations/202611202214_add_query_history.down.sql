drop table query_history;
update schema_guard set version = 13;
