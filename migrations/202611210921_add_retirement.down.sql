update schema_guard set version = 19;

drop table retirement;
