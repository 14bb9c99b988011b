//! The DAGs of the binary. They are built only when a command needs them, which requests to a server do not.

use crate::config::Config;
use crate::failure::Failure;
use crate::server::BundleServer;
use clap::ArgMatches;
use orch_document::dashboard::Dashboard;
use orch_sdk::task::{Bundle, Connection, DefaultConnections, Installation};
use orch_spec::check::Problem;
use orch_store::archive::ArchiveSource;
use orch_store::lake_view::LakeSource;
use orch_store::stream::StreamSource;
use orch_workers::BodyOf;

/// Builds the DAGs of a binary under the name of its bundle.
type Build = Box<dyn FnOnce(&str) -> Result<Bundle, Vec<Problem>> + Send>;

type IsExample = fn(&str) -> bool;

/// Name and content of a dashboard file.
type DashboardFile = (&'static str, &'static str);

/// Everything that a binary brings: DAGs, connections, tables, streams, servers and dashboards.
pub struct BundleSource {
    build: Build,
    connections: DefaultConnections,
    lake: LakeSource,
    streams: StreamSource,
    servers: Vec<BundleServer>,
    dashboards: Vec<DashboardFile>,
    archives: ArchiveSource,
    neighbour: Option<&'static str>,
    body_of: BodyOf,
    /// `None` if the binary has no examples.
    is_example: Option<IsExample>,
}

impl BundleSource {
    /// Creates a source from `build`, which gets the name that the bundle is registered under.
    pub fn new(build: impl FnOnce(&str) -> Result<Bundle, Vec<Problem>> + Send + 'static) -> BundleSource {
        BundleSource {
            build: Box::new(build),
            connections: DefaultConnections::default(),
            lake: LakeSource::default(),
            streams: StreamSource::default(),
            servers: Vec::new(),
            dashboards: Vec::new(),
            archives: ArchiveSource::default(),
            neighbour: None,
            body_of: |task| Err(format!("this binary has no kind of task `{}`", task.kind)),
            is_example: None,
        }
    }

    /// Sets the default connections, which are used for ids that no user has set up.
    #[must_use]
    pub fn with_connections(
        self,
        make: impl Fn(&Installation) -> Vec<Connection> + Send + Sync + 'static,
    ) -> BundleSource {
        BundleSource { connections: DefaultConnections::new(make), ..self }
    }

    /// Sets the lake of the binary, for pages and SQL.
    #[must_use]
    pub fn with_lake(self, lake: LakeSource) -> BundleSource {
        BundleSource { lake, ..self }
    }

    /// Sets the streams that a worker of the binary runs in addition to its tasks.
    #[must_use]
    pub fn with_streams(self, streams: StreamSource) -> BundleSource {
        BundleSource { streams, ..self }
    }

    /// Adds a server, which becomes a subcommand of the binary.
    #[must_use]
    pub fn with_server(mut self, server: BundleServer) -> BundleSource {
        self.servers.push(server);
        self
    }

    /// Adds dashboards, each as its file name and content.
    #[must_use]
    pub fn with_dashboards(mut self, files: &[DashboardFile]) -> BundleSource {
        self.dashboards.extend_from_slice(files);
        self
    }

    /// Sets the source that opens archives in object stores instead of folders.
    #[must_use]
    pub fn with_archives(self, archives: ArchiveSource) -> BundleSource {
        BundleSource { archives, ..self }
    }

    /// Sets the file name of the bundle binary that is started with this one if it is in the same folder.
    #[must_use]
    pub fn with_bundle(self, name: &'static str) -> BundleSource {
        BundleSource { neighbour: Some(name), ..self }
    }

    /// Sets the function that builds the task functions of DAG files from their specification.
    #[must_use]
    pub fn with_file_bodies(self, body_of: BodyOf) -> BundleSource {
        BundleSource { body_of, ..self }
    }

    /// Marks the DAGs for which `is_example` returns true, and all streams and dashboards of the binary, as examples,
    /// which the setting `examples` switches off.
    #[must_use]
    pub fn with_examples(self, is_example: IsExample) -> BundleSource {
        BundleSource { is_example: Some(is_example), ..self }
    }

    /// Returns the predicate for examples if examples are switched off, otherwise `None`.
    fn switched_off(&self, config: &Config) -> Option<IsExample> {
        self.is_example.filter(|_| !config.examples)
    }

    /// Returns true if the streams of the binary are switched off. Streams of files are not affected.
    pub(crate) fn hides_streams(&self, config: &Config) -> bool {
        self.switched_off(config).is_some()
    }

    pub fn body_of(&self) -> BodyOf {
        self.body_of
    }

    pub fn lake(&self) -> LakeSource {
        self.lake.clone()
    }

    pub fn streams(&self) -> StreamSource {
        self.streams.clone()
    }

    pub(crate) fn servers(&self) -> Vec<BundleServer> {
        self.servers.clone()
    }

    /// Returns all dashboards, or all problems of their files. Returns an empty list if they are examples that are
    /// switched off.
    pub(crate) fn dashboards(&self, config: &Config) -> Result<Vec<(String, Dashboard)>, Failure> {
        if self.switched_off(config).is_some() {
            return Ok(Vec::new());
        }
        let read = self.dashboards.iter().map(|(file, text)| {
            let dashboard = Dashboard::read(file, text.as_bytes());
            dashboard.map(|dashboard| ((*file).to_owned(), dashboard))
        });
        let (good, bad): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
        let problems: Vec<_> = bad.into_iter().filter_map(Result::err).flatten().collect();
        if problems.is_empty() { Ok(good.into_iter().flatten().collect()) } else { Err(Failure::files(&problems)) }
    }

    /// Adds the subcommands of the servers to `tree`.
    pub(crate) fn with_commands(&self, tree: clap::Command) -> clap::Command {
        self.servers.iter().fold(tree, |tree, server| tree.subcommand(server.command()))
    }

    /// Returns the server whose subcommand the command line names, with its arguments.
    pub(crate) fn server_of<'a>(&self, matches: &'a ArgMatches) -> Option<(BundleServer, &'a ArgMatches)> {
        let (name, given) = matches.subcommand()?;
        let server = self.servers.iter().find(|server| server.name() == name)?;
        Some((server.clone(), given))
    }

    pub fn archives(&self) -> ArchiveSource {
        self.archives.clone()
    }

    pub fn neighbour(&self) -> Option<&'static str> {
        self.neighbour
    }

    pub fn connections(&self) -> DefaultConnections {
        self.connections.clone()
    }

    /// Returns the bundle, with the examples hidden if they are switched off, or all problems of its DAGs.
    pub fn build(self, config: &Config) -> Result<Bundle, Failure> {
        let switched_off = self.switched_off(config);
        let bundle = self.build_all()?;
        Ok(match switched_off {
            Some(is_example) => bundle.hide(is_example),
            None => bundle,
        })
    }

    /// Returns the bundle with all DAGs, examples included, or all problems of its DAGs.
    pub(crate) fn build_all(self) -> Result<Bundle, Failure> {
        (self.build)(&name()).map_err(|problems| Failure::dags(&problems))
    }
}

/// Returns the name of the bundle: the file stem of the binary, so that two binaries are two bundles.
fn name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_stem().map_or_else(|| "orch".into(), |stem| stem.to_string_lossy().into_owned())
}
