//! The systems that are compared, by name.

use crate::Outcome;
use crate::measure::{self, Figures, Order};
use crate::peer::{
    Etcd, InMemory, JetStream, JetStreamTasks, Nats, OnDisk, Raw, Redis, RedisStored, RedisTasks, Sinew, SinewTasks,
    Zenoh,
};
use crate::workload::Workload;

/// One system in one way of running it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct System {
    /// On the command line and in results.
    pub(crate) name: &'static str,
    /// On the page.
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    /// Encrypted, and the server proves who it is.
    pub(crate) secured: bool,
}

/// Whose server and client it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// With where it listens; `{folder}` stands for the temporary directory.
    Sinew(&'static str),
    Nats,
    Raw,
    Zenoh,
    Redis,
    /// When its log is synced.
    JetStream(Synced),
    /// When its file is synced.
    RedisStored(Synced),
    Etcd,
    /// On Redis.
    Celery,
}

/// When a system that stores syncs what it has acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Synced {
    /// Some time later: what it does unless it is told.
    Later,
    /// Before it acknowledges.
    Always,
}

const ZMQ: Kind = Kind::Sinew("zmq://127.0.0.1:0");
const IPC: Kind = Kind::Sinew("zmq+ipc://{folder}/s");
const LOOPBACK: Kind = Kind::Sinew("quic://127.0.0.1:0?preset=loopback");
const LAN: Kind = Kind::Sinew("quic://127.0.0.1:0?preset=lan");
const WAN: Kind = Kind::Sinew("quic://127.0.0.1:0?preset=wan");

const fn system(name: &'static str, title: &'static str, kind: Kind, secured: bool) -> System {
    System { name, title, kind, secured }
}

/// All, in the order of the page. QUIC always encrypts; without keys nobody proves who he is.
pub(crate) const ALL: [System; 20] = [
    system("sinew-zmq", "Sinew zmq", ZMQ, false),
    system("sinew-zmq-secured", "Sinew zmq, secured", ZMQ, true),
    system("sinew-ipc", "Sinew zmq+ipc", IPC, false),
    system("sinew-ipc-secured", "Sinew zmq+ipc, secured", IPC, true),
    system("sinew-quic", "Sinew quic loopback, no keys", LOOPBACK, false),
    system("sinew-quic-secured", "Sinew quic loopback, secured", LOOPBACK, true),
    system("sinew-quic-lan-secured", "Sinew quic lan, secured", LAN, true),
    system("sinew-quic-wan-secured", "Sinew quic wan, secured", WAN, true),
    system("nats", "NATS", Kind::Nats, false),
    system("nats-tls", "NATS, TLS", Kind::Nats, true),
    system("zenoh", "zenoh router", Kind::Zenoh, false),
    system("raw", "raw libzmq proxy", Kind::Raw, false),
    system("raw-curve", "raw libzmq proxy, CURVE", Kind::Raw, true),
    system("redis", "Redis", Kind::Redis, false),
    system("jetstream", "NATS JetStream, as it comes", Kind::JetStream(Synced::Later), false),
    system("jetstream-always", "NATS JetStream, synced", Kind::JetStream(Synced::Always), false),
    system("redis-everysec", "Redis, synced each second", Kind::RedisStored(Synced::Later), false),
    system("redis-always", "Redis, synced", Kind::RedisStored(Synced::Always), false),
    system("etcd", "etcd", Kind::Etcd, false),
    system("celery", "Celery on Redis", Kind::Celery, false),
];

/// Ours that are measured with what is stored: each transport once with and once without keys.
const KEEPS: [&str; 4] = ["sinew-zmq", "sinew-zmq-secured", "sinew-quic", "sinew-quic-secured"];

impl System {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Outcome<Self> {
        let names = || ALL.map(|system| system.name).join(", ");
        let found = ALL.into_iter().find(|system| system.name == name);
        found.ok_or_else(|| format!("no system `{name}`; there are {}", names()).into())
    }

    /// Whether it has what the workload is about. What is only read does not depend on when it was synced; tasks are done
    /// with request/reply where nothing need be stored.
    pub(crate) fn does(self, workload: Workload) -> bool {
        let stores = workload.is_log() || workload.is_store() || workload.is_durable_task();
        match self.kind {
            // Redis that syncs later would be no peer for a task that must not be lost.
            Kind::RedisStored(Synced::Later) if workload.is_durable_task() => false,
            Kind::JetStream(synced) | Kind::RedisStored(synced) => {
                stores && (synced == Synced::Later || !workload.only_reads())
            }
            Kind::Etcd => workload.is_store(),
            Kind::Sinew(_) => !(stores || workload.is_task()) || KEEPS.contains(&self.name),
            Kind::Redis => !stores && !workload.is_request() && !workload.is_task(),
            Kind::Nats | Kind::Raw => !stores,
            Kind::Zenoh => !stores && !workload.is_task(),
            Kind::Celery => workload.is_task(),
        }
    }

    /// Whether it is ours.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self.kind, Kind::Sinew(_))
    }

    /// Runs one measurement with its client.
    pub(crate) fn measure(self, order: &Order) -> Outcome<Figures> {
        let on_disk = matches!(order.workload, Workload::DurableTask { .. });
        match self.kind {
            Kind::Sinew(_) if order.workload.is_task() => measure::run_answered::<SinewTasks<InMemory>>(order),
            Kind::Sinew(_) if on_disk => measure::run_answered::<SinewTasks<OnDisk>>(order),
            Kind::Sinew(_) if order.workload.is_durable_task() => measure::run_log::<SinewTasks<OnDisk>>(order),
            Kind::Sinew(_) if order.workload.is_log() => measure::run_log::<Sinew>(order),
            Kind::Sinew(_) if order.workload.is_store() => measure::run_store::<Sinew>(order),
            Kind::Sinew(_) => measure::run_all::<Sinew>(order),
            Kind::Nats => measure::run_all::<Nats>(order),
            Kind::Raw => measure::run_all::<Raw>(order),
            Kind::Zenoh => measure::run_all::<Zenoh>(order),
            Kind::Redis => measure::run::<Redis>(order),
            Kind::JetStream(_) if order.workload.is_store() => measure::run_store::<JetStream>(order),
            Kind::JetStream(_) if on_disk => measure::run_answered::<JetStreamTasks>(order),
            Kind::JetStream(_) => measure::run_log::<JetStream>(order),
            Kind::RedisStored(_) if order.workload.is_store() => measure::run_store::<RedisStored>(order),
            Kind::RedisStored(_) if on_disk => measure::run_answered::<RedisTasks>(order),
            Kind::RedisStored(_) => measure::run_log::<RedisStored>(order),
            Kind::Etcd => measure::run_store::<Etcd>(order),
            Kind::Celery => measure::run_celery(order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, System};

    #[test]
    fn names_differ_and_are_found() {
        for system in ALL {
            assert_eq!(System::named(system.name).unwrap(), system);
        }
        assert!(System::named("kafka").unwrap_err().to_string().contains("sinew-zmq, "));
    }
}
