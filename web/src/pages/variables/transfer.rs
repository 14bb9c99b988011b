//! Variables in files as Airflow reads and writes them.

use crate::pages::kept::transfer::Transfers;
use orch_deeds::Variable;
use orch_document::kept::{Document, FileFormat, WrittenVariable, write_variables};
use orch_spec::ids::check_variable_key;
use orch_store::kept::Record;
use orch_store::seal::Keyring;
use orch_wire::NounBody;
use serde_json::json;

impl Transfers for Variable {
    const EXAMPLE: &'static str =
        "{\"limit\": 42, \"tables\": {\"value\": [\"a\", \"b\"], \"description\": \"what is copied\"}}";
    const FORMATS: &'static [FileFormat] = &[FileFormat::Json];

    fn read(document: &Document<'_>) -> Result<Vec<NounBody>, String> {
        let all = document.variables().map_err(|error| error.to_string())?;
        let body = |(name, WrittenVariable { value, description }): (String, WrittenVariable)| {
            check_variable_key(&name).map_err(|error| error.to_string())?;
            let mut columns = vec![("value", json!(value))];
            // Without a description the old one stays, as at the command line.
            columns.extend(description.map(|text| ("description", json!(text))));
            Ok(NounBody { name, columns })
        };
        all.into_iter().map(body).collect()
    }

    fn write(records: &[Record], keys: &Keyring, _: FileFormat) -> String {
        write_variables(records.iter().map(|row| {
            let value = Variable::visible(row, keys, true);
            (row.name().to_string(), WrittenVariable { value, description: row.text("description").map(String::from) })
        }))
    }
}
