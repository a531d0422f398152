//! The list as a server uses it: what files say, who gets in by which claim, and what happens when files change.

use std::fs;
use std::net::IpAddr;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::admit::Claim;
use crate::identity::Identity;
use crate::key::PublicKey;

fn key(seed: u8) -> PublicKey {
    Identity::from_seed(&[seed; 32]).public_key()
}

fn negated(key: PublicKey) -> PublicKey {
    let mut bytes = *key.as_bytes();
    bytes[31] ^= 0x80;
    PublicKey::from_bytes(bytes).unwrap()
}

fn ask(admit: &dyn Admit, claim: Claim, address: Option<&str>) -> Result<Option<PeerKey>, Refusal> {
    let address = address.map(|text| text.parse::<IpAddr>().unwrap());
    admit.admit(&Candidate { claim, address, scheme: "test" })
}

fn admitted(admit: &dyn Admit, key: PublicKey) -> bool {
    ask(admit, Claim::Ed25519(key), None).is_ok()
}

/// A file `allowlist` with this text.
fn list(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("allowlist");
    fs::write(&path, text).unwrap();
    (directory, path)
}

#[test]
fn one_line_serves_tls_and_curve() {
    let (_directory, path) = list(&format!("# the lab\n\n{} thermometer # roof\n", key(1)));
    let list = Allowlist::open([&path]).unwrap();
    let listed = PeerKey::Ed25519(key(1));
    assert_eq!(ask(&list, Claim::Ed25519(key(1)), None), Ok(Some(listed)));
    assert_eq!(ask(&list, Claim::Curve(key(1).to_curve()), Some("192.0.2.1")), Ok(Some(listed)));
    assert_eq!(list.name(&listed).as_deref(), Some("thermometer"));
    let unknown = Refusal::UnknownKey { fingerprint: key(2).fingerprint() };
    assert_eq!(ask(&list, Claim::Ed25519(key(2)), None), Err(unknown));
    assert!(ask(&list, Claim::Curve(key(2).to_curve()), None).is_err());
    assert_eq!(ask(&list, Claim::Anonymous, None), Err(Refusal::Anonymous));
    // The negation shares the CURVE form, but is not the key that was listed.
    assert!(!admitted(&list, negated(key(1))));
}

#[test]
fn a_key_is_taken_out_and_everything_else_stays() {
    let (one, two) = (key(1), key(2));
    let (_directory, path) = list(&format!("# the lab\n{one} a\nallow 10.0.0.0/8\ned25519:{one} again\n{two} b # c"));
    assert!(Allowlist::remove(&path, &one.into()).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("# the lab\nallow 10.0.0.0/8\n{two} b # c"));
    assert!(!Allowlist::remove(&path, &one.into()).unwrap());
    assert!(!Allowlist::remove(path.with_file_name("none"), &one.into()).unwrap());
    fs::write(&path, "no key\n").unwrap();
    assert!(Allowlist::remove(&path, &one.into()).is_err());
}

#[test]
fn a_foreign_curve_key_comes_in_by_curve_alone() {
    let foreign = key(5).to_curve();
    let (_directory, path) = list(&format!("{} an old client\n", PeerKey::Curve(foreign)));
    let list = Allowlist::open([&path]).unwrap();
    assert_eq!(ask(&list, Claim::Curve(foreign), None), Ok(Some(PeerKey::Curve(foreign))));
    assert!(!admitted(&list, key(5)));
}

#[test]
fn a_hash_within_a_z85_key_is_no_comment() {
    let foreign = [0xFE; 32];
    let mut with_hash = None;
    for byte in 0..=255 {
        let mut candidate = foreign;
        candidate[3] = byte;
        if crate::z85_encode(&candidate).contains('#') {
            with_hash = Some(candidate);
        }
    }
    let foreign = with_hash.expect("one of 256 has it");
    let (_directory, path) = list(&format!("{}# not a comment\n", PeerKey::Curve(foreign)));
    assert!(Allowlist::open([&path]).is_err());
    let (_directory, path) = self::list(&format!("{} # a comment\n", PeerKey::Curve(foreign)));
    assert!(ask(&Allowlist::open([&path]).unwrap(), Claim::Curve(foreign), None).is_ok());
}

#[test]
fn addresses_fence_the_keys() {
    let (_directory, path) = list(&format!("{}\nallow 10.0.0.0/8\nallow ::1\ndeny 10.6.6.0/24\n", key(1)));
    let list = Allowlist::open([&path]).unwrap();
    for (address, open) in
        [("10.1.2.3", true), ("::1", true), ("::ffff:10.1.2.3", true), ("10.6.6.6", false), ("192.0.2.1", false)]
    {
        assert_eq!(ask(&list, Claim::Ed25519(key(1)), Some(address)).is_ok(), open, "{address}");
    }
    let refusal = ask(&list, Claim::Ed25519(key(1)), Some("192.0.2.1")).unwrap_err();
    assert_eq!(refusal, Refusal::Address { address: "192.0.2.1".parse().unwrap() });
    assert!(ask(&list, Claim::Ed25519(key(2)), Some("10.1.2.3")).is_err());
    assert!(ask(&list, Claim::Ed25519(key(1)), None).is_ok());
}

#[test]
fn bad_lines_are_named() {
    for (line, expected) in [
        ("hello", "line 3: bad key"),
        ("allow", "line 3: `` is no IP address"),
        ("allow 10.0.0.1/8", "beyond its prefix"),
        ("deny nowhere", "line 3: `nowhere` is no IP address"),
        ("curve:abc", "line 3: bad key"),
        (&format!("{} {}", key(2), "n".repeat(129)), "129 bytes"),
        (&format!("{} a\u{1b}b", key(2)), "control characters"),
        (&"x".repeat(600), "600 bytes"),
        (&negated(key(1)).to_string(), "list two keys with the same CURVE form"),
        (&PeerKey::Curve(key(1).to_curve()).to_string(), "list two keys with the same CURVE form"),
    ] {
        let (_directory, path) = list(&format!("# first\n{} one\n{line}\n", key(1)));
        let error = Allowlist::open([&path]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("allowlist, line 3"), "{error}");
    }
    let (_directory, path) = list("");
    fs::write(&path, b"\xff\xfe").unwrap();
    assert!(Allowlist::open([&path]).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn two_keys_with_one_curve_form_name_both_lines() {
    let (_first, one) = list(&format!("\n{}\n", key(1)));
    let (_second, two) = list(&format!("\n\n\n{}\n", negated(key(1))));
    match Allowlist::open([&one, &two]).unwrap_err() {
        FileError::SameCurveKey { path, line, first_path, first_line } => {
            assert_eq!((path, line, first_path, first_line), (two, 4, one.clone(), 2));
        }
        other => panic!("{other}"),
    }
    // The same key twice is the same peer.
    assert_eq!(Allowlist::open([&one, &one]).unwrap().len(), 1);
}

#[test]
fn a_directory_gives_its_pub_files() {
    let directory = tempfile::tempdir().unwrap();
    key(1).write(directory.path().join("one.pub"), "one").unwrap();
    fs::write(directory.path().join("notes.txt"), "not a key").unwrap();
    let list = Allowlist::open([directory.path()]).unwrap();
    assert!(admitted(&list, key(1)) && !admitted(&list, key(2)));
    key(2).write(directory.path().join("two.pub"), "two").unwrap();
    assert!(admitted(&list, key(2)));
    fs::remove_file(directory.path().join("one.pub")).unwrap();
    assert!(!admitted(&list, key(1)) && admitted(&list, key(2)));
    fs::write(directory.path().join("three.pub"), "allow 10.0.0.0/8").unwrap();
    assert!(list.reload().unwrap_err().to_string().contains("no address lines"));
    assert!(admitted(&list, key(2)));
}

#[test]
fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing() {
    let (_directory, path) = list(&format!("{}\n", key(1)));
    let list = Allowlist::open([&path]).unwrap();
    assert!(!admitted(&list, key(2)));
    // In place and of the same length: only the times differ.
    fs::write(&path, format!("{}\n", key(2))).unwrap();
    assert!(admitted(&list, key(2)) && !admitted(&list, key(1)));
    fs::write(&path, "rubbish\n").unwrap();
    assert!(admitted(&list, key(2)) && !admitted(&list, key(1)));
    fs::remove_file(&path).unwrap();
    assert!(admitted(&list, key(2)));
    fs::write(&path, format!("{}\n{}\n", key(1), key(3))).unwrap();
    assert!(admitted(&list, key(1)) && admitted(&list, key(3)) && !admitted(&list, key(2)));
}

#[test]
fn limits_are_errors() {
    let (_directory, path) = list(&"#\n".repeat(ALLOWLIST_LINES_MAX));
    assert!(Allowlist::open([&path]).is_ok());
    fs::write(&path, "#\n".repeat(ALLOWLIST_LINES_MAX + 1)).unwrap();
    assert!(matches!(Allowlist::open([&path]), Err(FileError::TooMany { what: "lines", .. })));
    fs::write(&path, vec![b'#'; ALLOWLIST_BYTES_MAX + 1]).unwrap();
    assert!(matches!(Allowlist::open([&path]), Err(FileError::TooLarge { .. })));
    assert!(matches!(Allowlist::open([path.with_extension("none")]), Err(FileError::Missing { .. })));
    let directory = tempfile::tempdir().unwrap();
    for index in 0..=ALLOWLIST_FILES_MAX {
        fs::write(directory.path().join(format!("{index}.pub")), "").unwrap();
    }
    assert!(matches!(Allowlist::open([directory.path()]), Err(FileError::TooMany { what: "files", .. })));
}

#[cfg(unix)]
#[test]
fn a_list_that_everybody_can_change_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, path) = list(&format!("{}\n", key(1)));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
    assert!(matches!(Allowlist::open([&path]), Err(FileError::Unsafe { .. })));
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(matches!(Allowlist::open([directory.path()]), Err(FileError::Unsafe { .. })));
}

#[test]
fn append_adds_a_line_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/allowlist");
    assert!(Allowlist::append(&path, &key(1).into(), "one").unwrap());
    assert!(!Allowlist::append(&path, &key(1).into(), "again").unwrap());
    fs::write(&path, format!("{} one\n# no line feed", key(1))).unwrap();
    assert!(Allowlist::append(&path, &PeerKey::Curve([7; 32]), "").unwrap());
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{} one\n# no line feed\n{}\n", key(1), PeerKey::Curve([7; 32]))
    );
    assert!(Allowlist::append(&path, &key(2).into(), "two\nlines").is_err());
    fs::write(&path, "rubbish\n").unwrap();
    assert!(Allowlist::append(&path, &key(2).into(), "two").is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "rubbish\n");
}

#[test]
fn many_that_append_at_once_lose_nothing() {
    let (_directory, path) = list("");
    let list = Allowlist::open([&path]).unwrap();
    std::thread::scope(|scope| {
        for seed in 1..=8 {
            let path = &path;
            scope.spawn(move || assert!(Allowlist::append(path, &key(seed).into(), "peer").unwrap()));
        }
    });
    assert!((1..=8).all(|seed| admitted(&list, key(seed))));
    assert_eq!(list.len(), 8);
}

#[cfg(unix)]
#[test]
fn append_keeps_mode_and_links() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, path) = list("");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Allowlist::append(&link, &key(1).into(), "one").unwrap());
    assert!(link.is_symlink());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(admitted(&Allowlist::open([&link]).unwrap(), key(1)));
}

#[test]
fn a_list_in_memory_changes_at_run_time() {
    let list = AdmitListed::default();
    assert!(!admitted(&list, key(1)));
    list.allow(key(1)).unwrap();
    list.allow(key(1)).unwrap();
    assert!(admitted(&list, key(1)));
    assert_eq!(list.allow(negated(key(1))), Err(crate::KeyError::SameCurveKey));
    assert!(!list.remove(negated(key(1))) && admitted(&list, key(1)));
    assert!(list.remove(key(1)) && !list.remove(key(1)));
    assert!(!admitted(&list, key(1)));
    assert_eq!(ask(&list, Claim::Anonymous, None), Err(Refusal::Anonymous));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_bytes_are_lines_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for line in parse(Path::new("list"), &bytes) {
            let _ = line;
        }
        let _ = parse_single_key(Path::new("list"), &bytes);
    }

    #[test]
    fn any_text_is_lines_or_errors(text in "((allow|deny|curve:|ed25519:|#|\\PC{0,3}|[a-z2-7]{52}|[ \\t\\n]){0,12})") {
        for line in parse(Path::new("list"), text.as_bytes()) {
            let _ = line;
        }
    }

    #[test]
    fn what_is_written_is_read(seed: [u8; 32], foreign: [u8; 32], curve: bool, name in "\\PC{0,40}") {
        let key = if curve { PeerKey::Curve(foreign) } else { Identity::from_seed(&seed).public_key().into() };
        if let Ok(line) = key_line(Path::new("list"), &key, &name) {
            prop_assert_eq!(parse_single_key(Path::new("list"), line.as_bytes()).unwrap(), (1, key));
        }
    }
}
