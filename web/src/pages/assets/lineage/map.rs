//! Graph of tasks, streams and data with the flows between them. Deterministic: the same rows build the same map.

use crate::graph::{Edge, Graph, Node};
use crate::parts::short;
use orch_store::asset::Flow;
use orch_store::stream::StreamRow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::pages) enum Thing {
    /// DAG id and task id.
    Task(String, String),
    /// A DAG that data starts but none of whose tasks has recorded inputs or outputs.
    Dag(String),
    Stream(String),
    /// URI of the data.
    Data(String),
}

/// Directed graph of things, with the kind of each edge.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::pages) struct Map {
    things: BTreeSet<Thing>,
    ways: BTreeMap<(Thing, Thing), Way>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Data,
    /// An update of the source starts a run.
    Start,
}

/// Tasks of one DAG: those that read data (`take`) and those that write it (`make`).
#[derive(Debug, Clone, Default)]
struct Tasks<'a> {
    take: BTreeSet<&'a Thing>,
    make: BTreeSet<&'a Thing>,
}

/// Direction of a lineage search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Both,
    Up,
    Down,
}

/// Maximum number of characters of a label.
const MOST_LETTERS: usize = 30;
/// URI schemes under which data is many objects, such as one per run or per day.
const OF_OBJECTS: [&str; 6] = ["bucket", "file", "gs", "s3", "s3a", "sample"];

impl Thing {
    /// Maps an object to its folder. Trailing path segments with a digit are dropped: days, runs and partitions.
    pub(in crate::pages) fn data(uri: &str) -> Thing {
        let Some((scheme, mut path)) = uri.split_once("://").filter(|(scheme, _)| OF_OBJECTS.contains(scheme)) else {
            return Thing::Data(uri.into());
        };
        while let Some((folder, last)) = path.rsplit_once('/') {
            let is_file = path.len() == uri.len() - scheme.len() - 3;
            if !is_file && !last.contains(|letter: char| letter.is_ascii_digit()) {
                break;
            }
            path = folder;
        }
        Thing::Data(format!("{scheme}://{path}"))
    }

    /// Returns the name of the thing in addresses.
    pub(in crate::pages) fn name(&self) -> String {
        match self {
            Thing::Task(dag_id, task_id) => format!("{dag_id}.{task_id}"),
            Thing::Dag(name) | Thing::Stream(name) | Thing::Data(name) => name.clone(),
        }
    }

    fn label(&self) -> String {
        let text = match self {
            Thing::Task(_, name) | Thing::Dag(name) | Thing::Stream(name) => name,
            Thing::Data(uri) => uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest),
        };
        short(text, MOST_LETTERS).into_owned()
    }

    /// Returns true if `name` is this thing, its DAG, or its URI without the scheme.
    fn is_called(&self, name: &str) -> bool {
        match self {
            Thing::Task(dag_id, _) => dag_id == name || self.name() == name,
            Thing::Dag(own) | Thing::Stream(own) => own == name,
            Thing::Data(uri) => uri == name || uri.split_once("://").is_some_and(|(_, rest)| rest == name),
        }
    }
}

impl Map {
    pub(in crate::pages) fn of(flows: &[Flow], streams: &[StreamRow]) -> Map {
        let mut map = Map::default();
        for flow in flows.iter().filter(|flow| !flow.task_id.is_empty()) {
            let (task, data) = (Thing::Task(flow.dag_id.clone(), flow.task_id.clone()), Thing::data(&flow.uri));
            if flow.is_made { map.add(task, data, Way::Data) } else { map.add(data, task, Way::Data) }
        }
        let mut starts: Vec<(Thing, String)> = Vec::new();
        for stream in streams {
            map.add_stream(stream);
            let dag_id = stream.spec["starts_runs_of"].as_str();
            starts.extend(dag_id.map(|dag_id| (Thing::Stream(stream.name.clone()), dag_id.to_owned())));
        }
        let waiting = flows.iter().filter(|flow| flow.task_id.is_empty());
        starts.extend(waiting.map(|flow| (Thing::data(&flow.uri), flow.dag_id.clone())));
        map.add_starts(starts);
        // If a task reads data that it also writes, only the write is drawn.
        let is_data = |thing: &Thing| matches!(thing, Thing::Data(_));
        let made: HashSet<(&Thing, &Thing)> =
            map.ways.keys().filter(|(_, to)| is_data(to)).map(|(from, to)| (to, from)).collect();
        let read: Vec<(Thing, Thing)> =
            map.ways.keys().filter(|(from, to)| made.contains(&(from, to))).cloned().collect();
        for way in &read {
            map.ways.remove(way);
        }
        map
    }

    /// Adds an edge. An existing edge keeps its kind, so a read never turns into a start.
    fn add(&mut self, from: Thing, to: Thing, way: Way) {
        for thing in [&from, &to] {
            if !self.things.contains(thing) {
                self.things.insert(thing.clone());
            }
        }
        self.ways.entry((from, to)).or_insert(way);
    }

    fn add_stream(&mut self, row: &StreamRow) {
        let stream = Thing::Stream(row.name.clone());
        let topics = || row.topic().split(", ").map(|topic| Thing::Data(format!("kafka://{topic}")));
        let in_postgres = |table: &str| match table.split_once('.') {
            Some((schema, name)) => format!("postgres://{schema}/{name}"),
            None => format!("postgres://public/{table}"),
        };
        if row.is_capture() {
            for table in row.table().split(", ") {
                let source = match row.spec["captures"].as_str() {
                    Some("mysql") => format!("mysql://{}", table.replacen('.', "/", 1)),
                    _ => in_postgres(table),
                };
                self.add(Thing::Data(source), stream.clone(), Way::Data);
            }
            topics().for_each(|topic| self.add(stream.clone(), topic, Way::Data));
            return;
        }
        topics().for_each(|topic| self.add(topic, stream.clone(), Way::Data));
        match row.lake_table() {
            _ if row.spec["starts_runs_of"].is_string() => {}
            Some("") => {}
            Some(table) => self.add(stream, Thing::Data(format!("lake://{}", table.replacen('.', "/", 1))), Way::Data),
            None => self.add(stream, Thing::Data(in_postgres(row.table())), Way::Data),
        }
    }

    /// Connects the data that starts runs of a DAG to the tasks of the DAG that have no other known input.
    fn add_starts(&mut self, starts: Vec<(Thing, String)>) {
        let mut tasks: BTreeMap<&str, Tasks<'_>> = BTreeMap::new();
        for (from, to) in self.ways.keys() {
            if let Thing::Task(dag_id, _) = to {
                tasks.entry(dag_id).or_default().take.insert(to);
            }
            if let Thing::Task(dag_id, _) = from {
                tasks.entry(dag_id).or_default().make.insert(from);
            }
        }
        let mut ways = Vec::new();
        for (from, dag_id) in starts {
            let Tasks { take, make } = tasks.get(dag_id.as_str()).cloned().unwrap_or_default();
            if take.iter().any(|task| self.ways.contains_key(&(from.clone(), (*task).clone()))) {
                continue;
            }
            let mut first: Vec<Thing> = make.difference(&take).copied().cloned().collect();
            if first.is_empty() {
                first = take.into_iter().cloned().collect();
            }
            if first.is_empty() {
                first.push(Thing::Dag(dag_id));
            }
            ways.extend(first.into_iter().map(|task| (from.clone(), task)));
        }
        ways.into_iter().for_each(|(from, task)| self.add(from, task, Way::Start));
    }

    pub(in crate::pages) fn things(&self) -> &BTreeSet<Thing> {
        &self.things
    }

    /// Returns the things that `name` selects: one thing, or all tasks of a DAG.
    pub(in crate::pages) fn called(&self, name: &str) -> BTreeSet<Thing> {
        self.things.iter().filter(|thing| thing.is_called(name)).cloned().collect()
    }

    /// Returns the part of the map that is at most `steps` edges upstream or downstream of `from`.
    pub(in crate::pages) fn around(&self, from: &BTreeSet<Thing>, reach: Reach, steps: usize) -> Map {
        let (mut up, mut down) = (BTreeMap::<&Thing, Vec<&Thing>>::new(), BTreeMap::<&Thing, Vec<&Thing>>::new());
        for (a, b) in self.ways.keys() {
            up.entry(b).or_default().push(a);
            down.entry(a).or_default().push(b);
        }
        let mut map = Map { things: self.things.intersection(from).cloned().collect(), ways: BTreeMap::new() };
        let mut follow = |next: &BTreeMap<&Thing, Vec<&Thing>>, is_up: bool| {
            let mut seen: BTreeSet<&Thing> = from.iter().collect();
            let mut open: Vec<&Thing> = from.iter().collect();
            let mut left = steps;
            while left > 0 && !open.is_empty() {
                left -= 1;
                let mut found = Vec::new();
                for here in std::mem::take(&mut open) {
                    for there in next.get(here).into_iter().flatten() {
                        let (a, b) = if is_up { (*there, here) } else { (here, *there) };
                        map.add(a.clone(), b.clone(), self.ways[&(a.clone(), b.clone())]);
                        if seen.insert(there) {
                            found.push(*there);
                        }
                    }
                }
                open = found;
            }
        };
        if reach != Reach::Down {
            follow(&up, true);
        }
        if reach != Reach::Up {
            follow(&down, false);
        }
        map
    }

    /// Returns the things in topological order. A cycle is broken at a thing that already has a predecessor in the
    /// order; among several, at the one with the fewest missing predecessors.
    pub(in crate::pages) fn in_order(&self) -> Vec<&Thing> {
        let mut waits: BTreeMap<&Thing, usize> = self.things.iter().map(|thing| (thing, 0)).collect();
        let mut down = BTreeMap::<&Thing, Vec<&Thing>>::new();
        for (from, to) in self.ways.keys() {
            *waits.entry(to).or_default() += 1;
            down.entry(from).or_default().push(to);
        }
        let mut reached = BTreeSet::new();
        let mut order = Vec::with_capacity(waits.len());
        loop {
            let rank = |(thing, waits): &(&&Thing, &usize)| (**waits > 0, !reached.contains(**thing), **waits);
            let next = waits.iter().min_by_key(rank).map(|(thing, _)| *thing);
            let Some(thing) = next else { return order };
            waits.remove(thing);
            for below in down.get(thing).into_iter().flatten() {
                reached.insert(*below);
                if let Some(waits) = waits.get_mut(below) {
                    *waits -= 1;
                }
            }
            order.push(thing);
        }
    }

    /// Builds the graph. Its nodes are in the order of `in_order`.
    pub(in crate::pages) fn graph(&self, details: &BTreeMap<&Thing, String>) -> Graph {
        let things = self.in_order();
        let places: BTreeMap<&Thing, usize> = things.iter().copied().zip(0..).collect();
        let node = |thing: &&Thing| Node {
            id: thing.name(),
            label: thing.label(),
            detail: details.get(*thing).cloned().unwrap_or_default(),
            ..Node::default()
        };
        let edge = |((from, to), way): (&(Thing, Thing), &Way)| Edge {
            from: places[from],
            to: places[to],
            is_lenient: *way == Way::Start,
        };
        Graph {
            nodes: things.iter().map(node).collect(),
            edges: self.ways.iter().map(edge).collect(),
            groups: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(dag_id: &str, task_id: &str, uri: &str, is_made: bool) -> Flow {
        Flow { dag_id: dag_id.into(), task_id: task_id.into(), uri: uri.into(), is_made }
    }

    fn task(dag_id: &str, task_id: &str) -> Thing {
        Thing::Task(dag_id.into(), task_id.into())
    }

    fn shop() -> Map {
        let flows = [
            flow("load", "extract", "mysql://shop/orders", false),
            flow("load", "extract", "bucket://raw/shop/2026-11-27/orders-3.parquet", true),
            flow("load", "clean", "bucket://raw/shop/2026-11-26/orders-2.parquet", false),
            flow("load", "clean", "lake://silver/orders", true),
            flow("report", "", "lake://silver/orders", false),
            flow("report", "sum", "lake://gold/daily", true),
            flow("mail", "", "lake://gold/daily", false),
        ];
        Map::of(&flows, &[])
    }

    #[test]
    fn objects_stand_as_the_folder_that_they_share() {
        let named = |uri| Thing::data(uri).name();
        assert_eq!(named("bucket://raw/shop/2026-11-27/part-3.parquet"), "bucket://raw/shop");
        assert_eq!(named("bucket://raw/orders"), "bucket://raw");
        assert_eq!(named("s3://raw/year=2026/month=11/x.csv"), "s3://raw");
        assert_eq!(named("lake://silver/orders_2026"), "lake://silver/orders_2026");
        assert_eq!(named("orders"), "orders");
    }

    #[test]
    fn data_that_starts_a_dag_leads_to_what_its_tasks_make() {
        let map = shop();
        let after = map.around(&map.called("lake://silver/orders"), Reach::Down, usize::MAX);
        let expected = [
            task("report", "sum"),
            Thing::Dag("mail".into()),
            Thing::data("lake://gold/daily"),
            Thing::data("lake://silver/orders"),
        ];
        assert_eq!(*after.things(), expected.into());
    }

    #[test]
    fn each_of_several_data_that_a_dag_waits_for_leads_to_the_same_tasks() {
        let flows = [
            flow("report", "", "lake://a/b", false),
            flow("report", "", "lake://c/d", false),
            flow("report", "rates", "http://rates/eur", false),
            flow("report", "sum", "lake://gold/daily", true),
        ];
        let map = Map::of(&flows, &[]);
        for uri in ["lake://a/b", "lake://c/d"] {
            let next = map.around(&map.called(uri), Reach::Down, 1);
            assert_eq!(*next.things(), [task("report", "sum"), Thing::data(uri)].into(), "{uri}");
        }
    }

    #[test]
    fn a_dag_is_called_for_all_its_tasks() {
        let map = shop();
        assert_eq!(map.called("load"), BTreeSet::from([task("load", "clean"), task("load", "extract")]));
        assert_eq!(map.called("load.clean"), BTreeSet::from([task("load", "clean")]));
        assert_eq!(map.called("gold/daily"), BTreeSet::from([Thing::data("lake://gold/daily")]));
        assert_eq!(map.called("nothing"), BTreeSet::new());
    }

    #[test]
    fn as_many_steps_as_were_asked_for() {
        let map = shop();
        let near = map.around(&map.called("lake://silver/orders"), Reach::Both, 1);
        let expected = [task("load", "clean"), task("report", "sum"), Thing::data("lake://silver/orders")];
        assert_eq!(*near.things(), expected.into());
        assert_eq!(map.around(&map.called("lake://silver/orders"), Reach::Up, usize::MAX).things().len(), 5);
    }

    #[test]
    fn what_nothing_is_made_of_stands_alone() {
        let map = shop();
        let source = map.called("mysql://shop/orders");
        assert_eq!(map.around(&source, Reach::Up, usize::MAX), Map { things: source, ways: BTreeMap::new() });
        assert_eq!(map.around(&BTreeSet::from([Thing::data("lake://x/y")]), Reach::Both, 1), Map::default());
    }

    #[test]
    fn what_reads_and_writes_the_same_data_is_followed_once() {
        let flows = [flow("kept", "merge", "lake://a/b", false), flow("kept", "merge", "lake://a/b", true)];
        let map = Map::of(&flows, &[]);
        let around = map.around(&map.called("lake://a/b"), Reach::Both, usize::MAX);
        assert_eq!(around, map);
        assert_eq!(around.graph(&BTreeMap::new()).edges.len(), 1, "it makes it");
    }

    #[test]
    fn what_comes_first_stands_first_in_circles_too() {
        let flows = [
            flow("z", "begin", "lake://z/first", true),
            flow("y", "go", "lake://z/first", false),
            flow("y", "go", "lake://y/there", true),
            flow("a", "back", "lake://y/there", false),
            flow("a", "back", "lake://a/back", true),
            flow("y", "go", "lake://a/back", false),
        ];
        let map = Map::of(&flows, &[]);
        let names: Vec<String> = map.in_order().into_iter().map(Thing::name).collect();
        assert_eq!(names, ["z.begin", "lake://z/first", "y.go", "lake://y/there", "a.back", "lake://a/back"]);
    }
}
