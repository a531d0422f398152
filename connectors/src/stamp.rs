//! Headers that the option `stamp` adds for what a sink has no place for: with them whoever receives an item twice knows
//! it, and knows when it came about.

use sinew_session::Headers;

use crate::{Item, Result};

/// The offset in the stream that the item comes from.
const OFFSET_HEADER: &str = "sinew-offset";
/// When it came about, in nanoseconds since 1970.
const TIMESTAMP_HEADER: &str = "sinew-timestamp";
/// Its key.
const KEY_HEADER: &str = "sinew-key";

/// The item's headers, and those that it is to be stamped with. Ones from an earlier stamp stay: they say where it first
/// came from.
pub(crate) fn stamped(item: &Item, stamp: bool) -> Result<Headers> {
    let mut headers = item.headers.clone();
    if !stamp || headers.get(TIMESTAMP_HEADER).is_some() {
        return Ok(headers);
    }
    let texts = [(OFFSET_HEADER, item.offset), (TIMESTAMP_HEADER, item.timestamp)];
    let texts = texts.into_iter().filter_map(|(name, number)| Some((name, number?.to_string().into_bytes())));
    let key = item.key.as_ref().map(|key| (KEY_HEADER, key.to_vec()));
    for (name, value) in texts.chain(key) {
        headers.insert(name, value).map_err(sinew_bus::Error::from)?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_goes_into_headers_once() {
        let item = Item { offset: Some(7), timestamp: Some(9), key: Some("k".into()), ..Item::new("x") };
        assert!(stamped(&item, false).unwrap().is_empty());
        let headers = stamped(&item, true).unwrap();
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("sinew-offset", &b"7"[..]), ("sinew-timestamp", b"9"), ("sinew-key", b"k")]);
        let again = Item { offset: Some(8), headers: headers.clone(), ..item };
        assert_eq!(stamped(&again, true).unwrap(), headers);
    }
}
