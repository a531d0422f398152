//! Who gets in: over each transport a listed key, and nobody else; and what the others are told.

use super::program::{Home, append, schemes};

fn fingerprint(shown: &str) -> &str {
    shown.lines().nth(1).and_then(|line| line.strip_prefix("# fingerprint ")).expect("a fingerprint")
}

#[test]
fn an_unknown_key_is_refused_with_its_fingerprint_and_let_in_once_it_is_listed() {
    for scheme in schemes() {
        let (home, elsewhere) = (Home::new(), Home::new());
        let server = home.serve(&[]);
        let url = server.url(scheme);
        let shown = elsewhere.succeed(["keys", "show"]);
        let error = elsewhere.fail(["pub", "a", "x", "--url", &url]);
        assert!(error.contains(fingerprint(&shown)) && error.contains("allowlist"), "{scheme}: {error}");
        append(&home.path("allowlist"), shown.lines().next().unwrap());
        elsewhere.succeed(["pub", "a", "x", "--url", &url]);
    }
}

#[test]
fn a_key_file_is_used_instead_of_the_accounts_key() {
    let home = Home::new();
    let server = home.serve(&[]);
    let file = home.path("other.key");
    let shown = home.succeed(["keys".as_ref(), "new".as_ref(), file.as_os_str()]);
    let publish = ["pub", "a", "x", "--key-file", file.to_str().unwrap()];
    let error = home.fail(publish);
    assert!(error.contains(fingerprint(&shown)), "{error}");
    append(&home.path("allowlist"), shown.lines().next().unwrap());
    home.succeed(publish);
    drop(server);
}

#[test]
fn a_server_with_another_key_is_not_spoken_to() {
    for scheme in schemes() {
        let home = Home::new();
        let server = home.serve(&[]);
        let url = server.url(scheme);
        let (_, address) = url.split_once('@').unwrap();
        let other = home.succeed(["keys", "show"]);
        let key = other.split_whitespace().next().unwrap();
        let error = home.fail(["pub", "a", "x", "--url", &format!("{scheme}://{key}@{address}")]);
        assert!(error.contains("SHA256:"), "{scheme}: {error}");
    }
}

#[test]
fn plaintext_is_only_what_both_sides_wrote_down() {
    let home = Home::new();
    let mut server = home.serve(&["--insecure"]);
    assert!(server.running.complaint().contains("nothing is encrypted"));
    home.succeed(["pub", "a", "x", "--insecure"]);
    let error = home.fail(["pub", "a", "x"]);
    assert!(error.contains("no secured listener"), "{error}");
    for scheme in schemes() {
        let url = server.url(scheme);
        home.succeed(["pub", "a", "x", "--insecure", "--url", &url]);
    }
}

#[test]
fn a_secured_server_and_a_plaintext_client_disagree() {
    for scheme in schemes() {
        let home = Home::new();
        let server = home.serve(&[]);
        let url = server.url(scheme);
        let (_, address) = url.split_once('@').unwrap();
        let error = home.fail(["pub", "a", "x", "--insecure", "--url", &format!("{scheme}://{address}")]);
        assert!(error.contains("security") || error.contains("identity"), "{scheme}: {error}");
    }
}
