alter table stream drop column closed_before;
alter table stream_partition drop column watermark;
drop table stream_window;

update schema_guard set version = 28;
