//! The query that a selection is aimed at, and what its own samples are to it.

use super::Group;
use artifacts::{Matrix, SampleId};
use engine::StageError;

/// What a selection is aimed at: vectors in the space of the embeddings.
pub(crate) struct Query<'a> {
    /// The vectors, \[q, d\], finite; there is at least one.
    pub(crate) vectors: Matrix<'a>,
    /// The training samples they are, ascending; none if they come from another data set.
    pub(crate) samples: &'a [SampleId],
}

/// Returns `budget` places of `group`, those that are no part of the query before those that are.
/// `pick` is given places, ascending, and how many of them to pick, and returns their positions.
pub(super) fn query_last(
    group: &Group<'_>,
    budget: usize,
    mut pick: impl FnMut(&[u32], usize) -> Result<Vec<u32>, StageError>,
) -> Result<Vec<u32>, StageError> {
    let query = group.query().samples;
    let is_query = |place: &u32| query.binary_search(&group.members[*place as usize]).is_ok();
    let (own, others): (Vec<u32>, Vec<u32>) = (0..group.len() as u32).partition(is_query);
    let mut picks = vec![];
    for places in [others, own] {
        let count = places.len().min(budget - picks.len());
        if count > 0 {
            picks.extend(pick(&places, count)?.into_iter().map(|at| places[at as usize]));
        }
    }
    Ok(picks)
}
