//! Into Postgres: staging, COPY and a swap in one transaction.
