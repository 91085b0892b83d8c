//! `train`: a network trained on a subset, or on everything.
//!
//! How good it became is `evaluate`'s business, apart from the test accuracy along the way.

use crate::nn::{
    settings::{TrainingConfig, training_settings},
    training::{self, RecordMode, Recording},
};
use artifacts::{
    network::ModelMeta,
    parts::{self, DATA, MODEL, Parts, SUBSET},
    subset::Subset,
};
use engine::{ArtifactKind, Method, Needs, Port, Problem, Stage, StageCtx, StageError, Trajectory};
use serde_json::{Value, json};

training_settings! {
    /// What `train` takes.
    pub(crate) struct Train;
    epochs = 200, test_every = 1;
}

const MANUAL: &str = "\
Trains a network on the samples of `subset`, or on the whole training split if that port is open.

With the defaults this is DeepCore's recipe (Guo, Zhao and Bai, 2022): 200 epochs of SGD at 0.1
with Nesterov momentum 0.9 and weight decay 5e-4, a cosine down to 1e-4 taken step by step, batches
of 128; for CIFAR it adds `augment = \"crop-flip\"`. The cosine starts with the first epoch; in
DeepCore's code it is one epoch late.

If the subset is weighted, the loss of a batch is sum(w ce) / sum(w), as in DeepCore. Samples are
not drawn by weight. An epoch of a small subset is few steps: `iterations` in place of `epochs`
compares subsets of different sizes at equal cost.

The history has the test accuracy every `test-every` epochs. The best of them is an optimistic
figure, for it is picked on the test split; the last one is not.
";

/// Returns the registry entry.
pub(crate) fn method() -> Method {
    Method {
        name: "train",
        summary: "trains a network on a subset, or on all samples",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<Train>()?)),
        schema: || schemars::schema_for!(Train),
    }
}

impl Train {
    fn plan(&self) -> TrainingConfig {
        self.resolved().shared().plan()
    }
}

impl Stage for Train {
    fn method(&self) -> &'static str {
        "train"
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
        MODEL
    }

    fn streams(&self) -> &'static [&'static str] {
        training::STREAMS
    }

    fn needs(&self) -> Needs {
        Needs::Device
    }

    fn problems(&self) -> Vec<Problem> {
        self.shared().problems(200)
    }

    fn trajectory(&self) -> Option<Trajectory> {
        Some(self.plan().trajectory(self.settings()))
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let plan = self.plan();
        let setup = training::prepare(ctx, &plan)?;
        let kept = Subset::read(ctx, setup.train.len())?;
        let recording = Recording { what: RecordMode::None, limit: 0 };
        let state = training::train(ctx, plan, &setup, &kept, recording, None)?.state;
        let meta = ModelMeta {
            model: plan.architecture,
            classes: setup.classes,
            epochs: state.history.len(),
            steps: state.steps(),
            head: setup.network.head(),
            embedding: setup.network.embedding(),
            samples: kept.len(),
            per_class: kept.per_class(&setup.train_labels, setup.classes),
            corrupted_kept: setup.clean.as_ref().map(|clean| kept.count_of(&clean.touched)),
            corrupted_total: setup.clean.as_ref().map(|clean| clean.touched.len()),
            groups: setup.groups.as_ref().map(|groups| groups.count(&kept)),
            origins: setup.origins.as_ref().map(|origins| origins.count(&kept)),
            sample: setup.form.sample.clone(),
            mean: setup.form.mean.clone(),
            std: setup.form.std.clone(),
        };
        let mut parts = training::put_network(ctx, &setup, &state)?;
        parts.insert("meta".to_owned(), parts::put_json(ctx, &meta)?);
        Ok(parts)
    }
}
