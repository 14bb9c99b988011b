//! Fuzz tests of DAG files: for any bytes, the reader returns DAGs or problems with lines, and never panics.

use orch_document::file::template::{FILTERS, Names, Template};
use orch_document::file::{export, json_schema, options_for_guide, parse};
use orch_spec::DagSpec;
use proptest::prelude::*;

const SAMPLE: &str = include_str!("../src/file/tests/everything.yaml");
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "&a ",
    "*a",
    "!!str ",
    "{{ ",
    " }}",
    "|\n",
    ">\n",
    "'",
    "\"",
    "# ",
    "? ",
    "<<: ",
    "---\n",
    "\t",
    "\u{feff}",
    "\u{0}",
    "99999999999999999999999999e999",
];

fn take(bytes: &[u8]) {
    for name in ["a.yaml", "a.json"] {
        match parse(name, "/dags", bytes) {
            // An accepted DAG stays the same when it is exported and read again.
            Ok(dags) => dags.iter().for_each(|dag| {
                let text = export(dag).expect("what a file said a file can say");
                let again = parse("b.yaml", "/dags", text.as_bytes());
                let again = again.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
                if again[0].version() != dag.version() {
                    let json = |dag: &DagSpec| serde_json::to_value(&dag.tasks).expect("a spec is JSON");
                    let (one, other) = (json(dag), json(&again[0]));
                    let tasks = one.as_array().into_iter().flatten().zip(other.as_array().into_iter().flatten());
                    let fields = tasks.flat_map(|(one, other)| {
                        let fields = one.as_object().into_iter().flatten();
                        fields.filter(|(name, value)| {
                            other[*name] != **value && !["added", "defined"].contains(&name.as_str())
                        })
                    });
                    panic!("it is another DAG: {:?}\n{text}", fields.collect::<Vec<_>>());
                }
            }),
            Err(problems) => assert!(!problems.is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize, any::<prop::sample::Index>()), 1..8),
    ) {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        for (place, how, what) in edits {
            let at = place.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            if bytes.is_empty() {
                break;
            }
            let piece = PIECES[what.index(PIECES.len())].as_bytes();
            let line = |bytes: &[u8]| {
                let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
                let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1);
                start..end
            };
            match how {
                0 => drop(bytes.splice(at..at, piece.iter().copied())),
                1 => drop(bytes.remove(at)),
                2 => bytes[at] = what.index(256) as u8,
                3 => drop(bytes.drain(line(&bytes))),
                4 => {
                    let line = bytes[line(&bytes)].to_vec();
                    bytes.splice(at..at, line);
                }
                _ => bytes.truncate(at.max(1)),
            }
        }
        take(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        take(&bytes);
    }

    #[test]
    fn any_template_never_panics(text in "\\PC*", pieces in prop::collection::vec(0..PIECES.len(), 0..6)) {
        let mixed: String = pieces.into_iter().map(|piece| PIECES[piece]).chain([text.as_str()]).collect();
        for text in [text.clone(), format!("{{{{ {text} }}}}"), mixed] {
            drop(Template::parse(&text).map(|template| template.render(&Names::default())));
        }
    }
}

#[test]
fn the_published_schema_is_the_table() {
    let published: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/dag-file.schema.json")).expect("it is JSON");
    assert_eq!(published, json_schema(), "write it anew: `orch dags schema > docs/dag-file.schema.json`");
}

#[test]
fn every_option_is_in_the_guide() {
    let guide = include_str!("../../docs/guides/dag-files.md");
    let table = options_for_guide().join("\n");
    assert!(guide.contains(&table), "write its table of options anew:\n{table}");
}

#[test]
fn every_filter_and_every_kind_is_in_the_guide() {
    let guide = include_str!("../../docs/guides/dag-files.md").replace("\\|", "|");
    for filter in FILTERS {
        assert!(guide.contains(&format!("`{}`", filter.example)), "`{}` is not in the guide", filter.example);
    }
    let schema = json_schema();
    for kind in schema["$defs"]["task"]["oneOf"].as_array().expect("a list of kinds") {
        let kind = kind["required"][0].as_str().expect("a name");
        assert!(guide.contains(&format!("`{kind}`")), "`{kind}` is not in the guide");
    }
}
