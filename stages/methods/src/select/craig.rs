//! CRAIG: medoids of the gradients, weighted by what they stand for.

use super::{
    Group, Picks, SelectInput, Selector,
    facility_location::Coverage,
    greedy::{self, Objective, Search},
};
use crate::linalg::{Compute, CoverageGains, Gram, Pairwise, PairwiseRows};
use artifacts::{ClassId, Matrix};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Keeps samples whose gradients, weighted, stand for those of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Craig {
    /// How the picks are found.
    pub(crate) search: Search,
}

/// The members of one class of the group, and how far their gradients are apart.
struct ClassCoverage {
    members: Vec<u32>,
    coverage: Coverage,
}

/// The classes of a group. A sample stands for its own class alone, so a class never looks at
/// another; they compete only for the budget.
pub(super) struct Classes {
    classes: Vec<ClassCoverage>,
    /// For every place its class and its place there.
    homes: Vec<(u32, u32)>,
}

/// Returns the negative distances between gradients, a row at a time. A gradient is the product of its vectors
/// in these spaces.
fn nearness(spaces: Vec<Matrix<'static>>, compute: &Compute) -> PairwiseRows<'static> {
    let square = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let of = |i: usize| spaces.iter().map(|space| square(space.row(i))).product();
    let squares: Vec<f64> = (0..spaces[0].rows()).map(of).collect();
    PairwiseRows::new(Gram::new(spaces).on(compute, true), Pairwise::NegativeDistance { squares })
}

impl Objective for Classes {
    fn len(&self) -> usize {
        self.homes.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        self.classes[0].coverage.batch()
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        let mut asked: BTreeMap<u32, (Vec<usize>, Vec<u32>)> = BTreeMap::new();
        for (at, place) in places.iter().enumerate() {
            let (class, home) = self.homes[*place as usize];
            let (ats, homes) = asked.entry(class).or_default();
            ats.push(at);
            homes.push(home);
        }
        let mut gains = vec![0.0; places.len()];
        for (class, (ats, homes)) in asked {
            for (at, gain) in ats.iter().zip(self.classes[class as usize].coverage.gains(&homes)) {
                gains[*at] = gain;
            }
        }
        gains
    }

    fn choose(&mut self, place: usize) {
        let (class, home) = self.homes[place];
        self.classes[class as usize].coverage.choose(home as usize);
    }
}

/// Returns the classes of `group` by the gradients in the last layer. `residuals` returns the part in the
/// logits of the gradients of one class, given its logits and labels.
pub(super) fn classes(
    group: &Group<'_>,
    residuals: impl Fn(&Matrix<'_>, &[ClassId]) -> Matrix<'static>,
) -> Classes {
    let (logits, inputs) = (group.logits(), group.inputs_of_last_layer());
    by_class(group, |members, labels| {
        let residuals = residuals(&logits.gather(members), labels);
        let inputs = inputs.gather(members);
        vec![residuals, Matrix::new(inputs.data().to_vec(), inputs.rows(), inputs.cols())]
    })
}

/// Returns the classes of `group`, each member as far from being served as the farthest pair of its
/// class is apart. `spaces` returns the vectors whose products are the gradients of one class, given the
/// places of its members and their labels.
pub(super) fn by_class(
    group: &Group<'_>,
    spaces: impl Fn(&[u32], &[ClassId]) -> Vec<Matrix<'static>>,
) -> Classes {
    let labels = group.labels();
    let mut members: BTreeMap<ClassId, Vec<u32>> = BTreeMap::new();
    for (place, label) in labels.iter().enumerate() {
        members.entry(*label).or_default().push(place as u32);
    }
    let mut homes = vec![(0, 0); labels.len()];
    let mut room = group.compute.memory;
    let classes = members.into_iter().enumerate().map(|(class, (label, members))| {
        for (home, place) in members.iter().enumerate() {
            homes[*place as usize] = (class as u32, home as u32);
        }
        let spaces = spaces(&members, &vec![label; members.len()]);
        let mut above = CoverageGains::new(nearness(spaces, group.compute), 0.0, &mut room);
        // 1e-3 beyond, so that the farthest pick of a class still gains something.
        let farthest = f64::from(above.rows().least());
        above.level((farthest - 1e-3) as f32);
        ClassCoverage { members, coverage: Coverage(above) }
    });
    let classes = classes.collect();
    Classes { classes, homes }
}

/// Returns, for every member, the place among `picks` (ascending) of the one it is nearest to in its
/// own class; of equally near picks it is the first. None in a class without a pick.
pub(super) fn nearest(all: &Classes, picks: &[u32]) -> Vec<Option<usize>> {
    let mut found = vec![];
    for (at, class) in all.classes.iter().enumerate() {
        let mut best = vec![(f32::NEG_INFINITY, None); class.members.len()];
        let homes = picks.iter().map(|place| all.homes[*place as usize]).enumerate();
        let here = homes.filter(|(_, (class, _))| *class as usize == at);
        let (here, homes): (Vec<usize>, Vec<u32>) =
            here.map(|(pick, (_, home))| (pick, home)).unzip();
        class.coverage.0.rows().for_each(&homes, |at, row| {
            for (best, near) in best.iter_mut().zip(row) {
                if *near > best.0 {
                    *best = (*near, Some(here[at]));
                }
            }
        });
        found.extend(best.into_iter().map(|(_, pick)| pick));
    }
    found
}

/// Returns how often each of `count` picks is found among `nearest`.
pub(super) fn sizes(nearest: impl Iterator<Item = usize>, count: usize) -> Vec<u32> {
    let mut sizes = vec![0; count];
    nearest.for_each(|pick| sizes[pick] += 1);
    sizes
}

/// Picks `budget` samples that serve all of their class, each weighing as many as it is nearest to.
pub(super) fn weighted_medoids(
    all: &mut Classes,
    budget: usize,
    search: Search,
    group: &Group<'_>,
) -> Result<Picks, StageError> {
    let mut places = greedy::maximize(all, budget, search, group)?;
    places.sort_unstable();
    let sizes = sizes(nearest(all, &places).into_iter().flatten(), places.len());
    let weights = sizes.iter().map(|size| *size as f32).collect();
    Ok(Picks::at_rows(places, Some(weights)))
}

impl Selector for Craig {
    const NAME: &'static str = "select.craig";
    const SUMMARY: &'static str = "medoids of the gradients, weighted by how many each stands for";
    const MANUAL: &'static str = "\
Facility location on the distances between last-layer gradients within a class: greedily minimises the sum,
over all samples, of the distance to the nearest kept one. The weight of a kept sample is the number
of samples of its class nearest to it. Of equal gains the earlier sample is picked. Without balance
the classes compete for the budget, each starting as far from served as its farthest pair is apart.

Mirzasoleiman, Bilmes & Leskovec, *Coresets for Data-efficient Training of Machine Learning Models*, ICML
2020, algorithm 1. Cost: O(n_c^2 (C + d)) for the distances of a class, from the gradients' factors, which
are never multiplied out; O(n_c) a gain; memory n_c^2 while it fits, else tiles.

DeepCore's own, which weighs otherwise, is `select.deepcore.craig`.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const REVISION: u32 = 2;
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn streams(&self) -> &'static [&'static str] {
        self.search.streams()
    }

    fn variants() -> Vec<Self> {
        Search::each().map(|search| Self { search }).to_vec()
    }

    fn avoids_copies(&self) -> Option<usize> {
        self.search.is_lazy().then_some(usize::MAX)
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        weighted_medoids(&mut classes(group, super::residuals), budget, self.search, group)
    }
}
