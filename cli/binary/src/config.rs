//! All settings of orch. Each field is a flag, an `ORCH_*` variable and a key of the file, in this order of precedence.
//! No other code of orch reads the environment.
//!
//! A group of fields is a set of flags that several commands share. All problems are reported together.

mod flags;
pub(crate) mod hidden;
mod source;
mod value;

pub use flags::{CommandLineSettings, Field};
pub use hidden::{KEPT, hidden, hide_secrets};
pub use source::{LoadedFrom, beginning_with};
pub use value::{LogFormat, Secret, Text};

use crate::failure::Failure;
use flags::config;
use orch_core::network::{BasePath, Network};
use orch_workers::Programs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

config! {
    /// Where the server is: for every command.
    ServerFlags {
        /// Postgres to work with; without it the private one of the data folder
        #[clap(global = true, help_heading = "Server", value_name = "URL")]
        database_url: Option<Secret> = "", "ORCH_DATABASE_URL";

        /// Role of the named database for the default connections of tasks; by default the owner, who can read all secrets
        #[clap(global = true, help_heading = "Server", value_name = "ROLE")]
        task_role: Option<String> = "", "ORCH_TASK_ROLE";

        /// A server to ask over its REST API instead of a database: `http://host:8080`
        #[clap(global = true, help_heading = "Server", value_name = "URL")]
        api_url: Option<String> = "", "ORCH_API_URL";

        /// Token for that server, from its `/auth/token`; a flag can be seen by others of this machine, a variable cannot
        #[clap(global = true, help_heading = "Server", visible_alias = "token", value_name = "TOKEN")]
        api_token: Option<Secret> = "", "ORCH_API_TOKEN";

        /// Folder of `orch standalone`: its database, and the file by which other commands find it
        #[clap(global = true, help_heading = "Server")]
        data_dir: PathBuf = "~/.local/share/orch", "ORCH_DATA_DIR";

        /// How long worker, scheduler, web and standalone wait for their database when they start; 0s: not at all
        #[clap(global = true, help_heading = "Server")]
        database_wait: Duration = "60s", "ORCH_DATABASE_WAIT";

        /// What to log: error, warn, info, debug, trace, or `target=level,…`
        #[clap(global = true, help_heading = "Server", value_name = "LEVEL")]
        log: String = "info", "ORCH_LOG";

        /// How to log: text or json
        #[clap(global = true, help_heading = "Server")]
        log_format: LogFormat = "text", "ORCH_LOG_FORMAT";
    }

    /// The web server.
    WebFlags {
        /// Address to listen at
        #[clap(short = 'H')]
        host: String = "127.0.0.1", "ORCH_HOST";

        /// Port to listen at; 0 takes a free one
        #[clap(short = 'p')]
        port: u16 = "8080", "ORCH_PORT";

        /// Password of the user `admin` if this start creates the user, else ignored; by default one is generated and printed
        admin_password: Option<Secret> = "", "ORCH_ADMIN_PASSWORD";

        /// Names by which people reach this server, with commas; needed for names that are not this machine's
        hosts: Vec<String> = "", "ORCH_HOSTS";

        /// Certificate for https, in PEM with its chain; picked up again when it changes
        #[clap(value_name = "FILE")]
        ssl_cert: Option<PathBuf> = "", "ORCH_SSL_CERT";

        /// Key of that certificate, in PEM
        #[clap(value_name = "FILE")]
        ssl_key: Option<PathBuf> = "", "ORCH_SSL_KEY";

        /// Serve plain http to other machines too: passwords can be read on the way
        #[clap(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        insecure_http: bool = "false", "ORCH_INSECURE_HTTP";

        /// Path below which all pages and the API are, behind a proxy that serves other things too: `/orch`
        #[clap(value_name = "PATH")]
        base_path: BasePath = "", "ORCH_BASE_PATH";

        /// Proxies with https in front of this server, by address or network, with commas; their `X-Forwarded-*` counts
        #[clap(value_name = "A,B/8,…")]
        trusted_proxies: Vec<Network> = "", "ORCH_TRUSTED_PROXIES";

        /// Requests a second that a user may send for long, ten times as many at once; 0: no limit
        rate_limit: u32 = "1000", "ORCH_RATE_LIMIT";

        /// Connections at the same time from one address; 0: an eighth of all
        connections_per_address: usize = "0", "ORCH_CONNECTIONS_PER_ADDRESS";

        /// Queries of the lake that one process runs at the same time; others wait for 2 s, then get status 429
        query_slots: usize = "2", "ORCH_QUERY_SLOTS";

        /// Let operators test connections and alerts from this server: it then asks any public address for them
        #[clap(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        test_connection: bool = "false", "ORCH_TEST_CONNECTION";

        /// Networks that such tests may reach although they are not public, with commas; `127.0.0.1` is this machine
        #[clap(value_name = "A,B/8,…")]
        test_networks: Vec<Network> = "", "ORCH_TEST_NETWORKS";
    }

    /// Workers.
    WorkerFlags {
        /// Name of this worker, for people; the host's without it
        #[clap(visible_alias = "name")]
        worker_name: String = "", "ORCH_WORKER_NAME";

        /// Queues to take tasks from, with commas
        #[clap(short = 'q')]
        queues: Vec<String> = "default", "ORCH_QUEUES";

        /// Tasks at the same time
        #[clap(short = 'c', visible_alias = "concurrency")]
        slots: usize = "256", "ORCH_SLOTS";

        /// Child processes at the same time, beside `slots`: tasks with `isolation = Process`
        process_slots: usize = "16", "ORCH_PROCESS_SLOTS";

        /// What a child process and all it starts may have in memory, in MB, unless its task says otherwise
        process_memory_mb: u32 = "4096", "ORCH_PROCESS_MEMORY_MB";

        /// Maximum number of elements of a map; a task fails if its map is longer. Use one value for all processes
        max_map_elements: u32 = "1000000", "ORCH_MAX_MAP_ELEMENTS";

        /// A worker that was not heard of for so long is lost and its tasks run again elsewhere
        lease: Duration = "15s", "ORCH_LEASE";

        /// How long a stopping worker waits for what it runs
        grace: Duration = "30s", "ORCH_GRACE";
    }

    /// Where DAG files are.
    FolderFlags {
        /// Folder of DAG files to watch; of `orch standalone` the folder `dags` in its data folder without it
        #[clap(value_name = "FOLDER")]
        dags_folder: Option<PathBuf> = "", "ORCH_DAGS_FOLDER";

        /// Folder of published queries to watch, files named `….endpoint.yaml`; the folder of DAG files without it
        #[clap(value_name = "FOLDER")]
        endpoints_folder: Option<PathBuf> = "", "ORCH_ENDPOINTS_FOLDER";

        /// Folder of streams to watch, files named `….stream.yaml`; the folder of DAG files without it
        #[clap(value_name = "FOLDER")]
        streams_folder: Option<PathBuf> = "", "ORCH_STREAMS_FOLDER";
    }

    /// What becomes of DAGs that are new here.
    DagFlags {
        /// Pause new DAGs; `orch standalone` and `orch dev` default to false
        #[clap(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        paused_at_creation: bool = "true", "ORCH_PAUSED_AT_CREATION";
    }

    /// The examples that orch ships.
    ExampleSetting {
        /// Register the example DAGs, sample streams, dashboards and published queries that orch ships. Use one value for all workers
        #[clap(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        examples: bool = "true", "ORCH_EXAMPLES";
    }

    /// Schedulers.
    SchedulerFlags {
        /// Finished runs are kept for so long
        run_retention: Duration = "90d", "ORCH_RUN_RETENTION";

        /// Logs are kept for so long
        log_retention: Duration = "30d", "ORCH_LOG_RETENTION";

        /// The audit log is kept for so long
        audit_retention: Duration = "365d", "ORCH_AUDIT_RETENTION";

        /// Where people reach the web server, for links in alerts: `https://orch.example.com`
        #[clap(value_name = "URL")]
        public_url: String = "", "ORCH_PUBLIC_URL";

        /// Programs that connections of type `command` may name: `pager=/usr/local/bin/page`, with commas
        #[clap(value_name = "NAME=PATH,…")]
        alert_programs: Programs = "", "ORCH_ALERT_PROGRAMS";
    }

    /// What a worker, a scheduler or a server of a bundle tells of itself.
    MetricsFlags {
        /// Address at which this process answers `GET /metrics` for Prometheus and `GET /healthz`: `127.0.0.1:9464`
        #[clap(value_name = "HOST:PORT")]
        metrics_address: Option<SocketAddr> = "", "ORCH_METRICS_ADDRESS";
    }

    /// Where goes what was kept so long.
    ArchiveFlags {
        /// Folder that all processes see, or `s3://bucket/prefix`, for old rows and logs; without it they are dropped
        #[clap(value_name = "FOLDER|URL")]
        archive: Option<String> = "", "ORCH_ARCHIVE";
    }

    /// Where connections and variables come from besides the environment and the database.
    SecretFlags {
        /// File with the keys that seal secrets in the database, in place of `ORCH_SECRET_KEY`
        #[clap(value_name = "FILE")]
        secret_key_file: Option<PathBuf> = "", "ORCH_SECRET_KEY_FILE";

        /// Connections in a file: .json, .yaml or .env
        #[clap(value_name = "FILE")]
        connections_file: Option<PathBuf> = "", "ORCH_CONNECTIONS_FILE";

        /// Variables in a file: .json, .yaml or .env
        #[clap(value_name = "FILE")]
        variables_file: Option<PathBuf> = "", "ORCH_VARIABLES_FILE";

        /// A vault with a KV store of version 2: `https://vault:8200`; its token comes from `ORCH_VAULT_TOKEN`
        #[clap(value_name = "URL")]
        vault_url: Option<String> = "", "ORCH_VAULT_URL";

        /// Where the vault's KV store is mounted
        #[clap(value_name = "PATH")]
        vault_mount: String = "secret", "ORCH_VAULT_MOUNT";

        /// Folder of connections in the vault's KV store
        #[clap(value_name = "PATH")]
        vault_connections_path: String = "connections", "ORCH_VAULT_CONNECTIONS_PATH";

        /// Folder of variables in the vault's KV store
        #[clap(value_name = "PATH")]
        vault_variables_path: String = "variables", "ORCH_VAULT_VARIABLES_PATH";

        /// Certificates (PEM) to believe the vault by
        #[clap(value_name = "FILE")]
        vault_ca_file: Option<PathBuf> = "", "ORCH_VAULT_CA_FILE";
    }

    /// The bundle beside a standalone or a web server.
    BundleFlags {
        /// Binary with pipelines, tables and SQL that runs beside this one; without it `orch-pipelines` in the same folder
        #[clap(value_name = "FILE")]
        bundle: Option<PathBuf> = "", "ORCH_BUNDLE";
    }

    /// Never flags: a command line can be read by everybody on the machine.
    NoFlags {
        /// Keys that seal secrets in the database, with commas: the first seals, all open
        secret_key: Option<Secret> = "", "ORCH_SECRET_KEY";

        /// Password of `task_role`
        task_password: Option<Secret> = "", "ORCH_TASK_PASSWORD";

        /// What Prometheus sends to `metrics_address` as its bearer token; needed where other machines reach it
        metrics_token: Option<Secret> = "", "ORCH_METRICS_TOKEN";

        /// Give clients of the catalog with the role `op` keys of the storage if they ask for them: of one table for an hour where the connection `lake` has `sts_role_arn`, else orch's own
        give_keys: bool = "false", "ORCH_GIVE_KEYS";

        /// Token for the vault
        vault_token: Option<Secret> = "", "ORCH_VAULT_TOKEN";
    }
}

/// The flag of the setting `examples`, and its short form.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct ExampleFlags {
    #[command(flatten)]
    setting: ExampleSetting,

    /// Short for `--examples=false`
    #[arg(long, conflicts_with = "examples")]
    no_examples: bool,
}

impl ExampleFlags {
    pub fn add_to(&self, given: &mut CommandLineSettings) {
        self.setting.add_to(given);
        if self.no_examples {
            given.flags.push(("examples", "false".into()));
        }
    }
}

/// The flags of all roles together.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct RoleFlags {
    #[command(flatten)]
    web: WebFlags,
    #[command(flatten)]
    worker: WorkerFlags,
    #[command(flatten)]
    folder: FolderFlags,
    #[command(flatten)]
    dags: DagFlags,
    #[command(flatten)]
    examples: ExampleFlags,
    #[command(flatten)]
    scheduler: SchedulerFlags,
    #[command(flatten)]
    archive: ArchiveFlags,
    #[command(flatten)]
    bundle: BundleFlags,
    #[command(flatten)]
    secrets: SecretFlags,
    #[clap(skip)]
    no_flags: NoFlags,
}

impl RoleFlags {
    pub fn add_to(&self, given: &mut CommandLineSettings) {
        self.web.add_to(given);
        self.worker.add_to(given);
        self.folder.add_to(given);
        self.dags.add_to(given);
        self.examples.add_to(given);
        self.scheduler.add_to(given);
        self.archive.add_to(given);
        self.bundle.add_to(given);
        self.secrets.add_to(given);
        self.no_flags.add_to(given);
    }
}

/// Minimum lease. A single slow commit can outlast a shorter one.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const LONGEST_LEASE: Duration = Duration::from_mins(10);
const MOST_SLOTS: usize = 100_000;
const MOST_PROCESSES: usize = 4_096;
const LEAST_MEMORY_MB: u32 = 32;
/// Maximum number of elements of a mapped task. A cancelled run has a row for each of them.
const MAX_MAP_ELEMENTS: u32 = 100_000_000;
/// Maximum number of concurrent queries. Each one is a process that uses up to 256 MB.
const MAX_QUERY_SLOTS: usize = 64;

impl CommandLineSettings {
    /// Returns the settings of the command line as environment variables for a child process with the same settings.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let variable = |key: &str| Config::FIELDS.iter().find(|field| field.key == key).map(|field| field.env);
        let flags = self.flags.iter().filter_map(|(key, text)| Some((variable(key)?, text.clone())));
        let file = self.file.as_ref().map(|file| (source::CONFIG_ENV, file.to_string_lossy().into_owned()));
        flags.chain(file).collect()
    }
}

/// Returns an invalid database URL without the parts that may be a password.
fn shown_address(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, _)) => format!("`{scheme}://…`"),
        None if url.contains(['@', '=']) => "(hidden, it may contain a password)".into(),
        None => format!("`{url}`"),
    }
}

impl Config {
    /// Returns the help of a flag for a command whose default differs from the declared one.
    ///
    /// # Panics
    /// Panics if no field has this key.
    pub fn help_with_default((key, default): (&str, &str)) -> String {
        let field = Self::FIELDS.iter().find(|field| field.key == key).expect("the field is declared");
        Field::help(field.about, field.env, default)
    }

    /// Returns the URL of the API, unless a database is named by a source with a higher precedence. Fails if both have
    /// the same precedence.
    pub fn api_url(&self) -> Result<Option<&str>, Failure> {
        let Some(url) = &self.api_url else { return Ok(None) };
        let source = |key| self.sources.get(key).map_or(0, LoadedFrom::plainness);
        match &self.database_url {
            Some(_) if source("database_url") > source("api_url") => Ok(None),
            Some(_) if source("database_url") == source("api_url") => {
                Err(Failure::new("both a database and an API are named")
                    .hint("leave `--database-url` or `--api-url` out"))
            }
            _ => Ok(Some(url)),
        }
    }

    /// Returns the source of a value as ` from ORCH_PORT`, or an empty string for a default.
    fn origin(&self, key: &str) -> String {
        match self.sources.get(key) {
            None | Some(LoadedFrom::Default) => String::new(),
            Some(source) => format!(" from {source}"),
        }
    }

    /// Returns the problems that parsing a single value cannot detect: ranges and combinations.
    fn problems(&self) -> Vec<Failure> {
        let mut problems = Vec::new();
        let mut refuse = |is_wrong: bool, message: String, hint: &str| {
            if is_wrong {
                problems.push(Failure::new(message).hint(hint));
            }
        };
        let from = |key: &str| self.origin(key);
        let lease = self.lease.show();
        refuse(
            self.lease < SHORTEST_LEASE || self.lease > LONGEST_LEASE,
            format!("lease `{lease}`{} is not between 1s and 10m", from("lease")),
            "write for example `15s`: a lost worker is noticed after this time",
        );
        let slots = self.slots;
        refuse(
            slots == 0 || slots > MOST_SLOTS,
            format!("slots `{slots}`{} is not between 1 and {MOST_SLOTS}", from("slots")),
            "set it to 1 or more; to run nothing on this machine, start no worker",
        );
        let slots = self.process_slots;
        refuse(
            slots == 0 || slots > MOST_PROCESSES,
            format!("process_slots `{slots}`{} is not between 1 and {MOST_PROCESSES}", from("process_slots")),
            "set it to a few for each CPU core: each is a process",
        );
        let slots = self.query_slots;
        refuse(
            slots == 0 || slots > MAX_QUERY_SLOTS,
            format!("query_slots `{slots}`{} is not between 1 and {MAX_QUERY_SLOTS}", from("query_slots")),
            "each query runs in its own process, which may take 256 MB",
        );
        let elements = self.max_map_elements;
        refuse(
            elements == 0 || elements > MAX_MAP_ELEMENTS,
            format!(
                "max_map_elements `{elements}`{} is not between 1 and {MAX_MAP_ELEMENTS}",
                from("max_map_elements")
            ),
            "map over batches of elements instead",
        );
        let memory = self.process_memory_mb;
        refuse(
            memory < LEAST_MEMORY_MB,
            format!("process_memory_mb `{memory}`{} is less than {LEAST_MEMORY_MB}", from("process_memory_mb")),
            "a child that does nothing needs some 20 MB",
        );
        let (cert, key) = (self.ssl_cert.is_some(), self.ssl_key.is_some());
        let (url, token) = (self.vault_url.is_some(), self.vault_token.is_some());
        for (is_wrong, given, missing, how) in [
            (cert && !key, "ssl_cert", "ssl_key", "`--ssl-key FILE` or `ORCH_SSL_KEY`"),
            (key && !cert, "ssl_key", "ssl_cert", "`--ssl-cert FILE` or `ORCH_SSL_CERT`"),
            (url && !token, "vault_url", "vault_token", "`ORCH_VAULT_TOKEN`"),
            (token && !url, "vault_token", "vault_url", "`--vault-url URL` or `ORCH_VAULT_URL`"),
        ] {
            let given_as = match self.sources.get(given) {
                Some(source @ (LoadedFrom::Flag(_) | LoadedFrom::Environment(_))) => source.to_string(),
                Some(LoadedFrom::Default | LoadedFrom::File(_)) | None => given.to_owned(),
            };
            refuse(
                is_wrong,
                format!("`{given}`{} is set, but `{missing}` is not", from(given)),
                &format!("set `{missing}` with {how}, or remove `{given_as}`: one needs the other"),
            );
        }
        refuse(
            self.task_password.is_some() && self.task_role.is_none(),
            "`task_password` is set and `task_role` is not".into(),
            "set `ORCH_TASK_ROLE` to the role that has this password",
        );
        refuse(
            self.metrics_address.is_some_and(|at| !at.ip().is_loopback()) && self.metrics_token.is_none(),
            "other machines reach `metrics_address`, and there is no token".into(),
            "set `ORCH_METRICS_TOKEN`, or listen at 127.0.0.1",
        );
        let is_url = self.public_url.starts_with("https://") || self.public_url.starts_with("http://");
        refuse(
            !self.public_url.is_empty() && !is_url,
            format!("public_url `{}`{} does not begin with `https://`", self.public_url, from("public_url")),
            "write for example `https://orch.example.com`, with the path if there is one",
        );
        if let Some(url) = &self.database_url
            && !["postgres://", "postgresql://"].iter().any(|scheme| url.reveal().starts_with(scheme))
        {
            let shown = shown_address(url.reveal());
            refuse(
                true,
                format!("database_url {shown}{} is not the address of a Postgres database", from("database_url")),
                "orch needs `postgres://user:password@host:5432/database`",
            );
        }
        refuse(self.queues.is_empty(), "queues is empty".into(), "name at least one, for example `default`");
        problems
    }
}
