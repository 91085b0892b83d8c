//! Which kind of file it is, by its content; its name only tells apart what content does not.

use std::{fmt, path::Path};

/// A kind of file that holds arrays or tables, or is met where one was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// NumPy's `.npy`.
    Npy,
    /// A zip archive: NumPy's `.npz`, or PyTorch's `.pt`.
    Zip,
    /// A pickle.
    Pickle,
    /// safetensors.
    Safetensors,
    /// JSON, or a JSON document a line.
    Json,
    /// A table as text, or one value a line.
    Text,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's IPC format, also called Feather.
    Arrow,
    /// gzip around another.
    Gzip,
    /// A file without a byte.
    Empty,
    /// HDF5.
    Hdf5,
    /// MATLAB, version 7.3: HDF5 inside.
    Mat73,
    /// MATLAB, version 5.
    Mat5,
    /// A web page.
    Html,
    /// A stand-in for a file that Git LFS or git-annex keeps elsewhere.
    Pointer,
    /// Text of two bytes a character.
    Utf16,
    /// A tar archive.
    Tar,
    /// zstd around another.
    Zstd,
    /// bzip2 around another.
    Bzip2,
    /// xz around another.
    Xz,
    /// What Feather was before it became Arrow.
    Feather1,
    /// An image.
    Image,
    /// The list of a checkpoint's files.
    Index,
    /// Something else.
    Unknown,
}

impl FileKind {
    /// Returns the kind of a file that begins with `bytes` and is called `path`. To tell JSON from text, the
    /// bytes must be whole.
    pub fn of(path: &Path, bytes: &[u8]) -> Self {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        let page =
            |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
        match () {
            () if bytes.is_empty() => Self::Empty,
            () if starts(b"\x93NUMPY") => Self::Npy,
            () if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") => Self::Zip,
            () if starts(b"PAR1") => Self::Parquet,
            () if starts(b"ARROW1\0\0") => Self::Arrow,
            () if starts(b"FEA1") => Self::Feather1,
            // A stream has no magic but its continuation marker.
            () if starts(&[0xff; 4]) && bytes.len() > 8 => Self::Arrow,
            () if starts(b"\x1f\x8b") => Self::Gzip,
            () if starts(b"\x28\xb5\x2f\xfd") => Self::Zstd,
            () if starts(b"BZh") && bytes.get(4..7) == Some(b"1AY") => Self::Bzip2,
            () if starts(b"\xfd7zXZ\0") => Self::Xz,
            () if starts(b"\x89HDF\r\n\x1a\n") => Self::Hdf5,
            () if starts(b"MATLAB 7.3") => Self::Mat73,
            () if starts(b"MATLAB 5.0") => Self::Mat5,
            () if starts(b"\xff\xfe") || starts(b"\xfe\xff") => Self::Utf16,
            () if starts(b"\x89PNG") || starts(b"\xff\xd8\xff") || starts(b"GIF8") => Self::Image,
            () if bytes.get(257..262) == Some(b"ustar") => Self::Tar,
            () if matches!(bytes, [0x80, 2..=5, ..]) => Self::Pickle,
            () if bytes.get(8) == Some(&b'{') && is_safetensors(bytes) => Self::Safetensors,
            () if page(b"<!doctype") || page(b"<html") || page(b"<?xml") => Self::Html,
            () if starts(b"version https://git-lfs") || starts(b"/annex/objects") => Self::Pointer,
            () if named_as(path, &["pkl", "pickle", "pth", "pt"]) => Self::Pickle,
            () if is_json(path, text) => match page(b"{") && contains(text, b"\"weight_map\"") {
                true => Self::Index,
                false => Self::Json,
            },
            () if is_text(bytes) => Self::Text,
            () if is_utf16(bytes) => Self::Utf16,
            () => Self::Unknown,
        }
    }

    /// Returns what to do with a file of a kind that is not read, if there is something.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::Empty => "it was not written, or not downloaded, to its end",
            Self::Hdf5 => {
                "in Python: `numpy.savez('out.npz', **{k: f[k][()] for k in f})` with `f = h5py.File(...)`"
            }
            Self::Mat73 => {
                "save it in MATLAB with `-v7`, or convert it with h5py and `numpy.savez`"
            }
            Self::Mat5 => "in Python: `numpy.savez('out.npz', **scipy.io.loadmat(...))`",
            Self::Html => {
                "a download gave a page in place of the file: open it and look what it asks for"
            }
            Self::Pointer => "fetch the file itself, with `git lfs pull` or `git annex get`",
            Self::Utf16 => "save it as UTF-8 (PowerShell: `Out-File -Encoding utf8`)",
            Self::Tar => "unpack it",
            Self::Zstd => "unpack it with `unzstd`",
            Self::Bzip2 => "unpack it with `bunzip2`",
            Self::Xz => "unpack it with `unxz`",
            Self::Feather1 => {
                "in Python: `pyarrow.feather.write_feather(df, 'out.feather', version=2)`"
            }
            Self::Image => "`load.folder` reads images",
            Self::Index => "name the `.safetensors` file it lists",
            _ => {
                "read are .npy, .npz, safetensors, Parquet, Arrow, PyTorch's .pt, pickles of arrays, CSV, TSV, \
                 JSON and plain text"
            }
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Npy => "a NumPy array (.npy)",
            Self::Zip => "a zip archive",
            Self::Pickle => "a pickle",
            Self::Safetensors => "safetensors",
            Self::Json => "JSON",
            Self::Text => "text",
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow IPC",
            Self::Gzip => "gzip",
            Self::Empty => "empty",
            Self::Hdf5 => "HDF5",
            Self::Mat73 => "a MATLAB file of version 7.3 (HDF5)",
            Self::Mat5 => "a MATLAB file",
            Self::Html => "a web page",
            Self::Pointer => "a pointer of Git LFS or git-annex, not the file itself",
            Self::Utf16 => "text in UTF-16",
            Self::Tar => "a tar archive",
            Self::Zstd => "packed with zstd",
            Self::Bzip2 => "packed with bzip2",
            Self::Xz => "packed with xz",
            Self::Feather1 => "Feather of version 1",
            Self::Image => "an image",
            Self::Index => "the index of a checkpoint in several files",
            Self::Unknown => "of a kind that is not known",
        })
    }
}

/// Returns whether the length that safetensors begins with leaves its header inside the file.
fn is_safetensors(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    length.is_some_and(|length| length < 1 << 40)
}

/// Returns whether the file's ending is one of `endings`, in capitals or not.
pub(crate) fn named_as(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| endings.iter().any(|one| one.eq_ignore_ascii_case(ending)))
}

fn is_json(path: &Path, text: &[u8]) -> bool {
    let opens = matches!(text.first(), Some(b'{' | b'['));
    // What Python prints of a list is one line.
    let is_list = || {
        let text = text.trim_ascii_end();
        text.ends_with(b"]") && !text.contains(&b'\n')
    };
    let is_named = named_as(path, &["json", "jsonl", "ndjson"]);
    opens && (is_named || !named_as(path, &["csv", "tsv", "txt"]) || is_list())
}

/// Returns whether bytes look like ASCII text of two bytes a letter.
fn is_utf16(bytes: &[u8]) -> bool {
    let (pairs, _) = bytes[..bytes.len().min(4096)].as_chunks::<2>();
    let letter = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let all = |at: usize| pairs.iter().all(|pair| letter(pair[at]) && pair[1 - at] == 0);
    pairs.len() > 1 && (all(0) || all(1))
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    let beginning = &text[..text.len().min(1 << 20)];
    beginning.windows(wanted.len()).any(|one| one == wanted)
}

/// Returns whether bytes look like text: no control characters at the beginning, and most of it ASCII.
fn is_text(bytes: &[u8]) -> bool {
    let beginning = &bytes[..bytes.len().min(4096)];
    let control = |byte: &u8| *byte < 32 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c);
    let ascii = beginning.iter().filter(|byte| byte.is_ascii()).count();
    !beginning.iter().any(control) && 2 * ascii >= beginning.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_content() {
        let tensors = [&2u64.to_le_bytes()[..], b"{}"].concat();
        for (name, bytes, wanted) in [
            ("a.npy", &b""[..], FileKind::Empty),
            ("a.npy", b"\x93NUMPY\x01\0", FileKind::Npy),
            ("a.csv", b"PK\x03\x04....", FileKind::Zip),
            ("a", b"\x80\x04.", FileKind::Pickle),
            ("a.bin", &tensors, FileKind::Safetensors),
            ("a.npy", b"<!DOCTYPE html>", FileKind::Html),
            ("a.npy", b"version https://git-lfs.github.com/spec/v1\n", FileKind::Pointer),
            ("A.CSV", b"a,b\n1,2\n", FileKind::Text),
            ("a.tsv", b"[1]\t2\n", FileKind::Text),
            ("a.json", b" [1, 2]", FileKind::Json),
            (
                "m.safetensors.index.json",
                b"{\"metadata\": {}, \"weight_map\": {}}",
                FileKind::Index,
            ),
            ("a.csv", b"\xff\xfea\0", FileKind::Utf16),
            ("a.csv", b"a\0,\0b\0\n\0", FileKind::Utf16),
            ("a.csv", b"BZh91AY&SY", FileKind::Bzip2),
            ("a.csv", b"\xfd7zXZ\0\0\x04", FileKind::Xz),
            ("a.arrow", b"FEA1\0\0\0\0", FileKind::Feather1),
            ("a.jsonl", b"\xef\xbb\xbf{\"a\": 1}\n{\"a\": 2}\n", FileKind::Json),
            ("a.txt", b"[1, 2]\n", FileKind::Json),
            ("a.h5", b"\x89HDF\r\n\x1a\n", FileKind::Hdf5),
            ("a.dat", b"\0\x01\x02", FileKind::Unknown),
            ("a.pkl", b"(lp0\nI1\na.", FileKind::Pickle),
        ] {
            assert_eq!(FileKind::of(Path::new(name), bytes), wanted, "{name} {bytes:?}");
        }
    }
}
