//! How a peer ends: by a last word, and by the end of the TCP connection underneath, which libzmq itself cannot end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

use sinew_transport_api::Error;
use tokio::time::Instant;

use super::peers::Stage;
use super::wires::Claim;
use super::{Router, Unsure};
use crate::descriptor::Held;
use crate::frames::{BLOCK_OVERHEAD, Code, Frame, Refuse};
use crate::link::{End, OVERRUN, Outgoing};
use crate::message::{DESCRIPTOR, Message};

/// How long a peer may take to hear our last word and to leave by itself.
const LAST_WORD: Duration = Duration::from_secs(1);

impl Router {
    /// libzmq took a connection. The one that waits longest may have to go for it.
    pub(super) fn accepted(&mut self, descriptor: RawFd, address: Option<SocketAddr>) {
        let Some((wire, address)) = self.wires.accepted(descriptor, address, Instant::now()) else { return };
        self.doomed.push(wire);
        let limits = self.rules.limits();
        let (what, max) = match limits.pending_max.cmp(&limits.pending_per_address_max) {
            std::cmp::Ordering::Greater => ("pending_per_address_max", limits.pending_per_address_max),
            _ => ("pending_max", limits.pending_max),
        };
        let peer = address.map_or_else(String::new, |address| format!(" (one from {address} went)"));
        self.porch.report(Error::Limit { endpoint: format!("{}{peer}", self.rules.endpoint), what, max });
    }

    /// A peer's first message: by which connection did it come?
    pub(super) fn find_wire(&mut self, slot: usize, message: &Message) -> io::Result<()> {
        if self.peers[slot].wire.is_some() {
            return Ok(());
        }
        let Some(descriptor) = message.property(DESCRIPTOR).and_then(|text| text.parse().ok()) else { return Ok(()) };
        self.read_monitor()?;
        match self.wires.claim(descriptor, Instant::now()) {
            Claim::Sure(wire) => self.peers[slot].wire = Some(wire),
            Claim::Later(wire, from) => {
                self.unsure.push(Unsure { from, slot, serial: self.peers[slot].serial, wire });
            }
            Claim::Nobody => {}
        }
        Ok(())
    }

    /// Those of whom it was not sure are now, if they are still there. All there was to receive has been.
    pub(super) fn be_sure(&mut self, now: Instant) {
        let (sure, unsure) = std::mem::take(&mut self.unsure).into_iter().partition(|unsure| unsure.from <= now);
        self.unsure = unsure;
        for Unsure { slot, serial, wire, .. } in sure {
            let Some(peer) = self.peers.get(slot).filter(|peer| peer.serial == serial) else { continue };
            if self.wires.claim_surely(wire) {
                peer.wire = Some(wire);
                if matches!(peer.stage, Stage::Ended) {
                    self.wires.end_at(wire, now);
                }
            }
        }
    }

    /// Ends the TCP connections of those who have to go. Each is held first, by a descriptor of our own; when then all is
    /// read that the monitor has to tell, one that is still there is the one that is held (see `wires.rs`).
    pub(super) fn end_doomed(&mut self) -> io::Result<()> {
        if self.unbound || self.doomed.is_empty() {
            // From `unbind` on libzmq closes connections without a word.
            self.doomed.clear();
            return Ok(());
        }
        let doomed = std::mem::take(&mut self.doomed);
        let held: Vec<_> = doomed.into_iter().filter_map(|wire| Some((wire, Held::of(wire.descriptor)?))).collect();
        self.read_monitor()?;
        held.iter().filter(|(wire, _)| self.wires.is_there(*wire)).for_each(|(_, held)| held.shut_down());
        Ok(())
    }

    /// All is sent: if nobody holds the connection any more, the peer is told.
    pub(super) fn leave_if_over(&mut self, slot: usize) {
        let over = matches!(&self.peers[slot].stage, Stage::Live(link) if link.is_over());
        if over {
            self.dismiss(slot, Frame::Abort);
        }
    }

    /// The peer broke a rule.
    pub(super) fn cut_off(&mut self, slot: usize, why: &'static str) {
        match &self.peers[slot].stage {
            Stage::Live(link) => {
                link.end(End::Protocol(why));
                self.dismiss(slot, Frame::Abort);
            }
            Stage::Knocking => {
                let peer = format!("a peer of {}", self.rules.endpoint);
                self.porch.report(Error::Protocol { peer, why: why.to_owned() });
                self.dismiss(slot, Frame::Refuse(Refuse::new(Code::Protocol, 0, why)));
            }
            Stage::Ended => {}
        }
        if why == OVERRUN {
            // It floods: every moment costs memory.
            self.doomed.extend(self.peers[slot].wire);
        }
    }

    /// Ends a peer with a last word, for which there is a moment.
    pub(super) fn dismiss(&mut self, slot: usize, word: Frame) {
        self.peers.end(slot);
        let peer = &mut self.peers[slot];
        peer.out.clear();
        peer.out.push_back(Outgoing::Control(word));
        if let Some(wire) = peer.wire {
            self.wires.end_at(wire, Instant::now() + LAST_WORD);
        }
        self.wanting.push(slot);
    }

    /// One that was ended has sent this much more. Blocks that were on their way are in order, up to what may be on its
    /// way; beyond that it does not listen.
    pub(super) fn talks_on(&mut self, slot: usize, bytes: usize) {
        let peer = &mut self.peers[slot];
        peer.ignored = peer.ignored.saturating_add(bytes + BLOCK_OVERHEAD);
        if peer.ignored > self.rules.limits().queue_bytes_max {
            self.doomed.extend(peer.wire);
        }
    }

    /// libzmq has no such peer any more.
    pub(super) fn gone(&mut self, slot: usize, why: &str) {
        if let Stage::Live(link) = self.peers.remove(slot) {
            link.end(End::Lost(why.to_owned()));
        }
    }
}
