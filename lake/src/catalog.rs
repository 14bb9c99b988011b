//! Where the tables are: a trait, and the catalog in our Postgres.
