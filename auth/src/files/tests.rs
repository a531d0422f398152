//! Key files: what is written is read, what is unsafe or damaged is refused and says why.

use std::fs;

use proptest::prelude::*;

use super::*;

fn parse(text: &[u8]) -> Result<Identity, FileError> {
    Identity::from_text(Path::new("test.key"), text)
}

#[test]
fn what_is_created_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/identity");
    let created = Identity::create(&path).unwrap();
    let read = Identity::read(&path).unwrap();
    assert_eq!(read.public_key(), created.public_key());
    assert_eq!(*read.seed(), *created.seed());
    // Nothing else is left in the directory.
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn an_existing_file_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(Identity::create(&path), Err(FileError::Exists { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn many_at_once_get_the_same_identity() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("home/identity");
    let keys: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| Identity::read_or_create(&path).unwrap().public_key())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = Identity::read(directory.path().join("nothing")).unwrap_err();
    assert!(matches!(error, FileError::Missing { .. }));
    assert!(error.to_string().contains("nothing"));
}

#[cfg(unix)]
mod permissions {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(path: &Path) -> String {
        match Identity::read(path) {
            Err(error @ FileError::Unsafe { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_owner_can_read_what_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("home/identity");
        let identity = Identity::create(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        identity.public_key().write(path.with_extension("pub"), "me").unwrap();
        assert_eq!(mode(&path.with_extension("pub")) & 0o600, 0o600);
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        Identity::create(&path).unwrap();
        for open in [0o640, 0o604, 0o620, 0o602, 0o610] {
            set_mode(&path, open);
            assert!(refusal(&path).contains("chmod 600"), "{open:o}");
        }
        set_mode(&path, 0o400);
        assert!(Identity::read(&path).is_ok());
    }

    #[test]
    fn a_directory_open_to_others_is_refused_unless_sticky() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        let path = home.join("keys/identity");
        Identity::create(&path).unwrap();
        for open in [0o770, 0o702, 0o777] {
            set_mode(&home, open);
            assert!(refusal(&path).contains("home can be changed by other accounts"), "{open:o}");
            assert!(matches!(Identity::create(home.join("keys/more")), Err(FileError::Unsafe { .. })));
        }
        for closed in [0o1777, 0o755, 0o700] {
            set_mode(&home, closed);
            assert!(Identity::read(&path).is_ok(), "{closed:o}");
        }
    }

    #[test]
    fn links_and_what_is_no_file_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        Identity::create(&path).unwrap();
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(refusal(&link).contains("symbolic link"));
        // Neither is a link written through, even one that leads nowhere.
        let dangling = directory.path().join("dangling");
        symlink(directory.path().join("elsewhere"), &dangling).unwrap();
        assert!(matches!(Identity::create(&dangling), Err(FileError::Exists { .. })));
        assert!(!directory.path().join("elsewhere").exists());
        assert!(refusal(directory.path()).contains("not a regular file"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(refusal(&path).contains("not a regular file"));
        assert!(PublicKey::read(&path).is_err());
    }

    /// Only root can give a file away; elsewhere the check of the owner stays untested.
    #[test]
    fn the_file_of_another_account_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        let path = home.join("identity");
        Identity::create(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        assert!(refusal(&path).contains("another account"));
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        std::os::unix::fs::chown(&home, Some(12_345), None).unwrap();
        assert!(refusal(&path).contains("another account"));
    }
}

#[test]
fn every_cut_is_seen() {
    let text = Identity::from_seed(&[3; 32]).to_text();
    for length in 0..text.len() - 1 {
        let error = parse(&text.as_bytes()[..length]).unwrap_err();
        assert!(matches!(error, FileError::NotIdentity { .. } | FileError::Damaged { .. }), "{length}: {error}");
    }
    // Without the last line feed nothing is missing.
    assert!(parse(&text.as_bytes()[..text.len() - 1]).is_ok());
}

#[test]
fn damage_is_named_and_the_secret_is_not() {
    let text = Identity::from_seed(&[3; 32]).to_text();
    let lines: Vec<&str> = text.lines().collect();
    let seed = lines[2].strip_prefix("seed ").unwrap();
    let other = Identity::from_seed(&[4; 32]).to_text();
    let other_public = other.lines().nth(3).unwrap();
    for (changed, expected) in [
        (text.replacen("identity 1", "identity 2", 1), "version 1"),
        (text.replacen(lines[3], other_public, 1), "not that of the seed"),
        (format!("{}{}\n", &**text, lines[2]), "line 5: there is a second seed"),
        (format!("{}{}\n", &**text, lines[3]), "line 5: there is a second public key"),
        (text.replacen("\nseed ", "\nsead ", 1), "line 3: neither"),
        (text.replacen(seed, &seed[1..], 1), "line 3: the seed is not"),
        (text.replacen(seed, &seed.replacen(&seed[..1], "1", 1), 1), "line 3: the seed is not"),
    ] {
        let error = parse(changed.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(&seed[2..20]), "{error}");
    }
}

#[test]
fn case_comments_and_carriage_returns_are_taken() {
    let text = Identity::from_seed(&[3; 32]).to_text();
    let edited = format!("{}\r\n\r\n# a note", text.replace('\n', "\r\n"));
    assert_eq!(parse(edited.as_bytes()).unwrap().public_key(), Identity::from_seed(&[3; 32]).public_key());
}

#[test]
fn a_public_key_file_is_an_allowlist_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lab.pub");
    let key = Identity::from_seed(&[3; 32]).public_key();
    key.write(&path, "the lab").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{key} the lab\n"));
    assert_eq!(PublicKey::read(&path).unwrap(), key);
    let next = Identity::from_seed(&[4; 32]).public_key();
    next.write(&path, "").unwrap();
    assert_eq!(PublicKey::read(&path).unwrap(), next);
    for name in ["two\nlines", "a # comment", &"x".repeat(200)] {
        assert!(matches!(key.write(&path, name), Err(FileError::Line { .. })), "{name}");
    }
    fs::write(&path, format!("{key}\n{next}\n")).unwrap();
    assert!(PublicKey::read(&path).is_err());
    fs::write(&path, "x".repeat(KEY_FILE_BYTES_MAX + 1)).unwrap();
    assert!(matches!(PublicKey::read(&path), Err(FileError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_bytes_are_an_identity_or_an_error(
        head in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let text = if head { [FIRST_LINE.as_bytes(), b"\n", &bytes].concat() } else { bytes };
        prop_assert!(parse(&text).is_err());
    }

    #[test]
    fn one_changed_byte_never_gives_another_identity(seed: [u8; 32], index in 0usize..208, byte: u8) {
        let identity = Identity::from_seed(&seed);
        let mut text = identity.to_text().as_bytes().to_vec();
        let index = index % text.len();
        text[index] = byte;
        if let Ok(read) = parse(&text) {
            prop_assert_eq!(read.public_key(), identity.public_key());
        }
    }
}
