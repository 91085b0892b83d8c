//! Out-of-fold training: each sample is judged by a network that has not seen it.

use crate::{
    NetworkError,
    nn::{
        epoch::outputs_of,
        settings::TrainingConfig,
        training::{self, FoldWatch, RecordMode, Recording, TrainingSetup},
        values::NetworkValues,
    },
};
use artifacts::{
    ClassId, SampleId, draw,
    network::TrainedEpoch,
    parts::Parts,
    record::{self, Detail, EpochRow},
    subset::{PickedSample, Subset},
};
use engine::{StageCtx, StageError};
use rand::Rng;

/// The random stream that deals the samples to folds.
pub(crate) const STREAM: &str = "folds";

/// What the networks of all folds say of the samples they have not seen.
pub(crate) struct OutOfFold {
    /// After the last epoch, \[n, classes\].
    pub(crate) logits: Vec<f32>,
    /// The recorded epochs.
    pub(crate) records: Parts,
    /// The epochs of every fold, one fold behind the other.
    pub(crate) history: Vec<TrainedEpoch>,
    /// How many epochs the network of a fold took.
    pub(crate) epochs: usize,
}

/// One recorded epoch while its folds come in.
enum HeldOut {
    Logits(Vec<f32>),
    Rows(Vec<EpochRow>),
}

impl HeldOut {
    fn missing(detail: Detail, n: usize, classes: usize) -> Self {
        match detail {
            Detail::Logits => Self::Logits(vec![f32::NAN; n * classes]),
            Detail::Rows => Self::Rows(vec![EpochRow::MISSING; n]),
        }
    }

    /// Takes what a network said of the samples `held`, row by row.
    fn take(&mut self, held: &[SampleId], logits: &[f32], labels: &[ClassId], classes: usize) {
        match self {
            Self::Logits(all) => scatter(all, held, logits, classes),
            Self::Rows(all) => {
                for (sample, row) in held.iter().zip(logits.chunks_exact(classes)) {
                    all[sample.index()] = EpochRow::of(row, labels[sample.index()]);
                }
            }
        }
    }
}

/// Puts `logits`, a row for each of `held`, into `all`, a row for each sample.
fn scatter(all: &mut [f32], held: &[SampleId], logits: &[f32], classes: usize) {
    for (sample, row) in held.iter().zip(logits.chunks_exact(classes)) {
        all[sample.index() * classes..][..classes].copy_from_slice(row);
    }
}

/// Deals the samples of each class to `folds` in turn, in an order drawn from `rng`: sizes differ by one
/// at most, and those of a class too.
fn deal(labels: &[ClassId], folds: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    draw::shuffle(rng, &mut order);
    order.sort_by_key(|at| labels[*at]);
    let mut fold_of = vec![0; labels.len()];
    for (turn, at) in order.into_iter().enumerate() {
        fold_of[at] = turn % folds;
    }
    fold_of
}

/// Trains a network on all folds but one, for each of `folds`.
///
/// # Errors
///
/// As [`training::train`]; and fails if there are fewer samples than folds.
pub(crate) fn train(
    ctx: &StageCtx<'_>,
    plan: TrainingConfig,
    setup: &TrainingSetup,
    folds: usize,
    recording: Recording,
) -> Result<OutOfFold, StageError> {
    let (labels, classes) = (&setup.train_labels, setup.classes);
    let n = labels.len();
    if n < folds {
        return Err(NetworkError::Folds { folds, n }.into());
    }
    let fold_of = deal(labels, folds, &mut ctx.streams().get(STREAM));
    let largest = n - n / folds;
    let steps = plan.length.steps(largest.div_ceil(plan.batch) as u64);
    let mut records: Vec<HeldOut> = vec![];
    let mut out = OutOfFold {
        logits: vec![f32::NAN; n * classes],
        records: Parts::new(),
        history: vec![],
        epochs: 0,
    };
    for fold in 0..folds {
        let (held, seen): (Vec<SampleId>, Vec<SampleId>) =
            SampleId::all(n).partition(|sample| fold_of[sample.index()] == fold);
        let seen = seen.into_iter().map(|sample| PickedSample { sample, weight: None }).collect();
        let subset = Subset::new(n, seen).expect("each sample is there once");
        let rows: Vec<u32> = held.iter().map(|sample| u32::from(*sample)).collect();
        let judge = |values: &NetworkValues| -> Result<Vec<f32>, StageError> {
            let mut pause = |_| ctx.check_cancelled();
            let found = outputs_of(&setup.network, values, &setup.train, &rows, false, &mut pause)?;
            Ok(found.logits)
        };
        let mut each_epoch = |epoch: usize, values: &NetworkValues| {
            if recording.what == RecordMode::None {
                return Ok(());
            }
            let found = judge(values)?;
            scatter(&mut out.logits, &held, &found, classes);
            if records.len() < epoch {
                let detail = recording.detail(epoch, n, classes);
                records.push(HeldOut::missing(detail, n, classes));
            }
            records[epoch - 1].take(&held, &found, labels, classes);
            Ok(())
        };
        let watch = FoldWatch {
            before: fold as u64 * steps,
            total: folds as u64 * steps,
            each_epoch: &mut each_epoch,
        };
        ctx.log(format!("fold {} of {folds}", fold + 1));
        let unrecorded = Recording { what: RecordMode::None, ..recording };
        let trained = training::train(ctx, plan, setup, &subset, unrecorded, Some(watch))?;
        // With a record the last epoch has judged them.
        if recording.what == RecordMode::None {
            scatter(&mut out.logits, &held, &judge(&trained.state.values)?, classes);
        }
        out.epochs = trained.state.history.len();
        out.history.extend(trained.state.history);
    }
    for (at, epoch) in records.iter().enumerate() {
        let blob = match epoch {
            HeldOut::Logits(all) => record::put_epoch(ctx, Detail::Logits, all, classes, labels)?,
            HeldOut::Rows(rows) => record::put_rows(ctx, rows)?,
        };
        out.records.insert(record::part_name(at + 1), blob);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

    #[test]
    fn folds_are_of_a_size_in_every_class() {
        let labels = ClassId::list((0..103).map(|at| u32::from(at % 5 == 0)));
        let deal = |seed| deal(&labels, 4, &mut Streams::new(seed, &[STREAM]).get(STREAM));
        let fold_of = deal(1);
        let count = |fold, class: Option<ClassId>| {
            let members = fold_of.iter().zip(&labels);
            members
                .filter(|(one, label)| **one == fold && class.is_none_or(|c| c == **label))
                .count()
        };
        for class in [None, Some(ClassId::at(0)), Some(ClassId::at(1))] {
            let sizes: Vec<usize> = (0..4).map(|fold| count(fold, class)).collect();
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{sizes:?}");
        }
        assert_ne!(fold_of, deal(2), "the seed deals them");
    }
}
