//! Client for external catalogs that use the Iceberg REST protocol, including those of other orch installations. The
//! server writes table metadata: a commit sends metadata updates and the requirements under which they are valid.

mod client;
mod message;

use self::client::{CatalogResponse, Client, Request};
use self::message::{CreateTable, DeclareNamespace, Loaded, LoadedNamespace, Rename, TablePlace, Transaction, Update};
use super::{Catalog, Located, NewTable, Properties, Swap, Swapped, no_table};
use crate::error::{LakeError, LakeResult};
use crate::table::TableName;
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use orch_sdk::task::{Connection, TaskResult};
use reqwest::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::slice;

/// Endpoint name with which servers announce support for commits to several tables.
const TRANSACTIONS: &str = "POST /v1/{prefix}/transactions/commit";
/// Maximum number of namespaces that are requested concurrently.
const AT_ONCE: usize = 8;

#[derive(Debug)]
pub struct RestCatalog {
    client: Client,
    name: String,
}

impl RestCatalog {
    /// The connection type that Airflow uses for Iceberg REST catalogs.
    pub const CONN_TYPE: &str = "iceberg";

    /// Creates a client without sending a request. The connection's `host` is the URL of the server. Login and
    /// password are the client id and the client secret; alternatively, `extra` contains a `token`.
    ///
    /// # Errors
    /// Returns a fatal error if the connection has no valid URL.
    pub fn of(connection: &Connection) -> TaskResult<RestCatalog> {
        Ok(RestCatalog { client: Client::of(connection)?, name: connection.id.clone() })
    }

    /// Returns the name of the warehouse on the server. Empty for the default warehouse.
    pub fn warehouse(&self) -> &str {
        self.client.warehouse()
    }

    /// Commits several tables atomically.
    ///
    /// # Errors
    /// Same errors as [`Catalog::swap`].
    pub(crate) async fn swap_together(&self, swaps: &[Swap<'_>]) -> LakeResult<Swapped> {
        let wanted = Transaction { table_changes: swaps.iter().map(Update::of).collect() };
        let answer = self.client.ask(&Request::new(Method::POST, &["transactions", "commit"]).with(&wanted)?).await?;
        Ok(if self.swapped(&answer, swaps).await? { Swapped::Done(None) } else { Swapped::Moved })
    }

    /// Interprets the response to a commit. Returns false if another writer committed first or dropped a table; the
    /// caller must reload the tables.
    async fn swapped(&self, answer: &CatalogResponse, swaps: &[Swap<'_>]) -> LakeResult<bool> {
        match answer.status {
            404 | 409 => return Ok(false),
            _ if answer.is_good() => return Ok(true),
            400 => {}
            _ => return Err(self.client.refused(answer)),
        }
        // Some servers also respond with 400 if another branch of the table changed concurrently, so each table is
        // checked.
        for swap in swaps {
            if self.load(swap.table).await?.is_none_or(|now| now.location != swap.base) {
                return Ok(false);
            }
        }
        Err(self.client.refused(answer))
    }

    async fn ask(&self, method: Method, path: &[&str]) -> LakeResult<CatalogResponse> {
        self.client.ask(&Request::new(method, path)).await
    }

    async fn declare_one(&self, namespace: &str, properties: &Properties) -> LakeResult<()> {
        let wanted = DeclareNamespace { namespace: namespace.split('.').collect(), properties };
        let answer = self.client.ask(&Request::new(Method::POST, &["namespaces"]).with(&wanted)?).await?;
        match answer.status {
            200 | 204 => Ok(()),
            409 if properties.is_empty() => Ok(()),
            409 => {
                let update = serde_json::json!({ "updates": properties });
                let path = ["namespaces", &self.client.joined(namespace).await?, "properties"];
                let answer = self.client.ask(&Request::new(Method::POST, &path).with(&update)?).await?;
                if answer.is_good() { Ok(()) } else { Err(self.client.refused(&answer)) }
            }
            _ => Err(self.client.refused(&answer)),
        }
    }

    /// Returns the direct children of a namespace. Without a parent, returns the top-level namespaces.
    async fn children(&self, parent: Option<&str>) -> LakeResult<Vec<String>> {
        let mut request = Request::new(Method::GET, &["namespaces"]);
        if let Some(parent) = parent {
            request = request.query("parent", self.client.joined(parent).await?);
        }
        let lists: Vec<message::Namespaces> = self.client.pages(request).await?;
        let names = lists.into_iter().flat_map(|list| list.namespaces);
        // Skips namespaces with a part that contains a dot. In dotted notation, such a part is indistinguishable from
        // two parts.
        Ok(names.filter(|parts| parts.iter().all(|part| !part.contains('.'))).map(|parts| parts.join(".")).collect())
    }

    async fn names_of_namespaces(&self) -> LakeResult<Vec<String>> {
        let (mut all, mut level) = (BTreeSet::new(), self.children(None).await?);
        while !level.is_empty() {
            let below = stream::iter(level.clone()).map(async |parent| self.children(Some(&parent)).await);
            let below: Vec<Vec<String>> = below.buffered(AT_ONCE).try_collect().await?;
            all.extend(level);
            level = below.into_iter().flatten().filter(|name| !all.contains(name)).collect();
        }
        Ok(all.into_iter().collect())
    }

    async fn tables_of(&self, namespace: &str) -> LakeResult<Vec<TableName>> {
        let path = ["namespaces", &self.client.joined(namespace).await?, "tables"];
        let lists: Vec<message::Tables> = self.client.pages(Request::new(Method::GET, &path)).await?;
        let places = lists.into_iter().flat_map(|list| list.identifiers);
        let mut names: Vec<TableName> = places.filter_map(|place| place.name().ok()).collect();
        names.sort();
        Ok(names)
    }

    async fn path_of(&self, table: &TableName) -> LakeResult<[String; 4]> {
        let namespace = self.client.joined(table.namespace()).await?;
        Ok(["namespaces".into(), namespace, "tables".into(), table.name().into()])
    }

    fn located(&self, table: &TableName, answer: &CatalogResponse) -> LakeResult<Located> {
        let loaded: Loaded = self.client.read(answer, || format!("table `{table}`"))?;
        let keys = loaded.keys();
        Ok(Located { location: loaded.metadata_location, metadata: Some(Box::new(loaded.metadata)), keys })
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    fn writes_metadata(&self) -> bool {
        true
    }

    async fn load(&self, table: &TableName) -> LakeResult<Option<Located>> {
        let path = self.path_of(table).await?;
        let found = self.client.find(&Request::new(Method::GET, &path.each_ref().map(String::as_str))).await?;
        found.map(|answer| self.located(table, &answer)).transpose()
    }

    async fn create(&self, new: &NewTable<'_>) -> LakeResult<Located> {
        let (table, namespace) = (new.table, new.table.namespace());
        let joined = self.client.joined(namespace).await?;
        // The namespace is checked first, because a server in front of AWS Glue responds with status 500 if the
        // namespace of a new table does not exist.
        if self.ask(Method::GET, &["namespaces", &joined]).await?.status == 404 {
            self.declare(namespace, &Properties::new()).await?;
        }
        let path = ["namespaces", &joined, "tables"];
        let answer = self.client.ask(&Request::new(Method::POST, &path).with(&CreateTable::of(new))?).await?;
        match answer.status {
            409 => Err(LakeError::TableExists { table: table.clone() }),
            _ if answer.is_good() => self.located(table, &answer),
            _ => Err(self.client.refused(&answer)),
        }
    }

    async fn drop_table(&self, table: &TableName) -> LakeResult<bool> {
        let path = self.path_of(table).await?;
        let request = Request::new(Method::DELETE, &path.each_ref().map(String::as_str));
        Ok(self.client.find(&request.query("purgeRequested", "false")).await?.is_some())
    }

    async fn rename(&self, from: &TableName, to: &TableName) -> LakeResult<()> {
        let wanted = Rename { source: TablePlace::of(from), destination: TablePlace::of(to) };
        let request = Request::new(Method::POST, &["tables", "rename"]).with(&wanted)?;
        let mut answer = self.client.ask(&request).await?;
        if answer.status == 404 && self.load(from).await?.is_some() {
            self.declare(to.namespace(), &Properties::new()).await?;
            answer = self.client.ask(&request).await?;
        }
        match answer.status {
            404 => Err(no_table(from, &self.name)),
            409 => Err(LakeError::TableExists { table: to.clone() }),
            _ if answer.is_good() => Ok(()),
            _ => Err(self.client.refused(&answer)),
        }
    }

    async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>> {
        if let Some(namespace) = namespace {
            return self.tables_of(namespace).await;
        }
        let all = stream::iter(self.names_of_namespaces().await?).map(async |one| self.tables_of(&one).await);
        let mut all: Vec<TableName> = all.buffered(AT_ONCE).try_concat().await?;
        all.sort();
        Ok(all)
    }

    async fn namespaces(&self) -> LakeResult<BTreeMap<String, Properties>> {
        let all = stream::iter(self.names_of_namespaces().await?).map(async |name| {
            let path = ["namespaces", &self.client.joined(&name).await?];
            let found = self.client.find(&Request::new(Method::GET, &path)).await?;
            let Some(answer) = found else { return Ok(None) }; // The table was dropped in the meantime.
            let loaded: LoadedNamespace = self.client.read(&answer, || format!("namespace `{name}`"))?;
            LakeResult::Ok(Some((name, loaded.properties.unwrap_or_default())))
        });
        all.buffered(AT_ONCE).try_filter_map(async |one| Ok(one)).try_collect().await
    }

    async fn declare(&self, namespace: &str, properties: &Properties) -> LakeResult<()> {
        // Some servers require that the parent namespaces exist.
        for (end, _) in namespace.match_indices('.') {
            self.declare_one(&namespace[..end], &Properties::new()).await?;
        }
        self.declare_one(namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &str) -> LakeResult<bool> {
        let answer = self.ask(Method::DELETE, &["namespaces", &self.client.joined(namespace).await?]).await?;
        match answer.status {
            404 => Ok(false),
            409 => {
                let what = format!("namespace `{namespace}` is not empty");
                Err(LakeError::input(what, "drop its tables and views first"))
            }
            _ if answer.is_good() => Ok(true),
            _ => Err(self.client.refused(&answer)),
        }
    }

    async fn swap(&self, swap: &Swap<'_>) -> LakeResult<Swapped> {
        let path = self.path_of(swap.table).await?;
        let request = Request::new(Method::POST, &path.each_ref().map(String::as_str)).with(&Update::of(swap))?;
        let answer = self.client.ask(&request).await?;
        let is_done = self.swapped(&answer, slice::from_ref(swap)).await?;
        if is_done { Ok(Swapped::Done(Some(self.located(swap.table, &answer)?))) } else { Ok(Swapped::Moved) }
    }

    async fn transactions(&self) -> LakeResult<Option<&RestCatalog>> {
        Ok(self.client.has(TRANSACTIONS).await?.then_some(self))
    }
}
