//! Pixels as PNG, the plain way: 8 bits a channel, no interlacing, no filter.

use flate2::{Compression, Crc, write::ZlibEncoder};
use std::io::Write as _;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Returns the PNG of `width` x `height` pixels of 1 (grey), 3 or 4 channels, row by row.
///
/// # Panics
///
/// Panics if the bytes are not that many, or the channels others.
pub(crate) fn encode(width: usize, height: usize, channels: usize, bytes: &[u8]) -> Vec<u8> {
    assert_eq!(bytes.len(), width * height * channels, "the bytes fill the picture");
    let colour = match channels {
        1 => 0,
        3 => 2,
        4 => 6,
        _ => panic!("a picture of {channels} channels"),
    };
    let side = |side: usize| u32::try_from(side).expect("a picture has a side below 2^32");
    let mut head = vec![];
    head.extend(side(width).to_be_bytes());
    head.extend(side(height).to_be_bytes());
    head.extend([8, colour, 0, 0, 0]);
    let mut packed = ZlibEncoder::new(vec![], Compression::best());
    for row in bytes.chunks_exact((width * channels).max(1)) {
        packed.write_all(&[0]).expect("a vector takes it");
        packed.write_all(row).expect("a vector takes it");
    }
    let packed = packed.finish().expect("a vector takes it");
    let mut out = SIGNATURE.to_vec();
    chunk(&mut out, *b"IHDR", &head);
    chunk(&mut out, *b"IDAT", &packed);
    chunk(&mut out, *b"IEND", &[]);
    out
}

fn chunk(out: &mut Vec<u8>, name: [u8; 4], bytes: &[u8]) {
    let mut crc = Crc::new();
    crc.update(&name);
    crc.update(bytes);
    let length = u32::try_from(bytes.len()).expect("a picture is smaller than 4 GiB");
    out.extend(length.to_be_bytes());
    out.extend(name);
    out.extend(bytes);
    out.extend(crc.sum().to_be_bytes());
}

/// Returns `bytes` in base 64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let group = (0..3).fold(0, |all, at| all << 8 | usize::from(*three.get(at).unwrap_or(&0)));
        for digit in 0..4 {
            let six = group >> (18 - 6 * digit) & 63;
            out.push(if digit <= three.len() { char::from(DIGITS[six]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_the_last_group() {
        // The test vectors of RFC 4648.
        for (text, want) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), want);
        }
    }
}
