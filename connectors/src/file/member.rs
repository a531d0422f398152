//! Members of a gzip file (RFC 1952). Ours say in an extra field how long they are, so that whoever appends finds the last
//! one without decoding those before; any gzip tool reads them.

use std::io::Write;

use flate2::{Compression, GzBuilder};

/// Subfield of a member's head (section 2.3.1.1) that has the length of the whole member: `SN`, 4, u32 little endian.
const FIELD: [u8; 4] = [b'S', b'N', 4, 0];
/// Where the length stands: behind ten bytes of head, two of the extra field's length, and [`FIELD`].
const LENGTH_AT: usize = 16;
/// What one has to read of a member to know its length.
pub(crate) const MEMBER_HEAD_BYTES: usize = LENGTH_AT + 4;

/// Bytes of lines that are gathered for a member: enough to compress well, little enough to do over.
pub(crate) const MEMBER_BYTES_MAX: usize = 1024 * 1024;

/// A whole member.
pub(crate) fn compress(lines: &[u8]) -> Vec<u8> {
    let extra = [&FIELD[..], &[0; 4]].concat();
    let mut encoder = GzBuilder::new().extra(extra).write(Vec::new(), Compression::default());
    encoder.write_all(lines).expect("writing to memory does not fail");
    let mut member = encoder.finish().expect("writing to memory does not fail");
    let length = u32::try_from(member.len()).expect("a member holds one batch and what is gathered, well below 4 GiB");
    member[LENGTH_AT..][..4].copy_from_slice(&length.to_le_bytes());
    member
}

/// How long the member is that begins with `head`, if it is one of ours.
pub(crate) fn stated_length(head: &[u8]) -> Option<u64> {
    let head: &[u8; MEMBER_HEAD_BYTES] = head.first_chunk()?;
    // Magic, deflate, flags: an extra field.
    let ours = head[..3] == [0x1f, 0x8b, 8] && head[3] & 4 != 0 && head[10..12] == [8, 0] && head[12..16] == FIELD;
    let length = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
    (ours && length as usize > MEMBER_HEAD_BYTES).then_some(u64::from(length))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_member_says_how_long_it_is_and_is_read_by_any_decoder() {
        let member = compress(b"one\ntwo\n");
        assert_eq!(stated_length(&member), Some(member.len() as u64));
        let mut lines = String::new();
        flate2::read::GzDecoder::new(&member[..]).read_to_string(&mut lines).unwrap();
        assert_eq!(lines, "one\ntwo\n");
    }

    #[test]
    fn members_of_others_and_bad_heads_state_nothing() {
        let mut other = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
        other.write_all(b"one\n").unwrap();
        assert_eq!(stated_length(&other.finish().unwrap()), None);
        let member = compress(b"one\n");
        for end in 0..MEMBER_HEAD_BYTES {
            assert_eq!(stated_length(&member[..end]), None);
        }
        let mut zero = member;
        zero[LENGTH_AT..][..4].fill(0);
        assert_eq!(stated_length(&zero), None);
    }
}
