//! The steps of a sequence, drawn at random from the current content.

use iceberg::spec::{PrimitiveType, Transform, Type};
use orch_lake::Filter;
use orch_lake::table::evolve::{Columns, Evolution, Partition};
use orch_lake::table::maintain::{Compaction, Share};
use orch_test_lake::rows::Rows;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::catalog::Fault;
use super::content::{Column, Content, ModelColumnType, Row};

/// Names with characters that are special in paths and filters.
const CITIES: [&str; 6] = ["Oslo", "New York", "Köln", "a/b=c%20d", "São Paulo & co", "東京"];

#[derive(Debug, Clone)]
pub(crate) enum ModelStep {
    Write(Write),
    /// Writes files and never commits them.
    Abandon(Write),
    Evolve(Evolve),
    Compact(Compaction),
    /// Sets how files are treated when some of their rows are deleted.
    Mode(&'static str),
    MergeManifests,
    Expire {
        keep: usize,
    },
    RemoveOrphans,
    Tag,
    DropTag,
    RollBack,
    /// Writes to a branch. Then `main` is moved to it, or the branch is dropped.
    Audit {
        write: Write,
        publish: bool,
    },
    /// Prepares both changes on the same state of the table and commits one after the other. With `expire`, the
    /// snapshot of that state expires in between.
    Race {
        first: Box<ModelStep>,
        second: Box<ModelStep>,
        expire: bool,
    },
    /// Appends that commit concurrently.
    Crowd(Vec<Write>),
    /// The commit of the step fails, or its response is lost.
    Lost(Fault, Box<ModelStep>),
}

#[derive(Debug, Clone)]
pub(crate) enum Write {
    Append { rows: Vec<(i64, Row)> },
    Upsert { rows: Vec<(i64, Row)> },
    Delete { which: RowPredicate },
    Overwrite { which: RowPredicate, rows: Vec<(i64, Row)> },
}

/// A step that changes the rows of one city.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CityStep {
    Append,
    Delete,
    DeleteKey,
    Overwrite,
    Upsert,
    /// Compacts the files of a share of the cities.
    Compact,
}

impl CityStep {
    pub(crate) const ALL: [CityStep; 6] = [
        CityStep::Append,
        CityStep::Delete,
        CityStep::DeleteKey,
        CityStep::Overwrite,
        CityStep::Upsert,
        CityStep::Compact,
    ];
}

/// Selects rows. Columns are given by id, so that renames have no effect.
#[derive(Debug, Clone)]
pub(crate) enum RowPredicate {
    Below(i64),
    Is { column: u32, name: String, value: String },
    Key(i64),
    KeyWith { key: i64, column: u32, name: String, value: String },
}

#[derive(Debug, Clone)]
pub(crate) enum Evolve {
    Add(Column),
    Rename { id: u32, from: String, to: String },
    Widen { id: u32, name: String },
    Drop { id: u32, name: String },
    Partition(Vec<(String, Transform)>),
}

impl RowPredicate {
    pub(crate) fn filter(&self) -> Filter {
        match self {
            RowPredicate::Below(limit) => Filter::lt("id", *limit),
            RowPredicate::Key(key) => Filter::eq("id", *key),
            RowPredicate::Is { name, value, .. } => Filter::eq(name, value.as_str()),
            RowPredicate::KeyWith { key, name, value, .. } => {
                Filter::eq("id", *key).and(Filter::eq(name, value.as_str()))
            }
        }
    }

    pub(crate) fn holds(&self, id: i64, row: &Row) -> bool {
        match self {
            RowPredicate::Below(limit) => id < *limit,
            RowPredicate::Key(key) => id == *key,
            RowPredicate::Is { column, value, .. } => row.get(column) == Some(value),
            RowPredicate::KeyWith { key, column, value, .. } => id == *key && row.get(column) == Some(value),
        }
    }
}

impl Write {
    /// Returns the rows that the step inserts.
    pub(crate) fn rows(&self) -> &[(i64, Row)] {
        match self {
            Write::Append { rows } | Write::Upsert { rows } | Write::Overwrite { rows, .. } => rows,
            Write::Delete { .. } => &[],
        }
    }

    /// Applies the step to the content.
    pub(crate) fn apply(&self, content: &mut Content) {
        if let Write::Delete { which } | Write::Overwrite { which, .. } = self {
            content.rows.retain(|id, row| !which.holds(*id, row));
        }
        content.rows.extend(self.rows().iter().cloned());
    }
}

impl Evolve {
    pub(crate) fn evolution(&self) -> Evolution {
        match self {
            Evolve::Add(column) => Columns::new().add(&column.name, column.kind.iceberg()).into(),
            Evolve::Rename { from, to, .. } => Columns::new().rename(from, to).into(),
            Evolve::Widen { name, .. } => Columns::new().widen(name, PrimitiveType::Long).into(),
            Evolve::Drop { name, .. } => Columns::new().drop(name).into(),
            Evolve::Partition(fields) => {
                fields.iter().fold(Partition::none(), |partition, (name, by)| partition.by(name, *by)).into()
            }
        }
    }

    pub(crate) fn apply(&self, content: &mut Content) {
        match self {
            Evolve::Add(column) => content.columns.push(column.clone()),
            Evolve::Rename { id, to, .. } => content
                .columns
                .iter_mut()
                .filter(|column| column.id == *id)
                .for_each(|column| column.name.clone_from(to)),
            Evolve::Widen { id, .. } => {
                content
                    .columns
                    .iter_mut()
                    .filter(|column| column.id == *id)
                    .for_each(|column| column.kind = ModelColumnType::Long);
            }
            Evolve::Drop { id, .. } => {
                content.columns.retain(|column| column.id != *id);
                content.rows.values_mut().for_each(|row| drop(row.remove(id)));
            }
            Evolve::Partition(_) => {}
        }
    }
}

impl ModelColumnType {
    pub(crate) fn iceberg(self) -> Type {
        Type::Primitive(match self {
            ModelColumnType::Int => PrimitiveType::Int,
            ModelColumnType::Long => PrimitiveType::Long,
            ModelColumnType::Text => PrimitiveType::String,
            ModelColumnType::Decimal => PrimitiveType::Decimal { precision: 10, scale: 2 },
        })
    }
}

/// Draws random steps. The same seed draws the same steps.
pub(crate) struct Dice {
    rng: TestRng,
    next_key: i64,
    next_column: u32,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self { rng: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes), next_key: 0, next_column: 100 }
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.rng.next_u64() % limit.max(1) as u64) as usize
    }

    fn of<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }

    pub(crate) fn step(&mut self, content: &Content) -> ModelStep {
        match self.below(100) {
            0..40 => ModelStep::Write(self.write(content)),
            40..44 => ModelStep::Abandon(self.write(content)),
            44..52 => self.evolve(content).map_or(ModelStep::MergeManifests, ModelStep::Evolve),
            52..60 => self.compact(),
            60 => ModelStep::MergeManifests,
            61 | 62 => ModelStep::Mode(["copy-on-write", "merge-on-read"][self.below(2)]),
            63..67 => ModelStep::Expire { keep: 1 + self.below(3) },
            67..70 => ModelStep::RemoveOrphans,
            70..73 => ModelStep::Tag,
            73..75 => ModelStep::DropTag,
            75..77 => ModelStep::RollBack,
            77..80 => ModelStep::Audit { write: self.write(content), publish: self.below(2) == 0 },
            80..92 => {
                let [first, second] = if self.below(2) == 0 {
                    [self.racer(content), self.racer(content)]
                } else {
                    self.two_cities().map(|city| {
                        let kind = CityStep::ALL[self.below(CityStep::ALL.len())];
                        self.city_step(content, city, kind)
                    })
                };
                ModelStep::Race { first: Box::new(first), second: Box::new(second), expire: self.below(3) == 0 }
            }
            92..94 => ModelStep::Crowd((0..2 + self.below(3)).map(|_| self.append(content)).collect()),
            _ => {
                let fault = if self.below(2) == 0 { Fault::Refused } else { Fault::AnswerLost };
                ModelStep::Lost(fault, Box::new(self.racer(content)))
            }
        }
    }

    fn racer(&mut self, content: &Content) -> ModelStep {
        match self.below(10) {
            0..6 => ModelStep::Write(self.write(content)),
            6..9 => self.compact(),
            _ => self.evolve(content).map_or_else(|| self.compact(), ModelStep::Evolve),
        }
    }

    /// Draws two cities, for steps that share no file if the table is partitioned by city.
    pub(crate) fn two_cities(&mut self) -> [&'static str; 2] {
        let first = self.below(CITIES.len());
        let second = (first + 1 + self.below(CITIES.len() - 1)) % CITIES.len();
        [CITIES[first], CITIES[second]]
    }

    /// Draws new rows of a city.
    pub(crate) fn city_rows(&mut self, content: &Content, city: &str) -> Vec<(i64, Row)> {
        let mut rows = self.rows(content);
        rows.iter_mut().for_each(|(_, row)| drop(row.insert(content.columns[0].id, city.to_owned())));
        rows
    }

    pub(crate) fn city_step(&mut self, content: &Content, city: &str, kind: CityStep) -> ModelStep {
        let Column { id: column, name, .. } = content.columns[0].clone();
        let is_city = RowPredicate::Is { column, name: name.clone(), value: city.to_owned() };
        let there = content.rows.iter().filter(|(id, row)| is_city.holds(**id, row));
        let there: Vec<i64> = there.map(|(id, _)| *id).collect();
        let one = self.of(&there);
        ModelStep::Write(match kind {
            CityStep::Compact => {
                // A share consists of whole partitions.
                let share = Share { number: self.below(2) as u32, of: 2 };
                return ModelStep::Compact(Compaction::new().min_files(2).share(share));
            }
            CityStep::Append => Write::Append { rows: self.city_rows(content, city) },
            CityStep::Delete => Write::Delete { which: is_city },
            CityStep::DeleteKey => {
                let key = one.unwrap_or(0);
                Write::Delete { which: RowPredicate::KeyWith { key, column, name, value: city.to_owned() } }
            }
            CityStep::Overwrite => Write::Overwrite { which: is_city, rows: self.city_rows(content, city) },
            CityStep::Upsert => {
                let mut rows = self.city_rows(content, city);
                let again = rows[0].1.clone();
                rows.extend(one.map(|id| (id, again)));
                Write::Upsert { rows }
            }
        })
    }

    fn compact(&mut self) -> ModelStep {
        let compaction = Compaction::new().min_files(2 + self.below(3));
        ModelStep::Compact(match self.below(3) {
            0 => compaction,
            // Some compactions leave deletes in place, and some leave files for a later one.
            1 => compaction.ignore_deletes(),
            _ => compaction.min_deletes(2).max_bytes(3_000),
        })
    }

    fn write(&mut self, content: &Content) -> Write {
        match self.below(10) {
            0..3 => self.append(content),
            3..6 => {
                let mut rows = self.rows(content);
                let keys: Vec<i64> = content.rows.keys().copied().collect();
                for _ in 0..self.below(6) {
                    if let Some(key) = self.of(&keys) {
                        rows.retain(|(id, _)| *id != key);
                        rows.push((key, self.row(content)));
                    }
                }
                Write::Upsert { rows }
            }
            6..9 => Write::Delete { which: self.which(content) },
            _ => {
                let (which, mut rows) = (self.which(content), self.rows(content));
                // New rows satisfy the predicate. Otherwise other writers could not know what is replaced.
                if let RowPredicate::Is { column, value, .. } = &which {
                    rows.iter_mut().for_each(|(_, row)| drop(row.insert(*column, value.clone())));
                } else {
                    rows.clear();
                }
                Write::Overwrite { which, rows }
            }
        }
    }

    fn append(&mut self, content: &Content) -> Write {
        Write::Append { rows: self.rows(content) }
    }

    fn rows(&mut self, content: &Content) -> Vec<(i64, Row)> {
        let count = 1 + self.below(8);
        let rows = (0..count).map(|_| {
            self.next_key += 1;
            (self.next_key, self.row(content))
        });
        rows.collect()
    }

    fn row(&mut self, content: &Content) -> Row {
        let mut row = Row::new();
        for column in &content.columns {
            if self.below(5) > 0 {
                let number = self.below(50);
                let value = match column.kind {
                    ModelColumnType::Text => CITIES[number % CITIES.len()].to_owned(),
                    ModelColumnType::Decimal => format!("{number}.{:02}", self.below(100)),
                    ModelColumnType::Int => number.to_string(),
                    ModelColumnType::Long => (number as i64 * 10_000_000_000).to_string(),
                };
                row.insert(column.id, value);
            }
        }
        row
    }

    fn which(&mut self, content: &Content) -> RowPredicate {
        let keys: Vec<i64> = content.rows.keys().copied().collect();
        let texts: Vec<Column> =
            content.columns.iter().filter(|column| column.kind == ModelColumnType::Text).cloned().collect();
        match (self.below(3), self.of(&texts)) {
            (0, Some(column)) => {
                let value = CITIES[self.below(CITIES.len())].to_owned();
                RowPredicate::Is { column: column.id, name: column.name, value }
            }
            (1, _) => RowPredicate::Below(self.of(&keys[..keys.len() / 2]).unwrap_or(0)),
            _ => RowPredicate::Key(self.of(&keys).unwrap_or(0)),
        }
    }

    fn evolve(&mut self, content: &Content) -> Option<Evolve> {
        self.next_column += 1;
        let id = self.next_column;
        // The first column may be a partition column, so it is neither dropped nor widened.
        let column = self.of(content.columns.get(1..).unwrap_or_default());
        match self.below(6) {
            0 | 1 => {
                let kind = [ModelColumnType::Int, ModelColumnType::Text, ModelColumnType::Decimal][self.below(3)];
                Some(Evolve::Add(Column { name: format!("column_{id}"), kind, id }))
            }
            2 => column.map(|column| Evolve::Rename { id: column.id, from: column.name, to: format!("renamed_{id}") }),
            3 => column
                .filter(|column| column.kind == ModelColumnType::Int)
                .map(|column| Evolve::Widen { id: column.id, name: column.name }),
            4 => column.map(|column| Evolve::Drop { id: column.id, name: column.name }),
            _ => {
                let city = content.columns[0].name.clone();
                Some(Evolve::Partition(match self.below(4) {
                    0 => vec![],
                    1 => vec![(city, Transform::Identity)],
                    2 => vec![("id".into(), Transform::Bucket(3))],
                    _ => vec![(city, Transform::Truncate(2)), ("id".into(), Transform::Bucket(2))],
                }))
            }
        }
    }
}

/// Returns the rows as text with all columns of the content.
pub(crate) fn texts(content: &Content, rows: &[(i64, Row)]) -> Rows {
    let text = |(id, row): &(i64, Row)| {
        let columns = content.columns.iter().map(|column| row.get(&column.id).cloned());
        std::iter::once(Some(id.to_string())).chain(columns).collect()
    };
    rows.iter().map(text).collect()
}
