//! Spark, through `spark-submit` or a Spark Connect server. A small Python application reads the views and writes the
//! tables into the bucket. Its job and passwords are in a properties file that only the worker's user can read.

use super::RowCounts;
use super::job::{Format, Job, Outside, Target, View};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use orch::{Connection, Ctx, Spark, TaskResult, fatal};
use orch_lake::bucket::Options;
use orch_lake::format::parquet;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const APPLICATION: &str = include_str!("job.py");
const JOB: &str = "spark.orch.job";
/// Spark redacts properties whose names contain `secret`.
const SECRETS: &str = "spark.orch.secret";

const MYSQL_PORT: u16 = 3306;
/// Folder of the attempt for rows that only this process can read.
const STAGED: &str = "_views";

/// The last line that the application prints.
#[derive(Deserialize)]
struct ApplicationOutput {
    rows: RowCounts,
}

/// Submits the application and returns the number of rows that it wrote into each table.
pub(super) async fn write(ctx: &Ctx, job: &Job) -> TaskResult<RowCounts> {
    let staged = stage(ctx, job).await?;
    let output = submission(job, &staged)?.submit_script(ctx, APPLICATION).await?;
    let output: ApplicationOutput = serde_json::from_value(output.value)
        .map_err(|_| fatal("the application did not report the number of rows that it wrote"))?;
    Ok(output.rows)
}

/// Locations of staged rows, by view.
type Staged = BTreeMap<&'static str, String>;

/// Copies rows that only this process can read into the folder of the attempt, where Spark finds them.
async fn stage(ctx: &Ctx, job: &Job) -> TaskResult<Staged> {
    let mut staged = Staged::new();
    for view in job.views.iter().filter(|view| view.outside.is_none()) {
        let key = format!("{}/{STAGED}/{}.parquet", job.place, view.name);
        let written = parquet::write(&job.bucket, &key, (view.open)().await?.report_progress(ctx)).await?;
        ctx.info(format!("copied {} rows for `{}` to `{}`", written.rows, view.name, written.location));
        staged.insert(view.name, written.location);
    }
    Ok(staged)
}

fn submission(job: &Job, staged: &Staged) -> TaskResult<Spark> {
    let mut spark = Spark::default().name(job.name);
    for (name, value) in object_store(&job.options) {
        spark = spark.conf(&format!("spark.hadoop.fs.s3a.{name}"), value);
    }
    let mut views = Vec::new();
    for (number, view) in job.views.iter().enumerate() {
        let secret = format!("{SECRETS}.{number}");
        let (source, password) = source(view, staged, &secret)?;
        if let Some(password) = password {
            spark = spark.conf(&secret, password);
        }
        views.push(json!({ "name": view.name, "columns": columns(&view.schema)?, "source": source }));
    }
    let tables = job.tables.iter().map(|target| table(job, target)).collect::<TaskResult<Vec<Value>>>()?;
    Ok(spark.conf(JOB, json!({ "views": views, "tables": tables }).to_string()))
}

fn table(job: &Job, target: &Target) -> TaskResult<Value> {
    Ok(json!({
        "name": target.name,
        "sql": target.statement,
        "columns": columns(&target.schema)?,
        "format": job.format,
        "path": hadoop_path(&job.bucket.location(&job.folder_of(target))),
    }))
}

fn columns(schema: &SchemaRef) -> TaskResult<Vec<Value>> {
    let column = |field: &FieldRef| {
        let sql_type = sql_type(field.data_type())?;
        Ok(json!({ "name": field.name(), "type": sql_type, "nullable": field.is_nullable() }))
    };
    schema.fields().iter().map(column).collect()
}

fn sql_type(data_type: &DataType) -> TaskResult<String> {
    Ok(match data_type {
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 => "STRING".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP_NTZ".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        other => return Err(fatal(format!("Spark has no type for `{other}`"))),
    })
}

/// Returns the source that the application reads, and its password. The job contains the name `secret` instead of the
/// password.
fn source(view: &View, staged: &Staged, secret: &str) -> TaskResult<(Value, Option<String>)> {
    let objects = |format: Format, locations: &[String]| {
        let paths: Vec<String> = locations.iter().map(|location| hadoop_path(location)).collect();
        json!({ "format": format, "paths": paths })
    };
    match &view.outside {
        Some(Outside::Objects { format, locations }) => Ok((objects(*format, locations), None)),
        Some(Outside::MySql { connection, table, key }) => {
            let source = json!({
                "url": jdbc_url(connection)?, "user": connection.login, "password": secret, "table": table, "key": key,
            });
            Ok((source, Some(connection.password.clone().unwrap_or_default())))
        }
        None => {
            let location = staged.get(view.name).ok_or_else(|| fatal(format!("Spark cannot read `{}`", view.name)))?;
            Ok((objects(Format::Parquet, std::slice::from_ref(location)), None))
        }
    }
}

/// Returns a JDBC URL for the drivers of MySQL and MariaDB. MariaDB's driver accepts `jdbc:mysql:` only with
/// `permitMysqlScheme`.
fn jdbc_url(connection: &Connection) -> TaskResult<String> {
    let [host, database] = [&connection.host, &connection.schema].map(|part| part.as_deref().unwrap_or_default());
    if host.is_empty() || database.is_empty() {
        return Err(fatal(format!("connection `{}` has no host or no database", connection.id)));
    }
    let port = connection.port.unwrap_or(MYSQL_PORT);
    Ok(format!("jdbc:mysql://{host}:{port}/{database}?permitMysqlScheme=true"))
}

/// Hadoop's scheme for S3 is `s3a`.
fn hadoop_path(location: &str) -> String {
    location.strip_prefix("s3://").map_or_else(|| location.to_owned(), |rest| format!("s3a://{rest}"))
}

/// Returns the properties of Hadoop's S3 client.
fn object_store(options: &Options) -> impl Iterator<Item = (&'static str, String)> {
    let default_region = options.endpoint.as_ref().map(|_| "us-east-1".to_owned());
    let properties = [
        ("endpoint", options.endpoint.clone()),
        ("endpoint.region", options.region.clone().or(default_region)),
        ("access.key", options.access_key.clone()),
        ("secret.key", options.secret_key.clone()),
        ("session.token", options.session_token.clone()),
        ("path.style.access", Some((!options.virtual_host).to_string())),
    ];
    properties.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use futures::FutureExt as _;
    use orch_lake::bucket::Buckets;
    use orch_lake::contract::Contract;
    use std::sync::Arc;

    #[test]
    fn the_job_contains_no_secret() {
        let connection = |uri| Connection::from_uri("a", uri).unwrap();
        let buckets = Buckets::of(&connection("s3://key:hush-keys@store:9000")).unwrap();
        let shop = Box::new(connection("mysql://me:hush%40db@db.test/retail"));
        let schema = Arc::new(Schema::new(vec![Field::new("price", DataType::Decimal128(12, 2), true)]));
        let contract = Contract::of("bucket://raw/products");
        let job = Job {
            name: "a_job",
            views: vec![View {
                name: "products",
                schema: schema.clone(),
                open: Arc::new(|| std::future::ready(Err(anyhow::anyhow!("not opened"))).boxed()),
                outside: Some(Outside::MySql { connection: shop, table: "products", key: None }),
            }],
            tables: vec![Target::new("products", schema, "SELECT price FROM products", contract)],
            format: Format::Csv,
            bucket: buckets.bucket("raw").unwrap(),
            options: buckets.options().clone(),
            place: "_writing/1".into(),
        };
        let conf = submission(&job, &Staged::new()).unwrap().conf;
        let text = conf[JOB].as_str().unwrap();
        assert!(!text.contains("hush"), "{text}");
        for part in [
            r#""path":"s3a://raw/_writing/1/products""#,
            r#"{"name":"price","nullable":true,"type":"DECIMAL(12,2)"}"#,
            r#""url":"jdbc:mysql://db.test:3306/retail?permitMysqlScheme=true""#,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for (name, expected) in [
            ("spark.orch.secret.0", "hush@db"),
            ("spark.hadoop.fs.s3a.secret.key", "hush-keys"),
            ("spark.hadoop.fs.s3a.endpoint", "http://store:9000"),
            ("spark.hadoop.fs.s3a.path.style.access", "true"),
        ] {
            assert_eq!(conf[name], expected, "{name}");
        }
    }
}
