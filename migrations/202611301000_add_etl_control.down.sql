drop view etl_control;
drop table lake.etl_control;

update schema_guard set version = 37;
