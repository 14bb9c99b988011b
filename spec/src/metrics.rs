//! Prometheus' text format, in which processes export their metrics.

use std::fmt::{Display, Write as _};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Default)]
pub struct Text(String);

/// Samples of one metric.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: String,
}

impl Text {
    pub fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// The name must end in `_total`.
    pub fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) -> Family<'_> {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("text takes everything");
        Family { text: &mut self.0, name: name.into() }
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    pub fn is(&mut self, value: impl Display) {
        writeln!(self.text, "{} {value}", self.name).expect("text takes everything");
    }

    pub fn with(&mut self, labels: &[(&str, impl AsRef<str>)], value: impl Display) {
        let label = |(name, value): &(&str, _)| format!("{name}=\"{}\"", escaped(AsRef::<str>::as_ref(value)));
        let labels: Vec<String> = labels.iter().map(label).collect();
        writeln!(self.text, "{}{{{}}} {value}", self.name, labels.join(",")).expect("text takes everything");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_in_the_text_format_of_prometheus() {
        let mut text = Text::default();
        text.gauge("orch_dags", "DAGs.").is(3);
        let mut pools = text.gauge("orch_pool_slots", "Slots.");
        pools.with(&[("pool", "a\"b\\c\nd"), ("host", "x")], 0.5);
        let lines: Vec<&str> = text.0.lines().collect();
        assert_eq!(lines[..3], ["# HELP orch_dags DAGs.", "# TYPE orch_dags gauge", "orch_dags 3"]);
        assert_eq!(lines[5], r#"orch_pool_slots{pool="a\"b\\c\nd",host="x"} 0.5"#);
    }
}
