//! Divides the files and keys of a merge into shares, which are written by different tasks. Deterministic.

use crate::table::filter::prune::order;
use iceberg::spec::PrimitiveLiteral;
use std::cmp::Ordering;

/// The size of a file and the bounds of its keys, which determine to which share of the merge it belongs.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) bytes: u64,
    pub(super) least: Option<PrimitiveLiteral>,
    pub(super) greatest: Option<PrimitiveLiteral>,
    pub(super) is_target: bool,
}

/// One share of the merge: indexes of its files, and the range of keys in the target files among them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) pieces: Vec<usize>,
    /// Lower bound of the keys. `None` if unbounded.
    pub(super) least: Option<PrimitiveLiteral>,
    /// Upper bound of the keys. `None` if unbounded.
    pub(super) greatest: Option<PrimitiveLiteral>,
}

/// Divides files into at most `of` parts of similar size. Each file is in exactly one part. Each key is in the range
/// of at least one part.
pub(super) fn divide(pieces: &[Piece], of: u32) -> Vec<Part> {
    let mut in_order: Vec<usize> = (0..pieces.len()).collect();
    in_order.sort_by(|&one, &other| ascending(pieces[one].least.as_ref(), pieces[other].least.as_ref()));
    let (of, total) =
        (usize::try_from(of.max(1)).unwrap_or(1), pieces.iter().map(|piece| u128::from(piece.bytes)).sum::<u128>());
    let mut groups: Vec<Vec<usize>> = vec![vec![]; of];
    let mut before = 0;
    for index in in_order {
        let number = (before * of as u128).checked_div(total).unwrap_or_default();
        groups[(number as usize).min(of - 1)].push(index);
        before += u128::from(pieces[index].bytes);
    }
    groups.retain(|group| !group.is_empty());
    let starts: Vec<Option<PrimitiveLiteral>> = groups.iter().map(|group| pieces[group[0]].least.clone()).collect();
    let part = |(number, group): (usize, Vec<usize>)| Part {
        least: if number == 0 { None } else { starts[number].clone() },
        greatest: starts.get(number + 1).and_then(|next| greatest(next.clone()?, pieces, &group)),
        pieces: group,
    };
    groups.into_iter().enumerate().map(part).collect()
}

/// Returns the upper bound of the keys of a part: the lower bound of the next part, or a greater key if the part's
/// target files contain one.
fn greatest(next: PrimitiveLiteral, pieces: &[Piece], group: &[usize]) -> Option<PrimitiveLiteral> {
    let targets = group.iter().map(|&index| &pieces[index]).filter(|piece| piece.is_target);
    targets.map(|piece| piece.greatest.clone()).try_fold(next, |most, greatest| {
        let greatest = greatest?;
        Some(if order(&greatest, &most) == Some(Ordering::Greater) { greatest } else { most })
    })
}

/// Compares lower bounds. Unknown bounds are ordered first.
fn ascending(one: Option<&PrimitiveLiteral>, other: Option<&PrimitiveLiteral>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => order(one, other).unwrap_or(Ordering::Equal),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test notation: a file is `least-greatest:bytes`, with `?` for an unknown bound, and a trailing `+` for a
    /// source file. A part is `least-greatest:indexes`.
    #[track_caller]
    fn check(files: &str, of: u32, expected: &str) {
        let key = |text: &str| text.parse().ok().map(PrimitiveLiteral::Long);
        let piece = |text: &str| {
            let (keys, bytes) = text.trim_end_matches('+').split_once(':').unwrap();
            let (least, greatest) = keys.split_once('-').unwrap();
            let bytes = bytes.parse().unwrap();
            Piece { bytes, least: key(least), greatest: key(greatest), is_target: !text.ends_with('+') }
        };
        let pieces: Vec<Piece> = files.split_whitespace().map(piece).collect();
        let shown = |key: &Option<PrimitiveLiteral>| match key {
            Some(PrimitiveLiteral::Long(key)) => key.to_string(),
            _ => String::new(),
        };
        let parts = divide(&pieces, of).into_iter().map(|part| {
            let indexes: Vec<String> = part.pieces.iter().map(ToString::to_string).collect();
            format!("{}-{}:{}", shown(&part.least), shown(&part.greatest), indexes.join(","))
        });
        assert_eq!(parts.collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn files_are_divided_by_their_bytes_in_the_order_of_their_keys() {
        check("", 4, "");
        check("1-9:10", 4, "-:0");
        check("1-9:10 11-19:10 21-29:10 31-39:10", 1, "-:0,1,2,3");
        check("31-39:10 21-29:10 1-9:10 11-19:10", 2, "-21:2,3 21-:1,0");
        check("1-9:10 11-19:10 21-29:10 31-39:10", 4, "-11:0 11-21:1 21-31:2 31-:3");
        check("1-9:30 11-19:1 21-29:1", 3, "-11:0 11-:1,2");
        check("1-9:0 11-19:0", 3, "-:0,1");
    }

    #[test]
    fn keys_of_a_file_of_the_target_are_within_its_part_as_a_whole() {
        check("1-25:10 11-19:10 21-29:10", 3, "-25:0 11-21:1 21-:2");
        check("1-25:10+ 11-19:10 21-29:10", 3, "-11:0 11-21:1 21-:2");
        check("1-?:10 11-19:10", 2, "-:0 11-:1");
        check("?-?:10 ?-30:10 21-29:10", 3, "-:0 -30:1 21-:2");
    }
}
