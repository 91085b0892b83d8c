//! `evaluate`: what a trained model is worth on the test split.

use crate::{NetworkError, nn::model::Model};
use artifacts::{
    dataset,
    network::{History, ModelMeta},
    parts::{self, DATA, METRICS, MODEL, Parts},
};
use engine::{ArtifactKind, Method, Needs, Port, Stage, StageCtx, StageError};
use methods::measure::{by_group, measure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What `evaluate` takes: nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Evaluate {}

const MANUAL: &str = "\
Runs a trained model over the test split of `data`, which need not be the data it was trained on:
connect the clean data set to judge a model trained on corrupted labels.

- `accuracy`: the share of samples whose largest logit is their label's, after the last epoch.
- `accuracy_best`: the largest of the history, picked on the test split of the training data and
  so an optimistic figure. DeepCore reports this one.
- `loss`: the mean negative log-likelihood, in nats.
- `ece`: the expected calibration error over 15 bins of equal width (Guo et al., 2017).
- `brier`: the mean squared distance between probabilities and one-hot label (Brier, 1950).
- `worst_class`: the smallest of the classes' accuracies.
- `train_samples`: how many samples it was trained on; `samples_seen`: how many its steps went through,
  where a `sampler` drew them; `corrupted_kept` is the share of them whose
  label a corruption had touched, where the data set was corrupted.
- `foreign_kept`, `duplicate_kept`, `changed_kept`: the share of them that are of another data set, copies, or
  changed images, where the training set has some (`corrupt.outliers`, `corrupt.duplicates`, `corrupt.images`).
- `per_class`, `kept_per_class`: accuracy and training samples of each of `classes`;
  `confusion[label][prediction]` counts test samples, of up to 1,000 classes.

Where the samples of `data` are in groups (`corrupt.groups`, `corrupt.group-file`), as of a class and what
it is seen with, also how the worst of them does (Sagawa et al., *Distributionally Robust Neural Networks \
for Group Shifts*, ICLR 2020):

- `worst_group`: the smallest of the groups' accuracies, of `worst_group_name`; groups without test samples
  do not count. `group_gap` is `accuracy` less that.
- `per_group`: the accuracy of each of `groups`.

And of a model that was trained on samples in groups:

- `minority_kept`: the share of the samples it was trained on that are of a minority group, one with fewer
  training samples than the groups have on average; `minority_share` is that share of the whole training set.
- `kept_per_group`: training samples of each group.
";

/// Returns the registry entry.
pub(crate) fn method() -> Method {
    Method {
        name: "evaluate",
        summary: "measures a trained model on the test split",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<Evaluate>()?)),
        schema: || schemars::schema_for!(Evaluate),
    }
}

impl Stage for Evaluate {
    fn method(&self) -> &'static str {
        "evaluate"
    }

    fn revision(&self) -> u32 {
        3
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA), Port::one("model", MODEL)]
    }

    fn output(&self) -> ArtifactKind {
        METRICS
    }

    fn needs(&self) -> Needs {
        Needs::Device
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        ctx.fetch_inputs(&["data", "model", "subset"]);
        let data = dataset::Dataset::read(ctx, "data")?;
        let artifact = dataset::input(ctx, "model")?;
        let model = Model::load(ctx, "model", artifact)?;
        let classes = data.meta.classes.len();
        if classes != model.classes {
            return Err(NetworkError::Classes { model: model.classes, data: classes }.into());
        }
        let labels = data.test.labels;
        if labels.is_empty() {
            return Err(NetworkError::NoTestSplit.into());
        }
        let feed = model.feed(&data.meta.sample, data.test.inputs)?;
        let logits = model.outputs(ctx, &feed, false)?.logits;
        let found = measure(&logits, &labels, classes);
        let meta: ModelMeta = parts::part(ctx, "model", artifact, "meta")?.json()?;
        let history: History = parts::part(ctx, "model", artifact, "history")?.json()?;
        let mut out = Map::new();
        let mut say = |name: &str, value: Value| out.insert(name.to_owned(), value);
        say("accuracy", json!(found.accuracy));
        if let Some(best) = history.accuracy_best {
            say("accuracy_best", json!(best));
        }
        say("loss", json!(found.loss));
        say("ece", json!(found.ece));
        say("brier", json!(found.brier));
        say("worst_class", json!(found.worst_class));
        say("test_samples", json!(labels.len()));
        say("train_samples", json!(meta.samples));
        if let Some(seen) = meta.samples_seen {
            say("samples_seen", json!(seen));
        }
        if let Some(kept) = meta.corrupted_kept {
            say("corrupted_kept", json!(kept as f64 / meta.samples.max(1) as f64));
        }
        for (origin, count) in meta.origins.iter().flatten() {
            let share = count.kept as f64 / meta.samples.max(1) as f64;
            say(&format!("{}_kept", origin.name()), json!(share));
        }
        say("classes", json!(data.meta.classes));
        say("per_class", json!(found.per_class));
        say("kept_per_class", json!(meta.per_class));
        if let Some(confusion) = found.confusion {
            say("confusion", json!(confusion));
        }
        if let Some(groups) = &data.groups {
            let count = groups.names.len();
            let apart = by_group(&logits, &labels, classes, &groups.test, count);
            if let Some((worst, accuracy)) = apart.worst {
                say("worst_group", json!(accuracy));
                say("worst_group_name", json!(groups.names[worst.index()]));
                say("group_gap", json!(found.accuracy - accuracy));
            }
            say("groups", json!(groups.names));
            say("per_group", json!(apart.per_group));
        }
        if let Some(counts) = &meta.groups {
            let (available, kept) = counts.minority_shares();
            say("minority_kept", json!(kept));
            say("minority_share", json!(available));
            say("kept_per_group", json!(counts.kept));
        }
        let metrics = parts::put_json(ctx, &Value::Object(out))?;
        Ok([("metrics".to_owned(), metrics)].into())
    }
}
