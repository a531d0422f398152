//! What can be done at a server, as a policy names it. Who may do it is decided in `authorize.rs`.

use std::fmt;
use std::str::FromStr;

/// What an operation is done to. Names of every kind are tokens joined by `.`; those of a queue, a bucket, a stream and
/// a part of the server are one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ResourceKind {
    /// A subject of the bus.
    Subject,
    /// A task queue.
    Queue,
    /// A bucket of the key-value store.
    Bucket,
    /// A key of a bucket: the bucket's name, a dot, the key. The bucket's name alone stands for all of its keys.
    Key,
    /// A stream of the event log.
    Stream,
    /// A part of the server itself, for its administration.
    Server,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "subject",
            Self::Queue => "queue",
            Self::Bucket => "bucket",
            Self::Key => "key",
            Self::Stream => "stream",
            Self::Server => "server",
        })
    }
}

/// One table for the enum, `ALL`, the names and the kinds, so that none of them can be forgotten.
macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $kind:ident;)+) => {
        /// Something that a peer asks a server to do, and that a policy can allow or deny. Each request of each service
        /// maps to one of these, on the final name of what it concerns.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Operation {
            /// Every operation there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in a policy file: the service, a dot and what is done.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is done to.
            pub const fn kind(self) -> ResourceKind {
                match self { $(Self::$variant => ResourceKind::$kind,)+ }
            }
        }
    };
}

operations! {
    /// Publish to a subject, with or without confirmation.
    BusPublish = "bus.publish", Subject;
    /// Hear what is published to a pattern, kept values included.
    BusSubscribe = "bus.subscribe", Subject;
    /// Answer requests to a pattern.
    BusRespond = "bus.respond", Subject;
    /// Ask a request of a subject, and hear its answer.
    BusRequest = "bus.request", Subject;
    /// Leave a value that later subscribers hear, or clear such values.
    BusRetain = "bus.retain", Subject;
    /// Hold publishers back while one's own subscription is full.
    BusHold = "bus.hold", Subject;
    /// Look at counts, kept values and subscriptions of a pattern.
    BusInspect = "bus.inspect", Subject;
    /// Put a task into a queue, and hear what comes of it.
    TaskSubmit = "task.submit", Queue;
    /// Take tasks from a queue and work on them.
    TaskWork = "task.work", Queue;
    /// Look at a queue and its tasks.
    TaskInspect = "task.inspect", Queue;
    /// Cancel, retry and drop tasks of others in a queue.
    TaskManage = "task.manage", Queue;
    /// Read keys of a bucket, watch them, hear their changes on the bus.
    KvRead = "kv.read", Key;
    /// Put and delete keys of a bucket.
    KvWrite = "kv.write", Key;
    /// Make, change and remove a bucket.
    KvManage = "kv.manage", Bucket;
    /// Append events to a stream.
    LogAppend = "log.append", Stream;
    /// Read and follow a stream.
    LogRead = "log.read", Stream;
    /// Make, change and remove a stream.
    LogManage = "log.manage", Stream;
    /// Look at a part of the server: its sessions, its policy.
    ServerInspect = "server.inspect", Server;
    /// Change a part of the server.
    ServerManage = "server.manage", Server;
}

impl Operation {
    /// The service that it belongs to: its name before the dot.
    pub fn service(self) -> &'static str {
        self.name().split_once('.').map_or(self.name(), |(service, _)| service)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(text: &str) -> Result<Self, UnknownOperation> {
        let found = Self::ALL.iter().find(|operation| operation.name() == text);
        found.copied().ok_or_else(|| UnknownOperation { text: text.escape_debug().take(80).collect() })
    }
}

/// A name that is no operation's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no operation; there are {}", Operation::ALL.iter().map(|operation| operation.name()).collect::<Vec<_>>().join(", "))]
pub struct UnknownOperation {
    /// What was read, cut to 80 characters.
    text: String,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_read_back_and_each_is_one_operation() {
        let names: HashSet<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
        for operation in Operation::ALL {
            assert_eq!(operation.to_string().parse(), Ok(*operation));
            assert!(operation.name().starts_with(operation.service()) && operation.service() != operation.name());
        }
        let error = "bus.shout".parse::<Operation>().unwrap_err().to_string();
        assert!(error.contains("`bus.shout`") && error.contains("bus.publish"), "{error}");
    }
}
