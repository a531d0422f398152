//! The home directory: made closed, refused when open, one server at a time, keys that find one another.

use std::os::unix::fs::PermissionsExt;

use sinew_auth::{Admit, Candidate, Claim};

use super::*;

fn home() -> (tempfile::TempDir, Home) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::at(directory.path().join("deep/home")).unwrap();
    (directory, home)
}

#[test]
fn it_is_made_closed_and_refused_when_open() {
    let (_directory, home) = home();
    assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let error = Home::at(home.path()).unwrap_err().to_string();
    assert!(error.contains("chmod 700"), "{error}");
}

#[test]
fn server_and_clients_of_one_account_know_one_another() {
    let (_directory, home) = home();
    assert_eq!(home.local_server_key().unwrap(), None);
    let allowlist = home.allowlist().unwrap();
    let client = home.client_identity().unwrap().public_key();
    let ask = |key| allowlist.admit(&Candidate { claim: Claim::Ed25519(key), address: None, scheme: "test" });
    assert_eq!(ask(client), Ok(Some(client.into())));
    assert!(ask(Identity::generate().public_key()).is_err());
    let server = home.server_identity().unwrap().public_key();
    assert_eq!(home.local_server_key().unwrap(), Some(server));
    assert_eq!(home.server_identity().unwrap().public_key(), server);
    assert_ne!(server, client);
    assert_eq!(home.listed_from_elsewhere().unwrap(), 0);
    Allowlist::append(home.allowlist_path(), &Identity::generate().public_key().into(), "elsewhere").unwrap();
    assert_eq!(home.listed_from_elsewhere().unwrap(), 1);
}

#[test]
fn one_server_at_a_time_and_its_endpoints_are_found() {
    let (_directory, home) = home();
    assert!(matches!(home.running(), Err(Error::NoServer { .. })));
    let claim = home.claim().unwrap();
    let urls = ["zmq://0.0.0.0:7", "quic://127.0.0.1:7"].map(|url| url.parse().unwrap());
    claim.announce(&urls).unwrap();
    let running: Vec<String> = home.running().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(running, ["zmq://127.0.0.1:7", "quic://127.0.0.1:7"]);
    let error = home.claim().unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()) && error.contains("zmq://127.0.0.1:7"), "{error}");
    drop(claim);
    assert!(matches!(home.running(), Err(Error::NoServer { .. })));
    home.claim().unwrap();
}
