//! From a received block to runs of records: parsed in place, fragments put together.

use bytes::Bytes;
use sinew_transport_api::Lane;

use crate::hello::verb::FRAGMENT;
use crate::limits::SessionLimits;
use crate::reassembly::Reassembly;
use crate::record::{REPLY, Record, Run, SESSION};

/// What arrives on one connection.
#[derive(Debug)]
pub(crate) struct Inbound {
    reassembly: Reassembly,
    record_bytes_max: usize,
}

impl Inbound {
    pub(crate) fn new(limits: &SessionLimits) -> Self {
        let reassembly = Reassembly::new(limits.record_bytes_max, limits.reassembly_bytes_max);
        Self { reassembly, record_bytes_max: limits.record_bytes_max }
    }

    /// Gives `each` the block's runs in order: consecutive records of one service, replies apart from the rest.
    /// An error, of ours or of `each`, is the reason to end the connection.
    pub(crate) fn accept<E: From<String>>(
        &mut self,
        lane: Lane,
        block: &Bytes,
        each: &mut impl FnMut(Run<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = Run::parse(block).map_err(|error| error.to_string())?;
        while let Some(run) = rest.split_run(together) {
            let first = run.first().expect("a run is not empty").header;
            if first.service != SESSION || first.verb != FRAGMENT {
                self.check_sizes(run)?;
                each(run)?;
                continue;
            }
            for fragment in run {
                if let Some(whole) = self.reassembly.add(lane, &fragment).map_err(|error| error.to_string())? {
                    each(self.single(&whole)?)?;
                }
            }
        }
        Ok(())
    }

    /// Costs nothing while a whole block is within the limit of a record, as it is by default.
    fn check_sizes(&self, mut run: Run<'_>) -> Result<(), String> {
        let max = self.record_bytes_max;
        match if run.size() > max { run.find(|record| record.size() > max) } else { None } {
            Some(record) => Err(format!("a record of {} bytes; the limit is {max}", record.size())),
            None => Ok(()),
        }
    }

    /// A record that was put together must be one, and not a fragment again.
    fn single<'a>(&self, whole: &'a Bytes) -> Result<Run<'a>, String> {
        let run = Run::parse(whole).map_err(|error| error.to_string())?;
        let first = run.first().ok_or("an empty fragmented record")?;
        if first.size() != whole.len() || first.size() > self.record_bytes_max || first.header.service == SESSION {
            return Err("a fragmented record that is not one record of a service".into());
        }
        Ok(run)
    }
}

fn together(a: &Record<'_>, b: &Record<'_>) -> bool {
    let (a, b) = (a.header, b.header);
    a.service == b.service && (a.flags ^ b.flags) & REPLY == 0 && (a.service != SESSION || a.verb == b.verb)
}
