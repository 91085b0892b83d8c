//! Which kind of image a file is, by how it begins, and what it is called.

use image::ImageFormat;
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// How much of a file is looked at.
const HEAD: u64 = 64;

/// A kind of image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Jpeg,
    Png,
    /// One that is read in a way of its own.
    Other(ImageFormat),
    /// gzip around another.
    Gzip,
    /// Something that is not read: what it is, and what to do about it.
    Unread(&'static str),
}

const HEIF: Content = Content::Unread("is HEIF or AVIF, which is not read: convert it");
const JPEG_2000: Content = Content::Unread("is JPEG 2000, which is not read: convert it");
const JPEG_XL: Content = Content::Unread("is JPEG XL, which is not read: convert it");

impl Content {
    /// Returns what a file is that begins with `bytes`, if that is known.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let text = bytes.trim_ascii_start();
        let page =
            |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
        Self::image(bytes).or_else(|| {
            Some(match bytes {
                [b'B', b'M', ..] => Self::Other(ImageFormat::Bmp),
                [b'P', b'1'..=b'7', next, ..] if next.is_ascii_whitespace() || *next == b'#' => {
                    Self::Other(ImageFormat::Pnm)
                }
                [0x1f, 0x8b, ..] => Self::Gzip,
                _ if page(b"<!doctype") || page(b"<html") => {
                    Self::Unread("is a web page: open it and look what the download asks for")
                }
                _ if page(b"<svg") || page(b"<?xml") => {
                    Self::Unread("is SVG or another XML file, which is not read: convert it")
                }
                _ if bytes.starts_with(b"version https://git-lfs") => {
                    Self::Unread("is a pointer of Git LFS: fetch the file with `git lfs pull`")
                }
                _ if bytes.starts_with(b"/annex/objects") => {
                    Self::Unread("is a pointer of git-annex: fetch the file with `git annex get`")
                }
                _ => return None,
            })
        })
    }

    /// Returns which kind of image begins with `bytes`, of those that nothing else begins like.
    fn image(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [0x89, b'P', b'N', b'G', ..] => Self::Png,
            [b'G', b'I', b'F', b'8', ..] => Self::Other(ImageFormat::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
                Self::Other(ImageFormat::WebP)
            }
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Self::Other(ImageFormat::Tiff),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] if is_heif(brand) => HEIF,
            [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => JPEG_2000,
            [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] | [0xff, 0x0a, ..] => JPEG_XL,
            [b'8', b'B', b'P', b'S', ..] => {
                Self::Unread("is a Photoshop file, which is not read: convert it")
            }
            _ => return None,
        })
    }
}

/// Whether the brand of a file of ISO's media format is one of images; films have others.
fn is_heif(brand: &[u8]) -> bool {
    let brands: [&[u8]; 9] =
        [b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"];
    brand.get(..4).is_some_and(|brand| brands.contains(&brand))
}

/// Whether a file called `name` is an image by its name.
pub(super) fn is_named_as_image(name: &str) -> bool {
    const ENDINGS: [&str; 20] = [
        "jpg", "jpeg", "png", "jpe", "jfif", "gif", "webp", "bmp", "tif", "tiff", "ppm", "pgm",
        "pbm", "pnm", "avif", "heic", "heif", "jp2", "jxl", "apng",
    ];
    ENDINGS.contains(&ending(name).as_str())
}

/// Returns the ending of a file's name, in lower case and without blanks.
pub(super) fn ending(name: &str) -> String {
    let ending = Path::new(name.trim_end()).extension().and_then(|end| end.to_str());
    ending.unwrap_or_default().to_ascii_lowercase()
}

/// Whether the file at `path` begins like an image, whatever it is called.
pub(super) fn begins_like_image(path: &Path) -> io::Result<bool> {
    let mut head = vec![];
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(Content::image(&head).is_some())
}
