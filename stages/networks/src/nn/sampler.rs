//! Which samples an epoch of training goes through: all of them, or a part drawn anew while training.
//!
//! A draw is a pure function of the epoch and the random streams, and for InfoBatch of the samples' last
//! losses, which are part of the training's state: a training that goes on draws what it would have drawn.

use super::settings::Length;
use artifacts::{
    draw::shuffle,
    units::{Count, Fraction},
};
use engine::{Problem, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The random stream of what a sampler leaves out.
pub(crate) const STREAM: &str = "sampler";

/// A way to draw the samples of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SamplerKind {
    /// All of them.
    #[default]
    All,
    /// The next part of a shuffled pass over them (Okanovic et al., 2024).
    Rs2,
    /// Those that are not yet learnt, and some of the others, which then count more (Qin et al., 2024).
    Infobatch,
    /// A random part, drawn anew every few epochs (Killamsetty et al., 2021).
    RandomOnline,
}

impl SamplerKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// A sampler's settings, as read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SamplerSettings {
    pub(crate) kind: SamplerKind,
    pub(crate) keep: Option<Fraction>,
    pub(crate) every: Option<Count>,
    pub(crate) prune: Option<Fraction>,
    pub(crate) until: Option<Fraction>,
}

// What `resolved` fills in: CORDS's period, InfoBatch's r and delta.
const EVERY: u64 = 20;
const PRUNE: f64 = 0.5;
const UNTIL: f64 = 0.875;

impl SamplerSettings {
    /// Fills in the defaults of the sampler chosen.
    pub(crate) fn resolved(mut self) -> Self {
        let fraction = |value: f64| Fraction::try_from(value).ok();
        match self.kind {
            SamplerKind::RandomOnline => self.every = self.every.or(Count::try_from(EVERY).ok()),
            SamplerKind::Infobatch => {
                self.prune = self.prune.or(fraction(PRUNE));
                self.until = self.until.or(fraction(UNTIL));
            }
            SamplerKind::All | SamplerKind::Rs2 => {}
        }
        self
    }

    /// Returns the settings that do not go with the sampler. `self` is as read, without defaults.
    pub(crate) fn problems(self) -> Vec<Problem> {
        let mut found = vec![];
        let mut say = |setting: &str, message: &str, hint: Option<&str>| {
            let (setting, message) = (setting.to_owned(), message.to_owned());
            found.push(Problem { setting, message, hint: hint.map(str::to_owned) });
        };
        let drawn = matches!(self.kind, SamplerKind::Rs2 | SamplerKind::RandomOnline);
        match self.keep.map(f64::from) {
            None if drawn => {
                let hint = "set `sampler-keep = 0.1`, say";
                say("sampler", "it is not said which share an epoch goes through", Some(hint));
            }
            Some(0.0) if drawn => say("sampler-keep", "no sample would be seen", None),
            Some(_) if !drawn => {
                say(
                    "sampler-keep",
                    "only samplers `rs2` and `random-online` have this setting",
                    None,
                );
            }
            _ => {}
        }
        if self.every.is_some() && self.kind != SamplerKind::RandomOnline {
            say("sampler-every", "only sampler `random-online` has this setting", None);
        }
        let infobatch = self.kind == SamplerKind::Infobatch;
        if self.prune.is_some() && !infobatch {
            say("sampler-prune", "only sampler `infobatch` has this setting", None);
        }
        if self.prune.is_some_and(|prune| f64::from(prune) == 1.0) {
            let message = "nothing learnt would be seen again, and nothing can make up for it";
            say("sampler-prune", message, Some("it must be below 1"));
        }
        if self.until.is_some() && !infobatch {
            say("sampler-until", "only sampler `infobatch` has this setting", None);
        }
        found
    }

    /// Returns the sampler. `self` has its defaults filled in.
    pub(crate) fn sampler(self) -> Sampler {
        let share = |fraction: Option<Fraction>| fraction.map_or(1.0, f64::from);
        match self.kind {
            SamplerKind::All => Sampler::All,
            SamplerKind::Rs2 => Sampler::Rs2 { keep: share(self.keep) },
            SamplerKind::RandomOnline => Sampler::RandomOnline {
                keep: share(self.keep),
                every: self.every.map_or(EVERY, u64::from),
            },
            SamplerKind::Infobatch => {
                Sampler::InfoBatch { prune: share(self.prune), until: share(self.until) }
            }
        }
    }
}

/// A sampler with all its settings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Sampler {
    /// Every sample.
    #[default]
    All,
    /// A shuffled pass is cut into parts of this share; an epoch is a part.
    Rs2 { keep: f64 },
    /// This share of the samples, the same for so many epochs.
    RandomOnline { keep: f64, every: u64 },
    /// This share of the samples below the mean loss is left out, until this share of the training.
    InfoBatch { prune: f64, until: f64 },
}

/// What an epoch goes through.
#[derive(Debug, PartialEq)]
pub(super) struct EpochDraw {
    /// Positions in the subset, in the order they are seen.
    pub(super) order: Vec<u32>,
    /// How much more each position of the subset counts, for what was left out; `None` is 1 for all.
    pub(super) factors: Option<Vec<f32>>,
}

/// A sample that was not seen yet has this loss, as in InfoBatch's code: all are equal in the first epoch,
/// and none is below the mean.
const UNSEEN: f32 = 3.0;

impl Sampler {
    /// Returns how many of `n` samples an epoch goes through; with InfoBatch, at most.
    pub(super) fn seen(self, n: usize) -> usize {
        match self {
            Self::All | Self::InfoBatch { .. } => n,
            Self::Rs2 { keep } | Self::RandomOnline { keep, .. } => {
                ((keep * n as f64).round_ties_even() as usize).clamp(1, n.max(1))
            }
        }
    }

    /// Whether an epoch is shorter or longer depending on how the training goes.
    pub(super) fn varies(self) -> bool {
        matches!(self, Self::InfoBatch { .. })
    }

    /// Returns the losses before the first epoch, for a sampler that looks at them.
    pub(super) fn first_losses(self, n: usize) -> Vec<f32> {
        if self.varies() { vec![UNSEEN; n] } else { vec![] }
    }

    /// Whether `epoch`, counted from 0 and begun after `steps` steps, leaves samples out.
    fn leaves_out(self, length: Length, epoch: u64, steps: u64) -> bool {
        let Self::InfoBatch { until, .. } = self else { return false };
        match length {
            Length::Epochs(all) => (epoch as f64) < until * all as f64,
            Length::Steps(all) => (steps as f64) < until * all as f64,
        }
    }

    /// Draws what `epoch`, counted from 0 and begun after `steps` steps, goes through. `losses` is that of
    /// each sample when it was last seen, if [`Self::first_losses`] says that they are kept.
    pub(super) fn draw(
        self,
        streams: &Streams,
        length: Length,
        (epoch, steps): (u64, u64),
        (n, losses): (usize, &[f32]),
    ) -> EpochDraw {
        let shuffled = |stream: &str, at: u64, mut order: Vec<u32>| {
            shuffle(&mut streams.at(stream, at), &mut order);
            order
        };
        let everything = || (0..n as u32).collect::<Vec<u32>>();
        match self {
            Self::Rs2 { .. } => {
                let each = self.seen(n) as u64;
                let (from, to, n) = (epoch * each, (epoch + 1) * each, n as u64);
                let parts = (from / n..=(to - 1) / n).flat_map(|pass| {
                    let within = |at: u64| (at.clamp(pass * n, (pass + 1) * n) - pass * n) as usize;
                    shuffled("shuffle", pass, everything())[within(from)..within(to)].to_vec()
                });
                EpochDraw { order: parts.collect(), factors: None }
            }
            Self::RandomOnline { every, .. } => {
                let mut part = shuffled(STREAM, epoch / every, everything());
                part.truncate(self.seen(n));
                EpochDraw { order: shuffled("shuffle", epoch, part), factors: None }
            }
            Self::InfoBatch { prune, .. } if self.leaves_out(length, epoch, steps) => {
                let mean = losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / n as f64;
                let (learnt, mut order): (Vec<u32>, Vec<u32>) =
                    everything().into_iter().partition(|at| f64::from(losses[*at as usize]) < mean);
                let kept = ((1.0 - prune) * learnt.len() as f64) as usize;
                let learnt = shuffled(STREAM, epoch, learnt);
                let mut factors = vec![1.0; n];
                for at in &learnt[..kept] {
                    factors[*at as usize] = (1.0 / (1.0 - prune)) as f32;
                }
                order.extend_from_slice(&learnt[..kept]);
                EpochDraw { order: shuffled("shuffle", epoch, order), factors: Some(factors) }
            }
            Self::All | Self::InfoBatch { .. } => {
                EpochDraw { order: shuffled("shuffle", epoch, everything()), factors: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(sampler: Sampler, epochs: u64, n: usize, losses: &[f32]) -> Vec<EpochDraw> {
        let streams = Streams::new(5, &["shuffle", STREAM]);
        let draw = |epoch| sampler.draw(&streams, Length::Epochs(epochs), (epoch, 0), (n, losses));
        (0..epochs).map(draw).collect()
    }

    fn sorted(mut order: Vec<u32>) -> Vec<u32> {
        order.sort_unstable();
        order
    }

    #[test]
    fn rs2_goes_through_everything_before_anything_comes_again() {
        // 3 of 10 in an epoch: after ten epochs three passes are complete, each of all ten samples.
        let seen: Vec<u32> = draws(Sampler::Rs2 { keep: 0.3 }, 10, 10, &[])
            .into_iter()
            .flat_map(|d| d.order)
            .collect();
        for pass in seen.chunks(10) {
            assert_eq!(sorted(pass.to_vec()), (0..10).collect::<Vec<u32>>());
        }
        assert_ne!(seen[..10], seen[10..20], "each pass has an order of its own");
        // With all of them in an epoch it is the training without a sampler.
        let all = draws(Sampler::All, 3, 10, &[]);
        assert_eq!(draws(Sampler::Rs2 { keep: 1.0 }, 3, 10, &[]), all);
    }

    #[test]
    fn a_random_part_stays_for_its_epochs_and_changes_order() {
        let sampler = Sampler::RandomOnline { keep: 0.5, every: 2 };
        let orders: Vec<Vec<u32>> =
            draws(sampler, 4, 40, &[]).into_iter().map(|draw| draw.order).collect();
        let sets: Vec<Vec<u32>> = orders.iter().cloned().map(sorted).collect();
        assert!(sets.iter().all(|set| set.len() == 20));
        assert!(sets[0] == sets[1] && sets[1] != sets[2] && sets[2] == sets[3]);
        assert_ne!(orders[0], orders[1]);
    }

    #[test]
    fn infobatch_leaves_out_what_is_below_the_mean_and_weighs_what_it_keeps() {
        let sampler = Sampler::InfoBatch { prune: 0.75, until: 0.5 };
        // Before anything was seen the losses are equal, whatever their number, and all are kept.
        let first = draws(sampler, 2, 7, &sampler.first_losses(7)).remove(0);
        assert_eq!(sorted(first.order), (0..7).collect::<Vec<u32>>());
        assert_eq!(first.factors, Some(vec![1.0; 7]));
        // Mean 1.5: of samples 0 to 7, two are kept and count four times; 8 and 9 always are.
        let losses = [[0.5; 8].as_slice(), &[5.5, 5.5]].concat();
        let both = draws(sampler, 2, 10, &losses);
        let factors = both[0].factors.as_ref().expect("some were left out");
        assert_eq!(both[0].order.len(), 4);
        assert!(both[0].order.contains(&8) && both[0].order.contains(&9));
        let weights: f32 = both[0].order.iter().map(|at| factors[*at as usize]).sum();
        assert!((weights - 10.0).abs() < 1e-6, "the weights stand for all samples: {weights}");
        // The second half of the training sees all again.
        assert_eq!((both[1].order.len(), &both[1].factors), (10, &None));
    }

    #[test]
    fn settings_of_another_sampler_are_refused() {
        let settings = |kind, keep: Option<f64>, every: Option<u64>| SamplerSettings {
            kind,
            keep: keep.and_then(|keep| Fraction::try_from(keep).ok()),
            every: every.and_then(|every| Count::try_from(every).ok()),
            ..SamplerSettings::default()
        };
        let names = |settings: SamplerSettings| {
            settings.problems().into_iter().map(|problem| problem.setting).collect::<Vec<_>>()
        };
        assert_eq!(names(settings(SamplerKind::Rs2, None, None)), ["sampler"]);
        assert_eq!(
            names(settings(SamplerKind::Rs2, Some(0.0), Some(2))),
            ["sampler-keep", "sampler-every"]
        );
        assert_eq!(names(settings(SamplerKind::All, Some(0.5), None)), ["sampler-keep"]);
        assert!(names(settings(SamplerKind::RandomOnline, Some(0.5), Some(2))).is_empty());
        assert!(names(settings(SamplerKind::Infobatch, None, None)).is_empty());
    }
}
