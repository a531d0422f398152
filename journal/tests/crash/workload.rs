//! A random life of a journal: commits of all sizes, rolls, rewrites, retention, snapshots, ends of the process.

use std::sync::Arc;

use sinew_journal::{
    BatchView, Dice, Durability, Journal, JournalOptions, PreparedBatch, Resources, Rewritten, SimulatedDisk,
};

use crate::life::{Expected, Life, State, Step};

pub(crate) const DIRECTORY: &str = "/data/journal";
const STEPS: usize = 50;

/// A life under way.
struct Living {
    dice: Dice,
    life: Life,
    journal: Option<Journal>,
    state: State,
    clock: u64,
    durability: Durability,
}

pub(crate) fn live(seed: u64, durability: Durability) -> Life {
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
    let mut living = Living { dice, life, journal: None, state: State::default(), clock: 1_000, durability };
    living.step("open".into(), false, Living::open);
    for _ in 0..STEPS {
        living.any_step();
    }
    living.life
}

impl Living {
    fn step(&mut self, what: String, is_rewrite: bool, work: impl FnOnce(&mut Self)) {
        let began = self.life.disk.moment();
        work(self);
        let ended = self.life.disk.moment();
        let after = self.state.clone();
        self.life.steps.push(Step { what, began, ended, after, is_rewrite });
    }

    fn any_step(&mut self) {
        match self.dice.below(100) {
            0..60 => self.commit(),
            60..66 => self.step("roll".into(), false, |living| {
                living.journal().roll().expect("rolled");
            }),
            66..72 => self.step("sync".into(), false, |living| {
                living.journal().sync().expect("synced");
                living.all_durable();
            }),
            72..79 => self.rewrite(),
            79..84 => self.retain(),
            84..90 => self.snapshot(),
            90..95 => self.step("close and open".into(), false, |living| {
                living.journal.take().expect("open").close().expect("closed");
                living.all_durable();
                living.open();
            }),
            _ => self.step("end and open".into(), false, |living| {
                living.journal = None;
                living.open();
                living.all_durable();
            }),
        }
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("open")
    }

    fn all_durable(&mut self) {
        self.state.durable = self.state.batches.len();
    }

    fn open(&mut self) {
        let files = Arc::new(self.life.disk.clone());
        let (journal, recovery) = Journal::open(files, DIRECTORY, self.life.options.clone()).expect("opened");
        assert!(recovery.cut.is_none() && recovery.damaged.is_empty() && recovery.suspect.is_empty(), "{recovery:?}");
        assert_eq!(journal.next_offset(), self.state.next);
        self.journal = Some(journal);
    }

    fn commit(&mut self) {
        let count = 1 + self.dice.below(4);
        let mut batches: Vec<_> = (0..count).map(|_| self.batch()).collect();
        self.clock = (self.clock + self.dice.below(10) as u64).saturating_sub(self.dice.below(3) as u64);
        let clock = self.clock;
        self.step(format!("commit of {count}"), false, |living| {
            let committed = living.journal().commit(&mut batches, clock).expect("committed");
            assert_eq!(committed.first, living.state.next);
            living.state.next = committed.next;
            living.state.batches.extend(batches.iter().map(|batch| {
                let header = batch.header();
                Expected {
                    base: header.base_offset,
                    span: header.span,
                    kind: header.kind,
                    timestamp: header.timestamp,
                    body: batch.body().to_vec(),
                }
            }));
            if living.durability == Durability::Fsynced {
                living.all_durable();
            }
        });
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

    fn rewrite(&mut self) {
        let sealed: Vec<_> = self.journal().segments().into_iter().filter(|segment| segment.is_sealed).collect();
        if sealed.is_empty() {
            return;
        }
        let from = self.dice.below(sealed.len());
        let count = (1 + self.dice.below(3)).min(sealed.len() - from);
        let chosen = &sealed[from..from + count];
        let (first, next) = (chosen[0].first, chosen[count - 1].next);
        let mut after = Vec::new();
        let (mut dice, is_installed) = (Dice::new(self.dice.next()), self.dice.percent(90));
        let reader = self.journal().reader();
        let mut decide = |batch: &BatchView| {
            let header = &batch.header;
            let (body, rewritten) = match dice.below(3) {
                0 => (None, Rewritten::Drop),
                1 => {
                    let body = vec![7; dice.below(100)];
                    (Some(body.clone()), Rewritten::Replace { body: body.into(), records: 1 })
                }
                _ => (Some(batch.body.to_vec()), Rewritten::Keep),
            };
            after.push((header.base_offset, header.span, header.kind, header.timestamp, body));
            rewritten
        };
        let began = self.life.disk.moment();
        let prepared = reader.prepare_rewrite(chosen, &mut decide).expect("prepared");
        if is_installed {
            self.journal().install(prepared).expect("installed");
            self.take_over(first, next, after);
        } else {
            drop(prepared);
        }
        let (ended, after) = (self.life.disk.moment(), self.state.clone());
        let what = format!("rewrite of {first} to {next}, installed: {is_installed}");
        self.life.steps.push(Step { what, began, ended, after, is_rewrite: true });
    }

    /// What the rewrite made of its batches, in their place.
    fn take_over(&mut self, first: u64, next: u64, rewritten: Vec<(u64, u32, u16, u64, Option<Vec<u8>>)>) {
        let batches = &mut self.state.batches;
        // Batches without offsets at the very border may stand on either side of it: the first one tells where.
        let is_first = |batch: &Expected| rewritten.first().is_some_and(|(base, ..)| batch.base == *base);
        let before = batches.iter().position(|batch| batch.base >= first && is_first(batch)).unwrap_or(0);
        let same = |at: usize| {
            rewritten.iter().zip(&batches[at..]).all(|((base, span, kind, timestamp, _), batch)| {
                (batch.base, batch.span, batch.kind, batch.timestamp) == (*base, *span, *kind, *timestamp)
            })
        };
        let start = (before..batches.len()).find(|at| same(*at)).expect("what was rewritten is known");
        assert!(rewritten.iter().all(|(base, span, ..)| base + u64::from(*span) <= next));
        let kept = rewritten.iter().filter_map(|(base, span, kind, timestamp, body)| {
            let (base, span, kind, timestamp) = (*base, *span, *kind, *timestamp);
            Some(Expected { base, span, kind, timestamp, body: body.clone()? })
        });
        let kept: Vec<_> = kept.collect();
        let all_were_durable = self.state.durable == batches.len();
        let dropped = rewritten.len() - kept.len();
        batches.splice(start..start + rewritten.len(), kept);
        // Sealed segments are on disk.
        self.state.durable = match all_were_durable {
            true => batches.len(),
            false => self.state.durable.saturating_sub(dropped),
        };
    }

    fn retain(&mut self) {
        let segments = self.journal().segments();
        let segment = segments[self.dice.below(segments.len())];
        let offset = segment.first + self.dice.below(3) as u64;
        self.step(format!("remove before {offset}"), false, |living| {
            living.state.first = living.journal().remove_before(offset).expect("removed");
        });
    }

    fn snapshot(&mut self) {
        let offset = self.state.next;
        self.step(format!("snapshot at {offset}"), false, |living| {
            let text = offset.to_string();
            living.journal().save_snapshot(offset, text.as_bytes()).expect("saved");
            living.state.snapshot = Some(offset);
            living.all_durable();
        });
    }
}
