//! The settings that `proxy-train` and `train` share, and the training configuration made of them.
//!
//! Each stage has a table of its own: a nested or flattened one would lose a mistake's line, or
//! put a level into the file that users do not think of. The macro writes the shared part once.

use super::{feed::Augment, optim::Rule, sampler::Sampler, schedule::Schedule};
use artifacts::architecture::{Architecture, Family};
use artifacts::units::{Count, Fraction, NonNegative, Positive};
use engine::{Problem, Trajectory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How a gradient moves a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
}

/// The floating-point format of matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Precision {
    /// 32-bit floats. On CUDA the tensor library may round the factors of a product to tf32.
    #[default]
    F32,
    /// Products in 16-bit floats; values, statistics and the optimiser in 32 bits. CUDA only.
    Bf16,
}

/// The shared settings, as read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    pub(crate) model: Family,
    pub(crate) width: Option<Count>,
    pub(crate) epochs: Option<Count>,
    pub(crate) iterations: Option<Count>,
    pub(crate) batch: Count,
    pub(crate) micro_batch: Option<Count>,
    pub(crate) optimizer: OptimizerKind,
    pub(crate) lr: Option<Positive>,
    pub(crate) momentum: Option<Fraction>,
    pub(crate) nesterov: Option<bool>,
    pub(crate) weight_decay: Option<NonNegative>,
    pub(crate) schedule: Schedule,
    pub(crate) augment: Augment,
    pub(crate) label_smoothing: Fraction,
    pub(crate) precision: Precision,
    pub(crate) test_every: usize,
    pub(crate) checkpoint_every: Count,
}

/// Writes a stage's settings: the shared ones and its own.
macro_rules! training_settings {
    (
        $(#[$about:meta])*
        $vis:vis struct $name:ident;
        epochs = $epochs:literal, test_every = $test_every:literal;
        $($(#[$meta:meta])* $field:ident: $type:ty = $default:expr,)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        $vis struct $name {
            /// The architecture.
            model: artifacts::architecture::Family,
            /// How wide it is, for the families that say so.
            #[serde(skip_serializing_if = "Option::is_none")]
            width: Option<artifacts::units::Count>,
            #[doc = concat!("How many times the samples are gone through. Default ", $epochs, ".")]
            #[serde(skip_serializing_if = "Option::is_none")]
            epochs: Option<artifacts::units::Count>,
            /// Instead of `epochs`: how many optimiser steps are taken, however few the samples.
            #[serde(skip_serializing_if = "Option::is_none")]
            iterations: Option<artifacts::units::Count>,
            /// Samples a step; the last step of an epoch takes what is left.
            batch: artifacts::units::Count,
            /// How many samples of a batch go through the network at once, where memory does not do
            /// for all; their gradients add up. Batch normalisation sees these alone. Default all.
            #[serde(skip_serializing_if = "Option::is_none")]
            micro_batch: Option<artifacts::units::Count>,
            /// `sgd`, `adam` or `adamw`, as PyTorch has them.
            optimizer: $crate::nn::settings::OptimizerKind,
            /// The learning rate. Default 0.1 for `sgd`, 1e-3 for the others.
            #[serde(skip_serializing_if = "Option::is_none")]
            lr: Option<artifacts::units::Positive>,
            /// `sgd`: the momentum. Default 0.9.
            #[serde(skip_serializing_if = "Option::is_none")]
            momentum: Option<artifacts::units::Fraction>,
            /// `sgd`: Nesterov's form of it. Default true, without momentum false.
            #[serde(skip_serializing_if = "Option::is_none")]
            nesterov: Option<bool>,
            /// The decay of every parameter. Default 5e-4 for `sgd`, 0 for `adam`, 0.01 for `adamw`.
            #[serde(skip_serializing_if = "Option::is_none")]
            weight_decay: Option<artifacts::units::NonNegative>,
            /// How the learning rate changes.
            schedule: $crate::nn::schedule::Schedule,
            /// What is done to an image before each use: `none`, `crop`, `flip`, `crop-flip`,
            /// `resized-crop-flip`. A crop is out of the image padded by 4 mirrored pixels; a
            /// resized one is a part of 8 to 100 percent of the area, brought to full size.
            augment: $crate::nn::feed::Augment,
            /// How much of each target is spread over all classes.
            label_smoothing: artifacts::units::Fraction,
            /// `f32`, or `bf16` on CUDA: products in 16 bits, values and statistics in 32.
            precision: $crate::nn::settings::Precision,
            /// Every how many epochs the test split is evaluated; 0 is after the last only.
            test_every: usize,
            /// Every how many epochs, at most, a checkpoint is kept. It changes no result.
            #[serde(skip_serializing)]
            checkpoint_every: artifacts::units::Count,
            $($(#[$meta])* $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                let count = |n: u64| artifacts::units::Count::try_from(n).expect("it is above 0");
                let none = artifacts::units::Fraction::try_from(0.0).expect("0 is a fraction");
                Self {
                    model: artifacts::architecture::Family::Resnet18,
                    width: None,
                    epochs: None,
                    iterations: None,
                    batch: count(128),
                    micro_batch: None,
                    optimizer: Default::default(),
                    lr: None,
                    momentum: None,
                    nesterov: None,
                    weight_decay: None,
                    schedule: Default::default(),
                    augment: Default::default(),
                    label_smoothing: none,
                    precision: Default::default(),
                    test_every: $test_every,
                    checkpoint_every: count(1),
                    $($field: $default,)*
                }
            }
        }

        impl $name {
            fn shared(&self) -> $crate::nn::settings::Shared {
                $crate::nn::settings::Shared {
                    model: self.model,
                    width: self.width,
                    epochs: self.epochs,
                    iterations: self.iterations,
                    batch: self.batch,
                    micro_batch: self.micro_batch,
                    optimizer: self.optimizer,
                    lr: self.lr,
                    momentum: self.momentum,
                    nesterov: self.nesterov,
                    weight_decay: self.weight_decay,
                    schedule: self.schedule,
                    augment: self.augment,
                    label_smoothing: self.label_smoothing,
                    precision: self.precision,
                    test_every: self.test_every,
                    checkpoint_every: self.checkpoint_every,
                }
            }

            /// Fills in the defaults that depend on other settings.
            fn resolved(&self) -> Self {
                let shared = self.shared().resolved($epochs);
                Self {
                    width: shared.width,
                    epochs: shared.epochs,
                    lr: shared.lr,
                    momentum: shared.momentum,
                    nesterov: shared.nesterov,
                    weight_decay: shared.weight_decay,
                    schedule: shared.schedule,
                    ..self.clone()
                }
            }
        }
    };
}
pub(crate) use training_settings;

/// The settings of a training with all defaults filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrainingConfig {
    pub(crate) architecture: Architecture,
    pub(crate) length: Length,
    pub(crate) batch: usize,
    /// How many samples go through the network at once.
    pub(crate) micro: usize,
    pub(crate) precision: Precision,
    pub(crate) rule: Rule,
    pub(crate) lr: f64,
    pub(crate) schedule: Schedule,
    pub(crate) augment: Augment,
    pub(crate) smoothing: f64,
    pub(crate) test_every: usize,
    pub(crate) checkpoint_every: usize,
    pub(crate) sampler: Sampler,
}

/// When a training ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// After so many epochs.
    Epochs(u64),
    /// After so many steps.
    Steps(u64),
}

impl Length {
    /// Returns how many steps that is, with so many in an epoch.
    pub(crate) fn steps(self, per_epoch: u64) -> u64 {
        match self {
            Self::Epochs(epochs) => epochs.saturating_mul(per_epoch),
            Self::Steps(steps) => steps,
        }
    }
}

impl Shared {
    /// Fills in the defaults that depend on other settings.
    pub(crate) fn resolved(self, epochs: u64) -> Self {
        let sgd = self.optimizer == OptimizerKind::Sgd;
        let fraction = |value: f64| Fraction::try_from(value).ok();
        let momentum = if sgd { self.momentum.or(fraction(0.9)) } else { self.momentum };
        let moving = momentum.is_some_and(|momentum| f64::from(momentum) > 0.0);
        let nesterov = if sgd { self.nesterov.or(Some(moving)) } else { self.nesterov };
        let (lr, decay) = match self.optimizer {
            OptimizerKind::Sgd => (0.1, 5e-4),
            OptimizerKind::Adam => (1e-3, 0.0),
            OptimizerKind::Adamw => (1e-3, 0.01),
        };
        let lr = self.lr.or(Positive::try_from(lr).ok());
        let rate = lr.map_or(0.0, f64::from);
        let epochs = match self.iterations {
            Some(_) => self.epochs,
            None => self.epochs.or(Count::try_from(epochs).ok()),
        };
        Self {
            width: self.width.or(self.model.width()),
            epochs,
            lr,
            momentum,
            nesterov,
            weight_decay: self.weight_decay.or(NonNegative::try_from(decay).ok()),
            schedule: self.schedule.resolved(rate),
            ..self
        }
    }

    /// Returns what does not go together. `self` is as read, without defaults.
    pub(crate) fn problems(self, epochs: u64) -> Vec<Problem> {
        let all = self.resolved(epochs);
        let mut found = vec![];
        let mut say = |setting: &str, message: &str, hint: Option<&str>| {
            let (setting, message) = (setting.to_owned(), message.to_owned());
            found.push(Problem { setting, message, hint: hint.map(str::to_owned) });
        };
        if self.epochs.is_some() && self.iterations.is_some() {
            let hint = "keep one of them";
            say("iterations", "the length is given twice, as `epochs` too", Some(hint));
        }
        if self.width.is_some() && self.model.width().is_none() {
            say("width", "this model has no width", None);
        }
        if self.micro_batch.is_some_and(|micro| micro.get() > self.batch.get()) {
            say("micro-batch", "it is larger than the batch", Some("leave it out"));
        }
        if self.optimizer != OptimizerKind::Sgd {
            let message = "only optimizer `sgd` has this setting";
            if self.momentum.is_some() {
                say("momentum", message, None);
            }
            if self.nesterov.is_some() {
                say("nesterov", message, None);
            }
        } else if all.nesterov == Some(true) && all.momentum.is_none_or(|m| f64::from(m) == 0.0) {
            say("nesterov", "it needs a momentum above 0", None);
        }
        let lr = all.lr.map_or(0.0, f64::from);
        let epochs = all.epochs.filter(|_| self.iterations.is_none()).map(Count::get);
        found.extend(self.schedule.problems(lr, epochs));
        found
    }

    /// Returns the plan. `self` has its defaults filled in.
    pub(crate) fn plan(self) -> TrainingConfig {
        let weight_decay = self.weight_decay.map_or(0.0, f64::from);
        let rule = match self.optimizer {
            OptimizerKind::Sgd => Rule::Sgd {
                momentum: self.momentum.map_or(0.0, f64::from),
                nesterov: self.nesterov == Some(true),
                weight_decay,
            },
            OptimizerKind::Adam => Rule::Adam { weight_decay, decoupled: false },
            OptimizerKind::Adamw => Rule::Adam { weight_decay, decoupled: true },
        };
        TrainingConfig {
            architecture: Architecture { name: self.model, width: self.width },
            length: match (self.iterations, self.epochs) {
                (Some(steps), _) => Length::Steps(steps.into()),
                (None, epochs) => Length::Epochs(epochs.map_or(1, u64::from)),
            },
            batch: self.batch.get(),
            micro: self.micro_batch.map_or(self.batch.get(), Count::get),
            precision: self.precision,
            rule,
            lr: self.lr.map_or(0.0, f64::from),
            schedule: self.schedule,
            augment: self.augment,
            smoothing: self.label_smoothing.into(),
            test_every: self.test_every,
            checkpoint_every: self.checkpoint_every.get(),
            sampler: Sampler::All,
        }
    }
}

impl TrainingConfig {
    /// Returns what this training's checkpoints are filed under: `settings` without the length,
    /// but with the horizon that the length stands for where none is set.
    pub(crate) fn trajectory(&self, mut settings: Value) -> Trajectory {
        let (unit, last_step) = match self.length {
            Length::Epochs(epochs) => ("epochs", epochs),
            Length::Steps(steps) => ("iterations", steps),
        };
        settings["unit"] = json!(unit);
        if let Some(fields) = settings.as_object_mut() {
            fields.remove("epochs");
            fields.remove("iterations");
        }
        if self.schedule.has_horizon() && self.schedule.horizon == 0 {
            match self.length {
                // As if it had been set: a longer training may set just this.
                Length::Epochs(epochs) => settings["schedule"]["horizon"] = json!(epochs),
                Length::Steps(steps) => settings["horizon-steps"] = json!(steps),
            }
        }
        if self.sampler.varies() {
            // Until when samples are left out is a share of the length.
            settings["sampler-horizon"] = json!(last_step);
        }
        Trajectory { settings, last_step }
    }

    /// Returns over how many steps the schedule runs its course, with so many in an epoch.
    pub(crate) fn horizon(&self, per_epoch: u64) -> u64 {
        match self.schedule.horizon {
            0 => self.length.steps(per_epoch),
            epochs => (epochs as u64).saturating_mul(per_epoch),
        }
    }
}
