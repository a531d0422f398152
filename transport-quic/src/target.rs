//! What an endpoint means: addresses, preset, MTU, keys. The only place that reads the URL.

use std::net::SocketAddr;

use sinew_auth::PublicKey;
use sinew_transport_api::{ConnectOptions, Endpoint, EndpointError, Error, ListenOptions, Result, Security};

use crate::SCHEME;
use crate::preset::{MTU_MAX, MTU_MIN, Preset, Tuning};

/// More addresses than that of one name are not tried.
const ADDRESSES_MAX: usize = 4;

/// An endpoint, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    authority: String,
    preset: Option<Preset>,
    mtu: Option<u16>,
}

impl Target {
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self> {
        let part = |why| Error::Endpoint(EndpointError::Part { url: endpoint.to_string(), why });
        if endpoint.host().is_empty() {
            return Err(part("it names no host"));
        }
        if endpoint.port().is_none() {
            return Err(part("it names no port"));
        }
        if !endpoint.path().is_empty() {
            return Err(part("QUIC has no use for a path"));
        }
        let mut target = Self { authority: endpoint.authority(), preset: None, mtu: None };
        for (name, value) in endpoint.queries() {
            match (name, Preset::named(value), value.parse::<u16>()) {
                ("preset", Some(preset), _) => target.preset = Some(preset),
                ("mtu", _, Ok(mtu)) if (MTU_MIN..=MTU_MAX).contains(&mtu) => target.mtu = Some(mtu),
                _ => {
                    let (scheme, option) = (SCHEME.to_owned(), format!("{name}={value}"));
                    let known = "preset=loopback, preset=lan, preset=wan, mtu=1200 to mtu=6500";
                    return Err(Error::Endpoint(EndpointError::Option { scheme, option, known }));
                }
            }
        }
        Ok(target)
    }

    /// The tuning of a connection with this peer: the preset that was asked for, or the one that suits its address.
    pub(crate) fn tuning(&self, peer: SocketAddr) -> Tuning {
        self.preset.unwrap_or_else(|| Preset::for_address(peer.ip())).tuning(self.mtu)
    }

    /// Asks the system what the host and port mean. At least one address, at most [`ADDRESSES_MAX`].
    pub(crate) async fn resolve(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>> {
        let unreachable = |cause| Error::Unreachable { endpoint: endpoint.to_string(), cause };
        let found = tokio::net::lookup_host(&self.authority).await.map_err(|cause| unreachable(Some(cause)))?;
        let addresses: Vec<_> = found.take(ADDRESSES_MAX).collect();
        if addresses.is_empty() { Err(unreachable(None)) } else { Ok(addresses) }
    }
}

/// The key that the server must prove; `None` for plaintext.
pub(crate) fn server_key(endpoint: &Endpoint, options: &ConnectOptions) -> Result<Option<PublicKey>> {
    let no = |why: &str| Err(Error::Security { endpoint: endpoint.to_string(), why: why.to_owned() });
    match (&options.security, endpoint.key(), options.server_key) {
        (Security::Plaintext, None, None) => Ok(None),
        (Security::Plaintext, ..) => no("a server key is given, but no identity to connect with; give one"),
        (Security::Identity(_), None, None) => no("the server's key is not known; pin it as `quic://KEY@host:port`"),
        (Security::Identity(_), Some(one), Some(other)) if one != other => {
            no("the key in the endpoint and the one in the options differ; leave one out")
        }
        (Security::Identity(_), one, other) => Ok(one.or(other)),
    }
}

/// A listener's endpoint may name a key only if it is the listener's own.
pub(crate) fn check_own_key(endpoint: &Endpoint, options: &ListenOptions) -> Result<()> {
    let own = match &options.security {
        Security::Identity(identity) => Some(identity.public_key()),
        Security::Plaintext => None,
    };
    if endpoint.key().is_none_or(|key| Some(key) == own) {
        return Ok(());
    }
    let why = "the key in the endpoint is not this listener's own; leave it out".to_owned();
    Err(Error::Security { endpoint: endpoint.to_string(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target> {
        Target::of(&url.parse().unwrap())
    }

    #[test]
    fn the_url_chooses_and_else_the_address() {
        let check = |url: &str, peer: &str, preset: Preset, mtu: Option<u16>| {
            assert_eq!(target(url).unwrap().tuning(peer.parse().unwrap()), preset.tuning(mtu), "{url} with {peer}");
        };
        check("quic://0.0.0.0:1", "127.0.0.1:9", Preset::Loopback, None);
        check("quic://0.0.0.0:1", "10.0.0.7:9", Preset::Lan, None);
        check("quic://0.0.0.0:1", "8.8.8.8:9", Preset::Wan, None);
        check("quic://0.0.0.0:1?preset=wan", "127.0.0.1:9", Preset::Wan, None);
        check("quic://h:1?preset=lan&mtu=4000", "8.8.8.8:9", Preset::Lan, Some(4000));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for url in ["quic://h", "quic://h:1/path", "quic:///path", "quic://h:1?preset=fast", "quic://h:1?mtu=9000"] {
            assert!(matches!(target(url), Err(Error::Endpoint(_))), "{url}");
        }
        let error = target("quic://h:1?lanes=3").unwrap_err().to_string();
        assert!(error.contains("lanes=3") && error.contains("preset=wan"), "{error}");
    }
}
