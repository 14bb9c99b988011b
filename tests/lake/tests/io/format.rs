//! Reads intact and corrupt objects of each format.

use crate::support::{field, is_fatal, lines, sales, sales_schema, schema, words};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use orch_lake::batches::Batches;
use orch_lake::bucket::{Bucket, Options};
use orch_lake::format::csv::Csv;
use orch_lake::format::{csv, json, parquet};
use orch_sdk::task::TaskResult;
use std::ops::Deref;
use tempfile::TempDir;

struct Folder {
    bucket: Bucket,
    _folder: TempDir,
}

impl Deref for Folder {
    type Target = Bucket;

    fn deref(&self) -> &Bucket {
        &self.bucket
    }
}

fn folder() -> Folder {
    let folder = TempDir::new().expect("a folder");
    let url = format!("file://{}", folder.path().display());
    Folder { bucket: Bucket::open(&url, &Options::default()).expect("a folder"), _folder: folder }
}

fn some_sales() -> Batches {
    let first = sales(&[(1, Some("plain"), 29_998), (2, None, -5)]);
    let second = sales(&[(3, Some("a \"quoted\",\nsecond line"), 0)]);
    Batches::of(sales_schema(), vec![first, second])
}

const SALES: [&str; 3] = ["1 | plain | 299.98", "2 | - | -0.05", "3 | a \"quoted\",\nsecond line | 0.00"];

async fn read_csv(bucket: &Bucket, text: &str, schema: SchemaRef) -> TaskResult<Vec<String>> {
    bucket.put("x.csv", text.to_string()).await?;
    let batch = csv::read(bucket, "x.csv", schema, Csv::default()).await?.collect().await?;
    Ok(lines(&batch))
}

#[tokio::test]
async fn what_is_written_is_read() {
    let bucket = folder();
    let written = csv::write(&bucket, "a.csv", some_sales(), Csv::default()).await.expect("CSV");
    assert_eq!(written.rows, 3);
    let size = bucket.find("a.csv").await.expect("the folder answers").expect("it is there").bytes;
    assert_eq!(written.bytes, size);
    let rows = csv::read(&bucket, "a.csv", sales_schema(), Csv::default()).await.expect("CSV");
    assert_eq!(lines(&rows.collect().await.expect("rows")), SALES);

    json::write(&bucket, "a.json", some_sales()).await.expect("JSON");
    let rows = json::read(&bucket, "a.json", sales_schema()).await.expect("JSON");
    assert_eq!(lines(&rows.collect().await.expect("rows")), SALES);

    parquet::write(&bucket, "a.parquet", some_sales()).await.expect("Parquet");
    let rows = parquet::read(&bucket, "a.parquet").await.expect("Parquet");
    assert_eq!(rows.schema(), sales_schema());
    assert_eq!(lines(&rows.collect().await.expect("rows")), SALES);
}

#[tokio::test]
async fn a_packed_csv_is_read_as_it_was_before() {
    let bucket = folder();
    let plain: Vec<String> = (0..40_000).map(|id| format!("{id},{},1.00\r\n", "text".repeat(id % 7))).collect();
    let plain = plain.concat();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, format!("id,name,price\r\n{plain}").as_bytes()).expect("memory");
    let packed = encoder.finish().expect("memory");
    bucket.put("a.csv.gz", packed.clone()).await.expect("it is written");
    assert_eq!(csv::names(&bucket, "a.csv.gz", Csv::default()).await.expect("names"), ["id", "name", "price"]);
    let rows = csv::read(&bucket, "a.csv.gz", sales_schema(), Csv::default()).await.expect("CSV");
    let rows = lines(&rows.collect().await.expect("rows"));
    assert_eq!(
        (rows.len(), rows[1].as_str(), rows[39_999].as_str()),
        (40_000, "1 | text | 1.00", "39999 | text | 1.00")
    );
    bucket.put("cut.csv.gz", packed[..packed.len() / 2].to_vec()).await.expect("it is written");
    let rows = csv::read(&bucket, "cut.csv.gz", sales_schema(), Csv::default()).await.expect("it begins well");
    let error = rows.collect().await.expect_err("it is cut");
    assert!(words(&error).contains("cut.csv.gz` is no whole gzip file") && is_fatal(error));
}

#[tokio::test]
async fn what_is_in_a_parquet_file_is_known_without_its_rows() {
    let bucket = folder();
    parquet::write(&bucket, "a", some_sales()).await.expect("Parquet");
    let look = parquet::read_footer(&bucket, "a").await.expect("Parquet");
    assert_eq!((look.schema, look.rows, look.nulls), (sales_schema(), 3, vec![Some(0), Some(1), Some(0)]));
}

#[tokio::test]
async fn columns_of_parquet_are_chosen_and_cast_by_a_schema() {
    let bucket = folder();
    parquet::write(&bucket, "a", some_sales()).await.expect("Parquet");
    let wanted = schema(vec![field("price", DataType::Float64), field("id", DataType::Int32)]);
    let rows = parquet::read_as(&bucket, "a", wanted.clone()).await.expect("Parquet");
    assert_eq!(rows.schema(), wanted);
    assert_eq!(lines(&rows.collect().await.expect("rows"))[0], "299.98 | 1");
    let missing = schema(vec![field("cost", DataType::Float64)]);
    let error = words(&parquet::read_as(&bucket, "a", missing).await.expect_err("it has no such column"));
    assert!(error.contains("no column `cost`") && error.contains("id, name, price"), "{error}");
}

#[tokio::test]
async fn an_object_of_no_rows_still_has_its_columns() {
    let bucket = folder();
    let none = || Batches::of(sales_schema(), vec![]);
    csv::write(&bucket, "a.csv", none(), Csv::default()).await.expect("CSV");
    assert_eq!(bucket.get("a.csv").await.expect("it is there"), "id,name,price\n");
    let rows = csv::read(&bucket, "a.csv", sales_schema(), Csv::default()).await.expect("CSV");
    assert_eq!(rows.collect().await.expect("rows").num_rows(), 0);
    parquet::write(&bucket, "a.parquet", none()).await.expect("Parquet");
    assert_eq!(parquet::read(&bucket, "a.parquet").await.expect("Parquet").schema(), sales_schema());
}

#[tokio::test]
async fn a_csv_is_read_by_its_names_and_keeps_its_texts() {
    let bucket = folder();
    let moment = DataType::Timestamp(TimeUnit::Microsecond, None);
    let wanted = schema(vec![
        field("zip", DataType::Utf8),
        Field::new("at", moment, true),
        field("note", DataType::Utf8),
        Field::new("more", DataType::Utf8, true),
    ]);
    let text = "\u{feff}at,unknown,zip,more,note\r\n2013-07-25 00:00:00.0,9,00725,,\r\n,8,7,m,n\r\n";
    let read = read_csv(&bucket, text, wanted).await.expect("CSV");
    assert_eq!(read, ["00725 | 2013-07-25T00:00:00 |  | -", "7 | - | n | m"]);
}

#[tokio::test]
async fn a_broken_line_of_csv_is_told_with_its_number_and_column() {
    let bucket = folder();
    let wanted = || schema(vec![field("id", DataType::Int32), field("price", DataType::Decimal128(12, 2))]);
    for (text, told) in [
        ("id,price\n1,2.50\n2,secret\n", "line 3: column `price` is no `Decimal128(12, 2)`"),
        ("id,price\n1,2.50\n2147483648,1\n", "line 3: column `id` is no `Int32`"),
        ("id,price\n1,2.50\n,3\n", "line 3: column `id` must not be empty"),
        ("id,price,text\n1,1,\"a\nb\"\n2,x,c\n", "line 4: column `price`"),
        ("id,price\n1,2.50\n2\n", "line 3"),
        ("id,price\n1,2.50,7\n", "line 2"),
        ("id,cost\n1,2.50\n", "has no column `price`\nhint: its first line has id, cost"),
    ] {
        let error = read_csv(&bucket, text, wanted()).await.expect_err("it is broken");
        let said = words(&error);
        assert!(said.contains(told) && said.contains(&bucket.location("x.csv")) && !said.contains("secret"), "{said}");
        assert!(is_fatal(error), "{told}: it stays broken");
    }
}

#[tokio::test]
async fn a_broken_line_of_json_is_told_with_its_number() {
    let bucket = folder();
    let good = r#"{"id": 1, "name": null, "price": 2.5}"#;
    for (line, told) in [
        (r#"{"id": 2, "price": 1"#, "line 3: it is no JSON object"),
        (r#"{"id": 2, "price": 1} {"id": 3, "price": 1}"#, "line 3: it is no JSON object"),
        (r#"{"id": "secret", "price": 1}"#, "line 3"),
        (r#"{"id": 2, "name": "x"}"#, "line 3"),
    ] {
        bucket.put("x.json", format!("{good}\n\n{line}\n{good}\n")).await.expect("it can be written");
        let read = json::read(&bucket, "x.json", sales_schema()).await.expect("it is there").collect().await;
        let said = words(&read.expect_err("it is broken"));
        assert!(said.contains(told) && said.contains("x.json") && !said.contains("secret"), "{said}");
    }
}

#[tokio::test]
async fn a_parquet_that_was_cut_off_is_named() {
    let bucket = folder();
    parquet::write(&bucket, "a", some_sales()).await.expect("Parquet");
    let whole = bucket.get("a").await.expect("it is there");
    for length in [0, 3, 40, whole.len() - 1] {
        bucket.put("cut.parquet", whole.slice(..length)).await.expect("it can be written");
        let error = parquet::read(&bucket, "cut.parquet").await.expect_err("it is cut off");
        assert!(words(&error).contains("cut.parquet` is no whole Parquet file"), "{length}: {}", words(&error));
        assert!(is_fatal(error));
    }
    let error = parquet::read(&bucket, "none.parquet").await.expect_err("there is none");
    assert!(words(&error).contains("there is no object") && words(&error).contains("none.parquet"));
}

#[tokio::test]
async fn when_the_rows_break_off_no_object_is_there() {
    let bucket = folder();
    let broken = futures::stream::iter([Ok(sales(&[(1, None, 1)])), Err(anyhow::anyhow!("the source broke"))]);
    let rows = Batches::new(sales_schema(), broken);
    let error = parquet::write(&bucket, "a", rows).await.expect_err("the source broke");
    assert_eq!(words(&error), "the source broke");
    assert_eq!(bucket.list_all("").await.expect("the folder answers"), []);
}
