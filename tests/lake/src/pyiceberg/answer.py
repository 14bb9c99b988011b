"""PyIceberg with a catalog open. After `python/asked.py`."""

import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import parse_transform
from pyiceberg.types import IcebergType, NestedField

catalog = None
planned = None


def kind(text):
    return IcebergType.model_validate(text)


def rows_of(table):
    return {"columns": table.column_names, "rows": [[cell(row[name]) for name in table.column_names] for row in table.to_pylist()]}


def batch(table, asked):
    """The rows of a question, typed as the table is."""
    schema = table.schema().as_arrow()
    columns = []
    for place, name in enumerate(asked["columns"]):
        texts = pa.array([row[place] for row in asked["rows"]], pa.string())
        columns.append(texts.cast(schema.field(name).type))
    fields = [schema.field(name) for name in asked["columns"]]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def rows(table, asked):
    snapshot = asked.get("snapshot")
    if asked.get("ref"):
        snapshot = table.snapshot_by_name(asked["ref"]).snapshot_id
    return rows_of(table.scan(row_filter=asked.get("filter") or AlwaysTrue(), snapshot_id=snapshot).to_arrow())


def plan(table):
    """Plans a scan of the current snapshot for `read_planned`, and returns the paths of its files."""
    global planned
    scan = table.scan()
    tasks = list(scan.plan_files())
    planned = scan, tasks
    return sorted({file.file_path for task in tasks for file in [task.file, *task.delete_files]})


def read_planned():
    scan, tasks = planned
    return rows_of(ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter).to_table(tasks))


def describe(table, _):
    files = table.inspect.files().to_pylist()
    return {
        "columns": [[field.field_id, field.name, str(field.field_type), field.required] for field in table.schema().fields],
        "partition": [[table.schema().find_column_name(field.source_id), str(field.transform)] for field in table.spec().fields],
        "specs": len(table.specs()),
        "snapshots": [[s.snapshot_id, s.summary.operation.value, s.summary.additional_properties] for s in table.metadata.snapshots],
        "refs": {name: [ref.snapshot_id, ref.snapshot_ref_type.value] for name, ref in table.metadata.refs.items()},
        "properties": table.properties,
        "data_files": sum(file["content"] == 0 for file in files),
        "delete_files": sum(file["content"] != 0 for file in files),
    }


def create(asked):
    fields = [
        NestedField(field_id=place + 1, name=name, field_type=kind(type_name), required=required)
        for place, (name, type_name, required) in enumerate(asked["columns"])
    ]
    keys = [field.field_id for field in fields if field.name in asked.get("key", [])]
    schema = Schema(*fields, identifier_field_ids=keys)
    parts = [
        PartitionField(schema.find_field(column).field_id, 1000 + place, parse_transform(transform), f"{column}_{place}")
        for place, (column, transform) in enumerate(asked.get("partition", []))
    ]
    catalog.create_namespace_if_not_exists(asked["table"].rsplit(".", 1)[0])
    catalog.create_table(asked["table"], schema, partition_spec=PartitionSpec(*parts), properties=asked.get("properties", {}))


def evolve(table, asked):
    with table.update_schema() as update:
        for name, type_name in asked.get("add", []):
            update.add_column(name, kind(type_name))
        for name, new in asked.get("rename", []):
            update.rename_column(name, new)
        for name, type_name in asked.get("widen", []):
            update.update_column(name, field_type=kind(type_name))
        for name in asked.get("drop", []):
            update.delete_column(name)
    with table.update_spec() as update:
        for name in asked.get("unpartition", []):
            update.remove_field(name)
        for column, transform in asked.get("partition", []):
            update.add_field(column, parse_transform(transform))


def answer(asked):
    global catalog
    what = asked["ask"]
    if what == "open":
        catalog = load_catalog(asked["name"], **asked["properties"])
        return None
    if what == "create":
        return create(asked)
    if what == "read planned":
        return read_planned()
    table = catalog.load_table(asked["table"])
    match what:
        case "rows":
            return rows(table, asked)
        case "describe":
            return describe(table, asked)
        case "plan":
            return plan(table)
        case "append":
            table.append(batch(table, asked))
        case "overwrite":
            table.overwrite(batch(table, asked), overwrite_filter=asked["filter"])
        case "upsert":
            table.upsert(batch(table, asked), join_cols=asked["key"])
        case "delete":
            table.delete(asked["filter"])
        case "evolve":
            evolve(table, asked)
        case "tag":
            table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, asked["name"]).commit()
        case "drop":
            catalog.drop_table(asked["table"])
        case _:
            raise ValueError(f"nobody knows `{what}`")
    return None


answer_all(answer)
