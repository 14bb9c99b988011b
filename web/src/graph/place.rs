//! Vertical positions: each item is as close as possible to the items that it is connected to. Keeps the order within
//! the rank and the minimum distances.

/// Minimum distances between two items of a rank, between an item and an edge, and between two edges.
const ITEM_GAP: i32 = 32;
const WIRE_GAP: i32 = 20;
const WIRES_GAP: i32 = 10;
/// Number of sweeps in alternating directions.
const SWEEPS: usize = 6;

/// An edge between vertices of adjacent ranks, with the vertical offsets of its ends from their tops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hop {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) out: i32,
    pub(super) into: i32,
}

/// Returns the top of each vertex, relative to the highest one. The first `items` vertices are items; the others are
/// bends of edges.
pub(super) fn tops(ranks: &[Vec<usize>], heights: &[i32], items: usize, hops: &[Hop]) -> Vec<i32> {
    let mut tops = vec![0; heights.len()];
    for rank in ranks {
        rank.iter().zip(offsets(rank, heights, items)).for_each(|(&vertex, offset)| tops[vertex] = offset);
    }
    let (mut left, mut right) = (vec![Vec::new(); heights.len()], vec![Vec::new(); heights.len()]);
    for hop in hops {
        // The offset at which this edge would be horizontal.
        left[hop.to].push((hop.from, hop.out - hop.into));
        right[hop.from].push((hop.to, hop.into - hop.out));
    }
    for sweep in 0..SWEEPS {
        let forward = sweep.is_multiple_of(2);
        let beside = if forward { &left } else { &right };
        let mut order: Vec<usize> = (0..ranks.len()).collect();
        if !forward {
            order.reverse();
        }
        for rank in order {
            let wanted = |&vertex: &usize| match beside[vertex].as_slice() {
                [] => f64::from(tops[vertex]),
                near => near.iter().map(|&(v, by)| f64::from(tops[v] + by)).sum::<f64>() / near.len() as f64,
            };
            let wanted: Vec<f64> = ranks[rank].iter().map(wanted).collect();
            let offsets = offsets(&ranks[rank], heights, items);
            for (&vertex, top) in ranks[rank].iter().zip(apart(&wanted, &offsets)) {
                tops[vertex] = top;
            }
        }
    }
    let highest = tops.iter().copied().min().unwrap_or(0);
    tops.iter().map(|top| top - highest).collect()
}

/// Returns the positions of the vertices of a rank at minimum distances.
fn offsets(rank: &[usize], heights: &[i32], items: usize) -> Vec<i32> {
    let mut offsets = Vec::with_capacity(rank.len());
    let mut next = 0;
    for (at, &vertex) in rank.iter().enumerate() {
        if at > 0 {
            next += match (rank[at - 1] < items, vertex < items) {
                (true, true) => ITEM_GAP,
                (false, false) => WIRES_GAP,
                _ => WIRE_GAP,
            };
        }
        offsets.push(next);
        next += heights[vertex];
    }
    offsets
}

/// Returns the positions that are closest to the wanted ones and keep the order and the distances (isotonic
/// regression). Neighbors in conflict share the mean of their wanted positions.
#[expect(
    clippy::cast_possible_truncation,
    reason = "places are those of a drawing; a float too large for one becomes the largest"
)]
fn apart(wanted: &[f64], offsets: &[i32]) -> Vec<i32> {
    // After subtracting the offsets, the positions only have to be non-decreasing.
    let mut shared: Vec<(f64, usize)> = Vec::new();
    for (wanted, offset) in wanted.iter().zip(offsets) {
        let mut group = (wanted - f64::from(*offset), 1);
        while let Some(&(mean, many)) = shared.last().filter(|last| last.0 > group.0) {
            group = ((mean * many as f64 + group.0 * group.1 as f64) / (many + group.1) as f64, many + group.1);
            shared.pop();
        }
        shared.push(group);
    }
    let places = shared.iter().flat_map(|&(mean, many)| std::iter::repeat_n(mean.round() as i32, many));
    places.zip(offsets).map(|(place, offset)| place + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_the_same_place_shares_it() {
        assert_eq!(apart(&[0.0, 100.0], &[0, 50]), [0, 100]);
        assert_eq!(apart(&[10.0, 10.0], &[0, 50]), [-15, 35]);
        assert_eq!(apart(&[90.0, 10.0, 500.0], &[0, 50, 100]), [25, 75, 500]);
    }

    #[test]
    fn one_above_two_stands_between_them() {
        let hop = |to| Hop { from: 0, to, out: 22, into: 22 };
        assert_eq!(tops(&[vec![0], vec![1, 2]], &[44, 44, 44], 3, &[hop(1), hop(2)]), [38, 0, 76]);
    }
}
