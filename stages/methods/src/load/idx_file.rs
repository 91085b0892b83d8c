//! One file of IDX, the format of MNIST.

use super::{
    FileError,
    file::{Source, broken},
};
use artifacts::ClassId;
use engine::StageError;
use std::path::Path;

const BYTES: u8 = 0x08;

/// An array as a file has it.
struct IdxArray {
    /// The code of its elements' type.
    code: u8,
    dims: Vec<usize>,
    bytes: Vec<u8>,
}

/// Returns what a type's elements are, and how many bytes each has.
fn elements(code: u8) -> Option<(&'static str, u64)> {
    Some(match code {
        BYTES => ("unsigned bytes", 1),
        0x09 => ("signed bytes", 1),
        0x0b => ("whole numbers of 16 bits", 2),
        0x0c => ("whole numbers of 32 bits", 4),
        0x0d => ("floats of 32 bits", 4),
        0x0e => ("floats of 64 bits", 8),
        _ => return None,
    })
}

/// Reads one file: its dimensions, of which there are as many as `ranks` allows, and its elements, of a type
/// among `codes`, which are `wanted`.
fn read(
    path: &Path,
    ranks: &[u8],
    what: &str,
    codes: &[u8],
    wanted: &'static str,
) -> Result<IdxArray, StageError> {
    let mut source = Source::open(path)?;
    let magic: [u8; 4] = source.header()?;
    let foreign = || {
        let (what, wanted) = ("an IDX file of bytes", &[0, 0, 8]);
        broken(path, FileError::Magic { what, wanted, found: magic[..3].to_vec() })
    };
    let [0, 0, code, rank] = magic else { return Err(foreign()) };
    let (found, size) = elements(code).ok_or_else(foreign)?;
    if !codes.contains(&code) {
        return Err(broken(path, FileError::IdxType { found, wanted }));
    }
    if !ranks.contains(&rank) {
        return Err(broken(path, FileError::Rank { found: rank, wanted: ranks.to_vec() }));
    }
    let mut dims = vec![];
    for _ in 0..rank {
        dims.push(u32::from_be_bytes(source.header()?));
    }
    let size = dims.iter().try_fold(size, |all, one| all.checked_mul(u64::from(*one)));
    let Some(size @ 1..) = size else {
        return Err(broken(path, FileError::Dimensions(dims)));
    };
    let bytes = source.body(size, what)?;
    source.end()?;
    Ok(IdxArray { code, dims: dims.iter().map(|one| *one as usize).collect(), bytes })
}

/// Reads one IDX file of bytes: its dimensions, of which there are as many as `ranks` allows, and
/// its elements.
pub(super) fn array(
    path: &Path,
    ranks: &[u8],
    what: &str,
) -> Result<(Vec<usize>, Vec<u8>), StageError> {
    let IdxArray { dims, bytes, .. } = read(path, ranks, what, &[BYTES], "unsigned bytes")?;
    Ok((dims, bytes))
}

/// Reads one IDX file of labels, whole numbers of any type from `first` on, as positions among `classes`.
pub(super) fn labels(path: &Path, first: u32, classes: usize) -> Result<Vec<ClassId>, StageError> {
    let wholes = [BYTES, 0x09, 0x0b, 0x0c];
    let found = read(path, &[1], "labels", &wholes, "whole numbers")?;
    let numbers: Vec<i64> = match found.code {
        BYTES => found.bytes.iter().map(|byte| i64::from(*byte)).collect(),
        0x09 => found.bytes.iter().map(|byte| i64::from(byte.cast_signed())).collect(),
        0x0b => found.bytes.as_chunks().0.iter().map(|b| i16::from_be_bytes(*b).into()).collect(),
        _ => found.bytes.as_chunks().0.iter().map(|b| i32::from_be_bytes(*b).into()).collect(),
    };
    let labels = numbers.into_iter().enumerate().map(|(sample, label)| {
        let class = u32::try_from(label - i64::from(first)).ok().map(ClassId::from);
        class.filter(|class| class.index() < classes).ok_or_else(|| {
            let (label, first) = (label as f64, first as usize);
            let last = first + classes - 1;
            broken(path, FileError::Label { sample, label, first, last })
        })
    });
    labels.collect()
}
