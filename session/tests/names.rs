//! The grammar of names: tables of what is and is not one, random bytes, and both readers against each other.

use bytes::Bytes;
use proptest::prelude::*;
use sinew_session::{NAME_BYTES_MAX, NameError, NameFault, Pattern, ResourceName, Subject, is_reserved};

fn subject(text: &str) -> Subject {
    Subject::try_from(text).expect("a subject of this test")
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).expect("a pattern of this test")
}

fn subject_fault(bytes: &[u8]) -> NameFault {
    match Subject::try_from(Bytes::copy_from_slice(bytes)) {
        Err(NameError::InvalidSubject { fault, .. }) => fault,
        other => panic!("{bytes:?}: {other:?}"),
    }
}

#[test]
fn subjects() {
    let longest = "x".repeat(NAME_BYTES_MAX);
    let deepest = "x.".repeat(NAME_BYTES_MAX / 2 - 1) + "x";
    for text in ["a", "a.b", "orders.eu-1.new_2", "$SYS.x", "a.$b", "温度.ñ", "a/b:c,d;{}", "<", &longest, &deepest]
    {
        assert!(Subject::is_valid(text.as_bytes()), "{text}");
        assert_eq!(subject(text).as_str(), text);
        assert_eq!(pattern(text).as_str(), text, "every subject is a pattern");
    }
}

#[test]
fn what_is_no_subject_and_why() {
    use NameFault::*;
    let too_long = "x".repeat(NAME_BYTES_MAX + 1);
    for (text, fault) in [
        ("", Empty),
        (&*too_long, TooLong { bytes: NAME_BYTES_MAX + 1 }),
        (".", EmptyToken { token: 1 }),
        (".a", EmptyToken { token: 1 }),
        ("a.", EmptyToken { token: 2 }),
        ("a..b", EmptyToken { token: 2 }),
        ("a.b c", ForbiddenCharacter { token: 2, character: ' ' }),
        ("a\n", ForbiddenCharacter { token: 1, character: '\n' }),
        ("a.\0", ForbiddenCharacter { token: 2, character: '\0' }),
        ("a\u{7f}", ForbiddenCharacter { token: 1, character: '\u{7f}' }),
        ("a\u{85}", ForbiddenCharacter { token: 1, character: '\u{85}' }),
        ("a\u{a0}", ForbiddenCharacter { token: 1, character: '\u{a0}' }),
        ("a.b.\u{3000}", ForbiddenCharacter { token: 3, character: '\u{3000}' }),
        ("a.*", WildcardInSubject { token: 2, wildcard: '*' }),
        (">", WildcardInSubject { token: 1, wildcard: '>' }),
        ("é..b", EmptyToken { token: 2 }),
    ] {
        assert!(!Subject::is_valid(text.as_bytes()), "{text:?}");
        assert_eq!(subject_fault(text.as_bytes()), fault, "{text:?}");
    }
    assert_eq!(subject_fault(b"ab\xff"), NotUtf8 { at: 2 });
}

#[test]
fn what_is_no_pattern_and_why() {
    use NameFault::*;
    for (text, fault) in [
        ("", Empty),
        ("*.", EmptyToken { token: 2 }),
        ("a*", WildcardInToken { token: 1, wildcard: '*' }),
        ("a.**", WildcardInToken { token: 2, wildcard: '*' }),
        ("a.>b", WildcardInToken { token: 2, wildcard: '>' }),
        ("a.>.b", RestNotLast { token: 2 }),
        (">.>", RestNotLast { token: 1 }),
        ("* .a", WildcardInToken { token: 1, wildcard: '*' }),
        ("a b.*", ForbiddenCharacter { token: 1, character: ' ' }),
    ] {
        match Pattern::try_from(text) {
            Err(NameError::InvalidPattern { fault: found, .. }) => assert_eq!(found, fault, "{text:?}"),
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[test]
fn matching() {
    let long = "a.".repeat(255) + "a";
    for (text, hears, does_not) in [
        ("a", vec!["a"], vec!["b", "a.a", "aa"]),
        ("a.b", vec!["a.b"], vec!["a", "a.b.c", "a.c"]),
        ("*", vec!["a", "é"], vec!["a.b", "$a"]),
        (">", vec!["a", "a.b", &*long], vec!["$SYS", "$SYS.a"]),
        ("a.*", vec!["a.b", "a.$b"], vec!["a", "a.b.c", "b.b"]),
        ("a.>", vec!["a.b", "a.b.c", "a.$b"], vec!["a", "b.a"]),
        ("*.b", vec!["a.b"], vec!["$a.b", "b"]),
        ("*.*.>", vec!["a.b.c", "a.b.c.d"], vec!["a.b", "$a.b.c"]),
        ("$SYS.>", vec!["$SYS.a"], vec!["$SYS", "$KV.a"]),
        ("$KV.*", vec!["$KV.a"], vec!["a.a"]),
        ("a.*.c.>", vec!["a.b.c.d"], vec!["a.b.c", "a.b.d.d"]),
    ] {
        assert!(hears.iter().all(|name| pattern(text).matches(&subject(name))), "{text} should match {hears:?}");
        assert!(!does_not.iter().any(|name| pattern(text).matches(&subject(name))), "{text} not {does_not:?}");
    }
}

#[test]
fn only_the_server_publishes_below_a_dollar() {
    let error = subject("$KV.a").check_publishable().expect_err("reserved");
    assert_eq!(
        error.to_string(),
        "cannot publish to `$KV.a`: names that begin with `$` belong to the server; choose another first token"
    );
    assert!(subject("a.$b").check_publishable().is_ok());
    assert!(is_reserved(b"$") && !is_reserved(b"") && !is_reserved(b"a$"));
}

#[test]
fn an_error_shows_a_hostile_name_escaped_and_cut() {
    let error = Subject::try_from("\u{1b}[2Jpay roll".to_owned() + &"x".repeat(5_000_000)).expect_err("too long");
    let text = error.to_string();
    assert!(text.len() < 300 && text.starts_with("`\\u{1b}[2Jpay roll"), "{text}");
    assert!(text.ends_with("it has 5000012 bytes and a name has at most 512; shorten it"), "{text}");
}

#[test]
fn received_bytes_are_not_copied() {
    let block = Bytes::from_static(b"....orders.new....");
    let subject = Subject::try_from(block.slice(4..14)).expect("a subject");
    assert_eq!(subject.as_bytes().as_ptr(), block[4..].as_ptr());
    assert_eq!(subject.clone().as_bytes().as_ptr(), block[4..].as_ptr());
}

/// The grammar once more, as one would say it.
fn is_subject(bytes: &[u8]) -> bool {
    bytes.len() <= 512
        && std::str::from_utf8(bytes).is_ok_and(|text| {
            text.split('.').all(|token| {
                !token.is_empty() && !token.chars().any(|c| c.is_control() || c.is_whitespace() || c == '*' || c == '>')
            })
        })
}

/// Bytes that are often nearly a name.
fn nearly_a_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        20 => Just(b'a'), 6 => Just(b'.'), 1 => Just(b'*'), 1 => Just(b'>'), 1 => Just(b' '), 1 => Just(b'$'), 1 => any::<u8>()
    ];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(byte, 0..24),
        "[a-z.é\u{2028}\u{85}*>]{0,12}".prop_map(String::into_bytes),
        proptest::collection::vec(Just(b'x'), 505..520),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_judged_by_the_grammar(bytes in nearly_a_name()) {
        let expected = is_subject(&bytes);
        prop_assert_eq!(Subject::is_valid(&bytes), expected);
        prop_assert_eq!(Subject::try_from(Bytes::from(bytes.clone())).is_ok(), expected);
        if let Ok(pattern) = Pattern::try_from(&*bytes) {
            prop_assert_eq!(expected, !pattern.as_str().contains(['*', '>']));
            if expected {
                let subject = Subject::try_from(pattern.as_str()).expect("the same text");
                prop_assert!(pattern.matches(&subject));
            }
        } else {
            prop_assert!(!expected);
        }
    }
}

#[test]
fn every_name_has_its_own_folder() {
    for (name, folder) in [("orders-2026_eu", "orders-2026_eu"), ("Orders", "%4frders"), ("温", "%e6%b8%a9")] {
        let name = ResourceName::try_from(name).expect("a name");
        assert_eq!(name.folder_name(), folder);
        assert_eq!(ResourceName::from_folder_name(folder), Some(name));
    }
    for other in ["Orders", "%4Frders", "%61", "%", "%4", "%ff", "", "a.b", ".orders.0123.new"] {
        assert_eq!(ResourceName::from_folder_name(other), None, "{other}");
    }
}
