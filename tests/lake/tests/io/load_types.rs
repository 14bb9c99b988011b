//! Loads into Postgres: the mapping of column types.

use crate::support::{ask, database, execute_sql, sales, sales_schema};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringViewArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampSecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use orch_lake::batches::Batches;
use orch_lake::load::{Load, connect};
use orch_lake::source::postgres::{PostgresSource, read};
use std::sync::Arc;

#[tokio::test]
async fn every_plain_type_arrives_as_the_server_writes_it() {
    let connection = database().await;
    let db = connect(&connection).await.expect("the server answers");
    let uuid = FixedSizeBinaryArray::try_from_iter([[0xab; 16]].iter()).expect("sixteen bytes");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("b", Arc::new(BooleanArray::from(vec![true]))),
        ("i1", Arc::new(Int8Array::from(vec![-8]))),
        ("i2", Arc::new(Int16Array::from(vec![-16]))),
        ("i4", Arc::new(Int32Array::from(vec![i32::MIN]))),
        ("u4", Arc::new(UInt32Array::from(vec![u32::MAX]))),
        ("i8", Arc::new(Int64Array::from(vec![i64::MAX]))),
        ("f4", Arc::new(Float32Array::from(vec![0.5]))),
        ("f8", Arc::new(Float64Array::from(vec![f64::NAN]))),
        (
            "n",
            Arc::new(
                Decimal128Array::from(vec![10_i128.pow(38) - 1]).with_precision_and_scale(38, 3).expect("it fits"),
            ),
        ),
        ("t", Arc::new(StringViewArray::from(vec!["ä\t\"quoted\" text, longer than a view"]))),
        ("y", Arc::new(BinaryArray::from(vec![&b"\0\xff"[..]]))),
        ("u", Arc::new(uuid)),
        ("d", Arc::new(Date32Array::from(vec![-1]))),
        ("h", Arc::new(Time64MicrosecondArray::from(vec![43_200_000_001]))),
        ("m", Arc::new(TimestampSecondArray::from(vec![1_374_710_400]))),
        ("z", Arc::new(TimestampMicrosecondArray::from(vec![-1]).with_timezone("+00:00"))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("it fits");
    let load = Load::into("public", "odd \"name\"").key(["i4"]);
    let replace = async || {
        let rows = Batches::of(batch.schema(), vec![batch.clone()]);
        load.replace(&connection, rows).await.expect("it can be loaded")
    };
    replace().await;
    let again = replace().await;
    assert_eq!((again.written, again.bytes), (0, 21), "the server has the same bytes: only a head and an end are sent");
    execute_sql(&db, "set timezone = 'UTC'").await;
    let row = ask(
        &db,
        "select concat_ws(' | ', b, i1, i2, i4, u4, i8, f4, f8, n, t, y, u, d, h, m, z) from \"odd \"\"name\"\"\"",
    )
    .await;
    let expected = "t | -8 | -16 | -2147483648 | 4294967295 | 9223372036854775807 | 0.5 | NaN | \
                    99999999999999999999999999999999999.999 | ä\t\"quoted\" text, longer than a view | \\x00ff | \
                    abababab-abab-abab-abab-abababababab | 1969-12-31 | 12:00:00.000001 | 2013-07-25 00:00:00 | \
                    1969-12-31 23:59:59.999999+00";
    assert_eq!(row, [expected]);
}

#[tokio::test]
async fn what_reads_and_what_loads_agree_about_a_million_rows() {
    let connection = database().await;
    let query = "select n::bigint as id, 'name ' || n as name, (n % 100000 / 100.0)::numeric(12,2) as price \
                 from generate_series(1, 1000000) n";
    let query = PostgresSource::query(query).cast("price", DataType::Decimal128(12, 2));
    let rows = read(&connection, query).await.expect("rows");
    let loaded = Load::into("retail", "million").replace(&connection, rows).await.expect("it can be loaded");
    assert_eq!((loaded.rows, loaded.written), (1_000_000, 1_000_000));
    let db = connect(&connection).await.expect("the server answers");
    let sums = "select concat_ws(' ', count(*), sum(id), sum(length(name)), sum(price)) from retail.million";
    let expected = "select concat_ws(' ', count(*), sum(n), sum(length('name ' || n)), \
                    sum((n % 100000 / 100.0)::numeric(12,2))) from generate_series(1, 1000000) n";
    assert_eq!(ask(&db, sums).await, ask(&db, expected).await);
}

#[tokio::test]
async fn a_new_column_joins_the_table_and_its_alias() {
    let connection = database().await;
    let load = Load::into("retail", "sales").key(["id"]).alias("sale");
    let first = sales(&[(1, None, 100)]);
    load.replace(&connection, Batches::of(sales_schema(), vec![first.clone()])).await.expect("it is made");
    let mut fields: Vec<Arc<Field>> = sales_schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("state", DataType::LargeUtf8, true)));
    let wider = Arc::new(Schema::new(fields));
    let mut columns = first.columns().to_vec();
    columns.push(Arc::new(LargeStringArray::from(vec!["CA"])));
    let batch = RecordBatch::try_new(wider.clone(), columns).expect("it fits");
    let loaded = load.replace(&connection, Batches::of(wider, vec![batch])).await.expect("it widens");
    assert_eq!(loaded.written, 1);
    let db = connect(&connection).await.expect("the server answers");
    assert_eq!(ask(&db, "select state from retail.sale").await, ["CA"]);
}
