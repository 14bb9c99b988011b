//! Gradient-boosted decision trees: small, single-threaded and deterministic, so the same rows always build the same
//! model.
//!
//! Column values are sorted into bins once per fit. Each split is at the bin border that reduces the loss most,
//! computed from the first and second derivatives of the loss. Missing values (NaN) sort below all other values.

use serde::{Deserialize, Serialize};

/// Target number of bins per column. More bins make training slower and hardly improve the model.
const MOST_BINS: usize = 64;
/// Maximum change that a leaf adds to a prediction. For counts, which use a logarithmic scale, a leaf multiplies the
/// mean by at most e².
const MOST_STEP: f64 = 2.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// For counts. The sum of the trees is the logarithm of the predicted mean.
    Poisson,
    /// For amounts. The sum of the trees is the predicted mean.
    Squared,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub loss: Loss,
    pub rounds: usize,
    pub depth: usize,
    pub rate: f64,
    /// Minimum number of training rows per leaf.
    pub leaf_rows: usize,
    /// L2 regularization, added to the second derivative of the loss. Larger values make leaf values smaller.
    pub ridge: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trees {
    pub settings: Settings,
    trees: Vec<Vec<Node>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Node {
    Leaf(f64),
    /// Continues with the next node if the value is missing or less than `below`; otherwise continues with node
    /// `other`.
    Split {
        feature: usize,
        below: f64,
        other: usize,
    },
}

/// Training rows, stored by column.
#[derive(Debug, Default)]
pub struct Rows {
    pub columns: Vec<Vec<f64>>,
    pub targets: Vec<f64>,
    /// Initial prediction of each row, to which the trees add. For counts, it is the logarithm of the initial mean.
    pub starts: Vec<f64>,
}

impl Rows {
    pub fn push(&mut self, features: &[f64], target: f64, start: f64) {
        self.columns.resize_with(features.len(), Vec::new);
        for (column, value) in self.columns.iter_mut().zip(features) {
            column.push(*value);
        }
        self.targets.push(target);
        self.starts.push(start);
    }
}

impl Trees {
    pub fn fit(settings: Settings, rows: &Rows) -> Trees {
        let binned: Vec<Binned> = rows.columns.iter().map(|column| Binned::of(column)).collect();
        let all: Vec<u32> = (0..rows.targets.len() as u32).collect();
        let mut scores = rows.starts.clone();
        let mut trees = Vec::with_capacity(settings.rounds);
        for _ in 0..settings.rounds {
            let slopes: Vec<Slope> =
                scores.iter().zip(&rows.targets).map(|(score, target)| settings.loss.slope(*score, *target)).collect();
            let mut grown =
                Grown { settings: &settings, binned: &binned, slopes: &slopes, scores: &mut scores, nodes: Vec::new() };
            grown.node(&all, settings.depth);
            trees.push(grown.nodes);
        }
        Trees { settings, trees }
    }

    /// Returns the sum of all trees' leaf values for a row.
    fn sum(&self, features: &[f64]) -> f64 {
        self.trees.iter().map(|nodes| leaf(nodes, features)).sum()
    }

    /// Returns the predicted mean for a row with initial prediction `start`.
    pub fn mean(&self, features: &[f64], start: f64) -> f64 {
        let score = start + self.sum(features);
        match self.settings.loss {
            Loss::Poisson => score.exp(),
            Loss::Squared => score,
        }
    }
}

fn leaf(nodes: &[Node], features: &[f64]) -> f64 {
    let mut at = 0;
    loop {
        match nodes[at] {
            Node::Leaf(value) => return value,
            Node::Split { feature, below, other } => {
                at = if features[feature] >= below { other } else { at + 1 };
            }
        }
    }
}

/// Sums of the first and second derivatives of the loss over some rows, and the number of rows.
#[derive(Debug, Clone, Copy, Default)]
struct Slope {
    first: f64,
    second: f64,
    rows: usize,
}

impl Slope {
    fn add(&mut self, other: Slope) {
        self.first += other.first;
        self.second += other.second;
        self.rows += other.rows;
    }

    fn without(self, other: Slope) -> Slope {
        Slope { first: self.first - other.first, second: self.second - other.second, rows: self.rows - other.rows }
    }

    /// Returns how much the loss falls if the rows get the optimal leaf value.
    fn fall(self, ridge: f64) -> f64 {
        self.first * self.first / (self.second + ridge)
    }
}

impl Loss {
    fn slope(self, score: f64, target: f64) -> Slope {
        match self {
            Loss::Poisson => {
                let mean = score.exp();
                Slope { first: mean - target, second: mean, rows: 1 }
            }
            Loss::Squared => Slope { first: score - target, second: 1.0, rows: 1 },
        }
    }
}

/// A column whose values are replaced by bin numbers. Bin 0 holds missing values. All other values are in bin 1 or
/// higher: the number of borders that are less than or equal to the value.
struct Binned {
    borders: Vec<f64>,
    bins: Vec<u8>,
}

impl Binned {
    fn of(column: &[f64]) -> Binned {
        let mut sorted: Vec<f64> = column.iter().copied().filter(|value| !value.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let step = (sorted.len() / MOST_BINS).max(1);
        let mut distinct = sorted.clone();
        distinct.dedup();
        // A column with few distinct values gets one border per value. Other columns get borders at quantiles.
        let mut borders: Vec<f64> =
            if distinct.len() <= MOST_BINS { distinct } else { sorted.iter().copied().step_by(step).collect() };
        borders.dedup();
        let reached = |value: &f64| borders.partition_point(|border| border <= value).max(1);
        // There are at most `2 * MOST_BINS` borders, so a bin fits into a byte.
        let bin = |value: &f64| if value.is_nan() { 0 } else { reached(value) as u8 };
        Binned { bins: column.iter().map(bin).collect(), borders }
    }
}

struct Grown<'a> {
    settings: &'a Settings,
    binned: &'a [Binned],
    slopes: &'a [Slope],
    scores: &'a mut [f64],
    nodes: Vec<Node>,
}

impl Grown<'_> {
    fn node(&mut self, rows: &[u32], depth: usize) {
        let mut all = Slope::default();
        rows.iter().for_each(|row| all.add(self.slopes[*row as usize]));
        let split = (depth > 0).then(|| self.best(rows, all)).flatten();
        let Some((feature, bin)) = split else { return self.leaf(rows, all) };
        let binned = &self.binned[feature];
        let (left, right): (Vec<u32>, Vec<u32>) =
            rows.iter().partition(|row| usize::from(binned.bins[**row as usize]) < bin);
        let at = self.nodes.len();
        let below = binned.borders[bin - 1];
        self.nodes.push(Node::Split { feature, below, other: 0 });
        self.node(&left, depth - 1);
        let other = self.nodes.len();
        self.nodes[at] = Node::Split { feature, below, other };
        self.node(&right, depth - 1);
    }

    fn leaf(&mut self, rows: &[u32], all: Slope) {
        let step = -all.first / (all.second + self.settings.ridge);
        let step = match self.settings.loss {
            Loss::Poisson => step.clamp(-MOST_STEP, MOST_STEP),
            Loss::Squared => step,
        };
        let value = step * self.settings.rate;
        rows.iter().for_each(|row| self.scores[*row as usize] += value);
        self.nodes.push(Node::Leaf(value));
    }

    /// Returns the feature and the first bin of the right side for the split that reduces the loss most. If several
    /// splits are equally good, the first one wins.
    fn best(&self, rows: &[u32], all: Slope) -> Option<(usize, usize)> {
        let (ridge, least) = (self.settings.ridge, self.settings.leaf_rows);
        let (mut best, mut most) = (None, all.fall(ridge) + 1e-9);
        for (feature, binned) in self.binned.iter().enumerate() {
            let mut bins = [Slope::default(); MOST_BINS * 2];
            for row in rows {
                bins[usize::from(binned.bins[*row as usize])].add(self.slopes[*row as usize]);
            }
            let mut left = Slope::default();
            for bin in 1..=binned.borders.len() {
                left.add(bins[bin - 1]);
                let right = all.without(left);
                let fall = left.fall(ridge) + right.fall(ridge);
                if left.rows >= least && right.rows >= least && fall > most {
                    (best, most) = (Some((feature, bin)), fall);
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings =
        Settings { loss: Loss::Squared, rounds: 60, depth: 3, rate: 0.3, leaf_rows: 5, ridge: 1.0 };

    /// Returns deterministic rows: the target has a step in one column and a slope in the other.
    fn rows(missing: bool) -> Rows {
        let mut rows = Rows::default();
        for number in 0..2_000_u32 {
            let (step, slope) = (f64::from(number % 7), f64::from(number * 37 % 1_000));
            let value = if step >= 4.0 { 50.0 } else { 10.0 } + slope / 100.0;
            let step = if missing && number % 7 == 3 { f64::NAN } else { step };
            rows.push(&[step, slope], value, 0.0);
        }
        rows
    }

    #[test]
    fn a_step_and_a_slope_are_learnt_twice_alike() {
        let model = Trees::fit(SETTINGS, &rows(false));
        for (features, expected) in [([2.0, 500.0], 15.0), ([5.0, 100.0], 51.0), ([99.0, 990.0], 59.9)] {
            let found = model.mean(&features, 0.0);
            assert!((found - expected).abs() < 0.7, "{features:?}: {found}, not {expected}");
        }
        assert_eq!(model, Trees::fit(SETTINGS, &rows(false)));
        let text = serde_json::to_string(&model).expect("JSON");
        assert_eq!(serde_json::from_str::<Trees>(&text).expect("the same"), model);
    }

    #[test]
    fn what_is_missing_is_less_than_all_else() {
        let model = Trees::fit(SETTINGS, &rows(true));
        assert!((model.mean(&[f64::NAN, 500.0], 0.0) - 15.0).abs() < 0.7);
        assert!((model.mean(&[6.0, 500.0], 0.0) - 55.0).abs() < 0.7);
    }

    #[test]
    fn counts_are_multiplied() {
        let settings = Settings { loss: Loss::Poisson, ..SETTINGS };
        let mut rows = Rows::default();
        for number in 0..1_000_u32 {
            let column = f64::from(number % 2);
            rows.push(&[column], f64::from(number % 2 * 6 + number / 2 % 3), 2_f64.ln());
        }
        let model = Trees::fit(settings, &rows);
        for (column, expected) in [(0.0, 1.0), (1.0, 7.0)] {
            let found = model.mean(&[column], 2_f64.ln());
            assert!((found - expected).abs() < 0.05, "{column}: {found}, not {expected}");
        }
        let nothing = Trees::fit(settings, &Rows::default());
        assert!((nothing.mean(&[1.0], 3_f64.ln()) - 3.0).abs() < 1e-12);
    }
}
