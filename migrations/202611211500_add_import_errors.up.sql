-- DAG files that cannot be taken, as the workers that watch the folder found them. One row a file; it goes when the file
-- is mended or deleted.
create table import_error (
    id integer generated always as identity primary key,
    bundle text not null,
    file text not null,
    -- A list of {file, line, column, message, hint}.
    problems json not null,
    at timestamptz not null default now(),
    unique (bundle, file)
);

update schema_guard set version = 15;
