"""A client from outside of orch: argv are the URL of the catalog, a token that may write, one that may not, and a table that is an asset."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import CommitFailedException, ForbiddenError, NamespaceNotEmptyError, NoSuchTableError

url, writer, reader, asset = sys.argv[1:]
catalog = RestCatalog("orch", uri=url, token=writer)
only_reads = RestCatalog("orch", uri=url, token=reader)


def refused(exception, call):
    try:
        call()
    except exception as error:
        return str(error)
    raise AssertionError(f"it was not refused: {call}")


def rows(first, many=1):
    return pa.table({"id": pa.array(range(first, first + many), pa.int64())})


catalog.create_namespace("outside")
counted = catalog.create_table("outside.counted", rows(0).schema)
# As Trino asks for it.
assert counted.location() == catalog.load_namespace_properties("outside")["location"] + "/counted"
assert "needs the role `op`" in refused(ForbiddenError, lambda: only_reads.create_namespace("mine"))
assert "needs the role `op`" in refused(ForbiddenError, lambda: only_reads.load_table("outside.counted").append(rows(0)))
for place in ["file:///elsewhere", "file:/elsewhere", "/elsewhere", counted.location() + "/../../../elsewhere"]:
    elsewhere = lambda: catalog.create_table("outside.elsewhere", rows(0).schema, location=place)
    assert "outside of the warehouse" in refused(ForbiddenError, elsewhere), place
# As Spark writes it.
place = counted.location().replace("file:///", "file:/") + "_too"
assert catalog.create_table("outside.counted_too", rows(0).schema, location=place).location() == place
catalog.drop_table("outside.counted_too")
refused(NamespaceNotEmptyError, lambda: catalog.drop_namespace("outside"))
refused(NoSuchTableError, lambda: catalog.load_table("outside.missing"))

# From here on orch writes too.
print("ready", flush=True)


def append(id):
    """Appends one row. It tries again when another writer was faster."""
    while True:
        try:
            return catalog.load_table("outside.counted").append(rows(id))
        except CommitFailedException:
            pass


with ThreadPoolExecutor(8) as threads:
    list(threads.map(append, range(32)))

# What orch loaded, and one more row of it: an update that DAGs hear of.
filled = catalog.load_table(asset)
one = filled.scan(limit=1).to_arrow()
before = filled.scan().to_arrow().num_rows
filled.append(one.cast(filled.schema().as_arrow()))
assert only_reads.load_table(asset).scan().to_arrow().num_rows == before + 1

# Names in pages.
for n in range(5):
    catalog.create_table(f"outside.page_{n}", rows(0).schema)
assert [name for _, name in catalog.list_tables("outside")] == ["counted", *(f"page_{n}" for n in range(5))]
catalog.rename_table("outside.page_0", "outside.renamed")
catalog.drop_table("outside.renamed")
catalog.purge_table("outside.page_1")
assert len(only_reads.list_tables("outside")) == 4
print("done", flush=True)
