//! `keys`: made once, shown in public form only.

use super::program::Home;

/// The key at the beginning of what was shown.
pub(crate) fn first_word(shown: &str) -> String {
    shown.split_whitespace().next().expect("a key").to_owned()
}

#[test]
fn a_new_key_is_shown_again_and_never_its_secret() {
    let home = Home::new();
    let made = home.succeed(["keys", "new"]);
    let shown = home.succeed(["keys", "show"]);
    assert_eq!(made, shown);
    let file = std::fs::read_to_string(home.path("client.key")).unwrap();
    let secret = file.lines().find_map(|line| line.strip_prefix("seed ")).unwrap();
    assert!(!shown.contains(secret));
    let (key, name) = shown.lines().next().unwrap().split_once(' ').unwrap();
    assert_eq!((key.len(), name), (52, "client"));
    let error = home.fail(["keys", "new"]);
    assert!(error.contains("exists already"), "{error}");
}

#[test]
fn keys_in_files_of_their_own() {
    let home = Home::new();
    let file = home.path("lab/the camera.key");
    let file = file.to_str().unwrap();
    let error = home.fail(["keys", "show", file]);
    assert!(error.contains(file), "{error}");
    let made = home.succeed(["keys", "new", file]);
    assert!(made.lines().next().unwrap().ends_with(" the-camera"), "{made}");
    assert_eq!(home.succeed(["keys", "show", file]), made);
    assert_ne!(home.succeed(["keys", "show", "--server"]), home.succeed(["keys", "show"]));
}

#[test]
fn a_home_that_is_open_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::new();
    home.succeed(["keys", "show"]);
    std::fs::set_permissions(home.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = home.fail(["keys", "show"]);
    assert!(error.contains("chmod 700"), "{error}");
}
