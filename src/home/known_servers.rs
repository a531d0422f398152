//! `known_servers`: the keys of servers elsewhere, where a URL does not name them, as SSH has it.
//!
//! A line is `host:port KEY`, and a name if you like; `#` begins a comment line. A server that is about to change its key
//! has two lines, and may prove either.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use sinew_auth::PublicKey;
use sinew_transport_api::Endpoint;

use super::Home;
use crate::error::failed;
use crate::{Error, Result};

/// The largest `known_servers` that is read: some ten thousand servers.
const BYTES_MAX: u64 = 1024 * 1024;
/// Keys that one server may have there at once: the old one, the new one, and one that was forgotten.
const KEYS_MAX: usize = 4;

impl Home {
    /// Where the keys of servers elsewhere are.
    pub fn known_servers_path(&self) -> PathBuf {
        self.path().join("known_servers")
    }

    /// The keys that the server at `endpoint` may prove, by its host and port, whatever the transport; none where it is
    /// not known.
    ///
    /// # Errors
    /// `KnownServers` for a line that cannot be read; `Io`.
    pub fn known_server_keys(&self, endpoint: &Endpoint) -> Result<Vec<PublicKey>> {
        let (authority, mut keys) = (endpoint.authority(), Vec::new());
        for (index, line) in self.known_servers()?.lines().enumerate() {
            let Some((place, key)) = self.known_line(line, index + 1)? else { continue };
            if place.eq_ignore_ascii_case(&authority) && !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.truncate(KEYS_MAX);
        Ok(keys)
    }

    /// Trusts the server at `endpoint` to have the key that the endpoint names. Gives `false` where it did already.
    ///
    /// # Errors
    /// `NoKeyToTrust` for an endpoint without a key, or without a port; `KnownServers` for a file that cannot be read;
    /// `Io`.
    pub fn trust(&self, endpoint: &Endpoint) -> Result<bool> {
        let (Some(key), Some(_)) = (endpoint.key(), endpoint.port()) else {
            return Err(Error::NoKeyToTrust { endpoint: endpoint.to_string() });
        };
        if self.known_server_keys(endpoint)?.contains(&key) {
            return Ok(false);
        }
        let path = self.known_servers_path();
        let before = self.known_servers()?;
        let line_end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let mut options = fs::OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // One write of one line: what others append at the same time stays whole.
        let line = format!("{line_end}{} {key}\n", endpoint.authority());
        let written = options.open(&path).and_then(|mut file| file.write_all(line.as_bytes()));
        written.map(|()| true).map_err(failed("write", &path))
    }

    fn known_servers(&self) -> Result<String> {
        let path = self.known_servers_path();
        let mut text = String::new();
        match fs::File::open(&path) {
            Ok(file) => {
                file.take(BYTES_MAX).read_to_string(&mut text).map_err(failed("read", &path))?;
                Ok(text)
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(text),
            Err(cause) => Err(failed("read", &path)(cause)),
        }
    }

    fn known_line<'a>(&self, line: &'a str, number: usize) -> Result<Option<(&'a str, PublicKey)>> {
        let mut words = line.split_whitespace();
        let place = match words.next() {
            None => return Ok(None),
            Some(word) if word.starts_with('#') => return Ok(None),
            Some(place) => place,
        };
        let refused = |why: String| Error::KnownServers { path: self.known_servers_path(), line: number, why };
        let key = words.next().ok_or_else(|| refused("it has no key; write host:port KEY".to_owned()))?;
        let key = key.parse().map_err(|error: sinew_auth::KeyError| refused(error.to_string()))?;
        Ok(Some((place, key)))
    }
}
