//! Finds the word that a user probably meant.

/// Longer words are not compared: the time grows with the product of both lengths.
const MAX_WORD_BYTES: usize = 1_000;

/// Returns the known word that is closest to `word`, for "did you mean". `None` if no known word is similar.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_WORD_BYTES {
        return None;
    }
    // Up to a third of the letters may differ; with more differences it is another word.
    let letters = word.chars().count();
    let limit = letters.max(3) / 3;
    let known = known.into_iter().filter(|candidate| candidate.chars().count().abs_diff(letters) <= limit);
    let near = known.map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(far, _)| *far <= limit).min().map(|(_, candidate)| candidate)
}

/// Returns the number of letters to insert, remove or change to turn `a` into `b`. Case is ignored.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
