//! The readers of single files, open to the fuzz targets: each reads a file or refuses it.

use super::{idx_file, images, mat};
use engine::StageError;
use std::path::Path;

/// Reads an image of any kind that is known, brought to 8x8 colour pixels and to 8x8 grey ones. What the
/// file holds is refused with a reason.
///
/// # Errors
///
/// Fails if the file cannot be read at all.
///
/// # Panics
///
/// Panics if as many pixels as were asked for do not come back.
pub fn image(path: &Path) -> Result<(), StageError> {
    images::read_small(path)
}

/// Reads a MATLAB file (version 5).
///
/// # Errors
///
/// Fails if it is not one.
///
/// # Panics
///
/// Panics if an array has not as many elements as its dimensions say.
pub fn matlab(path: &Path) -> Result<(), StageError> {
    for array in mat::read(path)?.into_values() {
        let found = match array.values {
            mat::MatValues::Bytes(values) => values.len(),
            mat::MatValues::Numbers(values) => values.len(),
        };
        assert_eq!(found, array.dims.iter().product::<usize>());
    }
    Ok(())
}

/// Reads an IDX file of bytes, of one to four dimensions.
///
/// # Errors
///
/// Fails if it is not one.
///
/// # Panics
///
/// Panics if it has not as many bytes as its dimensions say.
pub fn idx(path: &Path) -> Result<(), StageError> {
    let (dims, bytes) = idx_file::array(path, &[1, 2, 3, 4], "bytes")?;
    assert_eq!(bytes.len(), dims.iter().product::<usize>());
    Ok(())
}
