//! From our endpoints to libzmq's addresses, and back to words for people.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use sinew_transport_api::{Endpoint, EndpointError, Error, Result};

/// Longest path of a Unix socket that every system takes (sun_path has 104 bytes on macOS).
const PATH_BYTES_MAX: usize = 103;

/// TCP or a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Ipc,
}

impl Kind {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "zmq",
            Self::Ipc => "zmq+ipc",
        }
    }

    /// What `endpoint` is, if it has just the parts that its kind needs.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self> {
        if let Some((name, value)) = endpoint.queries().next() {
            let (scheme, option) = (endpoint.scheme().to_owned(), format!("{name}={value}"));
            return Err(EndpointError::Option { scheme, option, known: "none" }.into());
        }
        let fail = |why| Err(EndpointError::Part { url: endpoint.to_string(), why }.into());
        let (host, port, path) = (endpoint.host(), endpoint.port(), endpoint.path());
        match endpoint.scheme() {
            "zmq" if port.is_none() => fail("it needs a port: `zmq://host:port`"),
            "zmq" if host.is_empty() || !path.is_empty() => fail("it is `zmq://host:port`, without a path"),
            "zmq" => Ok(Self::Tcp),
            "zmq+ipc" if !host.is_empty() || port.is_some() || path.len() < 2 => {
                fail("it is `zmq+ipc:///path`, with three slashes and no host")
            }
            "zmq+ipc" if path.len() > PATH_BYTES_MAX => fail("a Unix socket's path has at most 103 bytes"),
            "zmq+ipc" => Ok(Self::Ipc),
            _ => fail("its scheme is neither `zmq` nor `zmq+ipc`"),
        }
    }
}

/// The addresses to try, in order. Names are looked up here, since libzmq would hold up its own thread for it.
pub(crate) async fn targets(endpoint: &Endpoint, kind: Kind) -> Result<Vec<String>> {
    if kind == Kind::Ipc {
        return Ok(vec![ipc(endpoint)]);
    }
    let unreachable = |cause| Error::Unreachable { endpoint: endpoint.to_string(), cause: Some(cause) };
    let found: Vec<_> = look_up(endpoint).await.map_err(unreachable)?.into_iter().map(tcp).collect();
    if found.is_empty() {
        return Err(unreachable(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(found)
}

/// The address to listen at.
pub(crate) async fn place(endpoint: &Endpoint, kind: Kind) -> Result<String> {
    let failed = |cause| Error::Io { what: format!("finding an address for {endpoint}"), cause };
    match kind {
        Kind::Tcp => {
            let found = look_up(endpoint).await.map_err(failed)?;
            let none = || failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
            found.into_iter().next().map(tcp).ok_or_else(none)
        }
        Kind::Ipc => {
            check_path_is_free(endpoint).await?;
            Ok(ipc(endpoint))
        }
    }
}

async fn look_up(endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
    let found = match endpoint.host() {
        "*" => vec![SocketAddr::from(([0, 0, 0, 0], endpoint.port().unwrap_or(0)))],
        _ => tokio::net::lookup_host(endpoint.authority()).await?.collect(),
    };
    Ok(found)
}

fn tcp(address: SocketAddr) -> String {
    format!("tcp://{address}")
}

fn ipc(endpoint: &Endpoint) -> String {
    format!("ipc://{}", endpoint.path())
}

/// libzmq removes whatever is at the path before it binds: a living socket must not be taken away from its program, nor
/// a file that is no socket.
async fn check_path_is_free(endpoint: &Endpoint) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let path = Path::new(endpoint.path());
    let failed = |cause| Error::Io { what: format!("listening at {endpoint}"), cause };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            let why = "a file that is no socket is in the way; remove it or choose another path";
            Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, why)))
        }
        // Left behind by a program that was killed: nobody answers.
        Ok(_) => match tokio::net::UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(Error::AddressInUse { endpoint: endpoint.to_string() }),
        },
    }
}

/// A peer's address as libzmq tells it (`Peer-Address`): for logs, and for address lists.
pub(crate) fn peer_address(text: Option<&str>, endpoint: &Endpoint) -> (String, Option<IpAddr>) {
    let text = text.unwrap_or_default();
    // A link-local address carries its interface: `fe80::1%eth0`.
    let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let address = address.to_canonical();
        return (address.to_string(), Some(address));
    }
    // A Unix socket: `:user:group:process`.
    let parts: Vec<_> = text.split(':').collect();
    let words = match parts[..] {
        ["", user, _, process] if !process.is_empty() => {
            format!("{} (process {process} of user {user})", endpoint.path())
        }
        _ => format!("a peer of {endpoint}"),
    };
    (words, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(url: &str) -> Result<Kind> {
        Kind::of(&url.parse().unwrap())
    }

    #[test]
    fn endpoints_of_both_kinds() {
        assert_eq!(kind("zmq://127.0.0.1:4455").unwrap(), Kind::Tcp);
        assert_eq!(kind("zmq://[::1]:0").unwrap(), Kind::Tcp);
        assert_eq!(kind("zmq+ipc:///run/sinew.sock").unwrap(), Kind::Ipc);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let long = format!("zmq+ipc:///{}", "x".repeat(103));
        for url in ["zmq://host", "zmq://host:1/path", "zmq+ipc://host/path", "zmq+ipc:///", "zmq://h:1?a=b", &long] {
            assert!(matches!(kind(url), Err(Error::Endpoint(_))), "{url}");
        }
    }

    #[test]
    fn addresses_of_peers() {
        let endpoint: Endpoint = "zmq+ipc:///run/sinew.sock".parse().unwrap();
        let of = |text| peer_address(Some(text), &endpoint);
        assert_eq!(of("::ffff:10.0.0.7"), ("10.0.0.7".to_owned(), Some("10.0.0.7".parse().unwrap())));
        assert_eq!(of("fe80::1%eth0"), ("fe80::1".to_owned(), Some("fe80::1".parse().unwrap())));
        assert_eq!(of(":1000:100:42"), ("/run/sinew.sock (process 42 of user 1000)".to_owned(), None));
        assert_eq!(of("nonsense").1, None);
        assert_eq!(peer_address(None, &endpoint).0, "a peer of zmq+ipc:///run/sinew.sock");
    }
}
