//! Errors of a service on their way to a client: a code, the words, and what the words are made of, so that the client has
//! the same error as the server.

use crate::Failure;

/// The code of a request that makes no sense.
pub const BAD_REQUEST: &str = "bad-request";

/// A request that makes no sense.
pub fn bad_request(reason: impl ToString) -> Failure {
    Failure::new(BAD_REQUEST, reason.to_string())
}

/// A rule of the protocol was broken: the connection ends.
pub fn violation(reason: &str) -> Failure {
    Failure::new("protocol", reason)
}

/// Makes `failure_of` and `error_of` for a service's error from one table for both directions: code, variant, and its fields
/// in order, each with its kind.
///
/// The error has a variant `Session` for what is not in the table, and `Limit` and `Denied` with their `reason`. `malformed`
/// are errors of a request that makes no sense; `known` are the words that a field of kind `known` may have, the last one
/// for any other.
///
/// | kind | the field is | and travels as |
/// |---|---|---|
/// | `text` | `String`, `Cow<'static, str>` | text |
/// | `number`, `small`, `size` | `u64`, `u32`, `usize` | number |
/// | `level` | [`Level`](crate::Level) | its code |
/// | `id` | whatever text can be read as | text |
/// | `lines` | `Vec<String>` | text, a line for each |
/// | `known` | `&'static str` | text |
/// | `words` | `String` | the words of the failure |
#[macro_export]
macro_rules! failures {
    (@out text $field:ident) => { $crate::Detail::Text($field.to_string()) };
    (@out number $field:ident) => { $crate::Detail::Number(*$field) };
    (@out small $field:ident) => { $crate::Detail::Number(u64::from(*$field)) };
    (@out size $field:ident) => { $crate::Detail::Number(*$field as u64) };
    (@out id $field:ident) => { $crate::Detail::Text($field.to_string()) };
    (@out lines $field:ident) => { $crate::Detail::Text($field.join("\n")) };
    (@out level $field:ident) => { $crate::Detail::Number(u64::from($field.code())) };
    (@out known $field:ident) => { $crate::Detail::Text((*$field).to_owned()) };
    (@out words $field:ident) => { { let _ = $field; $crate::Detail::Number(0) } };
    (@in text $failure:ident $next:ident) => { $failure.text($next())?.to_owned().into() };
    (@in number $failure:ident $next:ident) => { $failure.number($next())? };
    (@in small $failure:ident $next:ident) => { u32::try_from($failure.number($next())?).ok()? };
    (@in size $failure:ident $next:ident) => { usize::try_from($failure.number($next())?).ok()? };
    (@in id $failure:ident $next:ident) => { $failure.text($next())?.parse().ok()? };
    (@in lines $failure:ident $next:ident) => { $failure.text($next())?.lines().map(str::to_owned).collect() };
    (@in level $failure:ident $next:ident) => {
        $crate::Level::from_code(u8::try_from($failure.number($next())?).ok()?)?
    };
    (@in known $failure:ident $next:ident) => { known($failure.text($next())?) };
    (@in words $failure:ident $next:ident) => { { let _ = $next(); $failure.reason.clone() } };
    (
        $error:ident, malformed $malformed:pat, known $known:expr;
        $($code:literal = $variant:ident { $($field:ident: $kind:ident),* };)+
    ) => {
        /// An error as it travels.
        pub(crate) fn failure_of(error: &$error) -> $crate::Failure {
            let (code, details): (&str, Vec<$crate::Detail>) = match error {
                $($error::$variant { $($field),* } => ($code, vec![$($crate::failures!(@out $kind $field)),*]),)+
                $malformed => ($crate::BAD_REQUEST, Vec::new()),
                $error::Session($crate::Error::Failed(failure)) => return failure.clone(),
                _ => ("failed", Vec::new()),
            };
            let reason = match error {
                $error::Limit { reason } | $error::Denied { reason } => reason.clone(),
                error => error.to_string(),
            };
            $crate::Failure { code: code.into(), reason, details }
        }

        /// What the server's no means.
        pub(crate) fn error_of(error: $crate::Error) -> $error {
            let $crate::Error::Failed(failure) = error else { return $error::Session(error) };
            read(&failure).unwrap_or($error::Session($crate::Error::Failed(failure)))
        }

        fn read(failure: &$crate::Failure) -> Option<$error> {
            let mut place = 0;
            let mut next = || {
                place += 1;
                place - 1
            };
            Some(match failure.code.as_str() {
                $($code => $error::$variant { $($field: $crate::failures!(@in $kind failure next)),* },)+
                _ => return None,
            })
        }

        fn known(word: &str) -> &'static str {
            const KNOWN: &[&str] = &$known;
            KNOWN.iter().find(|known| **known == word).or(KNOWN.last()).expect("there is one for any other")
        }
    };
}
