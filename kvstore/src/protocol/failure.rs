//! Errors on their way to a client.

use crate::Error;

sinew_session::failures! {
    Error,
    malformed Error::Name(_) | Error::KeyTooLong { .. } | Error::ReservedKey { .. },
    known ["verify", "compact", "backup", "restore", "do this with"];
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
