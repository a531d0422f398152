//! Where a server listens: one port number for every transport of this build, or the URLs that were given; and whether
//! it may.

use std::net::{TcpListener, UdpSocket};

use sinew::{Endpoint, Executor, Home, Server, TransportError};

use super::Serve;
use crate::failure::Outcome;

/// How often a free port is looked for that is free for TCP and for UDP.
const PORT_ATTEMPTS: usize = 16;

/// Starts a server as `serve` wants it, with clients of its own where it has work for them.
pub(super) async fn start(serve: &Serve, home: &Home, own_clients: bool) -> Outcome<Server> {
    let mut attempt = 1;
    loop {
        let urls = urls(serve)?;
        if !serve.insecure {
            check_exposure(&urls, home)?;
        }
        let builder = builder(serve, home, &urls);
        let builder = if own_clients { builder.own_clients() } else { builder };
        let started = builder.start().await;
        return match started {
            Ok(server) => Ok(server),
            // Between the look and the listening somebody else took it.
            Err(error) if is_busy(&error) && picks_port(serve) && attempt < PORT_ATTEMPTS => {
                attempt += 1;
                continue;
            }
            Err(error) if is_busy(&error) => Err(busy(serve, &error).into()),
            Err(error) => Err(error.into()),
        };
    }
}

fn builder(serve: &Serve, home: &Home, urls: &[String]) -> sinew::ServerBuilder {
    let data = serve.data.clone().unwrap_or_else(|| home.path().join("data"));
    let builder = Server::builder().home(home.clone()).executor(Executor::Current).data(data);
    let builder = if serve.insecure { builder.plaintext() } else { builder };
    urls.iter().fold(builder, sinew::ServerBuilder::listen)
}

fn urls(serve: &Serve) -> Outcome<Vec<String>> {
    if !serve.listen.is_empty() {
        return Ok(serve.listen.clone());
    }
    let host = if serve.host.contains(':') { format!("[{}]", serve.host) } else { serve.host.clone() };
    let port = if picks_port(serve) { free_port(&serve.host)? } else { serve.port };
    let schemes = [("zmq", cfg!(feature = "zmq")), ("quic", cfg!(feature = "quic"))];
    Ok(schemes.iter().filter(|(_, on)| *on).map(|(scheme, _)| format!("{scheme}://{host}:{port}")).collect())
}

fn picks_port(serve: &Serve) -> bool {
    serve.port == 0 && serve.listen.is_empty()
}

/// A port that is free for TCP and for UDP at this moment.
fn free_port(host: &str) -> Outcome<u16> {
    let mut attempts = 0;
    loop {
        let port = TcpListener::bind((host, 0)).and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| format!("cannot listen on {host}: {error}; give another --host"))?.port();
        match UdpSocket::bind((host, port)) {
            Ok(_) => return Ok(port),
            Err(error) if attempts == PORT_ATTEMPTS => {
                return Err(format!(
                    "no port of {host} is free for TCP and UDP at once: {error}; give one with --port"
                )
                .into());
            }
            Err(_) => attempts += 1,
        }
    }
}

/// A listener that other machines can reach asks for a list of those who may.
fn check_exposure(urls: &[String], home: &Home) -> Outcome {
    for url in urls {
        let endpoint: Endpoint = url.parse()?;
        if !is_local(&endpoint) && home.listed_from_elsewhere()? == 0 {
            let list = home.allowlist_path();
            return Err(format!(
                "{url} can be reached from other machines, and no key of one is listed in {}; `sinew auth allow` the key \
                 that `sinew keys show` prints there, or start with --insecure, which lets everybody in",
                list.display()
            )
            .into());
        }
    }
    Ok(())
}

/// Whether only programs on this machine reach it.
pub(super) fn is_local(endpoint: &Endpoint) -> bool {
    let host = endpoint.host();
    endpoint.port().is_none()
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_busy(error: &sinew::Error) -> bool {
    matches!(error.transport(), Some(TransportError::AddressInUse { .. }))
}

fn busy(serve: &Serve, error: &sinew::Error) -> String {
    match error.transport() {
        Some(TransportError::AddressInUse { endpoint }) if serve.listen.is_empty() => format!(
            "cannot listen on {endpoint}: another program has port {} already; choose another with --port (0 picks a \
             free one)",
            serve.port
        ),
        _ => format!("cannot listen: {error}, and name it with --listen"),
    }
}
