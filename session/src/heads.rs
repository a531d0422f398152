//! Numbers in the heads of records: little endian, taken apart without an allocation.

/// Parts off a byte.
pub fn take_u8(rest: &mut &[u8]) -> Option<u8> {
    let (number, behind) = rest.split_first()?;
    *rest = behind;
    Some(*number)
}

/// Parts off two bytes.
pub fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u16::from_le_bytes(*number))
}

/// Parts off four bytes.
pub fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u32::from_le_bytes(*number))
}

/// Parts off eight bytes.
pub fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u64::from_le_bytes(*number))
}

/// Two numbers in a head: how far a call is, and of how much, say.
pub fn pair_head(first: u64, second: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&first.to_le_bytes());
    head[8..].copy_from_slice(&second.to_le_bytes());
    head
}

/// And back; an unknown tail is skipped.
pub fn read_pair(mut head: &[u8]) -> Option<(u64, u64)> {
    Some((take_u64(&mut head)?, take_u64(&mut head)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parted_off_from_the_smallest_byte_on() {
        let bytes: Vec<u8> = (1..=15).collect();
        let rest = &mut &bytes[..];
        assert_eq!((take_u8(rest), take_u16(rest)), (Some(1), Some(0x0302)));
        assert_eq!((take_u32(rest), take_u64(rest)), (Some(0x0706_0504), Some(0x0f0e_0d0c_0b0a_0908)));
        assert_eq!((take_u8(rest), take_u16(rest), take_u32(rest), take_u64(rest)), (None, None, None, None));
    }

    #[test]
    fn pairs_come_back_as_they_were_with_a_tail_and_not_cut() {
        let head = [&pair_head(6, u64::MAX)[..], b"tail"].concat();
        assert_eq!(read_pair(&head), Some((6, u64::MAX)));
        for cut in 0..16 {
            assert_eq!(read_pair(&head[..cut]), None, "{cut} bytes");
        }
    }
}
