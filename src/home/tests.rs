//! The home directory: made closed, refused when open, one server at a time, keys that find one another.

use std::os::unix::fs::PermissionsExt;

use sinew_auth::{Admit, Allowlist, Candidate, Claim};

use sinew_transport_api::Endpoint;

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
    assert_eq!(home.local_server_keys().unwrap(), []);
    let allowlist = home.policy().unwrap();
    let client = home.client_identity().unwrap().public_key();
    let ask = |key| allowlist.admit(&Candidate { claim: Claim::Ed25519(key), address: None, scheme: "test" });
    assert_eq!(ask(client), Ok(Some(client.into())));
    assert!(ask(Identity::generate().public_key()).is_err());
    let server = home.server_identity().unwrap().public_key();
    assert_eq!(home.local_server_keys().unwrap(), [server]);
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

#[test]
fn a_key_changes_with_an_overlap() {
    let (_directory, home) = home();
    for of in [KeyOf::Client, KeyOf::Server] {
        assert!(matches!(home.finish_rotation(of), Err(Error::NoNextKey { .. })));
        let public = |home: &Home| match of {
            KeyOf::Client => home.client_identity().unwrap().public_key(),
            KeyOf::Server => home.server_identity().unwrap().public_key(),
        };
        let old = public(&home);
        let next = home.prepare_rotation(of).unwrap().public_key();
        assert_eq!(home.prepare_rotation(of).unwrap().public_key(), next, "asked twice");
        assert_eq!(public(&home), old, "in use until the end");
        assert_eq!(home.finish_rotation(of).unwrap(), (old, next));
        assert_eq!(public(&home), next);
        assert_eq!(Identity::read(home.key_path(of).with_extension("key.old")).unwrap().public_key(), old);
        let known = match of {
            KeyOf::Client => home.policy().unwrap().peers().into_iter().map(|peer| peer.key).collect(),
            KeyOf::Server => home.local_server_keys().unwrap().into_iter().map(PeerKey::from).collect::<Vec<_>>(),
        };
        assert!(known.len() == 2 && [old, next].iter().all(|key| known.contains(&(*key).into())), "{known:?}");
        assert!(matches!(home.finish_rotation(of), Err(Error::NoNextKey { .. })));
    }
}

#[test]
fn the_old_client_key_can_be_forgotten_and_the_one_in_use_cannot() {
    let (_directory, home) = home();
    let old = home.client_identity().unwrap().public_key();
    assert!(matches!(home.forget_client(&old.into()), Err(Error::OwnKey { .. })));
    home.prepare_rotation(KeyOf::Client).unwrap();
    home.finish_rotation(KeyOf::Client).unwrap();
    assert!(home.forget_client(&old.into()).unwrap());
    assert!(!home.forget_client(&old.into()).unwrap());
    assert_eq!(home.policy().unwrap().peers().len(), 1);
}

#[test]
fn known_servers_are_found_by_host_and_port() {
    let (_directory, home) = home();
    let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
    let keys = [1, 2].map(|seed| Identity::from_seed(&[seed; 32]).public_key());
    assert_eq!(home.known_server_keys(&endpoint("zmq://there:7")).unwrap(), []);
    assert!(matches!(home.trust(&endpoint("zmq://there:7")), Err(Error::NoKeyToTrust { .. })));
    for (key, new) in [(keys[0], true), (keys[0], false), (keys[1], true)] {
        assert_eq!(home.trust(&endpoint("zmq://there:7").with_key(key)).unwrap(), new);
    }
    assert_eq!(home.known_server_keys(&endpoint("quic://There:7?preset=wan")).unwrap(), keys);
    assert_eq!(home.known_server_keys(&endpoint("quic://there:8")).unwrap(), []);
    fs::write(home.known_servers_path(), format!("# here\n\nthere:7 {} lab\nthere:8 x\n", keys[0])).unwrap();
    let error = home.known_server_keys(&endpoint("zmq://there:7")).unwrap_err().to_string();
    assert!(error.contains("known_servers, line 4") && error.contains("not a public key"), "{error}");
}
