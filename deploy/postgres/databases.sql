-- Beside the metadata of orch: what the pipelines load for others to read, and Metabase's own settings.
create database warehouse;
create database taxi_db;
create database metabase;
