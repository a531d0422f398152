//! Presets: what suits loopback, a local network, and the rest of the world; and every limit that is set in quinn.
//!
//! Pure: from a preset and the limits to quinn's values. FACTS behind the numbers were measured on one machine; take
//! the ratios.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use sinew_transport_api::{Lane, Limits};

/// The smallest UDP payload that QUIC works with (RFC 9000, section 14).
pub(crate) const MTU_MIN: u16 = 1200;

/// The largest UDP payload that we send or take. With segmentation offload ten of them must stay under 64 KiB: at 8,900
/// the throughput collapsed.
pub(crate) const MTU_MAX: u16 = 6500;

/// UDP payload of a 1,500 byte link with IPv6 and something to spare for a tunnel.
const MTU_ETHERNET: u16 = 1452;

/// Streams that a peer may have at once: one for each lane, one for words.
const STREAMS_MAX: u8 = Lane::COUNT_MAX + 1;

/// A connection without a packet for that long is lost. Twice what the session waits, so that the session speaks first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The client sends something at least that often: a third of the timeout, so that two may be lost. Servers do not, so
/// that thousands of idle connections cost one packet each, not two.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// Bytes of TLS handshake that arrive out of order: with raw keys the whole of it is below 1 KiB.
const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;

/// A stream's window on top of a block, so that the next block can begin before the last one's credit is back.
const WINDOW_SLACK: usize = 64 * 1024;

/// What kind of way there is between two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    /// One machine: packets of 6,500 bytes, one lane, Cubic.
    Loopback,
    /// A local network: MTU discovery, one lane, Cubic.
    Lan,
    /// Anything else: MTU discovery, eight lanes, BBR, because Cubic collapses under random loss with small packets.
    Wan,
}

impl Preset {
    /// The preset of this name in a URL.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "loopback" => Some(Self::Loopback),
            "lan" => Some(Self::Lan),
            "wan" => Some(Self::Wan),
            _ => None,
        }
    }

    /// The preset that suits a peer at this address.
    pub(crate) fn for_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::Loopback,
            IpAddr::V4(address) if address.is_private() || address.is_link_local() => Self::Lan,
            IpAddr::V6(address) if address.is_unique_local() || address.is_unicast_link_local() => Self::Lan,
            _ => Self::Wan,
        }
    }

    /// Its numbers; `mtu`, where given, is the largest packet that is tried.
    pub(crate) fn tuning(self, mtu: Option<u16>) -> Tuning {
        let discovered = mtu.unwrap_or(MTU_ETHERNET);
        match self {
            // A round trip takes 0.1 ms; on a busy machine a scheduling slice more.
            Self::Loopback => Tuning {
                mtu_initial: mtu.unwrap_or(MTU_MAX),
                mtu_max: mtu.unwrap_or(MTU_MAX),
                congestion: Congestion::Cubic,
                data_lanes: 1,
                round_trip_guess: Duration::from_millis(30),
            },
            Self::Lan => Tuning {
                mtu_initial: MTU_MIN,
                mtu_max: discovered,
                congestion: Congestion::Cubic,
                data_lanes: 1,
                round_trip_guess: Duration::from_millis(50),
            },
            // The guess is that of RFC 9002, section 6.2.2.
            Self::Wan => Tuning {
                mtu_initial: MTU_MIN,
                mtu_max: discovered,
                congestion: Congestion::Bbr,
                data_lanes: 8,
                round_trip_guess: Duration::from_millis(333),
            },
        }
    }
}

/// The numbers of a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    mtu_initial: u16,
    mtu_max: u16,
    congestion: Congestion,
    /// How many data lanes pay.
    pub(crate) data_lanes: u8,
    round_trip_guess: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Congestion {
    Cubic,
    Bbr,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It connected.
    Client,
    /// It accepted.
    Server,
}

/// The flow-control windows in bytes, as credit for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Windows {
    stream: u32,
    connection: u32,
}

impl Tuning {
    /// The connection's window is that of all lanes together and one more for words, so that no set of lanes that waits
    /// for the rest of a block can take the credit of another.
    fn windows(&self, limits: &Limits) -> Windows {
        let streams = usize::from(self.data_lanes) + 2;
        let stream = (limits.queue_bytes_max / streams).max(limits.block_bytes_max.saturating_add(WINDOW_SLACK));
        let within = |bytes: usize| bytes.try_into().unwrap_or(u32::MAX);
        Windows { stream: within(stream), connection: within(stream.saturating_mul(streams)) }
    }

    /// quinn's configuration for one connection: everything that has a default which is no limit is set here.
    pub(crate) fn transport(&self, limits: &Limits, end: End) -> TransportConfig {
        let windows = self.windows(limits);
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(self.mtu_max);
        let congestion: Arc<dyn ControllerFactory + Send + Sync> = match self.congestion {
            Congestion::Cubic => Arc::new(CubicConfig::default()),
            Congestion::Bbr => Arc::new(BbrConfig::default()),
        };
        let mut config = TransportConfig::default();
        config
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from(STREAMS_MAX))
            .stream_receive_window(VarInt::from_u32(windows.stream))
            .receive_window(VarInt::from_u32(windows.connection))
            .send_window(limits.queue_bytes_max.max(limits.block_bytes_max) as u64)
            .crypto_buffer_size(HANDSHAKE_BYTES_MAX)
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(IdleTimeout::try_from(IDLE_TIMEOUT).expect("ten seconds fit")))
            .keep_alive_interval((end == End::Client).then_some(KEEP_ALIVE))
            .initial_rtt(self.round_trip_guess)
            .initial_mtu(self.mtu_initial)
            .mtu_discovery_config((self.mtu_max > self.mtu_initial).then_some(discovery))
            .congestion_controller_factory(congestion)
            .enable_segmentation_offload(true);
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_by_address() {
        let check =
            |address: &str, preset| assert_eq!(Preset::for_address(address.parse().unwrap()), preset, "{address}");
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            check(address, Preset::Loopback);
        }
        for address in ["10.1.2.3", "172.16.0.1", "192.168.7.7", "169.254.1.1", "fe80::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            check(address, Preset::Lan);
        }
        for address in ["8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1"] {
            check(address, Preset::Wan);
        }
    }

    #[test]
    fn windows_leave_room_for_every_lane_and_stay_near_the_limit() {
        for preset in [Preset::Loopback, Preset::Lan, Preset::Wan] {
            let tuning = preset.tuning(None);
            for (block, queue) in [(1 << 10, 1 << 10), (256 << 10, 4 << 20), (16 << 20, 16 << 20), (16 << 20, 1 << 40)]
            {
                let limits = Limits { block_bytes_max: block, queue_bytes_max: queue, ..Limits::default() };
                let windows = tuning.windows(&limits);
                assert!(windows.stream as usize >= block, "{preset:?} {block} {queue}: {windows:?}");
                let lanes = u64::from(tuning.data_lanes) + 1;
                assert!(
                    u64::from(windows.connection)
                        >= u64::from(windows.stream).saturating_mul(lanes).min(u32::MAX.into())
                );
            }
            let windows = tuning.windows(&Limits::default());
            assert!(windows.connection as usize <= Limits::default().queue_bytes_max, "{preset:?}: {windows:?}");
        }
        assert!(Preset::Loopback.tuning(None).windows(&Limits::default()).stream >= 1_250_000, "below that it is slow");
    }

    #[test]
    fn packets_stay_within_segmentation_offload() {
        assert!(10 * usize::from(MTU_MAX) < 64 * 1024 + 1);
        for preset in [Preset::Loopback, Preset::Lan, Preset::Wan] {
            let tuning = preset.tuning(None);
            assert!(tuning.mtu_initial >= MTU_MIN && tuning.mtu_max <= MTU_MAX && tuning.mtu_initial <= tuning.mtu_max);
        }
        assert_eq!(Preset::Wan.tuning(None).mtu_initial, 1200);
        assert_eq!(Preset::Wan.tuning(None).mtu_max, 1452);
    }
}
