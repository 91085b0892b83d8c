//! CRUST: medoids of the gradients in the logits, class by class.

use super::{
    Group, Picks, SelectInput, Selector, craig,
    greedy::{self, Search},
    residuals,
};
use artifacts::ClassId;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples whose gradients in the logits, weighted, stand for those of their class.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Crust {
    /// How the picks are found.
    search: Search,
}

impl Selector for Crust {
    const NAME: &'static str = "select.crust";
    const SUMMARY: &'static str = "medoids of the gradients in the logits, against wrong labels";
    const MANUAL: &'static str = "\
Facility location on the distances between the gradients `p - y` in the logits within a class: greedily
minimises the sum, over all samples, of the distance to the nearest kept one. The weight of a kept sample is
the number of samples of its class nearest to it. Gradients of right labels lie close together and those of
wrong ones apart, so that few medoids stand for most, and the weights of wrong labels are small. Of equal
gains the earlier sample is picked. Without balance the classes compete for the budget, each starting as far
from served as its farthest pair is apart.

Mirzasoleiman, Cao & Leskovec, *Coresets for Robust Training of Neural Networks against Noisy Labels*,
NeurIPS 2020. In its code half of each class is selected anew before every epoch from the fifth on, with the
gradients of that epoch; here once, with those of the proxy: train it for few epochs, before it learns the
wrong labels, and take `balance = \"class\"`. `select.craig` is the same with the gradients of the last
layer, embeddings included. Cost: O(n_c^2 C) for the distances of a class; O(n_c) a gain; memory n_c^2 while
it fits, else tiles.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const READS: &'static [SelectInput] = &[SelectInput::Logits];
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
        let logits = group.logits();
        let spaces =
            |members: &[u32], labels: &[ClassId]| vec![residuals(&logits.gather(members), labels)];
        let mut all = craig::by_class(group, spaces);
        craig::weighted_medoids(&mut all, budget, self.search, group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::{Matrix, SampleId};
    use engine::Streams;

    #[test]
    fn a_class_is_served_by_its_largest_heap_first() {
        // Two classes. Class 0: three sure of it, two sure of the other class (wrong labels); class 1: two.
        let logits = [4.0, 0.0, 4.0, 0.0, 4.0, 0.0, 0.0, 4.0, 0.0, 4.0, 0.0, 2.0, 0.0, 2.0];
        let labels = ClassId::list([0, 0, 0, 0, 0, 1, 1]);
        let ground = TrainingSet {
            labels: &labels,
            logits: Some(Matrix::new(&logits[..], 7, 2)),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(5).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(0, &[]));
        let select = |budget| Crust::default().select(&group, budget).expect("nobody stops it");
        let one = select(1);
        assert_eq!((one.rows(), one.weights), (vec![0], Some(vec![5.0])));
        let two = select(2);
        assert_eq!((two.rows(), two.weights), (vec![0, 3], Some(vec![3.0, 2.0])));
    }
}
