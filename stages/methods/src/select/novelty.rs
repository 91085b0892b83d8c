//! DEITA: the best samples that are not like one another.

use super::{Group, Picks, SelectInput, Selector, top::hardest_first};
use crate::linalg::{cross_rows, unit};
use artifacts::{Matrix, units::Fraction};
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples of high score that are unlike those kept before.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Novelty {
    /// The largest cosine that a sample may have with one that is kept already.
    threshold: Fraction,
}

impl Default for Novelty {
    fn default() -> Self {
        Self { threshold: Fraction::try_from(0.9).expect("0.9 is a fraction") }
    }
}

/// How many candidates are compared with what is kept at once.
const BLOCK: usize = 256;

/// Returns up to `count` of the rows in `order` that have no larger cosine than `threshold` with one taken before,
/// and then those that were passed over, in the same order. `vectors` are of length 1.
fn novel_first(
    vectors: &Matrix<'_>,
    order: &[u32],
    threshold: f32,
    count: usize,
    mut step: impl FnMut(usize) -> Result<(), StageError>,
) -> Result<Vec<u32>, StageError> {
    let d = vectors.cols();
    let (mut kept, mut passed) = (vec![], vec![]);
    let mut kept_vectors: Vec<f32> = Vec::with_capacity(count * d);
    for block in order.chunks(BLOCK) {
        if kept.len() == count {
            break;
        }
        step(kept.len())?;
        let before = kept.len();
        let largest = largest(vectors, block, &Matrix::new(&kept_vectors[..], before, d));
        // How the candidates of a block are to each other.
        let own = vectors.gather(block);
        let rows: Vec<u32> = (0..block.len() as u32).collect();
        let among = cross_rows(&own, &rows, &own);
        let mut taken: Vec<usize> = vec![];
        for (at, row) in block.iter().enumerate() {
            let near = |other: &usize| among[at * block.len() + other].min(1.0) > threshold;
            if kept.len() == count || largest[at] > threshold || taken.iter().any(near) {
                passed.push(*row);
                continue;
            }
            taken.push(at);
            kept.push(*row);
            kept_vectors.extend_from_slice(own.row(at));
        }
    }
    passed.truncate(count - kept.len());
    kept.append(&mut passed);
    Ok(kept)
}

/// Returns the largest product of each of `rows` of `vectors` with a row of `kept`.
fn largest(vectors: &Matrix<'_>, rows: &[u32], kept: &Matrix<'_>) -> Vec<f32> {
    if kept.rows() == 0 {
        return vec![f32::NEG_INFINITY; rows.len()];
    }
    let products = cross_rows(vectors, rows, kept);
    let each = products.par_chunks_exact(kept.rows());
    // Rounding may take the cosine of copies above 1.
    each.map(|row| row.iter().copied().fold(f32::NEG_INFINITY, f32::max).min(1.0)).collect()
}

impl Selector for Novelty {
    const NAME: &'static str = "select.novelty";
    const SUMMARY: &'static str = "the samples of highest score that are unlike those kept before";
    const MANUAL: &'static str = "\
Goes through the samples from the highest score down, of equal ones the earlier first, and keeps one if its
largest cosine with those kept before is at most `threshold`, until the budget is full. Where too few are so unlike each
other, what is missing is filled with those passed over, in the same order.

Liu, Zeng, He, Jiang & He, *What Makes Good Data for Alignment? A Comprehensive Study of Automatic Data Selection in
Instruction Tuning*, ICLR 2024 (DEITA), whose score is complexity times quality as a language model rates them: such
come in by `score.import`; the authors keep fewer where too few are unlike. Cost: O(c k d) for c samples looked at, k
kept and d dimensions, and O(k d) memory beside the embeddings: c is near k where few are passed over, and n where
the budget cannot be filled.

    [stage.subset]
    use  = \"select.novelty\"
    from = { scores = \"quality\", data = \"data\" }
    with = { keep = 0.1, rule.threshold = 0.9 }";
    const READS: &'static [SelectInput] = &[SelectInput::Scores, SelectInput::Embeddings];

    fn variants() -> Vec<Self> {
        let of = |threshold| Self {
            threshold: Fraction::try_from(threshold).expect("it is a fraction"),
        };
        vec![Self::default(), of(0.0), of(1.0)]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let vectors = unit(&group.embeddings());
        let order = hardest_first(&group.scores());
        let threshold = f64::from(self.threshold) as f32;
        let step = |done| group.watch.step(done, budget);
        Ok(novel_first(&vectors, &order, threshold, budget, step)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::noise;

    fn picks(x: &Matrix<'_>, order: &[u32], threshold: f32, count: usize) -> Vec<u32> {
        novel_first(x, order, threshold, count, |_| Ok(())).expect("nobody stops it")
    }

    #[test]
    fn picks_worked_by_hand() {
        // Directions at 0, 10, 60, 65 and 170 degrees; 0.9 is a cosine of 26 degrees.
        let at = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        let x = [0.0, 10.0, 60.0, 65.0, 170.0].map(at).concat();
        let x = Matrix::new(x, 5, 2);
        assert_eq!(picks(&x, &[1, 0, 3, 2, 4], 0.9, 3), [1, 3, 4]);
        assert_eq!(picks(&x, &[1, 0, 3, 2, 4], 0.9, 5), [1, 3, 4, 0, 2]);
        assert_eq!(picks(&x, &[1, 0, 3, 2, 4], 1.0, 3), [1, 0, 3]);
    }

    #[test]
    fn blocks_change_nothing() {
        let (n, d) = (900, 4);
        let x = unit(&Matrix::new(noise(n * d, 1), n, d));
        let order: Vec<u32> = hardest_first(&noise(n, 2));
        let cosine = |a: u32, b: u32| -> f32 {
            x.row(a as usize).iter().zip(x.row(b as usize)).map(|(a, b)| a * b).sum()
        };
        let mut slow: Vec<u32> = vec![];
        for row in &order {
            if slow.iter().all(|one| cosine(*one, *row) <= 0.97) {
                slow.push(*row);
            }
        }
        assert!(slow.len() > BLOCK, "{}", slow.len());
        assert_eq!(picks(&x, &order, 0.97, slow.len()), slow);
    }
}
