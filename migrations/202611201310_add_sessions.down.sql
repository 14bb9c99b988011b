drop table web_session;
update schema_guard set version = 1;
