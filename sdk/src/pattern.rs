//! Shell-style patterns for names.

/// Returns whether a name matches a pattern. `*` matches any number of characters, `?` exactly one. A name that starts
/// with a dot only matches patterns that start with a dot.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                // Backtrack: let the star match one more character.
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name) in
            [("*.csv", "a.csv"), ("a*b*c", "axxbyyc"), ("?.csv", "a.csv"), ("*", "x"), (".h*", ".hidden"), ("a**", "a")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.csv", "a.txt"), ("a*b", "ac"), ("?", "ab"), ("*", ".hidden"), ("a?", "a")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
