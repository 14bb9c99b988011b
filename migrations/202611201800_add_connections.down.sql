drop table variable;
drop table connection;
update schema_guard set version = 5;
