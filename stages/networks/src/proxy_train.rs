//! `proxy-train`: a network trained on all samples, on a subset or in folds, and the record of what each epoch
//! says of each sample.
//!
//! What scores and selectors make of the record is their business.

use crate::folds;
use crate::nn::{
    epoch::outputs,
    model::pause,
    settings::{TrainingConfig, training_settings},
    training::{self, RecordMode, Recording, TrainingSetup},
};
use artifacts::subset::Subset;
use artifacts::{
    architecture::Architecture,
    dataset,
    network::History,
    parts::{self, DATA, PROXY, Parts, SUBSET, StoredTensor},
    record,
    units::Count,
};
use engine::{ArtifactKind, Method, Needs, Port, Problem, Stage, StageCtx, StageError, Trajectory};
use serde::Serialize;
use serde_json::{Value, json};

training_settings! {
    /// What `proxy-train` takes.
    pub(crate) struct ProxyTrain;
    epochs = 10, test_every = 0;
    /// What is written down of every epoch: `inflight` is the logits of each sample's own training
    /// step, `clean` those of an extra pass after the epoch, `none` nothing.
    record: RecordMode = RecordMode::Inflight,
    /// How many bytes of logits are written down, over all epochs. An epoch past it is stored as
    /// one row of figures per sample, 28 bytes each.
    record_limit: u64 = 4_000_000_000,
    /// Train so many networks, each on all samples but those of one fold, and keep of each sample what
    /// the network says that has not seen it. From 2 up.
    #[serde(skip_serializing_if = "Option::is_none")]
    folds: Option<Count> = None,
}

/// The random streams of a training in folds.
const FOLD_STREAMS: &[&str] = &["init", "shuffle", "augment", "dropout", folds::STREAM];

const MANUAL: &str = "\
Trains a network on the whole training split and keeps what scores and selectors ask of it: its
weights, its history, the logits and embeddings of every training sample after the last epoch
(evaluation mode, no augmentation), and a record of what each epoch said of each sample.

With the defaults this is DeepCore's recipe (Guo, Zhao and Bai, 2022): SGD at 0.1 with Nesterov
momentum 0.9 and weight decay 5e-4, a cosine down to 1e-4 taken step by step, batches of 128. It
departs from DeepCore's code in three points: the cosine starts with the first epoch, not the
second; batches are drawn from a stream of the stage's seed; and DeepCore's proxies keep the
learning rate constant, for which there is `schedule.kind = \"constant\"`.

A proxy of 20 epochs goes on from a cached one of 10 if their settings agree. Under a `cosine` or
`one-cycle` schedule they do so only if `schedule.horizon` is the same for both. On the CPU the
result is bit for bit that of a training without a break.

With `folds` a network is trained for each fold, on all samples but the fold's, and every sample is judged
by the one network that has not seen it: out-of-fold logits, and a record of the same (as `record = \"clean\"`
has it). Scores that read logits or the record take them as they are; there are no weights and no embeddings,
for those of several networks have nothing in common. A training in folds that was broken off starts over.

With a `subset` connected, the network is trained on its samples alone, weighted if it is, and what it says of
the others is that of a network that has not seen them. A record made in flight has the samples trained on;
`record = \"clean\"` has all. `score.extrapolate` spreads the scores of a part over the rest; `score.cld`
takes the samples left out as its held-out set.

Cost: `epochs` passes over the data forward and backward, one forward; with `record = \"clean\"`
one forward more an epoch; with `folds` as many times. The record takes 2 n C bytes an epoch, up to `record-limit`.
";

/// Returns the registry entry.
pub(crate) fn method() -> Method {
    Method {
        name: "proxy-train",
        summary: "trains a network and records what each epoch says of each sample",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<ProxyTrain>()?)),
        schema: || schemars::schema_for!(ProxyTrain),
    }
}

/// What is known about a proxy, apart from its values.
#[derive(Serialize)]
struct Meta<'a> {
    model: Architecture,
    classes: usize,
    sample: &'a [usize],
    mean: &'a [f32],
    std: &'a [f32],
    epochs: usize,
    /// The epochs over which the schedule ran its course.
    horizon: u64,
    record: RecordMode,
    head: String,
    embedding: usize,
    /// How many networks there are, if each has not seen a fold.
    #[serde(skip_serializing_if = "Option::is_none")]
    folds: Option<Count>,
    /// How many samples it was trained on, if not on all.
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<usize>,
}

impl ProxyTrain {
    fn plan(&self) -> TrainingConfig {
        self.resolved().shared().plan()
    }
}

impl ProxyTrain {
    /// Returns the summary of a proxy trained on so many `samples`, of as many epochs.
    fn meta<'a>(&self, setup: &'a TrainingSetup, samples: usize, epochs: usize) -> Meta<'a> {
        let plan = self.plan();
        let per_epoch = samples.div_ceil(plan.batch) as u64;
        Meta {
            model: plan.architecture,
            classes: setup.classes,
            sample: &setup.form.sample,
            mean: &setup.form.mean,
            std: &setup.form.std,
            epochs,
            horizon: plan.horizon(per_epoch).div_ceil(per_epoch),
            record: self.record,
            head: setup.network.head(),
            embedding: setup.network.embedding(),
            folds: self.folds,
            samples: (samples < setup.train.len()).then_some(samples),
        }
    }

    /// Trains a network for each of `folds`: what is kept are the logits and the record of samples their
    /// network has not seen. Several networks have neither weights nor embeddings in common.
    fn run_folds(
        &self,
        ctx: &StageCtx<'_>,
        setup: &TrainingSetup,
        folds: usize,
        recording: Recording,
    ) -> Result<Parts, StageError> {
        let found = folds::train(ctx, self.plan(), setup, folds, recording)?;
        let shape = [setup.train.len(), setup.classes];
        let outputs = [StoredTensor::f32("logits", &shape, &found.logits)];
        let mut parts = found.records;
        parts.insert("outputs".to_owned(), parts::put_tensors(ctx, &outputs)?);
        parts.insert("history".to_owned(), parts::put_json(ctx, &History::of(&found.history))?);
        parts.insert(
            "meta".to_owned(),
            parts::put_json(ctx, &self.meta(setup, setup.train.len(), found.epochs))?,
        );
        let source = dataset::input(ctx, "data")?;
        parts.extend(record::shared_parts(source));
        Ok(parts)
    }
}

impl Stage for ProxyTrain {
    fn method(&self) -> &'static str {
        "proxy-train"
    }

    fn revision(&self) -> u32 {
        3
    }

    fn settings(&self) -> Value {
        json!(self.resolved())
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA), Port::optional("subset", SUBSET)]
    }

    fn output(&self) -> ArtifactKind {
        PROXY
    }

    fn streams(&self) -> &'static [&'static str] {
        if self.folds.is_some() { FOLD_STREAMS } else { training::STREAMS }
    }

    fn needs(&self) -> Needs {
        Needs::Device
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.shared().problems(10);
        if self.folds.is_some_and(|folds| folds.get() < 2) {
            problems.push(Problem {
                setting: "folds".to_owned(),
                message: "one fold leaves nothing to train on".to_owned(),
                hint: Some("set `folds = 3`, say, or leave it out".to_owned()),
            });
        }
        problems
    }

    fn wiring(&self, connected: &[&str]) -> Vec<Problem> {
        let both = self.folds.is_some() && connected.contains(&"subset");
        let problem = || Problem {
            setting: "folds".to_owned(),
            message: "a training in folds takes all samples, not a subset".to_owned(),
            hint: Some("leave out `folds` or `subset`".to_owned()),
        };
        both.then(problem).into_iter().collect()
    }

    fn trajectory(&self) -> Option<Trajectory> {
        self.folds.is_none().then(|| self.plan().trajectory(self.settings()))
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let plan = self.plan();
        let setup = training::prepare(ctx, &plan)?;
        let recording = Recording { what: self.record, limit: self.record_limit };
        if let Some(count) = self.folds {
            return self.run_folds(ctx, &setup, count.get(), recording);
        }
        let subset = Subset::read(ctx, setup.train.len())?;
        let trained = training::train(ctx, plan, &setup, &subset, recording, None)?;
        let state = &trained.state;
        let mut pause = pause(ctx, setup.train.len());
        let all = outputs(&setup.network, &state.values, &setup.train, true, &mut pause)?;
        let embedding = setup.network.embedding();
        let meta = self.meta(&setup, subset.len(), state.history.len());
        let outputs = [
            StoredTensor::f32("logits", &[setup.train.len(), setup.classes], &all.logits),
            StoredTensor::f32("embeddings", &[setup.train.len(), embedding], &all.embeddings),
        ];
        let mut parts = training::put_network(ctx, &setup, state)?;
        parts.insert("outputs".to_owned(), parts::put_tensors(ctx, &outputs)?);
        parts.insert("meta".to_owned(), parts::put_json(ctx, &meta)?);
        let source = dataset::input(ctx, "data")?;
        parts.extend(record::shared_parts(source));
        parts.extend(trained.records);
        if let Some(trained_on) = ctx.input("subset").and_then(|input| input.parts.get("subset")) {
            parts.insert("subset".to_owned(), *trained_on);
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: Value) -> ProxyTrain {
        serde_json::from_value(settings).expect("the settings are right")
    }

    #[test]
    fn a_longer_training_shares_the_trajectory_where_the_schedule_allows() {
        let filed = |settings| read(settings).trajectory().expect("it keeps checkpoints");
        let ten = filed(json!({"epochs": 10}));
        assert_eq!(ten.last_step, 10);
        assert_ne!(ten.settings, filed(json!({"epochs": 20})).settings);
        let far = json!({"epochs": 20, "schedule": {"horizon": 20}});
        assert_eq!(filed(json!({"epochs": 20})).settings, filed(far).settings);
        let short = json!({"epochs": 10, "schedule": {"horizon": 20}});
        assert_eq!(filed(short).settings, filed(json!({"epochs": 20})).settings);
        let constant = |epochs: u32| json!({"epochs": epochs, "schedule": {"kind": "constant"}});
        assert_eq!(filed(constant(10)).settings, filed(constant(20)).settings);
        let steps = filed(json!({"iterations": 10, "schedule": {"kind": "constant"}}));
        assert_ne!(steps.settings, filed(constant(10)).settings);
    }

    #[test]
    fn settings_are_filled_in_and_without_what_changes_nothing() {
        let all = read(json!({"checkpoint-every": 5})).settings();
        assert_eq!(all["lr"], json!(0.1));
        assert_eq!(all["schedule"]["min"], json!(1e-4));
        assert_eq!((all["epochs"].clone(), all["width"].clone()), (json!(10), json!(64)));
        assert!(all.get("checkpoint-every").is_none() && all.get("iterations").is_none());
        let adam = read(json!({"optimizer": "adam"})).settings();
        assert!(adam["lr"] == json!(1e-3) && adam.get("momentum").is_none());
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let said = |settings| -> Vec<String> {
            read(settings).problems().into_iter().map(|one| one.setting).collect()
        };
        assert_eq!(said(json!({})), Vec::<String>::new());
        assert_eq!(said(json!({"epochs": 1, "iterations": 5})), ["iterations"]);
        assert_eq!(said(json!({"model": "lenet", "width": 8})), ["width"]);
        assert_eq!(said(json!({"optimizer": "adam", "momentum": 0.9})), ["momentum"]);
        assert_eq!(said(json!({"momentum": 0, "nesterov": true})), ["nesterov"]);
        let short = json!({"epochs": 10, "schedule": {"horizon": 5}});
        assert_eq!(said(short), ["schedule.horizon"]);
        assert!(serde_json::from_value::<ProxyTrain>(json!({"epochs": 0})).is_err());
    }
}
