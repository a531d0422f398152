//! Names of any text as keys, and back. A name that is a key and has no `%` stays as it is.
//!
//! `%XX` is a byte of UTF-8 in upper case hexadecimal. Written so are `%` itself, white space, control characters, `*` and
//! `>`, a `$` at the beginning, and a dot that would leave a token empty: at an end, or behind another dot. The empty name
//! is `%` alone. No two names give one key, so that each comes back as it was.

use std::fmt::Write;

/// The key of a name. A long name may give a text that is too long for a key.
pub fn escape_key(name: &str) -> String {
    if name.is_empty() {
        return "%".into();
    }
    let mut key = String::with_capacity(name.len());
    let mut previous = None;
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let escape = match character {
            '.' => matches!(previous, None | Some('.')) || characters.peek().is_none(),
            '$' => previous.is_none(),
            '%' | '*' | '>' => true,
            _ => character.is_control() || character.is_whitespace(),
        };
        if escape {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                write!(key, "%{byte:02X}").expect("a text grows");
            }
        } else {
            key.push(character);
        }
        previous = Some(character);
    }
    key
}

/// The name of a key that [`escape_key`] has made; `None` for any other text.
pub fn unescape_key(key: &str) -> Option<String> {
    if key == "%" {
        return Some(String::new());
    }
    let mut parts = key.split('%');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        name.push(u8::from_str_radix(digits, 16).ok()?);
        name.extend_from_slice(rest.as_bytes());
    }
    // One name, one key: what could have been written in another way is none of ours.
    String::from_utf8(name).ok().filter(|name| escape_key(name) == key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{KEY_BYTES_MAX, Key};

    #[test]
    fn names_as_keys() {
        for (name, key) in [
            ("lights.kitchen", "lights.kitchen"),
            ("Küche/oben", "Küche/oben"),
            ("", "%"),
            ("%", "%25"),
            ("100%", "100%25"),
            ("two words", "two%20words"),
            ("a\u{a0}b\n", "a%C2%A0b%0A"),
            ("*.>", "%2A.%3E"),
            ("$home", "%24home"),
            ("a$", "a$"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            (".a", "%2Ea"),
            ("a.", "a%2E"),
            ("a..b", "a.%2Eb"),
        ] {
            assert_eq!(escape_key(name), key, "{name:?}");
            assert_eq!(unescape_key(key).as_deref(), Some(name), "{key}");
            assert!(Key::try_from(key).is_ok(), "{key}");
        }
    }

    #[test]
    fn what_was_not_escaped_so_is_no_name() {
        for key in ["", "%2", "%zz", "a%", "%e2%98%80", "%FF", "%41", "%+1", "a%2Eb", "two words", "%2é"] {
            assert_eq!(unescape_key(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_a_key_and_comes_back(name in prop_oneof![".*", "[.%*>$a ]{0,12}"]) {
            let key = escape_key(&name);
            prop_assert!(key.len() > KEY_BYTES_MAX || Key::try_from(key.as_str()).is_ok(), "{}", key);
            prop_assert_eq!(unescape_key(&key), Some(name));
        }

        #[test]
        fn no_text_does_harm(key in ".*") {
            let _ = unescape_key(&key);
        }
    }
}
