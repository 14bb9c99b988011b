//! What is read: MySQL, Postgres, HTTP, files. Bounded in memory, cancellable, counted.
