//! `train`: a network trained on a subset, or on everything.
//!
//! How good it became is `evaluate`'s business, apart from the test accuracy along the way.

use crate::{
    artifact::{self, DATA, MODEL, Parts, SUBSET},
    nn::{
        Architecture,
        settings::{Plan, training_settings},
        training::{self, Record, Recording},
    },
};
use engine::{Kind, Method, Needs, Port, Problem, Stage, StageCtx, StageError, Trajectory};
use serde::{Deserialize, Serialize};
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

pub(crate) fn methods() -> Vec<Method> {
    vec![Method {
        name: "train",
        summary: "trains a network on a subset, or on all samples",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<Train>()?)),
        schema: || schemars::schema_for!(Train),
    }]
}

/// What is known about a trained model, apart from its values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) model: Architecture,
    pub(crate) classes: usize,
    pub(crate) sample: Vec<usize>,
    pub(crate) mean: Vec<f32>,
    pub(crate) std: Vec<f32>,
    /// How many passes were begun.
    pub(crate) epochs: usize,
    /// How many steps were taken.
    pub(crate) steps: u64,
    pub(crate) head: String,
    pub(crate) embedding: usize,
    /// How many samples it was trained on, and how many of each label.
    pub(crate) samples: usize,
    pub(crate) per_class: Vec<usize>,
    /// How many of them had been touched by a corruption, and how many there were in all; only if
    /// the data set was corrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) corrupted_kept: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) corrupted_total: Option<usize>,
}

impl Train {
    fn plan(&self) -> Plan {
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

    fn output(&self) -> Kind {
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
        let bench = training::prepare(ctx, &plan)?;
        let (rows, weights) = subset(ctx, bench.train.len())?;
        let recording = Recording { what: Record::None, limit: 0 };
        let picked = (&rows[..], weights.as_deref());
        let state = training::train(ctx, plan, &bench, picked, recording)?.state;
        let mut per_class = vec![0; bench.classes];
        for row in &rows {
            per_class[bench.train_labels[*row as usize] as usize] += 1;
        }
        let kept = bench.clean.as_ref().map(|clean| {
            let touched = |row: &&u32| clean.touched.binary_search(row).is_ok();
            rows.iter().filter(touched).count()
        });
        let meta = Meta {
            model: plan.architecture,
            classes: bench.classes,
            epochs: state.history.len(),
            steps: state.steps(),
            head: bench.network.head(),
            embedding: bench.network.embedding(),
            samples: rows.len(),
            per_class,
            corrupted_kept: kept,
            corrupted_total: bench.clean.as_ref().map(|clean| clean.touched.len()),
            sample: bench.form.sample.clone(),
            mean: bench.form.mean.clone(),
            std: bench.form.std.clone(),
        };
        let mut parts = training::put_network(ctx, &bench, &state)?;
        parts.insert("meta".to_owned(), artifact::put_json(ctx, &meta)?);
        Ok(parts)
    }
}

/// Positions in the training split, and the weight of each if there are any.
pub(crate) type Picked = (Vec<u32>, Option<Vec<f32>>);

/// Returns the subset, or all of the `n` samples if none is connected.
pub(crate) fn subset(ctx: &StageCtx<'_>, n: usize) -> Result<Picked, StageError> {
    let Some(artifact) = ctx.input("subset") else {
        return Ok(((0..n as u32).collect(), None));
    };
    let part = artifact::part(ctx, "subset", artifact, "subset")?;
    let rows = part.indices("indices")?;
    if rows.iter().any(|row| *row as usize >= n) {
        let message = format!("the subset is of another data set: this one has {n} samples");
        return Err(StageError::method(message)
            .with_hint("connect `subset` and `data` to stages with the same origin"));
    }
    if !part.tensors()?.names().contains(&"weights") {
        return Ok((rows, None));
    }
    let (_, weights) = part.f32("weights")?;
    let fine = |w: &f32| w.is_finite() && *w >= 0.0;
    if weights.len() == rows.len() && weights.iter().all(fine) {
        Ok((rows, Some(weights)))
    } else {
        Err(part.wrong("the weights are not one number from 0 up for each sample"))
    }
}
