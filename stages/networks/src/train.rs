//! `train`: a network trained on a subset, or on everything.
//!
//! How good it became is `evaluate`'s business, apart from the test accuracy along the way.

use crate::nn::{
    sampler::{self, SamplerKind, SamplerSettings},
    settings::{TrainingConfig, training_settings},
    training::{self, RecordMode, Recording},
};
use artifacts::{
    network::ModelMeta,
    parts::{self, DATA, MODEL, Parts, SUBSET},
    subset::Subset,
    units::{Count, Fraction},
};
use engine::{ArtifactKind, Method, Needs, Port, Problem, Stage, StageCtx, StageError, Trajectory};
use serde_json::{Value, json};

training_settings! {
    /// What `train` takes.
    pub(crate) struct Train;
    epochs = 200, test_every = 1;
    /// Which samples an epoch goes through: `all`, `rs2`, `infobatch` or `random-online`.
    #[serde(skip_serializing_if = "SamplerKind::is_all")]
    sampler: SamplerKind = SamplerKind::All,
    /// `rs2`, `random-online`: the share of the samples that an epoch goes through. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampler_keep: Option<Fraction> = None,
    /// `random-online`: for how many epochs a draw stays. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampler_every: Option<Count> = None,
    /// `infobatch`: the share left out of the samples below the mean loss. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampler_prune: Option<Fraction> = None,
    /// `infobatch`: until which share of the training samples are left out. Default 0.875.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampler_until: Option<Fraction> = None,
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

A `sampler` chooses anew which samples each epoch goes through, while the network learns. How many that
were in all is `samples_seen` in what `evaluate` finds: a static coreset is to be compared at the same.
- `rs2`, repeated sampling of random subsets: a shuffled pass over the samples is cut into parts of the
  share `sampler-keep`, an epoch is the next part, and a finished pass begins anew, shuffled anew (Okanovic
  et al., *Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning*, ICLR 2024). Where a
  pass ends within an epoch, that epoch may see a sample twice. As many epochs as for the full set, each
  shorter. Their code loses the end of a pass now and then; this one loses nothing.
- `infobatch`: of the samples whose last loss is below the mean of all last losses, the share
  `sampler-prune` is left out of the next epoch; the others of them count 1 / (1 - `sampler-prune`), so that
  the gradient's expectation is that of all. After `sampler-until` of the training all are seen. The first
  epoch sees all (Qin et al., *InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning*, ICLR
  2024). How many samples that saves is an outcome, not a setting. As in their code, the number left out is
  exact, not drawn sample by sample. Schedules over epochs run their course by epochs, however short these
  become; with `iterations` the steps are as many as without, and more epochs fit into them.
- `random-online`: a random part of the share `sampler-keep`, drawn anew every `sampler-every` epochs
  (Killamsetty et al., *GRAD-MATCH: Gradient Matching based Data Subset Selection for Efficient Deep Model
  Training*, ICML 2021, whose library has it as a baseline).

The history has the test accuracy every `test-every` epochs. The best of them is an optimistic
figure, for it is picked on the test split; the last one is not.
";

/// The random streams of a training whose sampler draws.
const SAMPLED_STREAMS: &[&str] = &["init", "shuffle", "augment", "dropout", sampler::STREAM];

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
    fn sampling(&self) -> SamplerSettings {
        SamplerSettings {
            kind: self.sampler,
            keep: self.sampler_keep,
            every: self.sampler_every,
            prune: self.sampler_prune,
            until: self.sampler_until,
        }
    }

    /// Fills in the defaults that depend on other settings.
    fn complete(&self) -> Self {
        let sampling = self.sampling().resolved();
        Self {
            sampler_every: sampling.every,
            sampler_prune: sampling.prune,
            sampler_until: sampling.until,
            ..self.resolved()
        }
    }

    fn plan(&self) -> TrainingConfig {
        let all = self.complete();
        TrainingConfig { sampler: all.sampling().sampler(), ..all.shared().plan() }
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
        json!(self.complete())
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA), Port::optional("subset", SUBSET)]
    }

    fn output(&self) -> ArtifactKind {
        MODEL
    }

    fn streams(&self) -> &'static [&'static str] {
        if self.sampler == SamplerKind::All { training::STREAMS } else { SAMPLED_STREAMS }
    }

    fn needs(&self) -> Needs {
        Needs::Device
    }

    fn problems(&self) -> Vec<Problem> {
        let mut found = self.shared().problems(200);
        found.extend(self.sampling().problems());
        found
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
            samples_seen: state.history.iter().map(|epoch| epoch.samples).sum(),
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
