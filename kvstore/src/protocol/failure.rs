//! Errors on their way to a client: a code, the words, and what the words are made of, so that the client has the same
//! error as the engine.

use sinew_session::{Detail, Failure};

use crate::{Error, Level};

/// The code of a request that makes no sense.
const BAD_REQUEST: &str = "bad-request";

/// A request that makes no sense.
pub(crate) fn bad_request(reason: impl ToString) -> Failure {
    Failure::new(BAD_REQUEST, reason.to_string())
}

/// A rule of the protocol was broken.
pub(crate) fn violation(reason: &str) -> Failure {
    Failure::new("protocol", reason)
}

/// One table for both directions: code, variant, and its fields in order, each as a number or a text.
macro_rules! failures {
    ($($code:literal = $variant:ident { $($field:ident: $kind:ident),* };)+) => {
        /// An error as it travels.
        pub(crate) fn failure_of(error: &Error) -> Failure {
            let details: (&str, Vec<Detail>) = match error {
                $(Error::$variant { $($field),* } => ($code, vec![$(failures!(@out $kind $field)),*]),)+
                Error::Name(_) | Error::KeyTooLong { .. } | Error::ReservedKey { .. } => (BAD_REQUEST, Vec::new()),
                Error::Session(sinew_session::Error::Failed(failure)) => return failure.clone(),
                _ => ("failed", Vec::new()),
            };
            let reason = match error {
                Error::Limit { reason } | Error::Denied { reason } => reason.clone(),
                error => error.to_string(),
            };
            Failure { code: details.0.into(), reason, details: details.1 }
        }

        /// What the server's no means.
        pub(crate) fn error_of(error: sinew_session::Error) -> Error {
            let sinew_session::Error::Failed(failure) = error else { return Error::Session(error) };
            read(&failure).unwrap_or(Error::Session(sinew_session::Error::Failed(failure)))
        }

        fn read(failure: &Failure) -> Option<Error> {
            let mut place = 0;
            let mut next = || { place += 1; place - 1 };
            Some(match failure.code.as_str() {
                $($code => Error::$variant { $($field: failures!(@in $kind failure next)),* },)+
                _ => return None,
            })
        }
    };
    (@out text $field:ident) => { Detail::Text($field.to_string()) };
    (@out number $field:ident) => { Detail::Number(*$field) };
    (@out size $field:ident) => { Detail::Number(*$field as u64) };
    (@out level $field:ident) => { Detail::Number(u64::from(super::level_code(*$field))) };
    (@out words $field:ident) => { { let _ = $field; Detail::Number(0) } };
    (@out known $field:ident) => { Detail::Text((*$field).to_owned()) };
    (@in text $failure:ident $next:ident) => { $failure.text($next())?.to_owned().into() };
    (@in number $failure:ident $next:ident) => { $failure.number($next())? };
    (@in size $failure:ident $next:ident) => { usize::try_from($failure.number($next())?).ok()? };
    (@in level $failure:ident $next:ident) => { level($failure.number($next())?)? };
    (@in words $failure:ident $next:ident) => { { let _ = $next(); $failure.reason.clone() } };
    (@in known $failure:ident $next:ident) => { known($failure.text($next())?) };
}

failures! {
    "unknown-bucket" = UnknownBucket { bucket: text };
    "bucket-exists" = BucketExists { bucket: text };
    "config" = Config { bucket: text, field: text, value: text, why: text };
    "conflict" = Conflict { bucket: text, key: text, found: text, expected: text, revision: number };
    "invalid" = Invalid { bucket: text, why: text };
    "not-a-counter" = NotACounter { bucket: text, key: text, why: text };
    "too-large" = TooLarge { bucket: text, what: text, bytes: size, max: size, advice: text };
    "full" = Full { bucket: text, what: text, max: number };
    "compacted" = Compacted { bucket: text, requested: number, first: number };
    "busy" = Busy { bucket: text, bytes: size };
    "no-space" = NoSpace { bucket: text };
    "storage" = Storage { bucket: text, why: text };
    "backup" = Backup { path: text, why: text };
    "unsupported" = Unsupported { bucket: text, what: known };
    "ended" = Ended { bucket: text };
    "level" = LevelUnmet { bucket: text, required: level, level: level };
    "limit" = Limit { reason: words };
    "denied" = Denied { reason: words };
}

fn level(code: u64) -> Option<Level> {
    super::level_of(u8::try_from(code).ok()?)
}

/// What an engine cannot do, as one of the words that there are.
fn known(what: &str) -> &'static str {
    ["verify", "compact", "backup", "restore"].into_iter().find(|known| *known == what).unwrap_or("do this with")
}
