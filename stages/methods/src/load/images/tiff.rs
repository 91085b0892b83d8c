//! TIFF images whose pixels are places in a palette, or grey levels of 2 or 4 bits, which the crate `image` refuses.

use std::io::Cursor;
use tiff::{
    TiffError,
    decoder::{Decoder, DecodingResult},
    tags::Tag,
};

// Tags of a directory's entries, and a short whole number as their type.
const BITS: u16 = 258;
const PHOTOMETRIC: u16 = 262;
const SHORT: u16 = 3;

/// What the photometric interpretation of a palette is, and of grey levels.
const PALETTE: u16 = 3;
const GREY: u16 = 1;

/// A decoded image, its channels side by side.
pub(super) struct UnpackedStrips {
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1 or 3.
    pub(super) channels: usize,
    pub(super) bytes: Vec<u8>,
}

/// Returns the pixels of an image with a palette or of less than a byte a pixel, or what is wrong with it; `None` if
/// it is of another kind.
pub(super) fn packed(bytes: &[u8]) -> Option<Result<UnpackedStrips, TiffError>> {
    let directory = Directory { bytes, is_little: bytes.starts_with(b"II") };
    let place = directory.entry(PHOTOMETRIC)?;
    let bits = directory.short(directory.entry(BITS)?)?;
    match directory.short(place)? {
        PALETTE if matches!(bits, 1 | 2 | 4 | 8) => {
            // The decoder gives the places in the palette if it takes them for grey levels.
            let mut bytes = bytes.to_vec();
            let grey = if directory.is_little { GREY.to_le_bytes() } else { GREY.to_be_bytes() };
            bytes.get_mut(place..place + 2)?.copy_from_slice(&grey);
            Some(decode(&bytes, bits.into(), true))
        }
        0 | GREY if matches!(bits, 2 | 4) => Some(decode(bytes, bits.into(), false)),
        _ => None,
    }
}

fn decode(bytes: &[u8], bits: usize, has_palette: bool) -> Result<UnpackedStrips, TiffError> {
    let mut decoder = Decoder::new(Cursor::new(bytes))?;
    let (width, height) = decoder.dimensions()?;
    let (width, height) = (width as usize, height as usize);
    let palette = if has_palette { decoder.get_tag_u16_vec(Tag::ColorMap)? } else { vec![] };
    let rows = match decoder.read_image()? {
        DecodingResult::U8(rows) => rows,
        _ => vec![],
    };
    let levels = 1 << bits;
    let mut bytes = vec![];
    for row in rows.chunks_exact((width * bits).div_ceil(8).max(1)) {
        for at in 0..width {
            let first = at * bits;
            let value = usize::from(row[first / 8]) >> (8 - bits - first % 8) & (levels - 1);
            if has_palette {
                // All of red, all of green, all of blue, in 16 bits.
                let colour = |channel: usize| palette.get(channel * levels + value);
                bytes.extend((0..3).filter_map(colour).map(|colour| (colour >> 8) as u8));
            } else {
                bytes.push((value * 255 / (levels - 1)) as u8);
            }
        }
    }
    // A palette that is too short leaves too few bytes, which is seen with the size.
    Ok(UnpackedStrips { width, height, channels: if has_palette { 3 } else { 1 }, bytes })
}

/// The first directory of a file.
struct Directory<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

impl Directory<'_> {
    fn short(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if self.is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    /// Returns where the value of the short entry `tag` stands.
    fn entry(&self, tag: u16) -> Option<usize> {
        let start = self.bytes.get(4..8)?.try_into().ok()?;
        let start =
            if self.is_little { u32::from_le_bytes(start) } else { u32::from_be_bytes(start) };
        let start = usize::try_from(start).ok()?;
        let entries = (0..usize::from(self.short(start)?)).map(|at| start + 2 + 12 * at);
        let is = |at: &usize| self.short(*at) == Some(tag) && self.short(at + 2) == Some(SHORT);
        entries.into_iter().find(is).map(|at| at + 8)
    }
}
