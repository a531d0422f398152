//! Patterns of names: which names one matches, and how two of them lie to one another. Pure, without allocation.
//!
//! A name is tokens joined by `.`. In a pattern `*` matches any one token and `>`, at the end, one or more. As first
//! token neither matches one that begins with `$`: such names are the server's, and a rule must write them out.

/// The longest name or pattern in bytes, as everywhere.
const NAME_BYTES_MAX: usize = 512;

/// Whether `pattern` matches `name`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    contains(pattern, name)
}

/// Whether every name that `inner` matches is matched by `outer` too. A name is a pattern that matches itself.
pub(super) fn contains(outer: &str, inner: &str) -> bool {
    let (mut outer, mut inner) = (outer.split('.'), inner.split('.'));
    let mut first = true;
    loop {
        match (outer.next(), inner.next()) {
            (None, None) => return true,
            (Some(">"), Some(token)) => return !(first && is_reserved(token)),
            (Some("*"), Some(token)) if token != ">" && !(first && is_reserved(token)) => {}
            (Some(wanted), Some(token)) if wanted == token && wanted != "*" => {}
            _ => return false,
        }
        first = false;
    }
}

/// Whether some name is matched by both.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    let mut first = true;
    loop {
        let (a, b) = match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) => (a, b),
            _ => return false,
        };
        let hidden = first && (is_reserved(a) != is_reserved(b));
        match (a, b) {
            _ if hidden => return false,
            (">", _) | (_, ">") => return true,
            ("*", _) | (_, "*") => {}
            _ if a == b => {}
            _ => return false,
        }
        first = false;
    }
}

/// The names that both match are those of this pattern; `None` where there are none.
pub(super) fn meeting(one: &str, other: &str) -> Option<String> {
    if !overlap(one, other) {
        return None;
    }
    let (mut left, mut right) = (one.split('.'), other.split('.'));
    let mut tokens = Vec::new();
    while let (Some(a), Some(b)) = (left.next(), right.next()) {
        match (a, b) {
            (">", b) => {
                tokens.extend(std::iter::once(b).chain(right.by_ref()));
                break;
            }
            (a, ">") => {
                tokens.extend(std::iter::once(a).chain(left.by_ref()));
                break;
            }
            ("*", token) | (token, _) => tokens.push(token),
        }
    }
    Some(tokens.join("."))
}

/// Why `text` is no pattern, and what is expected; `None` where it is one.
pub(super) fn fault(text: &str) -> Option<String> {
    if text.len() > NAME_BYTES_MAX {
        return Some(format!("the pattern has {} bytes and may have {NAME_BYTES_MAX}; shorten it", text.len()));
    }
    let tokens: Vec<&str> = text.split('.').collect();
    tokens.iter().enumerate().find_map(|(index, token)| {
        let shown = text.escape_debug();
        if token.is_empty() {
            return Some(format!(
                "`{shown}` has an empty token; write tokens joined by single dots, such as `orders.>`"
            ));
        }
        if *token == ">" && index + 1 < tokens.len() {
            return Some(format!("`{shown}` has `>` before its end; write `*` for one token"));
        }
        if token.len() > 1 && token.contains(['*', '>']) {
            return Some(format!("`{shown}` mixes a wildcard with other text; a wildcard stands alone between dots"));
        }
        let odd = token.chars().find(|c| c.is_whitespace() || c.is_control())?;
        Some(format!("`{shown}` contains {odd:?}; names have no white space and no control characters"))
    })
}

fn is_reserved(token: &str) -> bool {
    token.starts_with('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tokens that patterns use, one that none does, and a reserved one: enough to tell any two patterns apart.
    const NAME_TOKENS: [&str; 4] = ["a", "b", "other", "$s"];
    const PATTERN_TOKENS: [&str; 5] = ["a", "b", "$s", "*", ">"];

    fn texts(tokens: &[&str], length_max: usize) -> Vec<String> {
        let mut all: Vec<Vec<&str>> = vec![Vec::new()];
        let mut texts = Vec::new();
        for _ in 0..length_max {
            all = all.iter().flat_map(|start| tokens.iter().map(|token| [&start[..], &[token]].concat())).collect();
            texts.extend(all.iter().map(|tokens| tokens.join(".")));
        }
        texts
    }

    fn patterns() -> Vec<String> {
        texts(&PATTERN_TOKENS, 3).into_iter().filter(|text| fault(text).is_none()).collect()
    }

    /// As the words of the file's beginning say it, token by token.
    fn matches_by_definition(pattern: &[&str], name: &[&str], first: bool) -> bool {
        let hidden = first && name.first().is_some_and(|token| token.starts_with('$'));
        match (pattern, name) {
            ([], []) => true,
            ([">"], [_, ..]) => !hidden,
            (["*", pattern @ ..], [_, name @ ..]) => !hidden && matches_by_definition(pattern, name, false),
            ([token, pattern @ ..], [name_token, name @ ..]) => {
                token == name_token && matches_by_definition(pattern, name, false)
            }
            _ => false,
        }
    }

    #[test]
    fn matching_containing_and_overlapping_are_what_brute_force_says() {
        // Names of one token more than the patterns have: what `>` matches beyond is the same again.
        let (patterns, names) = (patterns(), texts(&NAME_TOKENS, 4));
        let matched: Vec<Vec<bool>> = patterns
            .iter()
            .map(|pattern| {
                let pattern: Vec<&str> = pattern.split('.').collect();
                let by_definition =
                    |name: &String| matches_by_definition(&pattern, &name.split('.').collect::<Vec<_>>(), true);
                names.iter().map(by_definition).collect()
            })
            .collect();
        for (pattern, matched_by_it) in patterns.iter().zip(&matched) {
            for (name, expected) in names.iter().zip(matched_by_it) {
                assert_eq!(matches(pattern, name), *expected, "{pattern} matches {name}");
            }
        }
        for (outer, by_outer) in patterns.iter().zip(&matched) {
            for (inner, by_inner) in patterns.iter().zip(&matched) {
                let inside = by_inner.iter().zip(by_outer).all(|(inner, outer)| !inner || *outer);
                assert_eq!(contains(outer, inner), inside, "{outer} contains {inner}");
                let both = by_inner.iter().zip(by_outer).any(|(inner, outer)| *inner && *outer);
                assert_eq!(overlap(outer, inner), both, "{outer} overlaps {inner}");
                let met = meeting(outer, inner);
                assert_eq!(met.is_some(), both, "{outer} meets {inner}");
                for (name, (inner, outer)) in names.iter().zip(by_inner.iter().zip(by_outer)) {
                    let in_both = met.as_deref().is_some_and(|met| matches(met, name));
                    assert_eq!(in_both, *inner && *outer, "{name} in {met:?}");
                }
            }
        }
        assert!(patterns.len() > 80 && names.len() > 300);
    }

    #[test]
    fn what_is_no_pattern_is_told_why() {
        for (text, word) in [
            ("", "empty token"),
            ("a..b", "empty token"),
            (">.a", "before its end"),
            ("a.b*", "stands alone"),
            ("a b", "white space"),
            ("a.\u{7}", "control"),
            (&*"a".repeat(513), "513 bytes"),
        ] {
            assert!(fault(text).is_some_and(|why| why.contains(word)), "{text}: {:?}", fault(text));
        }
        for text in ["a", ">", "*", "*.*.>", "$KV.b.>", "é.ü"] {
            assert_eq!(fault(text), None);
        }
    }
}
