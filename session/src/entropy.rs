//! Where the random numbers of sessions come from (their ids, a server's epoch, the jitter of reconnects): the operating
//! system, or in a simulation a source that gives the same again.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A source of random numbers; clones share it. The default is the operating system's.
#[derive(Clone, Default)]
pub struct Entropy(Option<Source>);

type Source = Arc<Mutex<dyn FnMut() -> u64 + Send>>;

impl Entropy {
    /// For simulations, which must see the same again: whoever can guess what `source` gives can guess the ids of
    /// sessions. With [`Executor::Current`](crate::Executor::Current) on a current-thread runtime everything is drawn in
    /// the same order each time.
    pub fn drawn_from(source: impl FnMut() -> u64 + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(source))))
    }

    /// 64 random bits, fit for what nobody must guess. Costs a system call.
    ///
    /// # Panics
    /// If the operating system gives none: nothing can be kept secret then.
    pub fn bits(&self) -> u64 {
        self.try_bits().expect("the operating system gives random numbers")
    }

    /// As [`bits`](Self::bits), for those who can do without.
    pub(crate) fn try_bits(&self) -> Result<u64, getrandom::Error> {
        match &self.0 {
            None => getrandom::u64(),
            Some(source) => Ok((*source.lock().unwrap_or_else(PoisonError::into_inner))()),
        }
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_none() { "the operating system" } else { "a source of its own" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_draw_from_one_source_and_the_default_does_not_repeat_itself() {
        let mut last = 0;
        let entropy = Entropy::drawn_from(move || {
            last += 1;
            last
        });
        assert_eq!([entropy.bits(), entropy.clone().bits(), entropy.bits()], [1, 2, 3]);
        assert_ne!(Entropy::default().bits(), Entropy::default().bits());
    }
}
