//! Order of the items in each rank, chosen to reduce edge crossings: sweeps by barycenter, of which the best result is
//! kept.

/// Number of sweeps in alternating directions. More sweeps hardly ever improve the result.
const SWEEPS: usize = 8;

/// Vertices in ranks, with edges between adjacent ranks.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    ranks: Vec<Vec<usize>>,
    /// Neighbors in the adjacent ranks, by vertex.
    left: Vec<Vec<usize>>,
    right: Vec<Vec<usize>>,
}

impl Layers {
    /// Creates one vertex for each given rank.
    pub(super) fn new(ranks: &[usize]) -> Layers {
        let mut layers = Layers { ranks: Vec::new(), left: Vec::new(), right: Vec::new() };
        for &rank in ranks {
            layers.add(rank);
        }
        layers
    }

    pub(super) fn add(&mut self, rank: usize) -> usize {
        let vertex = self.left.len();
        if self.ranks.len() <= rank {
            self.ranks.resize(rank + 1, Vec::new());
        }
        self.ranks[rank].push(vertex);
        self.left.push(Vec::new());
        self.right.push(Vec::new());
        vertex
    }

    pub(super) fn connect(&mut self, from: usize, to: usize) {
        self.right[from].push(to);
        self.left[to].push(from);
    }

    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    /// Returns the vertices of each rank from top to bottom.
    pub(super) fn ranks(&self) -> &[Vec<usize>] {
        &self.ranks
    }

    pub(super) fn untangle(&mut self) {
        let mut places = vec![0; self.len()];
        self.ranks.iter().for_each(|rank| number(rank, &mut places));
        let mut best = (self.crossings(&places), self.ranks.clone());
        for sweep in 0..SWEEPS {
            if best.0 == 0 {
                break;
            }
            let forward = sweep.is_multiple_of(2);
            let beside = if forward { &self.left } else { &self.right };
            let mut order: Vec<usize> = (0..self.ranks.len()).collect();
            if !forward {
                order.reverse();
            }
            for rank in order {
                sort(&mut self.ranks[rank], beside, &places);
                number(&self.ranks[rank], &mut places);
            }
            let crossings = self.crossings(&places);
            if crossings < best.0 {
                best = (crossings, self.ranks.clone());
            }
        }
        self.ranks = best.1;
    }

    fn crossings(&self, places: &[usize]) -> u64 {
        let of_rank = |rank: &Vec<usize>| {
            let mut ends: Vec<usize> = Vec::new();
            for &vertex in rank {
                let from = ends.len();
                ends.extend(self.right[vertex].iter().map(|&to| places[to]));
                ends[from..].sort_unstable();
            }
            inversions(&ends)
        };
        self.ranks.iter().map(of_rank).sum()
    }
}

fn number(rank: &[usize], places: &mut [usize]) {
    rank.iter().enumerate().for_each(|(place, &vertex)| places[vertex] = place);
}

/// Sorts a rank by the mean position of the neighbors. A vertex without neighbors keeps its position. The sort is
/// stable.
fn sort(rank: &mut [usize], beside: &[Vec<usize>], places: &[usize]) {
    let mean = |vertex: usize| match beside[vertex].as_slice() {
        [] => places[vertex] as f64,
        near => near.iter().map(|&other| places[other]).sum::<usize>() as f64 / near.len() as f64,
    };
    rank.sort_by(|&a, &b| mean(a).total_cmp(&mean(b)));
}

/// Counts the inversions with a Fenwick tree.
fn inversions(ends: &[usize]) -> u64 {
    let size = ends.iter().max().map_or(0, |most| most + 1);
    let mut sums = vec![0_u64; size + 1];
    let mut crossed = 0;
    for (before, &end) in ends.iter().enumerate() {
        let (mut at, mut lower) = (end + 1, 0);
        while at > 0 {
            lower += sums[at];
            at &= at - 1;
        }
        crossed += before as u64 - lower;
        at = end + 1;
        while at <= size {
            sums[at] += 1;
            at += at & at.wrapping_neg();
        }
    }
    crossed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_counted() {
        assert_eq!(inversions(&[]), 0);
        assert_eq!(inversions(&[0, 1, 1, 2]), 0);
        assert_eq!(inversions(&[2, 1, 0]), 3);
        assert_eq!(inversions(&[1, 0, 1, 0]), 3);
    }

    #[test]
    fn two_pairs_that_cross_are_untangled() {
        let mut layers = Layers::new(&[0, 0, 1, 1]);
        layers.connect(0, 3);
        layers.connect(1, 2);
        layers.untangle();
        assert_eq!(layers.ranks(), [vec![0, 1], vec![3, 2]]);
    }
}
