//! Rust source with its comments and literals blanked out, so that a word in a text is not taken for code.

/// The same number of bytes and lines; comments, strings and character literals are spaces.
pub(super) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let skip = literal_or_comment(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        let (end, keep) = if skip == 0 { (at + 1, true) } else { (at + skip, false) };
        out.extend(bytes[at..end].iter().map(|byte| if keep || *byte == b'\n' { *byte } else { b' ' }));
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How many bytes at the start of `rest` are a comment or a literal; 0 when it is code.
fn literal_or_comment(rest: &[u8], before: Option<u8>) -> usize {
    let after_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => 1 + quoted(&rest[1..]),
        [b'r', ..] if !after_word => raw_string(rest, 1),
        [b'b' | b'c', b'r', ..] if !after_word => raw_string(rest, 2),
        [b'\'', b'\\', ..] => {
            3 + rest[3.min(rest.len())..].iter().position(|byte| *byte == b'\'').map_or(0, |end| end + 1)
        }
        [b'\'', ..] => character(rest),
        _ => 0,
    }
    .min(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// To behind the closing quote.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// `r"…"`, `r#"…"#`; `r#name` is code.
fn raw_string(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = &rest[open + 1..];
    body.windows(close.len()).position(|window| window == close).map_or(rest.len(), |end| open + 1 + end + close.len())
}

/// `'x'`, where x may take several bytes; `'a` without a closing quote is a lifetime.
fn character(rest: &[u8]) -> usize {
    let width = match rest.get(1) {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    };
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::code_only;

    #[track_caller]
    fn check(source: &str, code: &str) {
        let got = code_only(source);
        assert_eq!(got.len(), source.len());
        assert_eq!(got.split_whitespace().collect::<Vec<_>>().join(" "), code);
    }

    #[test]
    fn texts_are_blanked_and_code_stays() {
        check("a // b\nc", "a c");
        check("a /* b /* c */ d */ e", "a e");
        check(r#"f("x \" y", 'z')"#, "f( , )");
        check("f(r#\"a \" b\"#, br\"c\", b\"d\")", "f( , , b )");
        check("let r#type: &'a str = '\\'';", "let r#type: &'a str = ;");
        check("'ä' x '\\u{1F600}' y", "x y");
        check("\"open", "");
    }
}
