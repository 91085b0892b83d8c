//! Where the last chunk of a PNG image is missing: some programs leave it out or cut it, with all pixels there.

use std::borrow::Cow;

/// The signature and, behind it, the parts of each chunk: its length, kind and check.
const SIGNATURE: usize = 8;
const AROUND: usize = 12;
const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// Returns the image with a last chunk (`IEND`): `bytes` as they are, or, where they have none, their whole chunks of
/// pixels and what stands before these, with one behind. Whether the pixels are all there is for the decoder to see.
pub(super) fn ended(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (mut at, mut pixels) = (SIGNATURE, None);
    while let Some(head) = bytes.get(at..at + 8) {
        let (size, kind) = head.split_at(4);
        let size = u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize;
        let end = at + AROUND + size;
        if end > bytes.len() || !kind.iter().all(u8::is_ascii_alphabetic) {
            break;
        }
        match kind {
            b"IEND" => return Cow::Borrowed(bytes),
            b"IDAT" => pixels = Some(end),
            _ => {}
        }
        at = end;
    }
    match pixels {
        Some(end) => Cow::Owned([&bytes[..end], END].concat()),
        None => Cow::Borrowed(bytes),
    }
}
