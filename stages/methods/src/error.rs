//! The error of this crate: why a method cannot be applied to its inputs, as data.
//!
//! What is wrong inside a file is told by the errors of its reader; here stands which file it is.

mod hint;

use crate::{
    command::{OutError, ProgramEnd},
    load::{FileError, FolderError, ImageError},
    own_file::OwnFileError,
};
use artifacts::{SampleId, rows::RowError, subset::SubsetError};
use engine::MethodFailure;
use std::{io, path::PathBuf, time::Duration};
use thiserror::Error;

/// How many damaged images and how many classes a text names.
const NAMED_IMAGES: usize = 10;
const NAMED_CLASSES: usize = 20;

/// Why a method of this crate cannot be applied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MethodError {
    /// None of the ports that may be read is connected.
    #[error("no input is connected")]
    NoInput,
    /// A setting without a default was left out.
    #[error("setting `{0}` is required")]
    NoSetting(&'static str),
    /// More samples are asked for than there are.
    #[error("the budget is {budget} samples, but there are {n}")]
    Budget {
        /// How many are asked for.
        budget: usize,
        /// How many there are.
        n: usize,
    },

    /// The system does not read a file.
    #[error("cannot read `{}`: {reason}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        reason: io::Error,
    },
    /// The system does not write a file.
    #[error("cannot write `{}`: {reason}", path.display())]
    Unwritten {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        reason: io::Error,
    },
    /// A published data set's file is not what it should be.
    #[error("`{}` {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<FileError>,
    },
    /// A file that a setting names is not what it should be.
    #[error("`{}` {error}", path.display())]
    OwnFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<OwnFileError>,
    },
    /// A data set is read without one of its files.
    #[error("no file was found for `{role}`")]
    NoFile {
        /// What the file is for, such as `train-images`.
        role: String,
    },
    /// A folder of images is not what it should be.
    #[error("`{}` {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        error: FolderError,
    },
    /// Images are damaged, and are not to be left out.
    #[error("{} of {all} images cannot be used: {}", damaged.len(), few_images(damaged))]
    DamagedImages {
        /// The images, and what is wrong with each.
        damaged: Vec<(PathBuf, ImageError)>,
        /// How many images there are.
        all: usize,
    },
    /// Every training image is damaged.
    #[error("no image to train on is whole")]
    NoWholeImage,
    /// The store does not take the images.
    #[error("cannot write the images to the store: {0}")]
    ImagesUnwritten(io::Error),
    /// The store does not take the samples.
    #[error("cannot write the samples to the store: {0}")]
    SamplesUnwritten(io::Error),
    /// A method reads texts, and the data are none.
    #[error("the data on port `{port}` are no texts")]
    NoTexts {
        /// The port.
        port: String,
    },
    /// A text in the store does not read any more.
    #[error("text {sample} on port `{port}` {error}")]
    Text {
        /// The port.
        port: String,
        /// The position of the text.
        sample: usize,
        /// What is wrong with it.
        error: RowError,
    },

    /// A data set does not say which of its labels are wrong.
    #[error("it is not known which labels of the data set are wrong")]
    NoCleanLabels,
    /// A data set does not say what was done to its samples.
    #[error("it is not known what was done to the samples of the data set")]
    NoOrigins,
    /// There is a single class, whose labels cannot be wrong.
    #[error("there is no other class to take a wrong label from")]
    OneClass,
    /// Asymmetric noise does not know what is taken for what.
    #[error("asymmetric noise needs a `map` of what each class is taken for")]
    NoMap,
    /// A map names a class that does not exist.
    #[error("`map` names class `{class}`, which the data do not have")]
    NoSuchClass {
        /// Its name or number.
        class: String,
        /// The names of those that exist.
        classes: Vec<String>,
    },
    /// A map leads from a class to itself.
    #[error("`map` takes class `{class}` for itself")]
    MappedToItself {
        /// Its name or number.
        class: String,
    },
    /// A matrix of label noise has not one row for each class.
    #[error("the matrix is of {rows} classes, the data are of {classes}")]
    MatrixClasses {
        /// How many rows it has.
        rows: usize,
        /// How many classes the data have.
        classes: usize,
    },
    /// Colours cannot be laid on what is not grey.
    #[error("only grey images [1, h, w] can be coloured, and a sample has shape {sample:?}")]
    NotGrey {
        /// The shape of a sample.
        sample: Vec<usize>,
    },
    /// Foreign samples are of another shape, or there are none.
    #[error("{n} foreign samples of shape {foreign:?} cannot replace samples of shape {sample:?}")]
    ForeignShape {
        /// The shape of a sample.
        sample: Vec<usize>,
        /// The shape of a foreign one.
        foreign: Vec<usize>,
        /// How many of those there are.
        n: usize,
    },
    /// Of two data sets one is of images and the other of features.
    #[error("images cannot be replaced by features, nor features by images")]
    ForeignKind,
    /// Samples are no images, or have no colours to be changed.
    #[error("what is to be done to images cannot be done to samples of shape {sample:?}")]
    NoSuchImages {
        /// The shape of a sample.
        sample: Vec<usize>,
    },
    /// What is no image cannot be shifted.
    #[error("only images can be shifted, and the samples are features")]
    ShiftedFeatures,
    /// Every sample is to become a copy, or is one or foreign already.
    #[error("no sample is left to make copies of")]
    NoOriginals,
    /// There is no correlation with a single colour, and no telling apart of very many.
    #[error("there are {n} colours: at least 2 and at most 360 can be given")]
    ColourCount {
        /// How many there are.
        n: usize,
    },
    /// A map has a class under its name and under its number.
    #[error("`map` speaks twice of class `{class}`, by name and by number")]
    MappedTwice {
        /// Its name or number.
        class: String,
    },

    /// Budgets are to be divided among groups, and the data set has none.
    #[error(
        "the data set on port `groups` has no groups: `corrupt.group-file` and `corrupt.groups` give them"
    )]
    NoGroups,
    /// The groups are those of other samples.
    #[error("the data set on port `groups` has {found} training samples, but there are {n}")]
    GroupSamples {
        /// How many it has.
        found: usize,
        /// How many there are.
        n: usize,
    },
    /// A score needs samples that the proxy was not trained on.
    #[error("the proxy was trained on all samples, and none is held out")]
    NoHeldOut,
    /// The record lacks the samples that the proxy was not trained on.
    #[error(
        "no epoch on record saw the samples held out: train the proxy with `record = \"clean\"`"
    )]
    HeldOutUnseen,
    /// No sample has a score to go by.
    #[error("no sample has a score, and none can be extrapolated")]
    NothingScored,

    /// A proxy's logits are of other classes than its labels.
    #[error("the proxy's logits are of {logits} classes, its labels of {classes}")]
    ProxyClasses {
        /// How many logits a sample has.
        logits: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// A proxy's outputs, or features, are of other samples than the labels.
    #[error("the {output} on port `{port}` are of {found} samples, the labels of {n}")]
    OutputSamples {
        /// The port they came in on.
        port: String,
        /// `logits`, `embeddings` or `features`.
        output: String,
        /// How many samples they are of.
        found: usize,
        /// How many labels there are.
        n: usize,
    },
    /// A proxy's outputs, or features, hold a NaN, an infinity, or a number too large to be squared.
    #[error(
        "on port `{port}` the {output} of sample {sample} are not finite numbers, or beyond 1e15"
    )]
    Unusable {
        /// The port they came in on.
        port: String,
        /// `logits`, `embeddings`, `features` or `losses`.
        output: String,
        /// The position of the sample.
        sample: usize,
    },
    /// A graph has fewer neighbours of each sample than a method asks for.
    #[error("the graph has {found} neighbours of each sample, but {wanted} are asked for")]
    FewNeighbours {
        /// How many it has.
        found: usize,
        /// How many a method asks for.
        wanted: usize,
    },
    /// A graph of neighbours came in beside several proxies.
    #[error("one graph of neighbours cannot stand for {proxies} proxies")]
    OneGraph {
        /// How many proxies there are.
        proxies: usize,
    },
    /// A selection is aimed at a query without samples.
    #[error("the query has no samples")]
    EmptyQuery,
    /// A subset that another is to be like has no samples.
    #[error("the subset on port `like` has no samples")]
    EmptyLike,
    /// A query's vectors are longer or shorter than the embeddings.
    #[error("the query has {query} features a sample, but the embeddings are of {embeddings}")]
    QueryWidth {
        /// How many features a sample of the query has.
        query: usize,
        /// How many numbers an embedding has.
        embeddings: usize,
    },
    /// A query's features are not what those to select from are.
    #[error("the query's features are {query}, but those to select from are {pool}")]
    QuerySpace {
        /// What the query's features are.
        query: String,
        /// What those to select from are.
        pool: String,
    },
    /// There is not one quota for each class.
    #[error("there are {classes} classes, but {quotas} quotas")]
    QuotaCount {
        /// How many classes there are.
        classes: usize,
        /// How many quotas are given.
        quotas: usize,
    },
    /// A budget counts what the data has no column of.
    #[error("the data has no count called `{unit}`; it has {}", listed(there))]
    NoUnit {
        /// The column asked for.
        unit: String,
        /// Those that there are.
        there: Vec<String>,
    },
    /// The classes with a quota are too small together.
    #[error("the classes with a quota have fewer than the {budget} samples asked for")]
    QuotasTooFew {
        /// How many samples are asked for.
        budget: usize,
    },
    /// A centre to start from is no position in the training set.
    #[error("centre {center} is not a sample: there are {n}")]
    Center {
        /// The centre.
        center: SampleId,
        /// How many samples there are.
        n: usize,
    },
    /// Gradients are too large, or too equal, for weights to be solved for.
    #[error("the gradients of the picks cannot be told apart")]
    EqualGradients,
    /// A selector returned a sample twice: a defect of it.
    #[error("sample {sample} was picked twice")]
    PickedTwice {
        /// The sample.
        sample: SampleId,
    },
    /// A selector returned samples that are no subset: a defect of it.
    #[error(transparent)]
    Subset(#[from] SubsetError),
    /// A selector returned too few samples or too many: a defect of it.
    #[error("{found} samples were picked instead of {budget}")]
    PickCount {
        /// How many it returned.
        found: usize,
        /// How many it was asked for.
        budget: usize,
    },

    /// A score watches the training, of which there is no record.
    #[error("the proxy kept no record of its training")]
    NoRecord,
    /// A score asks for whole predictions, and an epoch was recorded as figures of each sample.
    #[error("epoch {epoch} is on record without its logits")]
    NoRecordedLogits {
        /// Which, counted from 1.
        epoch: usize,
    },
    /// Epochs are asked for that are not on record.
    #[error("epochs {first} to {last} are asked for, but epochs 1 to {recorded} are on record")]
    Epochs {
        /// The first, counted from 1.
        first: usize,
        /// The last.
        last: usize,
        /// How many are on record.
        recorded: usize,
    },
    /// A window is longer than the record.
    #[error("a window of {window} epochs is asked for, but {recorded} are on record")]
    Window {
        /// How many epochs it spans.
        window: usize,
        /// How many are on record.
        recorded: usize,
    },
    /// Repeats of a proxy do not share their labels.
    #[error("proxy {repeat} of {all} was trained on other labels than the first")]
    OtherLabels {
        /// The first that differs, counted from 1.
        repeat: usize,
        /// How many there are.
        all: usize,
    },

    /// A program's answer is about samples, and none are connected.
    #[error("no input says what it is about")]
    NoSamples,
    /// A program trains a network that no setting names.
    #[error("which architecture the network has is not said")]
    NoArchitecture,
    /// A program lies where the system executes nothing.
    #[error("`{program}` cannot be executed: the store is on a file system that is mounted noexec")]
    MountedNoexec {
        /// Its name.
        program: String,
    },
    /// A program does not start.
    #[error("cannot start `{}`: {reason}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        reason: io::Error,
    },
    /// The system does not say how a program ended.
    #[error("the program cannot be waited for: {0}")]
    Wait(io::Error),
    /// A program did not end in time.
    #[error("the program was stopped: it took longer than {limit:?}")]
    TimeOut {
        /// The time it had.
        limit: Duration,
    },
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ProgramEnd),
    /// A program changed what other stages read.
    #[error("the program wrote to one of its inputs, which are not its own")]
    WroteToInput,
    /// A program left no answer.
    #[error("the program left no `out/{wanted}`")]
    NoAnswer {
        /// The file it should have left in `out/`.
        wanted: String,
        /// The names of those it left, sorted.
        left: Vec<String>,
    },
    /// A file a program left is not what it should be.
    #[error("`out/{name}` {error}")]
    Answer {
        /// The name of the file.
        name: String,
        /// What is wrong with it.
        error: Box<OutError>,
    },
    /// A program's stage failed, and its directory is there to be looked at.
    #[error("{failure}")]
    Kept {
        /// Why it failed.
        failure: Box<dyn MethodFailure>,
        /// The directory.
        folder: PathBuf,
    },
}

fn few_images(damaged: &[(PathBuf, ImageError)]) -> String {
    let first = damaged.iter().take(NAMED_IMAGES);
    let first = first.map(|(path, error)| format!("`{}` {error}", path.display()));
    let first = first.collect::<Vec<_>>().join("; ");
    match damaged.len().saturating_sub(NAMED_IMAGES) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}

fn known_classes(classes: &[String]) -> String {
    let few: Vec<_> = classes.iter().take(NAMED_CLASSES).map(|one| format!("`{one}`")).collect();
    let more = if classes.len() > NAMED_CLASSES { ", ..." } else { "" };
    let last = classes.len().saturating_sub(1);
    format!("classes are 0 to {last}, or {}{more}", few.join(", "))
}

/// Returns `names` one after the other, or that there are none.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::StageError;

    #[test]
    fn ten_damaged_images_are_named_and_the_others_counted() {
        let damaged =
            |n| (0..n).map(|at: usize| (at.to_string().into(), ImageError::Cut)).collect();
        let says = |n| MethodError::DamagedImages { damaged: damaged(n), all: 50 }.to_string();
        assert_eq!(says(2), "2 of 50 images cannot be used: `0` is cut short; `1` is cut short");
        assert!(says(10).ends_with("`9` is cut short"));
        assert!(says(13).ends_with("`9` is cut short; and 3 more"));
    }

    #[test]
    fn a_stage_gives_back_the_error_and_its_hint() {
        let error = StageError::from(MethodError::Budget { budget: 9, n: 4 });
        assert_eq!(error.to_string(), "the budget is 9 samples, but there are 4");
        let StageError::Method(failure) = error else { panic!("a method cannot be applied") };
        let found = failure.downcast_ref::<MethodError>();
        assert!(matches!(found, Some(MethodError::Budget { budget: 9, n: 4 })));
        assert!(failure.downcast_ref::<artifacts::ArtifactError>().is_none());
        let kept = MethodError::Kept { failure, folder: "there".into() };
        assert_eq!(kept.to_string(), "the budget is 9 samples, but there are 4");
        let hint =
            "lower `budget`, or set `keep` instead; the program's directory is kept: `there`";
        assert_eq!(kept.hint().as_deref(), Some(hint));
    }
}
