//! Errors on their way to a client.

use crate::Error;

sinew_session::failures! {
    Error,
    malformed Error::Malformed(_) | Error::Name(_) | Error::Header(_),
    known ["verify", "compact", "back up", "backup", "restore", "import", "do this with"];
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
