//! Table names, which consist of a namespace with one or more parts and a name.

use crate::error::{LakeError, LakeResult};
use iceberg::{NamespaceIdent, TableIdent};
use std::fmt;
use std::str::FromStr;

/// Maximum length in bytes. The name columns of JDBC catalogs have this size.
const MAX_BYTES: usize = 255;

/// A table name such as `retail.orders`, or `prod.retail.orders` with a nested namespace. Lock order: tables are
/// locked in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    namespace: String,
    name: String,
}

impl TableName {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> LakeResult<Self> {
        let (namespace, name) = (namespace.into(), name.into());
        for part in namespace.split('.').chain([name.as_str()]) {
            if part.is_empty() || part.chars().any(|c| c == '/' || c.is_control()) || part.len() > MAX_BYTES {
                let what = format!("`{namespace}.{name}` is not the name of a table");
                return Err(LakeError::input(what, "give namespace and name, like `retail.orders`"));
            }
        }
        if name.contains('.') || namespace.len() > MAX_BYTES {
            let what =
                format!("`{name}` is not the name of a table: it has a point in it, or its namespace is too long");
            return Err(LakeError::input(what, "give namespace and name, like `retail.orders`"));
        }
        Ok(Self { namespace, name })
    }

    /// Returns the namespace, whose parts are separated by dots.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the asset URI of the table, with which DAGs can wait for updates.
    pub fn asset_uri(&self) -> String {
        format!("lake://{}/{}", self.namespace, self.name)
    }

    /// Returns the name as a type of the iceberg crate.
    pub fn ident(&self) -> TableIdent {
        let parts = self.namespace.split('.').map(str::to_owned).collect();
        let namespace = NamespaceIdent::from_vec(parts).expect("split gives one part at least");
        TableIdent::new(namespace, self.name.clone())
    }
}

impl FromStr for TableName {
    type Err = LakeError;

    fn from_str(text: &str) -> LakeResult<Self> {
        match text.rsplit_once('.') {
            Some((namespace, name)) => TableName::new(namespace, name),
            None => TableName::new("", text),
        }
    }
}

impl TryFrom<&TableIdent> for TableName {
    type Error = LakeError;

    fn try_from(ident: &TableIdent) -> LakeResult<Self> {
        TableName::new(ident.namespace().join("."), ident.name())
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_last_part_and_the_rest_is_its_namespace() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let name = text.parse::<TableName>().ok();
            assert_eq!(name.as_ref().map(|name| (name.namespace(), name.name())), expected, "{text}");
        };
        check("retail.orders", Some(("retail", "orders")));
        check("prod.retail.orders", Some(("prod.retail", "orders")));
        check("orders", None);
        check(".orders", None);
        check("retail.", None);
        check("retail..orders", None);
        check("retail.a/b", None);
    }
}
