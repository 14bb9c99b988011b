drop table announcement;

update schema_guard set version = 33;
