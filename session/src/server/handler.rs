//! What the server does with what arrives on one connection: session verbs here, everything else to its service.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sinew_transport_api::Lane;

use crate::carry::Handler;
use crate::driver::Stop;
use crate::hello::{Failure, verb};
use crate::inbound::Inbound;
use crate::record::{CRITICAL, Header, REPLY, Record, Run, SESSION};
use crate::service::Link;
use crate::sessions::{Barrier, FLUSHES_MAX, Inner, ServerSession};
use crate::{Error, Result};

/// One connection of a session.
#[derive(Debug)]
pub(super) struct ServerHandler {
    pub(super) session: Arc<ServerSession>,
    pub(super) link: Arc<Link>,
    pub(super) inbound: Mutex<Inbound>,
    pub(super) unsent_bytes_max: usize,
}

/// On how many lanes the client has packed this.
fn lanes_of(record: &Record<'_>) -> u8 {
    record.body().first().copied().unwrap_or(1)
}

impl ServerHandler {
    fn flush(&self, inner: &mut Inner, record: &Record<'_>) {
        match inner.barrier(record.header.call, lanes_of(record)) {
            Barrier::Waits => {}
            Barrier::Complete => {
                let header = Header { flags: REPLY, ..record.header };
                self.link.pack().push(Lane::CONTROL, header, &[], &Bytes::new());
            }
            Barrier::TooMany => {
                let reason = format!("{FLUSHES_MAX} flushes of this session wait already; await some of them first");
                self.link.fail(Lane::CONTROL, &record.header, &Failure::new("limit", reason));
            }
        }
    }

    fn control(&self, inner: &mut Inner, lane: Lane, run: Run<'_>) -> std::result::Result<(), Stop> {
        for record in run {
            match record.header.verb {
                verb::FLUSH => self.flush(inner, &record),
                verb::CANCEL => {
                    inner.attachments.iter_mut().for_each(|(_, attachment)| attachment.cancel(record.header.call))
                }
                // It comes behind everything, on each lane. No flush has the number 0.
                verb::GOODBYE if inner.barrier(0, lanes_of(&record)) == Barrier::Waits => {}
                verb::GOODBYE => return Err(Stop::End(Error::Closed)),
                verb::HEARTBEAT => {}
                verb if record.header.flags & CRITICAL != 0 => {
                    let failure =
                        Failure::new("unknown-verb", format!("this server does not know session verb {verb}"));
                    self.link.fail(lane, &record.header, &failure);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn dispatch(&self, inner: &mut Inner, lane: Lane, run: Run<'_>) -> std::result::Result<(), Stop> {
        let first = run.first().expect("a run is not empty").header;
        if first.service == SESSION {
            return self.control(inner, lane, run);
        }
        inner.one_way += run.into_iter().filter(|record| record.header.is_one_way()).count() as u64;
        match inner.attachments.iter_mut().find(|(code, _)| *code == first.service) {
            Some((_, attachment)) => attachment.records(lane, run).map_err(|failure| Stop::Rule(failure.reason)),
            None => {
                for record in run.into_iter().filter(|record| record.header.flags & CRITICAL != 0) {
                    let reason = format!(
                        "this server does not offer service {}; is it started with that feature?",
                        first.service
                    );
                    self.link.fail(lane, &record.header, &Failure::new("unknown-service", reason));
                }
                Ok(())
            }
        }
    }
}

impl Handler for ServerHandler {
    fn block(&self, lane: Lane, block: Bytes) -> Result<()> {
        let mut inner = self.session.lock();
        if inner.link.id() != self.link.id() {
            return Err(Error::Protocol {
                peer: self.link.peer().address.clone(),
                why: "its session goes on over another connection".into(),
            });
        }
        if inner.is_over() {
            return Ok(()); // It was told, and has a moment left to read that.
        }
        let mut inbound = self.inbound.lock().unwrap_or_else(PoisonError::into_inner);
        inbound.accept(lane, &block, &mut |run| self.dispatch(&mut inner, lane, run)).map_err(|stop| match stop {
            Stop::Rule(why) => Error::Protocol { peer: self.link.peer().address.clone(), why },
            Stop::End(error) => error,
        })
    }

    fn drained(&self) {
        let mut inner = self.session.lock();
        if inner.link.id() == self.link.id() {
            inner.attachments.iter_mut().for_each(|(_, attachment)| attachment.drained());
        }
    }

    fn one_way_received(&self) -> u64 {
        self.session.lock().one_way
    }

    /// Deliveries stop at the outbox's bound, and one record may go beyond it: the rest are answers.
    fn unsent_bytes_max(&self) -> usize {
        self.unsent_bytes_max
    }
}
