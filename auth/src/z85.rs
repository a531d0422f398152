//! Z85 (ZeroMQ RFC 32) for 32-byte keys: 40 printable characters, as every ZeroMQ tool prints CURVE keys.
//! Other lengths have no use here, so that there is no allocation that a reader could be talked into.

use crate::key::KeyError;

/// Characters of a 32-byte key in Z85.
pub(crate) const Z85_CHARS: usize = 40;

const ALPHABET: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Value of each byte, 255 where it is not in the alphabet.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut index = 0;
    while index < ALPHABET.len() {
        values[ALPHABET[index] as usize] = index as u8;
        index += 1;
    }
    values
};

/// The 40 characters of a key, most significant first (RFC 32, "Formal Specification").
pub fn z85_encode(key: &[u8; 32]) -> String {
    let mut text = String::with_capacity(Z85_CHARS);
    for chunk in key.chunks_exact(4) {
        let word = u32::from_be_bytes(chunk.try_into().expect("chunks of four"));
        for power in [85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1] {
            text.push(char::from(ALPHABET[(word / power % 85) as usize]));
        }
    }
    text
}

/// The key in 40 characters of Z85.
///
/// # Errors
/// [`KeyError::CurveText`] for another length, a character outside the alphabet, or a group of five above `2^32 - 1`.
pub fn z85_decode(text: &str) -> Result<[u8; 32], KeyError> {
    let refused = || KeyError::curve_text(text);
    if text.len() != Z85_CHARS {
        return Err(refused());
    }
    let mut key = [0; 32];
    for (group, word) in text.as_bytes().chunks_exact(5).zip(key.chunks_exact_mut(4)) {
        word.copy_from_slice(&decode_group(group).ok_or_else(refused)?.to_be_bytes());
    }
    Ok(key)
}

fn decode_group(group: &[u8]) -> Option<u32> {
    group.iter().try_fold(0u32, |word, &byte| {
        let value = VALUES[usize::from(byte)];
        if value == u8::MAX {
            return None;
        }
        word.checked_mul(85)?.checked_add(u32::from(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// The test case of RFC 32 has 8 bytes; four of them side by side are a key's length.
    #[test]
    fn hello_world_of_rfc_32() {
        let word = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
        let key: [u8; 32] = word.repeat(4).try_into().unwrap();
        assert_eq!(z85_encode(&key), "HelloWorld".repeat(4));
        assert_eq!(z85_decode(&"HelloWorld".repeat(4)).unwrap(), key);
    }

    /// The key pairs of libzmq's CURVE tests, and RFC 32's reference test vector.
    #[test]
    fn known_curve_keys() {
        for (bytes, text) in [
            (
                "8e0bdd697628b91d8f245587ee95c5b04d48963f79259877b49cd9063aead3b7",
                "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6",
            ),
            (
                "bb88471d65e2659b30c55a5321cebb5aab2b70a398645c26dca2b2fcb43fc518",
                "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
            ),
            (
                "7bb864b489afa3671fbe69101f94b38972f24816dfb01b51656b3fec8dfd0888",
                "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
            ),
        ] {
            assert_eq!(z85_encode(&hex(bytes)), text);
            assert_eq!(z85_decode(text).unwrap(), hex(bytes));
        }
    }

    #[test]
    fn refuses_what_is_no_key() {
        let short = "0".repeat(39);
        let long = "0".repeat(41);
        let quote = format!("{}\"", "0".repeat(39));
        let above = format!("#####{}", "0".repeat(35));
        let wide = format!("{}é", "0".repeat(38));
        for text in ["", "0", &short, &long, &quote, &above, &wide] {
            assert!(matches!(z85_decode(text), Err(KeyError::CurveText { .. })), "{text}");
        }
        assert_eq!(z85_decode(&format!("%nSc0{}", "0".repeat(35))).unwrap()[..4], [0xFF; 4]);
        assert!(z85_decode(&format!("%nSc1{}", "0".repeat(35))).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_key_comes_back(key: [u8; 32]) {
            prop_assert_eq!(z85_decode(&z85_encode(&key)).unwrap(), key);
        }

        #[test]
        fn any_text_is_a_key_or_an_error(text in "\\PC{0,45}|[0-9a-zA-Z.:+=^!/*?&<>()\\[\\]{}@%$#-]{40}") {
            if let Ok(key) = z85_decode(&text) {
                prop_assert_eq!(z85_encode(&key), text);
            }
        }
    }
}
