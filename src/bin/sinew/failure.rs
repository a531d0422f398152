//! How a command fails: one line with what failed and the chain of its causes.

use std::error::Error;
use std::process::ExitCode;

use sinew::connectors::Error as ConnectorError;
use sinew::kvstore::Error as KvError;
use sinew::taskqueue::{Ending, Error as TaskQueueError};
use sinew::{BusError, LogError, SessionError};

use crate::kv::KeyMissing;

/// Of a command.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// `what: cause: its cause`; what a text has already said is not said again.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}

/// The storage of a server failed: it ends, since nothing more can be acknowledged.
#[derive(Debug)]
pub(crate) struct StorageFailed(pub(crate) sinew::Error);

impl std::fmt::Display for StorageFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the storage failed, and nothing more can be acknowledged: {}; see to the disk, then start the server again: \
            it keeps everything that was acknowledged",
            self.0
        )
    }
}

impl Error for StorageFailed {}

/// `verify` found something: an exit code of its own.
#[derive(Debug)]
pub(crate) struct DamageFound {
    /// Of what: stream, bucket, queue.
    pub(crate) kind: &'static str,
    pub(crate) count: usize,
}

impl std::fmt::Display for DamageFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, count } = self;
        let what = if *count == 1 { format!("a {kind} is") } else { format!("{count} {kind}s are") };
        write!(f, "{what} damaged; nothing was changed: what is whole can be read, what is not, a backup has")
    }
}

impl Error for DamageFound {}

/// What a script can tell apart; the list is in the help.
pub(crate) fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    if error.is::<StorageFailed>() {
        return ExitCode::from(7);
    }
    if error.is::<DamageFound>() {
        return ExitCode::from(8);
    }
    if error.is::<KeyMissing>() {
        return ExitCode::from(10);
    }
    let outer = error.downcast_ref::<sinew::Error>();
    let connector = error.downcast_ref::<ConnectorError>();
    let bus = error.downcast_ref::<BusError>().or(match (outer, connector) {
        (Some(sinew::Error::Bus(error)), _) | (_, Some(ConnectorError::Bus(error))) => Some(error),
        _ => None,
    });
    let log = error.downcast_ref::<LogError>().or(match (outer, connector) {
        (Some(sinew::Error::Log(error)), _) | (_, Some(ConnectorError::Log(error))) => Some(error),
        _ => None,
    });
    let kv = error.downcast_ref::<KvError>().or(match outer {
        Some(sinew::Error::Kv(error)) => Some(error),
        _ => None,
    });
    if let Some(error) = kv {
        return ExitCode::from(match error {
            KvError::Session(SessionError::Timeout { .. }) => 5,
            KvError::Denied { .. } => 6,
            KvError::Conflict { .. } => 9,
            _ => 1,
        });
    }
    let task = error.downcast_ref::<TaskQueueError>().or(match outer {
        Some(sinew::Error::Tasks(error)) => Some(error),
        _ => None,
    });
    if let Some(error) = task {
        return ExitCode::from(task_code(error));
    }
    ExitCode::from(match (bus, log) {
        (Some(BusError::NoResponders { .. }), _) => 3,
        (Some(BusError::ResponderFailed { .. } | BusError::ResponderLost { .. }), _) => 4,
        (Some(BusError::Session(SessionError::Timeout { .. })), _) => 5,
        (_, Some(LogError::Session(SessionError::Timeout { .. }))) => 5,
        (Some(BusError::Denied { .. } | BusError::Refused { .. }), _) | (_, Some(LogError::Denied { .. })) => 6,
        (_, Some(LogError::WrongOffset { .. })) => 9,
        _ => 1,
    })
}

/// How a task, or a call about one, did not end well.
fn task_code(error: &TaskQueueError) -> u8 {
    match error {
        TaskQueueError::NoWorkers { .. } => 3,
        TaskQueueError::NotDone { outcome, .. } => match outcome.ending {
            Ending::NoWorkers { .. } => 3,
            Ending::DeadlineExceeded { .. } => 5,
            _ => 4,
        },
        TaskQueueError::Session(SessionError::Timeout { .. }) => 5,
        TaskQueueError::Denied { .. } | TaskQueueError::NotYours { .. } => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Step(&'static str, Option<Box<Step>>);

    impl std::fmt::Display for Step {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Step {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|step| step as _)
        }
    }

    #[test]
    fn every_cause_once() {
        let error = Step("no server", Some(Box::new(Step("refused: key x", Some(Box::new(Step("key x", None)))))));
        assert_eq!(chain(&error), "no server: refused: key x");
    }
}
