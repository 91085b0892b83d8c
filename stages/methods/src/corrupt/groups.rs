//! `corrupt.groups`: a colour that goes with the label in training and does not in the test split.

use super::{
    another,
    stage::{Corrupted, Corruption},
};
use crate::{MethodError, load};
use artifacts::{
    ClassId, GroupId,
    dataset::{Dataset, Groups, Inputs},
    units::{Count, Fraction},
};
use engine::{Problem, StageError, Streams};
use rand::{Rng, RngExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hues are told apart by whole degrees.
const MOST: usize = 360;

/// The colours, in the order in which they are used, where there are enough.
const NAMED: [(&str, [u8; 3]); 12] = [
    ("red", [255, 0, 0]),
    ("green", [0, 255, 0]),
    ("blue", [0, 0, 255]),
    ("yellow", [255, 255, 0]),
    ("magenta", [255, 0, 255]),
    ("cyan", [0, 255, 255]),
    ("orange", [255, 128, 0]),
    ("violet", [128, 0, 255]),
    ("lime", [128, 255, 0]),
    ("azure", [0, 128, 255]),
    ("rose", [255, 0, 128]),
    ("mint", [0, 255, 128]),
];

/// How closely colour and label go together.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct SpuriousGroups {
    /// The probability that a training sample has the colour of its label. One over the number of
    /// colours is no correlation.
    correlation: Fraction,
    /// How many colours there are, at most 360. Without it, as many as classes.
    colours: Option<Count>,
}

impl Default for SpuriousGroups {
    fn default() -> Self {
        let correlation = Fraction::try_from(0.95).expect("0.95 is a fraction");
        Self { correlation, colours: None }
    }
}

impl Corruption for SpuriousGroups {
    const NAME: &'static str = "corrupt.groups";
    const SUMMARY: &'static str = "colours grey images so that colour and label go together";
    const MANUAL: &'static str = "\
Colours grey images, so that a model may learn the colour instead of what is shown: a spurious correlation. \
The colour of class y is the y-th (again from the first if there are fewer colours than classes). A training \
sample has it with probability `correlation`, else one of the others, drawn evenly; in the test split every \
colour is drawn evenly, whatever the label. A group is a class and a colour, such as `dress/red`: the training \
samples that go against the correlation are its minority groups, and `evaluate` tells the accuracy of the worst \
group.

Coloured MNIST is of Arjovsky, Bottou, Gulrajani & Lopez-Paz, *Invariant Risk Minimization*, 2019, \
arXiv:1907.02893: two classes, two colours, and several training sets that differ in their correlation. With as \
many colours as classes and one training set it is that of the work on worst groups (Sagawa et al., \
*Distributionally Robust Neural Networks for Group Shifts*, ICLR 2020, has the measure).

An image of one channel gets three, its levels times the colour, so that what is black stays black; mean and \
standard deviation are measured anew on the training images. Up to twelve colours have names, more are evenly \
spaced hues. The labels are those the data have by then: noise laid on them before goes into the colours, noise \
laid on them afterwards does not. The output says which group each sample is in; only `evaluate` and the models' \
summaries read that. Groups the data had before are replaced.

Cost: the images of both splits, three times as large, in memory.";
    const STREAMS: &'static [&'static str] = &["train", "test"];

    fn problems(&self) -> Vec<Problem> {
        let problem = |message: String| Problem {
            setting: "colours".to_owned(),
            message,
            hint: Some("without it there are as many colours as classes".to_owned()),
        };
        match self.colours.map(Count::get) {
            Some(1) => vec![problem("one colour goes with every label".to_owned())],
            Some(n) if n > MOST => vec![problem(format!("{n} colours are more than {MOST}"))],
            _ => vec![],
        }
    }

    fn corrupt(
        &self,
        mut data: Dataset,
        streams: Streams,
    ) -> Result<Option<Corrupted>, StageError> {
        let classes = data.meta.classes.len();
        let n = self.colours.map_or(classes, Count::get);
        if !(2..=MOST).contains(&n) {
            return Err(MethodError::ColourCount { n }.into());
        }
        let colours = colours(n);
        let mut draws = streams.get("train");
        let train = self.spurious(&data.train.labels, n as u32, &mut draws);
        let mut draws = streams.get("test");
        let test: Vec<u32> =
            data.test.labels.iter().map(|_| draws.random_range(0..n as u32)).collect();
        let each = data.meta.each();
        let not_grey = || MethodError::NotGrey { sample: data.meta.sample.clone() };
        let &[1, h, w] = &data.meta.sample[..] else { return Err(not_grey().into()) };
        for (split, drawn) in [(&mut data.train, &train), (&mut data.test, &test)] {
            let Inputs::Images(grey) = &split.inputs else { return Err(not_grey().into()) };
            split.inputs = Inputs::Images(tinted(grey, each, drawn, &colours).into());
        }
        data.meta.sample = vec![3, h, w];
        if let Inputs::Images(images) = &data.train.inputs {
            (data.meta.mean, data.meta.std) = load::moments(images, &data.meta.sample);
        }
        let group = |(label, colour): (&ClassId, &u32)| with_class(*label, *colour, n);
        let groups =
            |labels: &[ClassId], drawn: &[u32]| labels.iter().zip(drawn).map(group).collect();
        let against = data.train.labels.iter().zip(&train);
        let against =
            against.filter(|(label, colour)| label.index() % n != **colour as usize).count();
        let all = data.meta.train;
        let log = format!("{against} of {all} training samples go against the correlation");
        let of: Vec<String> = colours.into_iter().map(|(name, _)| name).collect();
        data.groups = Some(Groups {
            train: groups(&data.train.labels, &train),
            test: groups(&data.test.labels, &test),
            names: names(&data.meta.classes, &of),
        });
        Ok(Some(Corrupted { data, log }))
    }
}

impl SpuriousGroups {
    /// Returns a colour of `n` for each label, the label's own with the probability set.
    fn spurious(&self, labels: &[ClassId], n: u32, rng: &mut impl Rng) -> Vec<u32> {
        let draw = |label: &ClassId| {
            let own = u32::from(*label) % n;
            if rng.random::<f64>() < f64::from(self.correlation) {
                return own;
            }
            another(rng, own, n)
        };
        labels.iter().map(draw).collect()
    }
}

/// Returns the names and the values of red, green and blue of `n` colours.
fn colours(n: usize) -> Vec<(String, [u8; 3])> {
    if n <= NAMED.len() {
        return NAMED[..n].iter().map(|(name, rgb)| ((*name).to_owned(), *rgb)).collect();
    }
    let hue = |at: usize| at * MOST / n;
    (0..n).map(|at| (format!("hue {}", hue(at)), of_hue(hue(at)))).collect()
}

/// Returns the full colour at a place of the circle of hues, in degrees.
fn of_hue(degrees: usize) -> [u8; 3] {
    // Each channel is full for 120 degrees around its own hue, and falls to 0 over the 60 beyond.
    [0, 120, 240].map(|own| {
        let away = degrees.abs_diff(own);
        let away = away.min(360 - away);
        (120_usize.saturating_sub(away).min(60) * 255 / 60) as u8
    })
}

/// Returns grey images of `each` pixels in the colours drawn for them, `[n, 3, h, w]`.
fn tinted(grey: &[u8], each: usize, drawn: &[u32], colours: &[(String, [u8; 3])]) -> Vec<u8> {
    let mut out = Vec::with_capacity(grey.len() * 3);
    for (image, colour) in grey.chunks_exact(each).zip(drawn) {
        for channel in colours[*colour as usize].1 {
            let (full, half) = (u16::from(u8::MAX), u16::from(u8::MAX / 2));
            let level = |level: &u8| ((u16::from(*level) * u16::from(channel) + half) / full) as u8;
            out.extend(image.iter().map(level));
        }
    }
    out
}

/// Returns the group of samples of `class` that have `value`, one of `values`: its position among [`names`].
pub(super) fn with_class(class: ClassId, value: u32, values: usize) -> GroupId {
    GroupId::at(class.index() * values + value as usize)
}

/// Returns the names of groups of a class and a value: all values of the first class, then of the next.
pub(super) fn names(classes: &[String], values: &[String]) -> Vec<String> {
    let of = |class: &String| {
        let names = values.iter().map(|value| format!("{class}/{value}"));
        names.collect::<Vec<_>>()
    };
    classes.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrupt::tests::{grey, run};

    #[test]
    fn the_colour_goes_with_the_label_in_training_alone() {
        let labels: Vec<u32> = (0..8_000).map(|at| at % 4).collect();
        let colour = SpuriousGroups {
            correlation: Fraction::try_from(0.8).expect("a fraction"),
            colours: None,
        };
        let found = run(&colour, grey(&labels, &labels)).expect("it can be coloured");
        let groups = found.groups.expect("it has groups");
        assert_eq!(groups.names[..5], ["a/red", "a/green", "a/blue", "a/yellow", "b/red"]);
        let count = |all: &[GroupId], one| all.iter().filter(|group| group.index() == one).count();
        for class in 0..4 {
            for colour in 0..4 {
                let of = |all| count(all, class * 4 + colour);
                // Of 2,000: 1,600 with a standard deviation of 18, else 133 with 11; 500 with 19.
                let wanted = if class == colour { 1_600 } else { 133 };
                assert!(of(&groups.train).abs_diff(wanted) < 90, "{class} {colour}");
                assert!(of(&groups.test).abs_diff(500) < 95, "{class} {colour}");
            }
        }
    }

    #[test]
    fn what_is_grey_has_the_levels_of_its_colour() {
        let colour =
            SpuriousGroups { correlation: Fraction::try_from(1.0).expect("one"), colours: None };
        let data = grey(&[1, 0], &[]);
        let Inputs::Images(before) = &data.train.inputs else { panic!("not images") };
        let (one, other) = (before[..4].to_vec(), before[4..].to_vec());
        let found = run(&colour, data).expect("it can be coloured");
        assert_eq!(found.meta.sample, [3, 2, 2]);
        let Inputs::Images(after) = &found.train.inputs else { panic!("not images") };
        let black = vec![0; 4];
        // Green, then red.
        assert_eq!(**after, [&black[..], &one, &black, &other, &black, &black].concat()[..]);
        assert_eq!((found.meta.mean.len(), found.meta.mean[2]), (3, 0.0));
    }

    #[test]
    fn many_colours_are_hues_around_the_circle() {
        assert_eq!(
            [0, 60, 90, 240, 330].map(of_hue),
            [[255, 0, 0], [255, 255, 0], [127, 255, 0], [0, 0, 255], [255, 0, 127]]
        );
        let all = colours(36);
        assert_eq!((all.len(), &*all[35].0, all[12].1), (36, "hue 350", [0, 255, 0]));
    }

    #[test]
    fn what_has_colours_is_refused() {
        let mut data = grey(&[0, 1], &[]);
        data.meta.sample = vec![2, 1, 2];
        let error = run(&SpuriousGroups::default(), data).err().expect("it is not grey");
        assert!(error.to_string().contains("[2, 1, 2]"), "{error}");
        for n in [1, 361] {
            let colours = Count::try_from(n).ok();
            let one = SpuriousGroups { colours, ..SpuriousGroups::default() };
            assert_eq!(one.problems().len(), 1, "{n}");
        }
    }
}
