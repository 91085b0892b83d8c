//! One image file, decoded and brought to the size asked for.

use super::super::file;
use engine::StageError;
use fast_image_resize::{
    FilterType, ImageBufferError, PixelType, ResizeAlg, ResizeError, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
};
use thiserror::Error;
use zune_core::{
    bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions, result::DecodingResult,
};
use zune_jpeg::{JpegDecoder, errors::DecodeErrors};
use zune_png::{PngDecoder, error::PngDecodeErrors};

/// How an image that is not square is brought to a square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Resize {
    /// The shorter side is brought to size, and of the longer one the middle is kept.
    #[default]
    Crop,
    /// Both sides are brought to size.
    Stretch,
}

/// What every image of a data set is made to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct ImageShape {
    /// Height and width.
    pub(super) size: usize,
    pub(super) resize: Resize,
    /// 1 for grey, 3 for colour.
    pub(super) channels: usize,
}

impl ImageShape {
    /// Returns how many bytes an image has.
    pub(super) fn each(self) -> usize {
        self.channels * self.size * self.size
    }
}

/// What is wrong with an image: a clause that follows its file's name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file is empty.
    #[error("is empty")]
    Empty,
    /// It is in another format.
    #[error("is neither a JPEG nor a PNG image")]
    Format,
    /// A JPEG ends before its pixels do.
    #[error("is cut short")]
    Cut,
    /// A JPEG is broken.
    #[error("does not decode: {0:?}")]
    Jpeg(DecodeErrors),
    /// A PNG is broken.
    #[error("does not decode: {0:?}")]
    Png(PngDecodeErrors),
    /// The decoder panics at it.
    #[error("breaks the decoder")]
    Panicked,
    /// A JPEG does not say how large it is.
    #[error("has no header")]
    NoHeader,
    /// A PNG's pixels are neither grey nor in colour.
    #[error("has pixels of an unknown kind")]
    PixelKind,
    /// It has too few pixels or too many.
    #[error("has {bytes} bytes for {width}x{height} pixels")]
    Size {
        /// How many bytes of pixels it has.
        bytes: usize,
        /// The width it claims.
        width: usize,
        /// The height it claims.
        height: usize,
    },
    /// Its pixels do not fit what is resized.
    #[error("cannot be resized: {0}")]
    Buffer(ImageBufferError),
    /// It cannot be brought to size.
    #[error("cannot be resized: {0}")]
    Resize(ResizeError),
}

/// Returns the pixels of the image in `path`, `[c, h, w]`, or what is wrong with it: a clause.
///
/// # Errors
///
/// Fails if the file cannot be read at all.
pub(super) fn decode(
    path: &Path,
    shape: ImageShape,
) -> Result<Result<Vec<u8>, ImageError>, StageError> {
    let bytes = file::read(path)?;
    // What a decoder does not see coming must not cost the name of the file.
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| pixels(&bytes)));
    let decoded = decoded.unwrap_or(Err(ImageError::Panicked));
    Ok(decoded.and_then(|raw| raw.shaped(shape)))
}

/// A decoded image, its channels side by side.
struct Raw {
    width: usize,
    height: usize,
    channels: usize,
    bytes: Vec<u8>,
}

fn pixels(bytes: &[u8]) -> Result<Raw, ImageError> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [] => Err(ImageError::Empty),
        _ => Err(ImageError::Format),
    }
}

fn jpeg(bytes: &[u8]) -> Result<Raw, ImageError> {
    // The decoder paints over what is missing. After the last start of a scan, inside which no
    // such bytes can stand, there must be an end.
    let position = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| *pair == marker);
    let scan = position([0xff, 0xda]).ok_or(ImageError::Cut)?;
    if position([0xff, 0xd9]).is_none_or(|end| end < scan) {
        return Err(ImageError::Cut);
    }
    let options =
        DecoderOptions::default().set_strict_mode(false).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let bytes = decoder.decode().map_err(ImageError::Jpeg)?;
    let info = decoder.info().ok_or(ImageError::NoHeader)?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    Ok(Raw { width, height, channels: 3, bytes })
}

fn png(bytes: &[u8]) -> Result<Raw, ImageError> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .png_set_confirm_crc(true)
        .inflate_set_confirm_adler(true)
        .png_set_add_alpha_channel(false)
        .png_set_strip_to_8bit(true);
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(bytes), options);
    let decoded = decoder.decode().map_err(ImageError::Png)?;
    let (DecodingResult::U8(bytes), Some((width, height)), Some(space)) =
        (decoded, decoder.dimensions(), decoder.colorspace())
    else {
        return Err(ImageError::PixelKind);
    };
    Ok(Raw { width, height, channels: space.num_components(), bytes })
}

impl Raw {
    fn shaped(self, shape: ImageShape) -> Result<Vec<u8>, ImageError> {
        let (width, height) = (self.width, self.height);
        if width == 0 || height == 0 || self.bytes.len() != width * height * self.channels {
            return Err(ImageError::Size { bytes: self.bytes.len(), width, height });
        }
        let bytes = self.in_channels(shape.channels);
        let bytes = if (width, height) == (shape.size, shape.size) {
            bytes
        } else {
            resized(&bytes, (width, height), shape)?
        };
        let mut planes = Vec::with_capacity(bytes.len());
        for channel in 0..shape.channels {
            planes.extend(bytes.iter().skip(channel).step_by(shape.channels));
        }
        Ok(planes)
    }

    /// Returns the pixels as grey levels or colours. Transparency is left out.
    fn in_channels(self, want: usize) -> Vec<u8> {
        if self.channels == want {
            return self.bytes;
        }
        let pixels = self.bytes.chunks_exact(self.channels);
        match (self.channels, want) {
            (1 | 2, 1) => pixels.map(|pixel| pixel[0]).collect(),
            (1 | 2, _) => pixels.flat_map(|pixel| [pixel[0]; 3]).collect(),
            (_, 1) => pixels.map(|pixel| grey(pixel[0], pixel[1], pixel[2])).collect(),
            _ => pixels.flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        }
    }
}

/// ITU-R BT.601, in 16 bits after the point.
fn grey(red: u8, green: u8, blue: u8) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    ((sum + (1 << 15)) >> 16) as u8
}

fn resized(
    bytes: &[u8],
    (width, height): (usize, usize),
    shape: ImageShape,
) -> Result<Vec<u8>, ImageError> {
    let kind = if shape.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let source = ImageRef::new(width as u32, height as u32, bytes, kind);
    let source = source.map_err(ImageError::Buffer)?;
    let side = shape.size as u32;
    let mut target = Image::new(side, side, kind);
    // A filter as wide as the pixels it makes, so that what is small does not flicker.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let options = match shape.resize {
        Resize::Crop => options.fit_into_destination(Some((0.5, 0.5))),
        Resize::Stretch => options,
    };
    let done = Resizer::new().resize(&source, &mut target, &options);
    done.map_err(ImageError::Resize)?;
    Ok(target.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, Crc, write::ZlibEncoder};
    use std::io::Write as _;

    /// 40x24 pixels; red rises by 6 a column, green by 10 a row, blue is 100.
    const JPEG: &[u8] = include_bytes!("test.jpg");

    fn shape(size: usize, resize: Resize, channels: usize) -> ImageShape {
        ImageShape { size, resize, channels }
    }

    fn shaped(bytes: &[u8], shape: ImageShape) -> Result<Vec<u8>, String> {
        let shaped = pixels(bytes).and_then(|raw| raw.shaped(shape));
        shaped.map_err(|error| error.to_string())
    }

    fn near(found: u8, want: u8) {
        assert!(found.abs_diff(want) <= 3, "{found}, not {want}");
    }

    fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let named = [kind, body].concat();
        let mut crc = Crc::new();
        crc.update(&named);
        [&(body.len() as u32).to_be_bytes()[..], &named, &crc.sum().to_be_bytes()].concat()
    }

    /// A PNG image of `depth` bits and colour type `kind`, whose rows are given.
    fn png_of(width: u32, height: u32, depth: u8, kind: u8, rows: &[u8]) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(vec![], Compression::fast());
        for row in rows.chunks(rows.len() / height as usize) {
            packed.write_all(&[0]).expect("a vector takes all");
            packed.write_all(row).expect("a vector takes all");
        }
        let packed = packed.finish().expect("a vector takes all");
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let header = [&sides[..], &[depth, kind, 0, 0, 0]].concat();
        let parts = [chunk(b"IHDR", &header), chunk(b"IDAT", &packed), chunk(b"IEND", &[])];
        [&b"\x89PNG\r\n\x1a\n"[..], &parts.concat()].concat()
    }

    #[test]
    fn the_middle_is_kept_or_all_is_squeezed() {
        // What Pillow's `resize` with its antialiased bilinear filter makes of the same file.
        let crop = shaped(JPEG, shape(8, Resize::Crop, 3)).expect("it is whole");
        for (at, want) in [(0, [55, 13, 100]), (7, [177, 13, 99]), (63, [180, 217, 101])] {
            (0..3).for_each(|channel| near(crop[channel * 64 + at], want[channel]));
        }
        let stretch = shaped(JPEG, shape(8, Resize::Stretch, 3)).expect("it is whole");
        for (at, want) in [(0, [14, 13, 100]), (28, [132, 100, 101]), (63, [220, 217, 102])] {
            (0..3).for_each(|channel| near(stretch[channel * 64 + at], want[channel]));
        }
        let grey = shaped(JPEG, shape(8, Resize::Stretch, 1)).expect("it is whole");
        assert_eq!(grey.len(), 64);
        near(grey[28], 110);
    }

    #[test]
    fn each_kind_of_png_comes_out_in_the_channels_asked_for() {
        let (grey, colour) = (shape(2, Resize::Crop, 1), shape(2, Resize::Crop, 3));
        let levels = png_of(2, 2, 8, 0, &[1, 2, 3, 4]);
        assert_eq!(shaped(&levels, grey), Ok(vec![1, 2, 3, 4]));
        assert_eq!(shaped(&levels, colour), Ok([1, 2, 3, 4].repeat(3)));
        let colours = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];
        let rgb = png_of(2, 2, 8, 2, &colours);
        let planes = vec![10, 40, 70, 100, 20, 50, 80, 110, 30, 60, 90, 120];
        assert_eq!(shaped(&rgb, colour), Ok(planes.clone()));
        // .299 * 10 + .587 * 20 + .114 * 30 is 18.15.
        assert_eq!(shaped(&rgb, grey), Ok(vec![18, 48, 78, 108]));
        let rgba: Vec<u8> = colours.chunks(3).flat_map(|rgb| [rgb, &[7]].concat()).collect();
        assert_eq!(shaped(&png_of(2, 2, 8, 6, &rgba), colour), Ok(planes));
        let deep = png_of(2, 2, 16, 0, &[1, 99, 2, 99, 3, 99, 4, 99]);
        assert_eq!(shaped(&deep, grey), Ok(vec![1, 2, 3, 4]));
    }

    #[test]
    fn damage_is_told() {
        let all = shape(2, Resize::Crop, 3);
        let png = png_of(2, 2, 8, 0, &[1, 2, 3, 4]);
        for end in 0..JPEG.len() - 2 {
            assert!(shaped(&JPEG[..end], all).is_err(), "{end} bytes of a JPEG");
        }
        for end in 0..png.len() - 12 {
            assert!(shaped(&png[..end], all).is_err(), "{end} bytes of a PNG");
        }
        let mut flipped = png.clone();
        flipped[45] ^= 1;
        assert!(shaped(&flipped, all).is_err());
        assert_eq!(shaped(b"GIF89a", all), Err("is neither a JPEG nor a PNG image".to_owned()));
    }
}
