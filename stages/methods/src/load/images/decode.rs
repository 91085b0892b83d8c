//! One image file, decoded and brought to the size asked for.

use super::{
    super::file::{self, Unpacked},
    content::Content,
    jpeg, png, tiff,
};
use ::tiff::TiffError;
use engine::StageError;
use fast_image_resize::{
    FilterType, ImageBufferError, PixelTrait, ResizeAlg, ResizeError, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U8, U8x3},
};
use image::{DynamicImage, ImageError as ImageCrateError, ImageFormat, ImageReader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    io::{BufReader, Cursor, Read as _},
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
    /// It is no image of a kind that is known.
    #[error("is no image of a kind that is read")]
    Format,
    /// It is of a kind that is not read.
    #[error("{0}")]
    Unread(&'static str),
    /// It is gzip, and broken, or too large.
    #[error("does not unpack")]
    Unpack,
    /// An image of another format is broken.
    #[error("does not decode: {0}")]
    Other(ImageCrateError),
    /// A JPEG ends before its pixels do.
    #[error("is cut short")]
    Cut,
    /// A JPEG is broken.
    #[error("does not decode: {0:?}")]
    Jpeg(DecodeErrors),
    /// A PNG is broken.
    // The decoder's texts end with a line's end.
    #[error("does not decode: {}", format!("{_0:?}").trim_end())]
    Png(PngDecodeErrors),
    /// A TIFF is broken.
    #[error("does not decode: {0}")]
    Tiff(TiffError),
    /// The decoder panics at it.
    #[error("breaks the decoder")]
    Panicked,
    /// A JPEG does not say how large it is.
    #[error("has no header")]
    NoHeader,
    /// An image's pixels are neither grey nor in colour.
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
    Ok(decode_bytes(&file::read(path)?, shape))
}

/// Returns the pixels of the image that a file of these bytes holds, `[c, h, w]`, or what is wrong with it.
pub(super) fn decode_bytes(bytes: &[u8], shape: ImageShape) -> Result<Vec<u8>, ImageError> {
    // What a decoder does not see coming must not cost the name of the file.
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| pixels(bytes)));
    let decoded = decoded.unwrap_or(Err(ImageError::Panicked));
    decoded.and_then(|raw| raw.shaped(shape))
}

/// A decoded image, its channels side by side.
struct Raw {
    width: usize,
    height: usize,
    channels: usize,
    bytes: Vec<u8>,
}

/// The most an image inside gzip unpacks to.
const MOST_UNPACKED: u64 = 1 << 28;

fn pixels(bytes: &[u8]) -> Result<Raw, ImageError> {
    match Content::of(bytes) {
        None if bytes.is_empty() => Err(ImageError::Empty),
        None => Err(ImageError::Format),
        Some(Content::Jpeg) => jpeg(bytes),
        Some(Content::Png) => png(&png::ended(bytes)),
        Some(Content::Other(ImageFormat::Tiff)) => match tiff::packed(bytes) {
            Some(decoded) => {
                let tiff::UnpackedStrips { width, height, channels, bytes } =
                    decoded.map_err(ImageError::Tiff)?;
                Ok(Raw { width, height, channels, bytes })
            }
            None => other(bytes, ImageFormat::Tiff),
        },
        Some(Content::Other(format)) => other(bytes, format),
        Some(Content::Unread(why)) => Err(ImageError::Unread(why)),
        Some(Content::Gzip) => {
            let mut unpacked = vec![];
            let mut packed = Unpacked::new(BufReader::new(bytes)).take(MOST_UNPACKED);
            packed.read_to_end(&mut unpacked).map_err(|_| ImageError::Unpack)?;
            match Content::of(&unpacked) {
                Some(Content::Gzip) => Err(ImageError::Format),
                _ => pixels(&unpacked),
            }
        }
    }
}

/// Decodes an image by the crate `image`: of a film, its first picture.
fn other(bytes: &[u8], format: ImageFormat) -> Result<Raw, ImageError> {
    let decoded = ImageReader::with_format(Cursor::new(bytes), format).decode();
    let image = decoded.map_err(ImageError::Other)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    // The upper half of 16 bits, as of a PNG.
    let upper = |values: Vec<u16>| values.into_iter().map(|value| (value >> 8) as u8).collect();
    let (channels, bytes) = match image {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => (2, image.into_raw()),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageRgba8(image) => (4, image.into_raw()),
        DynamicImage::ImageLuma16(image) => (1, upper(image.into_raw())),
        DynamicImage::ImageLumaA16(image) => (2, upper(image.into_raw())),
        DynamicImage::ImageRgb16(image) => (3, upper(image.into_raw())),
        DynamicImage::ImageRgba16(image) => (4, upper(image.into_raw())),
        _ => return Err(ImageError::PixelKind),
    };
    Ok(Raw { width, height, channels, bytes })
}

fn jpeg(bytes: &[u8]) -> Result<Raw, ImageError> {
    // The decoder paints over what is missing.
    let end = jpeg::end(bytes).ok_or(ImageError::Cut)?;
    let bytes = &bytes[..end];
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
    match shape.channels {
        1 => resized_as::<U8>(bytes, (width, height), shape),
        _ => resized_as::<U8x3>(bytes, (width, height), shape),
    }
}

/// Resizes an image of pixels `P`. The two kinds there are are named, or the resizer would be compiled for
/// all that it knows.
fn resized_as<P: PixelTrait>(
    bytes: &[u8],
    (width, height): (usize, usize),
    shape: ImageShape,
) -> Result<Vec<u8>, ImageError> {
    let source = TypedImageRef::<P>::from_buffer(width as u32, height as u32, bytes);
    let source = source.map_err(ImageError::Buffer)?;
    let side = shape.size as u32;
    let mut pixels = vec![0; shape.each()];
    let target = TypedImage::<P>::from_buffer(side, side, &mut pixels);
    let mut target = target.map_err(ImageError::Buffer)?;
    // A filter as wide as the pixels it makes, so that what is small does not flicker.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let options = match shape.resize {
        Resize::Crop => options.fit_into_destination(Some((0.5, 0.5))),
        Resize::Stretch => options,
    };
    let done = Resizer::new().resize_typed(&source, &mut target, &options);
    done.map_err(ImageError::Resize)?;
    Ok(pixels)
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
        let page = shaped(b" <!DOCTYPE html>", all).expect_err("it is none");
        assert!(page.starts_with("is a web page"), "{page}");
        assert_eq!(shaped(b"text", all), Err("is no image of a kind that is read".to_owned()));
        assert!(shaped(b"GIF89a", all).expect_err("it is cut").starts_with("does not decode"));
    }

    #[test]
    fn a_png_whose_pixels_are_whole_may_lack_its_end() {
        let grey = shape(2, Resize::Crop, 1);
        let png = png_of(2, 2, 8, 0, &[1, 2, 3, 4]);
        let pixels = &png[..png.len() - 12];
        let junk: [&[u8]; 4] =
            [b"", b"\0\0\0\0IEN", b"\0\0\0\x05abcd\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff"];
        for behind in junk {
            assert_eq!(
                shaped(&[pixels, behind].concat(), grey),
                Ok(vec![1, 2, 3, 4]),
                "{behind:?}"
            );
        }
        // Of two chunks of pixels the second is missing.
        let mut packed = ZlibEncoder::new(vec![], Compression::none());
        packed.write_all(&[0, 1, 2, 0, 3, 4]).expect("a vector takes all");
        let packed = packed.finish().expect("a vector takes all");
        for cut in [2, 9, packed.len() - 1] {
            let half = [&png[..33], &chunk(b"IDAT", &packed[..cut])].concat();
            assert!(shaped(&half, grey).is_err(), "{cut} bytes of {}", packed.len());
            let whole = [&half[..], &chunk(b"IDAT", &packed[cut..])].concat();
            assert_eq!(shaped(&whole, grey), Ok(vec![1, 2, 3, 4]));
        }
    }

    /// A TIFF image of 2x2 pixels in one strip, big-endian.
    fn tiff_of(bits: u16, photometric: u16, strip: &[u8], palette: &[u16]) -> Vec<u8> {
        let entries = 8 + u16::from(!palette.is_empty());
        let data = 8 + 2 + 12 * u32::from(entries) + 4;
        let mut file = [&b"MM\0\x2a\0\0\0\x08"[..], &entries.to_be_bytes()].concat();
        let mut entry = |tag: u16, kind: u16, count: u32, value: u32| {
            let value = if kind == 3 && count == 1 { value << 16 } else { value };
            let parts = [tag.to_be_bytes(), kind.to_be_bytes()].concat();
            file.extend([&parts[..], &count.to_be_bytes(), &value.to_be_bytes()].concat());
        };
        entry(256, 3, 1, 2);
        entry(257, 3, 1, 2);
        entry(258, 3, 1, bits.into());
        entry(259, 3, 1, 1);
        entry(262, 3, 1, photometric.into());
        entry(273, 4, 1, data);
        entry(278, 3, 1, 2);
        entry(279, 4, 1, strip.len() as u32);
        if !palette.is_empty() {
            entry(320, 3, palette.len() as u32, data + strip.len() as u32);
        }
        file.extend([0; 4]);
        file.extend(strip);
        file.extend(palette.iter().flat_map(|one| one.to_be_bytes()));
        file
    }

    #[test]
    fn tiffs_have_palettes_and_pixels_of_few_bits() {
        let (grey, colour) = (shape(2, Resize::Crop, 1), shape(2, Resize::Crop, 3));
        // Places 1 and 3, 0 and 2 of four colours.
        let palette = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120].map(|one| one << 8);
        let planes = vec![20, 40, 10, 30, 60, 80, 50, 70, 100, 120, 90, 110];
        let few = tiff_of(2, 3, &[0b0111_0000, 0b0010_0000], &palette);
        assert_eq!(shaped(&few, colour), Ok(planes.clone()));
        let mut all = vec![0; 3 * 256];
        for (at, one) in palette.iter().enumerate() {
            all[at / 4 * 256 + at % 4] = *one;
        }
        assert_eq!(shaped(&tiff_of(8, 3, &[1, 3, 0, 2], &all), colour), Ok(planes));
        let short = shaped(&tiff_of(2, 3, &[0x70, 0x20], &palette[..9]), colour);
        assert!(short.is_err_and(|why| why.ends_with("bytes for 2x2 pixels")));
        assert_eq!(shaped(&tiff_of(4, 1, &[0x0f, 0x3c], &[]), grey), Ok(vec![0, 255, 51, 204]));
        assert_eq!(shaped(&tiff_of(1, 1, &[0x40, 0x80], &[]), grey), Ok(vec![0, 255, 255, 0]));
        assert_eq!(shaped(&tiff_of(1, 0, &[0x40, 0x80], &[]), grey), Ok(vec![255, 0, 0, 255]));
    }

    #[test]
    fn other_kinds_are_read_by_their_content_and_in_gzip() {
        let colour = shape(2, Resize::Crop, 3);
        let levels = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];
        let planes = vec![10, 40, 70, 100, 20, 50, 80, 110, 30, 60, 90, 120];
        let ppm = [b"P6\n2 2\n255\n", &levels[..]].concat();
        assert_eq!(shaped(&ppm, colour), Ok(planes.clone()));
        // Rows from the last to the first, blue before red, filled up to four bytes.
        let mut bmp = [&b"BM"[..], &[70, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0]].concat();
        bmp.extend([2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 24, 0, 0, 0, 0, 0, 16, 0, 0, 0]);
        bmp.extend([0; 16]);
        bmp.extend([90, 80, 70, 120, 110, 100, 0, 0, 30, 20, 10, 60, 50, 40, 0, 0]);
        assert_eq!(shaped(&bmp, colour), Ok(planes.clone()));
        let mut packed = flate2::write::GzEncoder::new(vec![], Compression::fast());
        packed.write_all(&ppm).expect("a vector takes all");
        let packed = packed.finish().expect("a vector takes all");
        assert_eq!(shaped(&packed, colour), Ok(planes));
        assert_eq!(shaped(&packed[..20], colour), Err("does not unpack".to_owned()));
    }
}
