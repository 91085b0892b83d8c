//! How hard each training sample is: one number a sample, larger is harder.
//!
//! A method is a settings struct and a function of what a proxy left behind. Stores, ports, and
//! repeats are handled once, in `stage.rs`.

mod amortised;
mod aum;
mod cartography;
mod cld;
pub(crate) mod deepcore;
mod deepfool;
mod dual;
mod dyn_unc;
mod el2n;
mod entropy;
mod eva;
mod extrapolate;
mod forgetting;
mod grand;
mod import;
mod influence;
mod knn_label;
mod label_issue;
mod lbpe;
mod least_confidence;
mod loss;
mod margin;
mod ngram_weight;
mod prototype;
mod random;
mod stage;
mod tdds;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod timing;
mod zcore;

use crate::{
    MethodError,
    linalg::{Compute, neighbours},
};
use artifacts::{ClassId, Matrix, SampleId, record::EpochRow, scores::Scores};
use engine::{Method, Problem, Renamed, StageError, Streams};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::ops::RangeInclusive;

pub use deepcore::deepfool::DeepCoreDeepFool;
pub use deepfool::{BoundaryDistance, DeepFool, InputGradients};
pub use stage::ProxyScores;

#[cfg(test)]
pub(crate) use {
    forgetting::{Forgetting, NeverLearnt},
    grand::GraNd,
    margin::Margin,
};

/// What a method looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScoreInput {
    /// The labels alone.
    Labels,
    /// What one or several proxies left behind.
    Proxy,
    /// What a proxy left behind, and scores that some samples have.
    ProxyAndScores,
    /// What a proxy left behind, and which samples are the query.
    ProxyAndQuery,
    /// The final embeddings of one or several proxies, or the features of a data set.
    Embeddings,
    /// As `Embeddings`, or the neighbours of a graph that was made of them.
    Neighbours,
}

/// What a proxy left behind, in sample order.
pub(crate) trait TrainedProxy: Sync {
    /// The port it came in on: `proxy`, or `data` where a data set stands in for one.
    fn port(&self) -> &str;

    /// The labels it was trained on.
    fn labels(&self) -> &[ClassId];

    /// How many classes the labels are of.
    fn classes(&self) -> usize;

    /// The final logits, \[n, classes\].
    fn logits(&self) -> Result<Matrix<'_>, StageError>;

    /// The final embeddings, or the features of a data set standing in for a proxy, \[n, d\].
    fn embeddings(&self) -> Result<Matrix<'_>, StageError>;

    /// The `count` nearest others of each sample, nearest first: those of the graph on port `graph`, or else by
    /// Euclidean distance of embeddings.
    fn neighbours(&self, count: usize) -> Result<Vec<Vec<u32>>, StageError>;

    /// How many epochs are on record.
    fn epochs(&self) -> usize;

    /// What epoch `epoch`, counted from 1, said of each sample.
    fn rows(&self, epoch: usize) -> Result<Vec<EpochRow>, StageError>;

    /// The logits of epoch `epoch`, counted from 1, \[n, classes\]; NaN for a sample it did not see.
    fn epoch_logits(&self, epoch: usize) -> Result<Matrix<'_>, StageError>;

    /// Says that all of `epochs` will be read: a remote store is asked for them together.
    fn fetch_ahead(&self, _epochs: RangeInclusive<usize>) {}

    /// Whether each sample was left out of its training.
    fn held_out(&self) -> Result<Vec<bool>, StageError>;

    /// The scores on port `scores`, NaN for a sample that has none.
    fn scores(&self) -> Result<Vec<f32>, StageError>;

    /// The samples on port `query`, ascending.
    fn query(&self) -> Result<Vec<SampleId>, StageError>;

    /// Fails once the run is being stopped.
    fn check_cancelled(&self) -> Result<(), StageError>;
}

/// Returns the `count` nearest others of each sample by Euclidean distance of embeddings, nearest first.
fn euclidean_neighbours(
    proxy: &dyn TrainedProxy,
    count: usize,
) -> Result<Vec<Vec<u32>>, StageError> {
    let step = |_, _| proxy.check_cancelled();
    neighbours(&usable_embeddings(proxy)?, count, &Compute::default(), step)
}

/// A way to score: its settings, and a pure function.
pub(crate) trait Scorer:
    Clone + Default + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// The name in a pipeline file.
    const NAME: &'static str;
    /// What it does, in a line.
    const SUMMARY: &'static str;
    /// The manual.
    const MANUAL: &'static str;
    /// The revision of its results.
    const REVISION: u32 = 1;
    /// The random streams it draws from.
    const STREAMS: &'static [&'static str] = &[];
    /// What it looks at.
    const READS: ScoreInput = ScoreInput::Proxy;

    /// Returns what is wrong with the settings as a whole, named from inside `rule`.
    fn problems(&self) -> Vec<Problem> {
        vec![]
    }

    /// Returns the values of every sample, in sample order. With several proxies it is called once
    /// for each, and the values are averaged.
    ///
    /// # Errors
    ///
    /// Fails if the proxy did not keep what is needed.
    fn score(&self, proxy: &dyn TrainedProxy, streams: Streams) -> Result<Scores, StageError>;
}

/// Returns the final embeddings, or the features in their place, if all are numbers that can be squared.
fn usable_embeddings(proxy: &dyn TrainedProxy) -> Result<Matrix<'_>, StageError> {
    let embeddings = proxy.embeddings()?;
    match embeddings.first_unusable() {
        Some(sample) => {
            let port = proxy.port();
            let output = if port == "data" { "features" } else { "embeddings" };
            let (port, output) = (port.to_owned(), output.to_owned());
            Err(MethodError::Unusable { port, output, sample }.into())
        }
        None => Ok(embeddings),
    }
}

/// Returns the epochs `first..=last`, which are to be read, if they are on record. `last` 0 stands for the last on record.
fn epochs_asked_for(
    proxy: &dyn TrainedProxy,
    first: usize,
    last: usize,
) -> Result<RangeInclusive<usize>, StageError> {
    let recorded = proxy.epochs();
    let last = if last == 0 { recorded } else { last };
    if recorded == 0 {
        return Err(MethodError::NoRecord.into());
    }
    if first == 0 || first > last || last > recorded {
        return Err(MethodError::Epochs { first, last, recorded }.into());
    }
    proxy.fetch_ahead(first..=last);
    Ok(first..=last)
}

/// Reads the epochs `first..=last` in order and folds each into `see`. `last` 0 stands for the last
/// on record.
fn fold_epochs(
    proxy: &dyn TrainedProxy,
    first: usize,
    last: usize,
    mut see: impl FnMut(usize, &[EpochRow]),
) -> Result<(), StageError> {
    for epoch in epochs_asked_for(proxy, first, last)? {
        see(epoch, &proxy.rows(epoch)?);
    }
    Ok(())
}

/// The mean of values that come one epoch at a time, each sample over the epochs that saw it.
struct Means {
    sums: Vec<f64>,
    seen: Vec<u32>,
}

impl Means {
    fn new(n: usize) -> Self {
        Self { sums: vec![0.0; n], seen: vec![0; n] }
    }

    fn add(&mut self, rows: &[EpochRow], value: impl Fn(&EpochRow) -> f32) {
        for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.seen()) {
            self.sums[i] += f64::from(value(row));
            self.seen[i] += 1;
        }
    }

    /// NaN for a sample no epoch saw.
    fn finish(self, factor: f64) -> Vec<f32> {
        let all = self.sums.iter().zip(&self.seen);
        all.map(|(sum, seen)| (sum / f64::from(*seen) * factor) as f32).collect()
    }
}

/// Every method of the family.
pub(crate) fn methods() -> Vec<Method> {
    vec![
        stage::method::<amortised::Amortised>(),
        stage::method::<aum::Aum>(),
        stage::method::<cartography::Cartography>(),
        stage::method::<cld::Cld>(),
        stage::method::<deepcore::entropy::DeepCoreEntropy>(),
        stage::method::<deepcore::grand::DeepCoreGraNd>(),
        stage::method::<deepcore::least_confidence::DeepCoreLeastConfidence>(),
        stage::method::<dual::Dual>(),
        stage::method::<dyn_unc::DynUnc>(),
        stage::method::<el2n::El2n>(),
        stage::method::<entropy::Entropy>(),
        stage::method::<eva::Eva>(),
        stage::method::<extrapolate::Extrapolate>(),
        stage::method::<forgetting::Forgetting>(),
        stage::method::<grand::GraNd>(),
        import::method(),
        stage::method::<influence::Influence>(),
        stage::method::<knn_label::KnnLabel>(),
        stage::method::<label_issue::LabelIssue>(),
        stage::method::<lbpe::Lbpe>(),
        stage::method::<least_confidence::LeastConfidence>(),
        stage::method::<loss::Loss>(),
        stage::method::<margin::Margin>(),
        ngram_weight::method(),
        stage::method::<prototype::Prototype>(),
        stage::method::<random::RandomScore>(),
        stage::method::<tdds::Tdds>(),
        stage::method::<zcore::ZCore>(),
    ]
}

/// Returns the former ways to write methods of the family.
pub(crate) fn renamed() -> Vec<Renamed> {
    deepcore::renamed()
}
