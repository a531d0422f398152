//! Errors on their way to a client: a code, the words, and what the words are made of, so that the client has the same
//! error as the engine.

use sinew_session::{Detail, Failure};

use crate::{Error, Level};

/// The code of a request that makes no sense.
pub(crate) const BAD_REQUEST: &str = "bad-request";

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
                Error::Malformed(_) | Error::Name(_) | Error::Header(_) => (BAD_REQUEST, Vec::new()),
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
    (@out small $field:ident) => { Detail::Number(u64::from(*$field)) };
    (@out size $field:ident) => { Detail::Number(*$field as u64) };
    (@out level $field:ident) => { Detail::Number(u64::from(super::level_code(*$field))) };
    (@out words $field:ident) => { { let _ = $field; Detail::Number(0) } };
    (@in text $failure:ident $next:ident) => { $failure.text($next())?.to_owned().into() };
    (@in number $failure:ident $next:ident) => { $failure.number($next())? };
    (@in small $failure:ident $next:ident) => { u32::try_from($failure.number($next())?).ok()? };
    (@in size $failure:ident $next:ident) => { usize::try_from($failure.number($next())?).ok()? };
    (@in level $failure:ident $next:ident) => { level($failure.number($next())?)? };
    (@in words $failure:ident $next:ident) => { { let _ = $next(); $failure.reason.clone() } };
    (@in known $failure:ident $next:ident) => { known($failure.text($next())?) };
    (@out known $field:ident) => { Detail::Text((*$field).to_owned()) };
}

failures! {
    "unknown-stream" = UnknownStream { stream: text };
    "stream-exists" = StreamExists { stream: text };
    "config" = Config { stream: text, field: text, value: text, why: text };
    "out-of-range" = OutOfRange { stream: text, requested: number, first: number, next: number };
    "wrong-offset" = WrongOffset { stream: text, expected: number, next: number };
    "producer-fenced" = ProducerFenced { stream: text, producer: number, epoch: small, current: small };
    "producer-expired" = ProducerExpired { stream: text, producer: number };
    "sequence-gap" = SequenceGap { stream: text, producer: number, sequence: number, expected: number };
    "already-stored" = AlreadyStored { stream: text, producer: number, sequence: number, expected: number };
    "cursor" = Cursor { stream: text, cursor: text, why: text };
    "backup" = Backup { path: text, why: text };
    "malformed-import" = MalformedImport { path: text, at: number, why: text };
    "unsupported" = Unsupported { stream: text, what: known };
    "too-large" = TooLarge { stream: text, what: text, bytes: size, max: size, advice: text };
    "busy" = Busy { stream: text, bytes: size };
    "no-space" = NoSpace { stream: text };
    "not-now" = NotNow { stream: text, why: text };
    "damaged" = Damaged { stream: text, from: number, to: number, why: text };
    "storage" = Storage { stream: text, why: text };
    "ended" = Ended { stream: text };
    "unknown-group" = UnknownGroup { stream: text, group: text };
    "group-exists" = GroupExists { stream: text, group: text };
    "group-ended" = GroupEnded { stream: text, group: text };
    "level" = LevelUnmet { stream: text, required: level, level: level };
    "limit" = Limit { reason: words };
    "denied" = Denied { reason: words };
}

fn level(code: u64) -> Option<Level> {
    super::level_of(u8::try_from(code).ok()?)
}

/// What an engine cannot do, as one of the words that there are.
fn known(what: &str) -> &'static str {
    ["verify", "compact", "back up", "backup", "restore", "import"]
        .into_iter()
        .find(|known| *known == what)
        .unwrap_or("do this with")
}
