//! Address lines of an allowlist, as in ZeroMQ's ironhouse example: a fence in front of the keys, never a substitute.

use std::net::IpAddr;
use std::str::FromStr;

/// An IP address or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// As it was written, with an IPv4 address in IPv6 form made plain.
    address: IpAddr,
    /// How many leading bits count.
    prefix_bits: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        bits(self.address) == bits(address)
            && masked(self.address, self.prefix_bits) == masked(address, self.prefix_bits)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            let shown: String = text.chars().take(80).collect();
            format!("`{}` is no IP address or network; expected e.g. 192.0.2.7 or 10.0.0.0/8", shown.escape_debug())
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| refused())?.to_canonical();
        let prefix_bits = match prefix {
            None => bits(address),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| refused())?
            }
            Some(_) => return Err(refused()),
        };
        if prefix_bits > bits(address) {
            return Err(refused());
        }
        if number(address) != masked(address, prefix_bits) {
            // Most likely a slip, and it matters which of the two was meant.
            return Err(format!(
                "{address}/{prefix_bits} has bits beyond its prefix; clear them or lengthen the prefix"
            ));
        }
        Ok(Self { address, prefix_bits })
    }
}

/// Which addresses may come in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    allowed: Vec<Network>,
    denied: Vec<Network>,
}

impl Addresses {
    pub(super) fn allow(&mut self, network: Network) {
        self.allowed.push(network);
    }

    pub(super) fn deny(&mut self, network: Network) {
        self.denied.push(network);
    }

    /// Takes in the lines of another list.
    pub(super) fn merge(&mut self, other: Self) {
        self.allowed.extend(other.allowed);
        self.denied.extend(other.denied);
    }

    /// `deny` wins; where anything is allowed, nothing else is.
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let inside = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        !inside(&self.denied) && (self.allowed.is_empty() || inside(&self.allowed))
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn masked(address: IpAddr, prefix_bits: u32) -> u128 {
    let rest = bits(address) - prefix_bits;
    number(address).checked_shr(rest).unwrap_or(0).checked_shl(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_contain_what_they_should() {
        for (network, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.128.0.0/9", "10.128.0.1", "10.127.255.255"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::", "127.0.0.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("fe80::1/128", "fe80::1", "fe80::2"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "x", "10.0.0.1/33", "::1/129", "10.0.0.1/8", "10.0.0.0/+8", "10.0.0.0/", "1.2.3", "/8", "a/b/c"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn deny_wins_and_an_allow_closes_the_rest() {
        let mut addresses = Addresses::default();
        let inside = |addresses: &Addresses, text: &str| addresses.admits(text.parse().unwrap());
        assert!(inside(&addresses, "192.0.2.1"));
        addresses.deny("192.0.2.0/24".parse().unwrap());
        assert!(!inside(&addresses, "192.0.2.1") && inside(&addresses, "10.0.0.1"));
        assert!(!inside(&addresses, "::ffff:192.0.2.1"));
        addresses.allow("192.0.0.0/8".parse().unwrap());
        assert!(!inside(&addresses, "192.0.2.1") && !inside(&addresses, "10.0.0.1"));
        assert!(inside(&addresses, "192.0.3.1"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_text_is_a_network_or_an_error(text in "\\PC{0,40}|[0-9a-f:.]{1,20}/[0-9]{0,5}") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert!(network.contains(network.address));
            }
        }
    }
}
