//! The log-determinant with the sign DeepCore gives it.

use super::{Group, Picks, Release, SelectInput, Selector};
use crate::select::{
    greedy::{self, Bound, Objective, Search, bounds},
    log_det::PickedSpan,
    similarity::Features,
};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the most redundant samples.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreLogDet {
    /// What similarity is of: `gradient` or `embedding`.
    pub(crate) features: Features,
    /// How the picks are found.
    pub(crate) search: Search,
    /// Which release: `2023`, or `2022`, whose gradients are of a softmax taken twice.
    pub(crate) release: Release,
}

/// What of each place is inside the span of those picked: DeepCore's gain.
struct Redundancy(PickedSpan);

impl Objective for Redundancy {
    fn len(&self) -> usize {
        self.0.inside.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        None
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        places.iter().map(|place| self.0.inside[*place as usize]).collect()
    }

    fn choose(&mut self, place: usize) {
        self.0.add(place, 0.0, |inside| inside);
    }
}

impl Selector for DeepCoreLogDet {
    const NAME: &'static str = "select.deepcore.log-det";
    const SUMMARY: &'static str = "the log-determinant as DeepCore does it: by redundancy";
    const MANUAL: &'static str = "\
`select.log-det` with the sign the other way round, and no ridge: each pick is the sample of which most is
*inside* the span of those before. Where DeepCore's lazy greedy meets that it returns samples 0, 1,
2, ...: so does this one, with `lazy`. Release of February 2023 (commit 74ec709); that of 2022 also takes the
softmax of its gradients twice: `rule.release = \"2022\"`.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `select.log-det`.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn streams(&self) -> &'static [&'static str] {
        self.search.streams()
    }

    fn variants() -> Vec<Self> {
        let searches = Search::each().map(|search| Self { search, ..Self::default() });
        let release = Release::Of2022;
        searches.into_iter().chain([Self { release, ..Self::default() }]).collect()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let cosines = self.release.cosines(group, self.features, false);
        let mut redundancy = Redundancy(PickedSpan::new(cosines, budget));
        let picks = match self.search.is_lazy() {
            true => first_to_beat(&mut redundancy, budget, group)?,
            false => greedy::maximize(&mut redundancy, budget, self.search, group)?,
        };
        Ok(picks.into())
    }
}

/// DeepCore's lazy greedy: the first place whose fresh gain beats those recomputed before it. Where
/// the function is not submodular its picks are not those of `naive`, and this repeats them.
fn first_to_beat(
    objective: &mut impl Objective,
    budget: usize,
    group: &Group<'_>,
) -> Result<Vec<u32>, StageError> {
    let mut heap = bounds(objective);
    let mut picks = Vec::with_capacity(budget);
    while picks.len() < budget {
        group.watch.step(picks.len(), budget)?;
        let (mut best, mut last) = (f64::NEG_INFINITY, None);
        loop {
            let top = heap.pop().expect("there are more places than the budget");
            if last == Some(top.place) {
                objective.choose(top.place as usize);
                picks.push(top.place);
                break;
            }
            let gain = objective.gains(&[top.place])[0];
            heap.push(Bound { gain, place: top.place });
            if gain >= best {
                (best, last) = (gain, Some(top.place));
            }
        }
    }
    Ok(picks)
}
