//! What happened in a simulation, line by line with its virtual time: the same seed must give the same trace.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

/// A trace; clones write into the same. Switched off it costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Arc<Mutex<State>>>);

#[derive(Debug, Default)]
struct State {
    start: Option<Instant>,
    lines: Vec<String>,
}

impl Trace {
    /// One that keeps nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// One that keeps everything.
    pub fn on() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether it keeps anything.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        self.0.as_ref().map(|state| state.lock().expect("no panic while it is held"))
    }

    /// Time counts from now. To be called in the simulation's runtime, before anything else.
    pub fn begin(&self) {
        if let Some(mut state) = self.lock() {
            state.start = Some(Instant::now());
        }
    }

    /// Something happened.
    pub fn note(&self, what: impl FnOnce() -> String) {
        if let Some(mut state) = self.lock() {
            let at = state.start.map(|start| start.elapsed()).unwrap_or_default();
            state.lines.push(format!("{:>12} {}", at.as_micros(), what()));
        }
    }

    /// How many things happened.
    pub fn len(&self) -> usize {
        self.lock().map_or(0, |state| state.lines.len())
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One number for all of it: the same on every machine.
    pub fn hash(&self) -> u64 {
        self.lock().map_or(0, |state| digest(state.lines.iter().flat_map(|line| line.bytes().chain([b'\n']))))
    }

    /// All of it, a line for each thing.
    pub fn text(&self) -> String {
        self.lock().map_or_else(String::new, |state| state.lines.join("\n"))
    }

    /// Where two traces part, for people.
    pub fn difference(&self, other: &Self) -> String {
        let [left, right] =
            [self, other].map(|trace| trace.lock().map(|state| state.lines.clone()).unwrap_or_default());
        let at = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
        let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "the end".into());
        format!("line {at}:\n  {}\n  {}", line(&left), line(&right))
    }
}

/// FNV-1a, 64 bits: for comparing, not for keeping secrets.
pub(crate) fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let add = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, add)
}
