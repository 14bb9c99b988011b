//! Spark, by `spark-submit` or beside a Connect server: a small application, which is part of this binary, reads the views where
//! they are and writes the tables into the bucket. It is told what to do, and the passwords it needs, in a file that only the
//! worker's user can read.

use super::job::{Format, Job, Outside, Target, View, sql_type};
use super::{Engine, Rows};
use arrow::datatypes::SchemaRef;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use orch::{Connection, Ctx, Spark, TaskResult, fatal};
use orch_lake::bucket::Options;
use orch_lake::format::parquet;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const APPLICATION: &str = include_str!("job.py");
const JOB: &str = "spark.orch.job";
/// Spark shows the values of no property whose name has the word.
const SECRETS: &str = "spark.orch.secret";

const MYSQL_PORT: u16 = 3306;
/// The folder of a try in which rows lie that Spark is to read.
const STAGED: &str = "_views";

pub(super) struct OnSpark {
    /// The drivers of databases are a matter of its server.
    pub(super) is_connect: bool,
}

/// The last line of the application.
#[derive(Deserialize)]
struct ApplicationOutput {
    rows: Rows,
}

impl Engine for OnSpark {
    fn name(&self) -> &'static str {
        if self.is_connect { "spark_connect" } else { "spark" }
    }

    fn refuses(&self, job: &Job) -> Option<String> {
        let why = |view: &View| match &view.outside {
            Some(Outside::MySql { .. }) if self.is_connect => {
                Some(format!("a Spark Connect server may have no driver for MySQL, where `{}` is", view.name))
            }
            _ => None,
        };
        job.views.iter().find_map(why)
    }

    fn write<'a>(&'a self, ctx: &'a Ctx, job: &'a Job) -> BoxFuture<'a, TaskResult<Rows>> {
        async move {
            let staged = stage(ctx, job).await?;
            let said = submission(job, &staged)?.submit_script(ctx, APPLICATION).await?;
            let said: ApplicationOutput = serde_json::from_value(said.value)
                .map_err(|_| fatal("the application did not say how many rows it wrote"))?;
            Ok(said.rows)
        }
        .boxed()
    }
}

/// Objects by the view whose rows they have.
type Staged = BTreeMap<&'static str, String>;

/// Puts what only this process can read into the bucket, where Spark finds it. It is removed with all else of this try.
async fn stage(ctx: &Ctx, job: &Job) -> TaskResult<Staged> {
    let mut staged = Staged::new();
    for view in job.views.iter().filter(|view| view.outside.is_none()) {
        let key = format!("{}/{STAGED}/{}.parquet", job.place, view.name);
        let written = parquet::write(&job.bucket, &key, (view.open)().await?.report_progress(ctx)).await?;
        ctx.info(format!("{} rows for `{}` are at `{}`", written.rows, view.name, written.location));
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
    for (at, view) in job.views.iter().enumerate() {
        let secret = format!("{SECRETS}.{at}");
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
        "path": for_hadoop(&job.bucket.location(&job.place_of(target))),
    }))
}

fn columns(schema: &SchemaRef) -> TaskResult<Vec<Value>> {
    let column = |field: &arrow::datatypes::FieldRef| {
        let of_type = sql_type(field.data_type())?;
        Ok(json!({ "name": field.name(), "type": of_type, "nullable": field.is_nullable() }))
    };
    schema.fields().iter().map(column).collect()
}

/// Where rows are read, and the password that `secret` stands for.
fn source(view: &View, staged: &Staged, secret: &str) -> TaskResult<(Value, Option<String>)> {
    let objects = |format: Format, locations: &[String]| {
        let paths: Vec<String> = locations.iter().map(|location| for_hadoop(location)).collect();
        json!({ "format": format, "paths": paths })
    };
    match &view.outside {
        Some(Outside::Objects { format, locations }) => Ok((objects(*format, locations), None)),
        Some(Outside::MySql { connection, table, key }) => {
            let source = json!({
                "url": url(connection)?, "user": connection.login, "password": secret, "table": table, "key": key,
            });
            Ok((source, Some(connection.password.clone().unwrap_or_default())))
        }
        None => {
            let location = staged.get(view.name).ok_or_else(|| fatal(format!("Spark cannot read `{}`", view.name)))?;
            Ok((objects(Format::Parquet, std::slice::from_ref(location)), None))
        }
    }
}

/// Both drivers of MySQL take it; that of MariaDB only with the word behind it.
fn url(connection: &Connection) -> TaskResult<String> {
    let [host, database] = [&connection.host, &connection.schema].map(|part| part.as_deref().unwrap_or_default());
    if host.is_empty() || database.is_empty() {
        return Err(fatal(format!("connection `{}` names no host or no database", connection.id)));
    }
    let port = connection.port.unwrap_or(MYSQL_PORT);
    Ok(format!("jdbc:mysql://{host}:{port}/{database}?permitMysqlScheme=true"))
}

/// Hadoop has its own word for S3.
fn for_hadoop(location: &str) -> String {
    location.strip_prefix("s3://").map_or_else(|| location.to_owned(), |rest| format!("s3a://{rest}"))
}

fn object_store(options: &Options) -> Vec<(&'static str, String)> {
    let told = [
        ("endpoint", options.endpoint.clone()),
        ("endpoint.region", options.region.clone().or_else(|| options.endpoint.as_ref().map(|_| "us-east-1".into()))),
        ("access.key", options.access_key.clone()),
        ("secret.key", options.secret_key.clone()),
        ("session.token", options.session_token.clone()),
        ("path.style.access", Some((!options.virtual_host).to_string())),
    ];
    told.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use orch_lake::bucket::Buckets;
    use orch_lake::contract::Contract;
    use std::sync::Arc;

    #[test]
    fn the_job_has_no_secret_in_it() {
        let buckets = Connection::from_uri("buckets", "s3://key:hush-keys@store:9000").expect("a URI");
        let shop = Connection::from_uri("shop", "mysql://me:hush%40db@db.test/retail").expect("a URI");
        let buckets = Buckets::of(&buckets).expect("buckets");
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("price", DataType::Decimal128(12, 2), true),
        ]));
        let job = Job {
            name: "a_job",
            views: vec![View {
                name: "products",
                schema: schema.clone(),
                open: Arc::new(|| std::future::ready(Err(anyhow::anyhow!("it is elsewhere"))).boxed()),
                outside: Some(Outside::MySql { connection: Box::new(shop), table: "products", key: Some("id") }),
            }],
            tables: vec![Target::new(
                "products",
                schema,
                "SELECT id, price FROM products".into(),
                Contract::of("bucket://raw/products"),
            )],
            format: Format::Csv,
            bucket: buckets.bucket("raw").expect("a bucket"),
            options: buckets.options().clone(),
            place: "_writing/1".into(),
        };
        let conf = submission(&job, &Staged::new()).expect("a submission").conf;
        let said = conf[JOB].as_str().expect("a text");
        assert!(!said.contains("hush"), "{said}");
        let said: Value = serde_json::from_str(said).expect("JSON");
        assert_eq!(said["tables"][0]["path"], "s3a://raw/_writing/1/products");
        assert_eq!(
            said["views"][0]["columns"][1],
            json!({ "name": "price", "type": "DECIMAL(12,2)", "nullable": true })
        );
        assert_eq!(said["views"][0]["source"]["url"], "jdbc:mysql://db.test:3306/retail?permitMysqlScheme=true");
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
