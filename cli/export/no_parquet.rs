//! What stands in for `parquet.rs` in a build without the feature `parquet`.

use super::table::SampleTable;

/// Refuses every table: the answer says what helps.
///
/// # Errors
///
/// Always.
pub(super) fn file(_: &SampleTable<'_>) -> Result<Vec<u8>, &'static str> {
    Err("this build writes no Parquet: build it with `--features parquet`, or write .csv")
}
