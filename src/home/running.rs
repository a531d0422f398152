//! The one server that runs for a home directory: it holds `run/lock`, and tells in `run/endpoints` where it listens.

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use sinew_transport_api::Endpoint;

use super::{Home, make};
use crate::error::failed;
use crate::{Error, Result};

/// The largest `run/endpoints` that is read: hundreds of listeners.
const ENDPOINTS_BYTES_MAX: u64 = 64 * 1024;

/// The home is this server's, until it is dropped. The lock itself ends with the process, however that ends.
#[derive(Debug)]
pub struct HomeClaim {
    endpoints: PathBuf,
    _lock: File,
}

impl Home {
    /// Claims the home for a server of this process.
    ///
    /// # Errors
    /// `HomeInUse` if another server runs for it; `Io`.
    pub fn claim(&self) -> Result<HomeClaim> {
        let directory = self.run_directory();
        make(&directory)?;
        let path = directory.join("lock");
        let lock =
            File::options().write(true).create(true).truncate(false).open(&path).map_err(failed("open", &path))?;
        if !try_lock(&lock).map_err(failed("lock", &path))? {
            let (pid, listens) = self.announced().unwrap_or_default();
            let listens = listens.iter().map(Endpoint::to_string).collect();
            return Err(Error::HomeInUse { home: self.directory.clone(), pid, listens });
        }
        Ok(HomeClaim { endpoints: self.endpoints_path(), _lock: lock })
    }

    /// Where the running server listens, as URLs for clients on this machine.
    ///
    /// # Errors
    /// `NoServer` if none runs, or none that has finished starting; `Endpoint` and `Io` for a file that cannot be read.
    pub fn running(&self) -> Result<Vec<Endpoint>> {
        match self.announced() {
            Ok((_, endpoints)) => Ok(endpoints),
            Err(Error::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::NoServer { home: self.directory.clone() })
            }
            Err(error) => Err(error),
        }
    }

    fn announced(&self) -> Result<(Option<u32>, Vec<Endpoint>)> {
        let path = self.endpoints_path();
        let mut text = String::new();
        let file = File::open(&path).map_err(failed("read", &path))?;
        file.take(ENDPOINTS_BYTES_MAX).read_to_string(&mut text).map_err(failed("read", &path))?;
        let pid = text.lines().find_map(|line| line.strip_prefix("# process ")?.parse().ok());
        let urls = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok((pid, urls.map(str::parse).collect::<std::result::Result<_, _>>()?))
    }

    fn run_directory(&self) -> PathBuf {
        self.path().join("run")
    }

    fn endpoints_path(&self) -> PathBuf {
        self.run_directory().join("endpoints")
    }
}

impl HomeClaim {
    /// Tells clients of this account where the server listens. The file appears whole.
    ///
    /// # Errors
    /// `Io`.
    pub fn announce(&self, urls: &[Endpoint]) -> Result<()> {
        let mut text = format!("# process {}\n", std::process::id());
        urls.iter().for_each(|url| text += &format!("{}\n", reachable(url)));
        let new = self.endpoints.with_extension("new");
        fs::write(&new, text).map_err(failed("write", &new))?;
        fs::rename(&new, &self.endpoints).map_err(failed("write", &self.endpoints))
    }
}

impl Drop for HomeClaim {
    fn drop(&mut self) {
        // What is left behind names a server that does not answer, and is replaced by the next; there is nobody to tell.
        let _ = fs::remove_file(&self.endpoints);
    }
}

/// Who listens on all addresses is reached by the loopback one.
fn reachable(url: &Endpoint) -> String {
    let loopback = match url.host().parse() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => "127.0.0.1",
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => "[::1]",
        _ => return url.to_string(),
    };
    let any = url.authority();
    url.to_string().replacen(&any, &format!("{loopback}:{}", url.port().unwrap_or(0)), 1)
}

#[cfg(unix)]
fn try_lock(file: &File) -> std::io::Result<bool> {
    use rustix::fs::FlockOperation;

    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        locked => locked.map(|()| true).map_err(Into::into),
    }
}

/// Servers are for Unix; elsewhere a busy port tells of the other one.
#[cfg(not(unix))]
fn try_lock(_file: &File) -> std::io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_reach_what_listens_on_all_addresses() {
        let check = |url: &str, expected: &str| assert_eq!(reachable(&url.parse().unwrap()), expected);
        check("zmq://0.0.0.0:7463", "zmq://127.0.0.1:7463");
        check("quic://[::]:7463?preset=wan", "quic://[::1]:7463?preset=wan");
        check("zmq://10.0.0.1:7463", "zmq://10.0.0.1:7463");
        check("zmq+ipc:///tmp/s", "zmq+ipc:///tmp/s");
    }
}
