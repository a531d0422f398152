//! Both directions of every message, in pieces of every size, and what must be refused.

use proptest::prelude::*;

use super::*;

const MAX: usize = 10_000;

fn encoded(blocks: &[Vec<Bytes>]) -> Vec<u8> {
    let mut out = VecDeque::new();
    for chunks in blocks {
        let mut block = Block::default();
        chunks.iter().for_each(|chunk| block.push(chunk.clone()));
        encode_block(block, &mut out);
    }
    out.iter().flatten().copied().collect()
}

fn decoded(wire: &[u8], piece: usize) -> Result<Vec<Bytes>, String> {
    let mut assembler = Assembler::new(MAX);
    let mut blocks = Vec::new();
    for piece in wire.chunks(piece) {
        assembler.feed(Bytes::copy_from_slice(piece));
        while let Some(block) = assembler.take()? {
            blocks.push(block);
        }
    }
    assert!(assembler.is_empty());
    Ok(blocks)
}

/// The bytes of the vector `name` in `docs/WIRE.md`.
fn vector(name: &str) -> Vec<u8> {
    let page = include_str!("../../../docs/WIRE.md");
    let (_, rest) = page.split_once(&format!("```vector {name}\n")).expect("the page has this vector");
    let digits: Vec<u8> = rest.bytes().take_while(|byte| *byte != b'`').filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn bytes_are_as_the_page_says() {
    assert_eq!(encoded(&[vec![Bytes::from_static(b"on")]]), vector("quic-block"));
    assert_eq!(&Word::Goodbye(3).encode()[..], vector("quic-goodbye"));
}

#[test]
fn bytes_on_the_wire() {
    assert_eq!(encoded(&[vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")]]), b"\x03\0\0\0abc");
    assert_eq!(&Word::Admitted.encode()[..], [1, 0]);
    assert_eq!(&Word::Goodbye(0x0201).encode()[..], [2, 4, 1, 2, 0, 0]);
    assert_eq!(&Word::Delivered.encode()[..], [3, 0]);
    assert_eq!(&lane_head(Lane(31))[..], [31]);
}

#[test]
fn large_chunks_are_not_copied() {
    let large = Bytes::from(vec![7; MERGE_BYTES_MAX]);
    let mut block = Block::from(Bytes::from_static(b"small"));
    block.push(large.clone());
    let mut out = VecDeque::new();
    encode_block(block, &mut out);
    assert_eq!(out.len(), 2);
    assert_eq!(out[1].as_ptr(), large.as_ptr());
}

#[test]
fn a_block_within_one_piece_is_not_copied() {
    let wire = Bytes::from(encoded(&[vec![Bytes::from_static(b"hello")]]));
    let mut assembler = Assembler::new(MAX);
    assembler.feed(wire.clone());
    assert_eq!(assembler.take().unwrap().unwrap().as_ptr(), wire[LENGTH_BYTES..].as_ptr());
}

#[test]
fn a_length_alone_sets_little_aside() {
    let mut assembler = Assembler::new(16 << 20);
    assembler.feed(Bytes::copy_from_slice(&(16u32 << 20).to_le_bytes()));
    assembler.feed(Bytes::from_static(b"x"));
    assert_eq!(assembler.take(), Ok(None));
    assert!(assembler.partial.unwrap().1.capacity() <= 2 * SET_ASIDE_BYTES);
}

#[test]
fn lengths_out_of_range_are_refused() {
    for length in [0, MAX as u32 + 1, u32::MAX] {
        assert!(decoded(&length.to_le_bytes(), 3).is_err(), "{length}");
    }
}

#[test]
fn words_come_out_and_unknown_ones_are_skipped() {
    let words = [Word::Admitted, Word::Goodbye(5), Word::Delivered];
    let mut wire = vec![99, 3, 1, 2, 3];
    words.iter().for_each(|word| wire.extend_from_slice(&word.encode()));
    let mut reader = WordReader::default();
    let mut seen = Vec::new();
    for byte in wire {
        reader.feed(&[byte]).unwrap();
        seen.extend(reader.take().unwrap());
    }
    assert_eq!(seen, words);
    reader.feed(&[GOODBYE, 1, 0]).unwrap();
    assert!(reader.take().is_err());
    assert!(reader.feed(&[0; WORDS_BYTES_MAX]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_bytes_are_blocks_or_an_error(wire: Vec<u8>, piece in 1usize..64) {
        let mut assembler = Assembler::new(MAX);
        'all: for piece in wire.chunks(piece) {
            assembler.feed(Bytes::copy_from_slice(piece));
            loop {
                match assembler.take() {
                    Ok(Some(block)) => prop_assert!((1..=MAX).contains(&block.len())),
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_words_or_an_error(wire: Vec<u8>) {
        let mut reader = WordReader::default();
        if reader.feed(&wire).is_ok() {
            while let Ok(Some(_)) = reader.take() {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn blocks_survive_any_cutting(
        blocks in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..3), 0..6),
        piece in 1usize..5000,
    ) {
        let blocks: Vec<Vec<Bytes>> = blocks.into_iter().map(|b| b.into_iter().map(Bytes::from).collect()).collect();
        let whole: Vec<Bytes> = blocks.iter().map(|chunks| chunks.concat().into()).collect();
        prop_assert_eq!(decoded(&encoded(&blocks), piece).unwrap(), whole);
    }
}
