//! Where items come from or go to, as text: `scheme:target?option=value&option=value`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The longest address, in bytes: a path of the longest kind and its options.
pub const ADDRESS_BYTES_MAX: usize = 4 * 1024;

/// A parsed address. `%3F` stands for a question mark in the target, `%26` for `&` in a value, `%25` for `%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    scheme: String,
    target: String,
    options: BTreeMap<String, String>,
}

impl Address {
    /// What is before the colon: it finds the connector.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What is behind the colon, without the options: a stream, a pattern, a path.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The value of this option, where it is given.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The same with this option, unless it has one of that name.
    pub fn with_default(mut self, name: &str, value: &str) -> Self {
        self.options.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        self
    }

    /// The same about another target, without the option `follow`, which changes nothing about what there is: what
    /// [`Source::origin`](crate::Source::origin) tells.
    pub fn origin(&self, target: &str) -> String {
        let mut origin = self.clone();
        origin.options.remove("follow");
        origin.target = target.to_owned();
        origin.to_string()
    }

    /// The value of an option, read by its type.
    ///
    /// # Errors
    /// `Option` for a value that is none of that type; `expected` says what would be one.
    pub fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>> {
        self.option(name)
            .map(|value| {
                value.parse().map_err(|_| self.option_fault(name, format!("it is `{value}`; write {expected}")))
            })
            .transpose()
    }

    /// Whether an option that is on or off is on; one without a value is.
    ///
    /// # Errors
    /// `Option` for something that is neither `true` nor `false`.
    pub fn switch(&self, name: &str) -> Result<bool> {
        match self.option(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(self.option_fault(name, format!("it is `{other}`; write true or false"))),
        }
    }

    /// That it has no options but these.
    ///
    /// # Errors
    /// `Option` for the first one that is not among them.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.options.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) if known.is_empty() => Err(self.option_fault(name, "it takes no options".into())),
            Some(name) => Err(self.option_fault(name, format!("it takes {}", known.join(", ")))),
        }
    }

    /// An error about one of its options.
    pub fn option_fault(&self, option: &str, why: String) -> Error {
        Error::Option { address: self.to_string(), option: option.to_owned(), why }
    }

    /// An error about its target.
    pub fn target_fault(&self, why: impl Into<String>) -> Error {
        Error::Address { address: self.to_string(), why: why.into() }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = |why: &str| Error::Address { address: text.chars().take(200).collect(), why: why.into() };
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(fault("it has more than 4 KiB"));
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(|| {
            fault("write it as scheme:target, as in log:orders, bus:news.>, file:events.jsonl or stdin:")
        })?;
        let first = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !first || !scheme.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.')) {
            return Err(fault("a scheme is a lower-case letter and then letters, digits, `+`, `-` or `.`"));
        }
        let (target, query) = rest.split_once('?').unwrap_or((rest, ""));
        let bad = || fault("`%` begins two hexadecimal digits of UTF-8 text; write `%25` for `%` itself");
        let mut options = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name).ok_or_else(bad)?, decoded(value).ok_or_else(bad)?);
            if options.insert(name, value).is_some() {
                return Err(fault("an option stands in it twice"));
            }
        }
        Ok(Self { scheme: scheme.to_owned(), target: decoded(target).ok_or_else(bad)?, options })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, encoded(&self.target, "?%"))?;
        for (index, (name, value)) in self.options.iter().enumerate() {
            let sign = if index == 0 { '?' } else { '&' };
            write!(f, "{sign}{}={}", encoded(name, "?%&="), encoded(value, "%&"))?;
        }
        Ok(())
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok().filter(|text| !text.starts_with('+'))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn encoded(text: &str, special: &str) -> String {
    text.chars().map(|c| if special.contains(c) { format!("%{:02X}", c as u32) } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scheme_target_and_options_are_told_apart() {
        let address: Address = "log:orders?from=7&filter=a.%26b&follow".parse().unwrap();
        assert_eq!((address.scheme(), address.target()), ("log", "orders"));
        assert_eq!((address.option("from"), address.option("filter")), (Some("7"), Some("a.&b")));
        assert!(address.switch("follow").unwrap() && !address.switch("else").unwrap());
        assert_eq!(address.parsed::<u64>("from", "a number").unwrap(), Some(7));
        let target = |text: &str| text.parse::<Address>().unwrap().target().to_owned();
        assert_eq!(target("file:/a:b/c%3F%25.jsonl?format=raw"), "/a:b/c?%.jsonl");
        assert_eq!(target("stdin:"), "");
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("orders", "write it as scheme:target"),
            ("Log:orders", "a scheme is"),
            (":x", "a scheme is"),
            ("file:100%", "two hexadecimal digits"),
            ("file:%ff", "UTF-8"),
            ("log:a?b=1&b=2", "twice"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let address: Address = "log:a?from=x&speed=1".parse().unwrap();
        let error = address.parsed::<u64>("from", "an offset").unwrap_err().to_string();
        assert_eq!(error, "option `from` of `log:a?from=x&speed=1` cannot be used: it is `x`; write an offset");
        let error = address.only(&["from", "to"]).unwrap_err().to_string();
        assert_eq!(error, "option `speed` of `log:a?from=x&speed=1` cannot be used: it takes from, to");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(target in "\\PC{0,20}", name in "[a-z%&=?]{1,5}", value in "\\PC{0,20}") {
            let options = BTreeMap::from([(name, value)]);
            let address = Address { scheme: "file".into(), target, options };
            prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }

        #[test]
        fn no_text_does_harm(text in "\\PC{0,60}") {
            let _ = text.parse::<Address>();
        }
    }
}
