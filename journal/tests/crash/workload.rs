//! A random life of a journal: commits of all sizes, rolls, rewrites, retention, snapshots, ends of the process.

use std::sync::Arc;

use sinew_journal::{
    BatchView, Committer, Dice, Durability, Journal, JournalOptions, PreparedBatch, Resources, Result, Rewritten,
    SegmentInfo, SimulatedDisk,
};

use crate::life::{Expected, Life, State, Step};

pub(crate) const DIRECTORY: &str = "/data/journal";
const STEPS: usize = 50;

/// A life under way.
pub(crate) struct Living {
    dice: Dice,
    pub(crate) life: Life,
    pub(crate) journal: Option<Journal>,
    pub(crate) state: State,
    clock: u64,
    durability: Durability,
    /// What was under way when an error came that leaves its outcome open.
    pub(crate) open_outcome: Option<Step>,
    /// Without threads: what is prepared ahead of need is prepared between calls.
    committer: Committer,
}

/// One without errors.
pub(crate) fn live(seed: u64, durability: Durability) -> Life {
    let mut living = Living::new(seed, durability);
    living.begin().expect("opened");
    for _ in 0..STEPS {
        living.any_step().expect("no fault, no error");
    }
    living.life
}

impl Living {
    pub(crate) fn new(seed: u64, durability: Durability) -> Self {
        let mut dice = Dice::new(seed);
        let options = JournalOptions {
            segment_bytes: [1024, 2048, 4096, 16384][dice.below(4)],
            index_interval_bytes: [64, 300, 1000][dice.below(3)],
            durability,
            first_offset: 0,
            resources: Resources::new(10_000, 4),
        };
        let disk = SimulatedDisk::new(seed);
        let life = Life { seed, disk, options, steps: Vec::new() };
        let (journal, state, clock, open_outcome) = (None, State::default(), 1_000, None);
        let committer = Committer::new(0).expect("no thread is needed");
        Self { dice, life, journal, state, clock, durability, open_outcome, committer }
    }

    pub(crate) fn begin(&mut self) -> Result<()> {
        self.step("open".into(), |living, _| living.open())
    }

    /// `work` makes of the state what is true when it has succeeded. A full disk, and too many open files, must leave everything as it was.
    fn step(&mut self, what: String, work: impl FnOnce(&mut Self, &mut State) -> Result<()>) -> Result<()> {
        let (began, mut after) = (self.life.disk.moment(), self.state.clone());
        let is_rewrite = what.starts_with("rewrite");
        let done = work(self, &mut after);
        let ended = self.life.disk.moment();
        match &done {
            Ok(()) => {
                self.state = after.clone();
                self.life.steps.push(Step { what, began, ended, after, is_rewrite });
            }
            Err(error) if error.is_retryable() => {}
            Err(_) => self.open_outcome = Some(Step { what, began, ended, after, is_rewrite }),
        }
        done
    }

    pub(crate) fn any_step(&mut self) -> Result<()> {
        if self.life.seed.is_multiple_of(2) && self.dice.percent(50) {
            self.committer.run_dirty();
        }
        match self.dice.below(100) {
            0..60 => self.commit(),
            60..66 => self.step("roll".into(), |living, _| living.journal().roll()),
            66..72 => self.step("sync".into(), |living, after| {
                all_durable(after);
                living.journal().sync()
            }),
            72..79 => self.rewrite(),
            79..84 => self.retain(),
            84..90 => self.snapshot(),
            90..95 => self.step("close and open".into(), |living, after| {
                all_durable(after);
                let closed = living.journal.take().expect("open").close();
                // A full disk has no room for the mark, and that is all.
                closed.or_else(|error| if error.is_retryable() { Ok(()) } else { Err(error) })?;
                living.open()
            }),
            _ => self.step("end and open".into(), |living, after| {
                living.journal = None;
                living.open()?;
                all_durable(after);
                Ok(())
            }),
        }
    }

    pub(crate) fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("open")
    }

    fn open(&mut self) -> Result<()> {
        let files = Arc::new(self.life.disk.clone());
        let (journal, recovery) = Journal::open(files, DIRECTORY, self.life.options.clone())?;
        assert!(recovery.damaged.is_empty() && recovery.suspect.is_empty(), "{recovery:?}");
        assert!(recovery.cut.is_none(), "no crash, and yet {recovery:?}");
        assert_eq!(journal.next_offset(), self.state.next);
        journal.attach(&self.committer);
        self.journal = Some(journal);
        Ok(())
    }

    pub(crate) fn commit(&mut self) -> Result<()> {
        let count = 1 + self.dice.below(4);
        let mut batches: Vec<_> = (0..count).map(|_| self.batch()).collect();
        self.clock = (self.clock + self.dice.below(10) as u64).saturating_sub(self.dice.below(3) as u64);
        let clock = self.clock;
        self.step(format!("commit of {count}"), |living, after| {
            let timestamp = living.journal().timestamp().max(clock);
            for batch in &batches {
                let (span, kind) = (batch.header().span, batch.header().kind);
                let body = batch.body().to_vec();
                after.batches.push(Expected { base: after.next, span, kind, timestamp, body });
                after.next += u64::from(span);
            }
            if living.durability == Durability::Fsynced {
                all_durable(after);
            }
            let committed = living.journal().commit(&mut batches, clock)?;
            assert_eq!((committed.first, committed.next), (living.state.next, after.next));
            assert_eq!(committed.timestamp, timestamp);
            Ok(())
        })
    }

    fn batch(&mut self) -> PreparedBatch {
        let bytes = match self.dice.below(20) {
            0 => 0,
            1 => 1_500 + self.dice.below(3_000),
            _ => self.dice.below(300),
        };
        // Bodies of zeros, of what looks like batches, and of anything.
        let body: Vec<u8> = match self.dice.below(6) {
            0 => vec![0; bytes],
            1 => b"\x9eSJB".iter().copied().cycle().take(bytes).collect(),
            _ => (0..bytes).map(|_| self.dice.next() as u8).collect(),
        };
        let span = [0, 1, 1, 1, 5][self.dice.below(5)];
        PreparedBatch::new(body, span, span).expect("small enough").kind(self.dice.below(5) as u16)
    }

    fn rewrite(&mut self) -> Result<()> {
        let sealed: Vec<_> = self.journal().segments().into_iter().filter(|segment| segment.is_sealed).collect();
        if sealed.is_empty() {
            return Ok(());
        }
        let from = self.dice.below(sealed.len());
        let count = (1 + self.dice.below(3)).min(sealed.len() - from);
        let chosen = &sealed[from..from + count];
        let is_installed = self.dice.percent(90);
        let mut dice = Dice::new(self.dice.next());
        let what = format!("rewrite of {} to {}, installed: {is_installed}", chosen[0].first, chosen[count - 1].next);
        self.step(what, |living, after| living.rewrite_these(chosen, is_installed, &mut dice, after))
    }

    fn rewrite_these(
        &mut self,
        chosen: &[SegmentInfo],
        is_installed: bool,
        dice: &mut Dice,
        after: &mut State,
    ) -> Result<()> {
        let mut before = Vec::new();
        let mut kept = Vec::new();
        let mut decide = |batch: &BatchView| {
            let mut expected = Expected::of(batch);
            before.push(expected.clone());
            match dice.below(3) {
                0 => Rewritten::Drop,
                1 => {
                    expected.body = vec![7; dice.below(100)];
                    let body = expected.body.clone().into();
                    kept.push(expected);
                    Rewritten::Replace { body, records: 1 }
                }
                _ => {
                    kept.push(expected);
                    Rewritten::Keep
                }
            }
        };
        let prepared = self.journal().reader().prepare_rewrite(chosen, &mut decide)?;
        if !is_installed {
            return Ok(());
        }
        let windows = (0..after.batches.len()).find(|at| after.batches[*at..].starts_with(&before));
        let start = windows.expect("what was rewritten is known");
        let (dropped, all_were_durable) = (before.len() - kept.len(), after.durable == after.batches.len());
        after.batches.splice(start..start + before.len(), kept);
        // Sealed segments are on disk.
        after.durable = if all_were_durable { after.batches.len() } else { after.durable.saturating_sub(dropped) };
        self.journal().install(prepared)
    }

    fn retain(&mut self) -> Result<()> {
        let segments = self.journal().segments();
        let segment = segments[self.dice.below(segments.len())];
        let offset = segment.first + self.dice.below(3) as u64;
        self.step(format!("remove before {offset}"), |living, after| {
            after.first = segment.first;
            after.first = living.journal().remove_before(offset)?;
            Ok(())
        })
    }

    fn snapshot(&mut self) -> Result<()> {
        let offset = self.state.next;
        self.step(format!("snapshot at {offset}"), |living, after| {
            after.snapshot = Some(offset);
            all_durable(after);
            living.journal().save_snapshot(offset, offset.to_string().as_bytes())
        })
    }
}

fn all_durable(state: &mut State) {
    state.durable = state.batches.len();
}
