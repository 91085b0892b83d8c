//! JPEG compression: what it loses of an image.

use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

/// Returns the levels of an image `[c, h, w]` after it was written as a JPEG of this quality, with half as
/// many rows and columns of colour (4:2:0), and read again; where there are not three channels, each alone.
/// There are none of an image that is larger than a JPEG can be.
pub(super) fn compressed(
    levels: &[u8],
    (channels, h, w): (usize, usize, usize),
    quality: u8,
) -> Option<Vec<u8>> {
    let (size, sides) = (h * w, (side(h)?, side(w)?));
    if channels != 3 {
        let grey = (ColorType::Luma, ColorSpace::Luma);
        let planes = levels.chunks_exact(size);
        return Some(planes.flat_map(|plane| read_back(plane, sides, grey, quality)).collect());
    }
    let pixels: Vec<u8> =
        (0..size).flat_map(|at| [0, 1, 2].map(|one| levels[one * size + at])).collect();
    let pixels = read_back(&pixels, sides, (ColorType::Rgb, ColorSpace::RGB), quality);
    Some((0..3).flat_map(|one| pixels.iter().skip(one).step_by(3).copied()).collect())
}

/// Returns the side of an image as a JPEG names it, if that is not larger than one can be.
pub(super) fn side(pixels: usize) -> Option<u16> {
    u16::try_from(pixels).ok()
}

fn read_back(
    pixels: &[u8],
    (h, w): (u16, u16),
    (written, read): (ColorType, ColorSpace),
    quality: u8,
) -> Vec<u8> {
    let mut file = vec![];
    let mut encoder = Encoder::new(&mut file, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.encode(pixels, w, h, written).expect("there are as many pixels as it says");
    let options = DecoderOptions::default().jpeg_set_out_colorspace(read);
    let decoded = JpegDecoder::new_with_options(ZCursor::new(&file), options).decode();
    decoded.expect("what was just encoded is whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row 5 of each channel as Pillow 13 writes the image below at quality 40 and reads it.
    #[rustfmt::skip]
    const PILLOW: [[u8; 16]; 3] = [
        [80, 81, 85, 89, 94, 99, 106, 111, 122, 126, 131, 136, 140, 143, 144, 146],
        [57, 57, 58, 59, 59, 60, 59, 61, 66, 66, 67, 68, 70, 72, 72, 73],
        [207, 203, 199, 193, 185, 175, 161, 150, 141, 128, 117, 105, 98, 90, 84, 84],
    ];

    #[test]
    fn levels_are_those_of_pillow() {
        let channel = |level: fn(usize, usize) -> usize| {
            (0..256).map(move |at| (level(at / 16, at % 16) % 256) as u8)
        };
        let red = || channel(|y, x| 13 * y + 7 * x);
        let others = channel(|y, _| y * y + 40).chain(channel(|_, x| 200 - 9 * x));
        let image: Vec<u8> = red().chain(others).collect();
        let found = compressed(&image, (3, 16, 16), 40).expect("it is small");
        for (plane, wanted) in found.chunks_exact(256).zip(PILLOW) {
            // Decoders round differently; one pixel in place of the mean of four is up to 76 levels off.
            let apart = plane[80..96].iter().zip(wanted).map(|(a, b)| a.abs_diff(b));
            assert!(apart.max() <= Some(5), "{plane:?}");
        }
        let grey = compressed(&red().collect::<Vec<u8>>(), (1, 16, 16), 40).expect("it is small");
        let wanted = [1, 8, 17, 24, 29, 35, 44, 51, 56, 63, 72, 79, 84, 90, 99, 106];
        assert_eq!(grey[..16], wanted);
    }

    #[test]
    fn sides_that_are_no_multiple_of_a_block_stay() {
        let levels = vec![100; 3 * 7 * 9];
        assert_eq!(compressed(&levels, (3, 7, 9), 80), Some(levels.clone()));
        assert_eq!(compressed(&levels, (3, 1, 70_000), 80), None);
    }
}
