//! Reading: one key, several, the revisions of one.

use bytes::Bytes;
use sinew_session::{Error as SessionError, Reply, Request, to_cbor};

use super::{CALL, KvBucket, unreadable};
use crate::broker::GET_KEYS_MAX;
use crate::protocol::{
    EntryHead, HistoryAsk, PageHead, SERVICE, error_of, key_head, keys_body, many_head, take_change, take_value, verb,
};
use crate::{Entry, Key, Result, Revision};

impl KvBucket {
    /// What is under a key; `None` where nothing is. One round trip; the value shares a receive buffer: copy what is kept for
    /// long.
    ///
    /// # Errors
    /// `UnknownBucket`, `Denied`, `Storage`; `Session` if the server cannot be asked.
    pub async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let mut head = Vec::new();
        key_head(self.name.as_str(), key, &mut head);
        let reply = self.ask(verb::GET, &head, &Bytes::new()).await?;
        let head = EntryHead::read(&reply.head).ok_or_else(|| unreadable("its answer to a get"))?;
        Ok(head.entry(key.clone(), reply.body))
    }

    /// The same for several keys, in their order. As many as go into one answer (up to 1,024 of small values) are all as they
    /// were at one moment, and cost one round trip.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        let mut found = Vec::with_capacity(keys.len());
        while found.len() < keys.len() {
            let rest = &keys[found.len()..];
            let rest = &rest[..rest.len().min(GET_KEYS_MAX)];
            let (head, body) = (many_head(self.name.as_str(), rest.len()), keys_body(rest));
            let mut page = self.ask(verb::GET_MANY, &head, &body).await?.body;
            let before = found.len();
            for key in rest {
                if page.is_empty() {
                    break;
                }
                let (head, value) = take_value(&mut page).ok_or_else(|| unreadable("a page of values"))?;
                found.push(head.entry(key.clone(), value));
            }
            if found.len() == before || !page.is_empty() {
                return Err(unreadable("a page of values"));
            }
        }
        Ok(found)
    }

    /// The revisions of a key that are kept, oldest first: at most as many as the bucket's history, deletions included.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn history(&self, key: &Key) -> Result<Vec<Revision>> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let ask = HistoryAsk { bucket: self.name.to_string(), key: key.to_string(), from };
            let reply = self.page(verb::HISTORY, to_cbor(&ask)).await?;
            let head = PageHead::read(&reply.head).ok_or_else(|| unreadable("the head of a page"))?;
            let mut page = reply.body;
            while !page.is_empty() {
                all.push(take_change(&mut page, key).ok_or_else(|| unreadable("a page of revisions"))?);
            }
            if !head.more {
                return Ok(all);
            }
            from = head.revision + 1;
        }
    }

    /// Asks until the answer is known, with a fixed head.
    async fn ask(&self, verb: u8, head: &[u8], body: &Bytes) -> Result<Reply> {
        loop {
            let pieces = [head];
            let request =
                Request { head: Some(&pieces), ..Request::new(SERVICE, verb, self.lane(), body.clone(), CALL) };
            match self.kv.session.call(request).await {
                Err(SessionError::OutcomeUnknown) => {}
                reply => return reply.map_err(error_of),
            }
        }
    }

    /// The same in CBOR.
    pub(super) async fn page(&self, verb: u8, ask: Vec<u8>) -> Result<Reply> {
        let body = Bytes::from(ask);
        loop {
            let request = Request::new(SERVICE, verb, self.lane(), body.clone(), CALL);
            match self.kv.session.call(request).await {
                Err(SessionError::OutcomeUnknown) => {}
                reply => return reply.map_err(error_of),
            }
        }
    }
}
