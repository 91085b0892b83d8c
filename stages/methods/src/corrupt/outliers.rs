//! `corrupt.outliers`: training samples that are of another data set.

use crate::MethodError;
use artifacts::{
    SampleId,
    dataset::{self, Dataset, Inputs, Origin, Origins},
    parts::{DATA, Parts},
    units::Fraction,
};
use engine::{ArtifactKind, Port, Stage, StageCtx, StageError, Streams};
use rand::{Rng, seq::index};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) const MANUAL: &str = "\
Replaces exactly a share of the training samples, rounded, with training samples of the data set on port \
`foreign`: samples that are of no class at all, as among images collected from the web. Which are replaced is \
drawn, and with which, none of them twice unless `foreign` has too few. Labels, groups and the test split stay \
as they are, so that a foreign sample has the label of the one it took the place of. Such outliers are called \
open-set noise by Wang et al., *Iterative Learning with Open-set Noisy Labels*, CVPR 2018.

Both data sets must have samples of one shape, images both or features both: CIFAR-10 takes SVHN's, MNIST \
Fashion-MNIST's. Mean and standard deviation stay those of `data`.

The output says which samples are foreign. Only `evaluate`, the models' summaries and `evaluate.scores` (with \
`of = \"foreign\"`) read that. Clean labels stay known; of a foreign sample they mean nothing.

Cost: the training samples, in memory.";

/// The random streams it draws from.
const STREAMS: &[&str] = &["samples", "foreign"];

/// How many samples become foreign.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Outliers {
    /// The share of training samples that are replaced.
    share: Fraction,
}

impl Default for Outliers {
    fn default() -> Self {
        Self { share: Fraction::try_from(0.1).expect("0.1 is a fraction") }
    }
}

impl Stage for Outliers {
    fn method(&self) -> &'static str {
        "corrupt.outliers"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA), Port::one("foreign", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        DATA
    }

    fn streams(&self) -> &'static [&'static str] {
        STREAMS
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        ctx.fetch_inputs(&["data", "foreign"]);
        let data = Dataset::read(ctx, "data")?;
        let (n, count) = (data.meta.train, self.share.of(data.meta.train));
        if count == 0 {
            return Ok(dataset::input(ctx, "data")?.parts.clone());
        }
        ctx.log(format!("{count} of {n} training samples are foreign"));
        self.mixed(data, Dataset::read(ctx, "foreign")?, ctx.streams())?.put(ctx)
    }
}

impl Outliers {
    /// Returns the data set in which training samples are replaced by those of `foreign`.
    fn mixed(
        &self,
        mut data: Dataset,
        foreign: Dataset,
        streams: Streams,
    ) -> Result<Dataset, MethodError> {
        let (n, each, all) = (data.meta.train, data.meta.each(), foreign.meta.train);
        if data.meta.sample != foreign.meta.sample || all == 0 {
            let (sample, foreign) = (data.meta.sample, foreign.meta.sample);
            return Err(MethodError::ForeignShape { sample, foreign, n: all });
        }
        let count = self.share.of(n);
        let replaced = sorted(index::sample(&mut streams.get("samples"), n, count).into_vec());
        let from = some(&mut streams.get("foreign"), all, count);
        data.train.inputs = match (data.train.inputs, foreign.train.inputs) {
            (Inputs::Images(own), Inputs::Images(other)) => {
                let mut own = own.into_vec();
                replace(&mut own, &other, &replaced, &from, each);
                Inputs::Images(own.into())
            }
            (Inputs::Features(mut own), Inputs::Features(other)) => {
                replace(&mut own, &other, &replaced, &from, each);
                Inputs::Features(own)
            }
            _ => return Err(MethodError::ForeignKind),
        };
        let origins = data.origins.get_or_insert_with(|| Origins::none(n));
        origins.set(&replaced, Origin::Foreign);
        Ok(data)
    }
}

/// Returns the samples at `positions`, sorted.
pub(super) fn sorted(positions: Vec<usize>) -> Vec<SampleId> {
    let ids = positions.into_iter().map(|at| SampleId::from(at as u32));
    let mut ids: Vec<SampleId> = ids.collect();
    ids.sort_unstable();
    ids
}

/// Returns `count` positions below `n`, drawn: each as often as any other, or once more.
pub(super) fn some(rng: &mut impl Rng, n: usize, count: usize) -> Vec<usize> {
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        out.extend(index::sample(rng, n, n.min(count - out.len())));
    }
    out
}

/// Puts the samples of `other` at `from` in the place of those `replaced`.
fn replace<T: Copy>(
    own: &mut [T],
    other: &[T],
    replaced: &[SampleId],
    from: &[usize],
    each: usize,
) {
    for (sample, from) in replaced.iter().zip(from) {
        own[sample.index() * each..][..each].copy_from_slice(&other[from * each..][..each]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrupt::tests::grey;

    fn mixed(share: f64, data: Dataset, foreign: Dataset) -> Result<Dataset, MethodError> {
        let outliers = Outliers { share: Fraction::try_from(share).expect("a fraction") };
        outliers.mixed(data, foreign, Streams::new(5, STREAMS))
    }

    /// Images that no sample of `grey` has.
    fn black(n: u8) -> Dataset {
        let mut data = grey(&vec![0; usize::from(n)], &[]);
        let pixels = (0..n).flat_map(|at| [0, 0, 0, at]).collect::<Vec<_>>();
        data.train.inputs = Inputs::Images(pixels.into());
        data
    }

    #[test]
    fn the_foreign_are_known_and_the_others_as_they_were() {
        let labels: Vec<u32> = (0..20).map(|at| at % 3).collect();
        let before = grey(&labels, &[0]);
        let found = mixed(0.4, grey(&labels, &[0]), black(9));
        let found = found.expect("the shapes are one");
        let kinds = &found.origins.as_ref().expect("some are foreign").kinds;
        assert_eq!(kinds.iter().filter(|kind| **kind == Origin::Foreign).count(), 8);
        let (Inputs::Images(old), Inputs::Images(new)) =
            (&before.train.inputs, &found.train.inputs)
        else {
            panic!("not images")
        };
        let mut seen = vec![];
        for (at, (old, new)) in old.chunks_exact(4).zip(new.chunks_exact(4)).enumerate() {
            let is_foreign = new[..3] == [0, 0, 0];
            assert_eq!(kinds[at] == Origin::Foreign, is_foreign);
            assert!(is_foreign || old == new);
            seen.extend(is_foreign.then_some(new[3]));
        }
        seen.sort_unstable();
        assert!(seen.is_sorted_by(|a, b| a < b), "none twice: {seen:?}");
        assert_eq!((found.train.labels, found.test), (before.train.labels, before.test));
    }

    #[test]
    fn what_there_are_too_few_of_is_used_evenly() {
        let mut rng = engine::Streams::new(1, &["foreign"]).get("foreign");
        let mut counts = [0; 3];
        some(&mut rng, 3, 8).into_iter().for_each(|at| counts[at] += 1);
        assert!(counts.iter().all(|count| (2..=3).contains(count)), "{counts:?}");
    }

    #[test]
    fn samples_of_another_shape_are_refused() {
        let mut other = black(4);
        other.meta.sample = vec![1, 4, 1];
        let error = mixed(0.5, grey(&[0, 1], &[]), other).err().expect("another shape");
        assert!(error.to_string().contains("4 foreign samples of shape [1, 4, 1]"), "{error}");
        let mut other = black(1);
        other.train.inputs = Inputs::Features(vec![0.0; 4]);
        let error = mixed(0.5, grey(&[0, 1], &[]), other).err();
        assert!(matches!(error, Some(MethodError::ForeignKind)));
        let none = mixed(0.5, grey(&[0, 1], &[]), black(0)).err();
        assert!(matches!(none, Some(MethodError::ForeignShape { n: 0, .. })));
    }
}
