//! What the server has counted and kept, as a client asks for it.

use sinew_session::{Request, to_cbor};

use super::{Bus, CALL};
use crate::accounting::Accounting;
use crate::protocol::{Clear, Cleared, Inspect, Kept, KeptPage, SERVICE, View, verb};
use crate::{Error, Pattern, Result};

/// Pages read for one listing: more than the default number of kept values fills.
const PAGES_MAX: usize = 10_000;

impl Bus {
    /// What became of all messages to subjects that the pattern stands for; without one, of all messages since the
    /// server's start. One round trip; at the server a walk over the subjects that it counts.
    ///
    /// # Errors
    /// `Denied`; `Session` if the server cannot be asked.
    pub async fn accounting(&self, pattern: Option<&Pattern>) -> Result<Accounting> {
        self.ask(View::Accounting, pattern, None).await
    }

    /// The kept values whose subjects match, in their order, without their payloads: see
    /// [`last_value`](Self::last_value) for these. A round trip for each few hundred.
    ///
    /// # Errors
    /// `Denied`; `Session` if the server cannot be asked.
    pub async fn retained(&self, pattern: &Pattern) -> Result<Vec<Kept>> {
        let mut all: Vec<Kept> = Vec::new();
        for _ in 0..PAGES_MAX {
            let after = all.last().map(|kept| kept.subject.clone());
            let page: KeptPage = self.ask(View::Retained, Some(pattern), after).await?;
            let more = page.more && !page.kept.is_empty();
            all.extend(page.kept);
            if !more {
                break;
            }
        }
        Ok(all)
    }

    /// Forgets the kept values whose subjects match; gives their number. Subscribers are not told. One round trip.
    ///
    /// # Errors
    /// `Denied`; `Session` if the server cannot be asked.
    pub async fn clear_retained(&self, pattern: &Pattern) -> Result<u64> {
        let body = to_cbor(&Clear { pattern: pattern.as_str().to_owned() });
        let request = Request::new(SERVICE, verb::CLEAR, pattern.as_str().as_bytes(), body, CALL);
        let reply = self.session.call(request).await.map_err(Error::of_call)?;
        Ok(reply.read::<Cleared>()?.count)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        what: View,
        pattern: Option<&Pattern>,
        after: Option<String>,
    ) -> Result<T> {
        let body = to_cbor(&Inspect { what, pattern: pattern.map(|pattern| pattern.as_str().to_owned()), after });
        let request = Request::new(SERVICE, verb::INSPECT, b"", body, CALL);
        Ok(self.session.call(request).await.map_err(Error::of_call)?.read()?)
    }
}
