//! What can be done about an error of this crate.

use super::{MethodError, known_classes};
use crate::own_file::OwnFileError;
use engine::MethodFailure;
use std::borrow::Cow;

impl MethodFailure for MethodError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Budget { .. } => "lower `budget`, or set `keep` instead",
            Self::File { error, .. } => error.hint()?,
            Self::NoTexts { .. } => "load them with `load.text`, which keeps the texts",
            Self::OwnFile { error, .. } if matches!(**error, OwnFileError::BadRows { .. }) => {
                "mend them, or set `bad-rows = \"skip\"` to leave them out"
            }
            Self::DamagedImages { .. } => {
                "get them again, or set `damaged = \"skip\"` to leave them out"
            }
            Self::NoHeldOut => {
                "train it on a `subset`, with `record = \"clean\"`; for `balance`, `folds` will do too"
            }
            Self::NoMap => "only data with ten classes have a default, CIFAR-10's",
            Self::NoSuchClass { classes, .. } => return Some(known_classes(classes).into()),
            Self::MatrixClasses { .. } => "a matrix has a row and a column for each class",
            Self::Unusable { output, .. } if output == "features" => {
                "leave the sample out, or scale its features"
            }
            Self::FewNeighbours { .. } => {
                "give the stage of the graph larger `neighbors`, or set smaller `rule.neighbors`"
            }
            Self::OneGraph { .. } => "connect one proxy, or no graph",
            Self::QuerySpace { .. } => {
                "give both `load.text` the same `ngrams`, and `weighting = \"tf\"`: tf-idf weighs by its own texts"
            }
            Self::QueryWidth { .. } => "query and samples have to come from one network",
            Self::Unusable { .. } => "its training diverged: lower the learning rate",
            Self::NoSuchImages { .. } => {
                "it takes 8-bit images [c, h, w]; `saturate` those of three channels"
            }
            Self::NoOriginals => "lower `share`, or set `mode = \"append\"`",
            Self::ForeignShape { .. } => "both data sets need samples of one shape",
            Self::NoUnit { .. } => {
                "name columns with `counts` where the data is loaded; `load.text` counts `tokens` and `bytes`"
            }
            Self::QuotasTooFew { .. } => "give a quota to more classes, or keep fewer samples",
            Self::Center { .. } => "centres are positions in the training set, counted from 0",
            Self::NoCleanLabels => "connect `data` to the stage that corrupted the labels",
            Self::NoOrigins => {
                "connect `data` to a stage that changes samples, such as `corrupt.outliers`"
            }
            Self::EqualGradients => "set a larger `rule.lambda`",
            Self::NoRecord => "give the proxy `record = \"inflight\"` or `\"clean\"`",
            Self::NoRecordedLogits { .. } => "give the proxy a larger `record-limit`",
            Self::Epochs { .. } => "train the proxy for longer, or ask for other epochs",
            Self::Window { .. } => "train the proxy for longer, or set a smaller `rule.window`",
            Self::OtherLabels { .. } => "repeats differ in their seed alone",
            Self::MountedNoexec { program } => {
                let hint = format!(
                    "put its interpreter before it, `run = [\"sh\", \"{program}\"]`, or choose \
                     another store with --store"
                );
                return Some(hint.into());
            }
            Self::TimeOut { .. } => "set a longer `time-out`",
            Self::WroteToInput => {
                "let it write to `out/`, or to a copy; run it again to repair the input"
            }
            Self::NoAnswer { left, .. } if left.is_empty() => "it left nothing there at all",
            Self::NoAnswer { left, .. } => {
                let left: Vec<_> = left.iter().map(|name| format!("`{name}`")).collect();
                return Some(format!("it left {}", left.join(", ")).into());
            }
            // To look at and to try again in, until the store is next collected.
            Self::Kept { failure, folder } => {
                let kept = format!("the program's directory is kept: `{}`", folder.display());
                let hint = failure.hint().map_or(kept.clone(), |hint| format!("{hint}; {kept}"));
                return Some(hint.into());
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
