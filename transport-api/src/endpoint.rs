//! Endpoints are URLs: `zmq://host:port`, `zmq+ipc:///path`, `quic://KEY@host:port?preset=wan`, `mem://name`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sinew_auth::{KeyError, PublicKey};

/// Where to listen or to connect to. Parsed, never resolved, here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: String,
    key: Option<PublicKey>,
    host: String,
    port: Option<u16>,
    path: String,
    query: BTreeMap<String, String>,
}

/// Longest URL read: far above any real one.
const URL_BYTES_MAX: usize = 2048;

impl Endpoint {
    /// The scheme, lower case: which plug-in.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The server's key, pinned as the user part.
    pub fn key(&self) -> Option<PublicKey> {
        self.key
    }

    /// The host: a name, an IPv4 address, an IPv6 address without its brackets, or nothing.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path with its leading `/`, or nothing.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// An option after the `?`.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// All options after the `?`, so that a plug-in can refuse those it does not know.
    pub fn queries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `host:port` as sockets want it: IPv6 in brackets, port 0 where none is given.
    pub fn authority(&self) -> String {
        let port = self.port.unwrap_or(0);
        if self.host.contains(':') { format!("[{}]:{port}", self.host) } else { format!("{}:{port}", self.host) }
    }

    /// The same endpoint with this port, as a listener reports it.
    pub fn with_port(&self, port: u16) -> Self {
        Self { port: Some(port), ..self.clone() }
    }

    /// The same endpoint with this key pinned, as a server prints it for its clients.
    pub fn with_key(&self, key: PublicKey) -> Self {
        Self { key: Some(key), ..self.clone() }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let fail = |why| EndpointError::Syntax { url: url.chars().take(120).collect(), why };
        if url.len() > URL_BYTES_MAX || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(fail("it is longer than 2,048 bytes or has white space in it"));
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| fail("it has no `scheme://`"))?;
        if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
            return Err(fail("its scheme has other characters than letters, digits, `+`, `-`, `.`"));
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (key, host_port) = match authority.rsplit_once('@') {
            Some((key, host_port)) => (Some(key.parse::<PublicKey>()?), host_port),
            None => (None, authority),
        };
        let (host, port) = split_port(host_port)
            .ok_or_else(|| fail("it needs an IPv6 address in brackets, and a port from 0 to 65535"))?;
        if host.is_empty() && path.is_empty() {
            return Err(fail("it names neither a host nor a path"));
        }
        let mut options = BTreeMap::new();
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = pair.split_once('=').ok_or_else(|| fail("an option after `?` is not `name=value`"))?;
            if options.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(fail("an option after `?` is given twice"));
            }
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            key,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            query: options,
        })
    }
}

/// Splits `host:port` or `[address]:port`. `None` for what is neither, so that what is read can be written again.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        if !host.contains(':') || host.contains('[') {
            return None;
        }
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match authority.rsplit_once(':') {
        _ if authority.contains(['[', ']']) => None,
        Some((host, port)) if !host.contains(':') => Some((host, Some(port.parse().ok()?))),
        Some(_) => None,
        None => Some((authority, None)),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(key) = self.key {
            write!(f, "{key}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)?;
        for (index, (name, value)) in self.query.iter().enumerate() {
            write!(f, "{}{name}={value}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// An endpoint that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is no URL of the expected form.
    #[error("`{url}` is no endpoint: {why}; write it as `scheme://[KEY@]host:port[?option=value]`")]
    Syntax {
        /// What was read, cut to 120 characters.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The user part is no public key.
    #[error("the part before `@` must be the server's public key")]
    Key(#[from] KeyError),
    /// The transport has no such option, or no such value for it.
    #[error("`{scheme}` has no option `{option}`; it knows {known}")]
    Option {
        /// The scheme.
        scheme: String,
        /// `name=value` as given.
        option: String,
        /// What it knows.
        known: &'static str,
    },
    /// The transport needs a part that is missing, or has no use for one that is there.
    #[error("`{url}` does not fit its transport: {why}")]
    Part {
        /// The endpoint.
        url: String,
        /// What is missing or too much.
        why: &'static str,
    },
}
