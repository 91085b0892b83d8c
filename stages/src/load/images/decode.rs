//! One image file, decoded and brought to the size asked for.

use super::super::file;
use engine::StageError;
use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
};
use zune_core::{
    bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions, result::DecodingResult,
};
use zune_jpeg::JpegDecoder;
use zune_png::PngDecoder;

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
pub(super) struct Shape {
    /// Height and width.
    pub(super) size: usize,
    pub(super) resize: Resize,
    /// 1 for grey, 3 for colour.
    pub(super) channels: usize,
}

impl Shape {
    /// Returns how many bytes an image has.
    pub(super) fn each(self) -> usize {
        self.channels * self.size * self.size
    }
}

/// Returns the pixels of the image in `path`, `[c, h, w]`, or what is wrong with it: a clause.
///
/// # Errors
///
/// Fails if the file cannot be read at all.
pub(super) fn decode(path: &Path, shape: Shape) -> Result<Result<Vec<u8>, String>, StageError> {
    let bytes = file::read(path)?;
    // What a decoder does not see coming must not cost the name of the file.
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| pixels(&bytes)));
    let decoded = decoded.unwrap_or_else(|_| Err("breaks the decoder".to_owned()));
    Ok(decoded.and_then(|raw| raw.shaped(shape)))
}

/// A decoded image, its channels side by side.
struct Raw {
    width: usize,
    height: usize,
    channels: usize,
    bytes: Vec<u8>,
}

fn pixels(bytes: &[u8]) -> Result<Raw, String> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [] => Err("is empty".to_owned()),
        _ => Err("is neither a JPEG nor a PNG image".to_owned()),
    }
}

fn jpeg(bytes: &[u8]) -> Result<Raw, String> {
    // The decoder paints over what is missing. After the last start of a scan, inside which no
    // such bytes can stand, there must be an end.
    let position = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| *pair == marker);
    let scan = position([0xff, 0xda]).ok_or("is cut short")?;
    if position([0xff, 0xd9]).is_none_or(|end| end < scan) {
        return Err("is cut short".to_owned());
    }
    let options =
        DecoderOptions::default().set_strict_mode(false).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let bytes = decoder.decode().map_err(|error| format!("does not decode: {error:?}"))?;
    let info = decoder.info().ok_or("has no header")?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    Ok(Raw { width, height, channels: 3, bytes })
}

fn png(bytes: &[u8]) -> Result<Raw, String> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .png_set_confirm_crc(true)
        .inflate_set_confirm_adler(true)
        .png_set_add_alpha_channel(false)
        .png_set_strip_to_8bit(true);
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(bytes), options);
    let decoded = decoder.decode().map_err(|error| format!("does not decode: {error:?}"))?;
    let (DecodingResult::U8(bytes), Some((width, height)), Some(space)) =
        (decoded, decoder.dimensions(), decoder.colorspace())
    else {
        return Err("has pixels of an unknown kind".to_owned());
    };
    Ok(Raw { width, height, channels: space.num_components(), bytes })
}

impl Raw {
    fn shaped(self, shape: Shape) -> Result<Vec<u8>, String> {
        let (width, height) = (self.width, self.height);
        if width == 0 || height == 0 || self.bytes.len() != width * height * self.channels {
            return Err(format!("has {} bytes for {width}x{height} pixels", self.bytes.len()));
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

fn resized(bytes: &[u8], (width, height): (usize, usize), shape: Shape) -> Result<Vec<u8>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("cannot be resized: {error}");
    let kind = if shape.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let source = ImageRef::new(width as u32, height as u32, bytes, kind);
    let source = source.map_err(|error| wrong(&error))?;
    let side = shape.size as u32;
    let mut target = Image::new(side, side, kind);
    // A filter as wide as the pixels it makes, so that what is small does not flicker.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let options = match shape.resize {
        Resize::Crop => options.fit_into_destination(Some((0.5, 0.5))),
        Resize::Stretch => options,
    };
    let done = Resizer::new().resize(&source, &mut target, &options);
    done.map_err(|error| wrong(&error))?;
    Ok(target.into_vec())
}
