//! After a reconnect: what services ask for before new work is sent.

use std::sync::Arc;

use tokio::sync::watch;

use crate::carry::now;
use crate::outbox::Outbox;
use crate::request::{Reply, Request, Waiter, call_head, pack_call};
use crate::shared::{Shared, after};
use crate::{Error, Result};

/// Asks, after a reconnect, for what has to stand before new work is sent.
#[derive(Debug)]
pub struct Restore<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) outbox: &'a Outbox,
    pub(crate) resumed: bool,
    pub(crate) pending: &'a Arc<watch::Sender<Restoring>>,
    pub(crate) numbers: &'a mut Vec<u32>,
}

impl Restore<'_> {
    /// Whether the server still knew the session, with its counts.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Makes a call; `done` is run on the session's thread with its outcome, `OutcomeUnknown` if the new connection is
    /// cut as well.
    pub fn call(&mut self, request: Request<'_>, done: impl FnOnce(Result<Reply>) + Send + 'static) {
        let pending = self.pending.clone();
        let number = match request.number.map_or_else(|| self.shared.number(), Ok) {
            Ok(number) => number,
            Err(error) => return done(Err(error)),
        };
        pending.send_modify(|restoring| restoring.calls += 1);
        let settle = move |result| {
            let late = matches!(result, Err(Error::Timeout { .. }));
            done(result);
            pending.send_modify(|restoring| {
                restoring.calls -= 1;
                restoring.late |= late;
            });
        };
        let deadline = after(now(), request.deadline);
        // Beyond the limit of calls too: those that wait behind the restore must not keep it from ending.
        self.shared.calls().enter_always(number, deadline, Waiter::Callback(Box::new(settle)));
        self.shared.deadlines.notify_one();
        self.numbers.push(number);
        pack_call(self.outbox.pack(), number, &call_head(&request), request);
    }
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restoring {
    /// Calls that were not answered yet.
    pub(crate) calls: usize,
    /// One was not answered in time: nobody knows what stands, so the connection must not be used.
    pub(crate) late: bool,
}
