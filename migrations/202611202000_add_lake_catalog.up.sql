-- Where the tables of the lake are (lake/src/catalog): the layout of JDBC catalogs, which PyIceberg's SqlCatalog and Spark
-- read and write too, with `search_path=lake`. A schema of its own, so that a role can be given these two tables and
-- nothing of orch. A commit to a table changes one row: room on its page keeps that update off the index.
create schema lake;

create table lake.iceberg_tables (
    catalog_name varchar(255) not null,
    table_namespace varchar(255) not null,
    table_name varchar(255) not null,
    metadata_location varchar(1000),
    previous_metadata_location varchar(1000),
    iceberg_type varchar(5),
    primary key (catalog_name, table_namespace, table_name)
) with (fillfactor = 50);

create table lake.iceberg_namespace_properties (
    catalog_name varchar(255) not null,
    namespace varchar(255) not null,
    property_key varchar(255) not null,
    property_value varchar(1000),
    primary key (catalog_name, namespace, property_key)
);

update schema_guard set version = 12;
