//! Reading everything, to know whether it is still good.

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::error::{Damage, Error, Result};
use crate::progress::Progress;
use crate::reader::JournalReader;
use crate::segment::{HEADER_BYTES, Segment};
use crate::walk::{PIECE_BYTES, Step, Walk};

/// What there is, and what of it is damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Segments that were read.
    pub segments: usize,
    /// Good batches in them.
    pub batches: u64,
    /// Records of these.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Offsets that are lost, in order.
    pub damaged: Vec<Damage>,
    /// Segments with a damaged header; their batches can be read.
    pub suspect: Vec<PathBuf>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.damaged.is_empty() && self.suspect.is_empty()
    }
}

impl JournalReader {
    /// Reads every segment as it is now and checks every batch; `tell` hears of each MiB and may stop it. Runs beside
    /// commits; what retention or a rewrite removes meanwhile is passed over. Costs one read of everything.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `tell` said so; [`Error::Io`].
    pub fn verify(&self, tell: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Result<VerifyReport> {
        let view = self.shared.view();
        let bytes_total = view.segments.iter().map(|segment| segment.summary().end).sum();
        let (mut report, mut progress) = (VerifyReport::default(), Progress { bytes_done: 0, bytes_total });
        for (at, segment) in view.segments.iter().enumerate() {
            let behind = view.segments.get(at + 1).map(|behind| behind.first);
            self.verify_segment(segment, behind, &mut report, &mut |bytes| progress.advance(bytes, tell))?;
        }
        Ok(report)
    }

    fn verify_segment(
        &self,
        segment: &Segment,
        behind: Option<u64>,
        report: &mut VerifyReport,
        advance: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let Some(file) = self.shared.file(segment)? else { return Ok(()) };
        let summary = segment.summary();
        if self.shared.header(segment, &*file)?.is_none() {
            report.suspect.push(segment.path.clone());
        }
        let start = (HEADER_BYTES, segment.first);
        let mut walk = Walk::new(&*file, segment.id, segment.is_gapless, start, summary.end);
        let mut told = 0;
        loop {
            match walk.step().map_err(Error::io("read", &segment.path))? {
                Step::Batch(header, _) => {
                    report.batches += 1;
                    report.records += u64::from(header.records);
                }
                Step::Bad => report.damaged.push(self.damage(segment, &mut walk, behind)?),
                Step::End => break,
            }
            if walk.position() - told >= PIECE_BYTES as u64 {
                advance(walk.position() - told)?;
                told = walk.position();
            }
        }
        let next = if segment.is_gapless { walk.next() } else { walk.next().max(summary.next) };
        if let Some(to) = behind.filter(|to| next < *to) {
            let (segment, position) = (segment.first, walk.position());
            report.damaged.push(Damage { segment, position, from: next, to });
        }
        report.segments += 1;
        report.bytes += summary.end;
        advance(summary.end - told)
    }
}
