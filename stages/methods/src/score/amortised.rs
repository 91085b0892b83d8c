//! Amortised scoring: a small network, fitted on other data sets, that tells hardness from neighbours.

use super::{ScoreInput, Scorer, TrainedProxy, usable_embeddings};
use crate::linalg::{group_means, squared_distance};
use artifacts::{ClassId, Matrix, scores::Scores};
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How hard a network that has never seen the data set takes each sample for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Amortised {}

/// Of how many nearest others the share with the sample's own label is taken.
const SHARES: [usize; 7] = [1, 3, 5, 10, 20, 50, 100];
/// What the network knows of a sample: those shares, and how far it is from its own class.
const INPUTS: usize = SHARES.len() + 1;

/// The network: one hidden layer with tanh. `scripts/amortised` fits and writes it.
#[derive(Debug, Deserialize)]
struct ScorerNetwork {
    /// \[hidden, inputs\].
    hidden: Vec<[f64; INPUTS]>,
    hidden_bias: Vec<f64>,
    out: Vec<f64>,
    out_bias: f64,
}

impl ScorerNetwork {
    fn shipped() -> Self {
        serde_json::from_str(include_str!("amortised.json")).expect("the shipped weights read")
    }

    /// Returns the rank of difficulty, about 0 to 1, of a sample of which this is known.
    fn rank(&self, known: &[f64; INPUTS]) -> f64 {
        let unit = |((row, bias), out): ((&[f64; INPUTS], &f64), &f64)| {
            let sum: f64 = row.iter().zip(known).map(|(weight, value)| weight * value).sum();
            out * (sum + bias).tanh()
        };
        let units = self.hidden.iter().zip(&self.hidden_bias).zip(&self.out);
        self.out_bias + units.map(unit).sum::<f64>()
    }
}

/// Returns what is known of each sample, by its neighbours and the means of the classes.
fn known(
    x: &Matrix<'_>,
    labels: &[ClassId],
    classes: usize,
    neighbours: &[Vec<u32>],
) -> Vec<[f64; INPUTS]> {
    let (means, counts) = group_means(x, labels, classes);
    let one = |(i, near): (usize, &Vec<u32>)| {
        let mut known = [0.0; INPUTS];
        for (share, count) in known.iter_mut().zip(SHARES) {
            let near = &near[..count.min(near.len())];
            let own = near.iter().filter(|other| labels[**other as usize] == labels[i]).count();
            *share = own as f64 / near.len().max(1) as f64;
        }
        let distance =
            |class: usize| f64::from(squared_distance(x.row(i), means.row(class))).sqrt();
        let own = labels[i].index();
        let others = (0..classes).filter(|class| *class != own && counts[*class] > 0);
        let other = others.map(distance).fold(f64::INFINITY, f64::min);
        let to_own = distance(own);
        known[INPUTS - 1] = to_own / (to_own + other + 1e-12);
        known
    };
    neighbours.par_iter().enumerate().map(one).collect()
}

impl Scorer for Amortised {
    const NAME: &'static str = "score.amortised";
    const SUMMARY: &'static str = "hardness told by a network that was fitted on other data sets";
    const MANUAL: &'static str = "\
No network is trained on the data: eight numbers that mean the same on every data set go through a small network
(8, 8 with tanh, 1; 81 weights, shipped) that was fitted to the ranks of AUM on eight others. They are the
shares of the nearest 1, 3, 5, 10, 20, 50 and 100 others that carry the sample's label, and d / (d + e), the
distances d of its embedding from the mean of its own class and e from the nearest mean of another. High is hard;
a score is a cautious guess of the rank, nearer to the middle than the ranks are.

    [stage.hard]
    use  = \"score.amortised\"
    from = { data = \"data\" }

With what it costs, a kNN graph, it takes the place of a trained proxy where a rank of hardness is enough. Fitted
without the data set itself, its scores' rank correlation with AUM over two proxies, and that of the share of 20
neighbours with another label (`score.knn-label`) beside it; of the hardest 30 % by AUM each finds this share:

    data set                n   network, of the hardest 30 %   20 neighbours, of the hardest 30 %
    digits              1,797    0.83   0.74                    0.63   0.68
    DNA                 3,186    0.25   0.45                    0.28   0.50
    Fashion-MNIST      20,000    0.81   0.74                    0.78   0.73
    letters            20,000    0.78   0.73                    0.72   0.73
    satellite           6,435    0.75   0.78                    0.77   0.79
    shuttle            58,000    0.65   0.56                    0.13   0.31
    vehicles              846    0.79   0.70                    0.78   0.73
    vowels                990    0.57   0.52                    0.50   0.46

Its gain is in what ties by neighbours alone, and it is not first everywhere. On DNA and vowels neighbours tell little,
and so does it. The order is that of AUM, so what selectors
do with the hardest holds here too: at small budgets the hardest are ruin, cut and cover (`select.ccs`).

Our own, after the amortised setting of question 2 of the field: kNN shares as features go back to Wilson, *Asymptotic
Properties of Nearest Neighbor Rules Using Edited Data*, IEEE SMC 1972; the target is Pleiss, Zhang, Elenberg &
Weinberger, *Identifying Mislabeled Data using the Area Under the Margin Ranking*, NeurIPS 2020. Fitted by
`scripts/amortised` on letters, satellite, shuttle, DNA, vowels and vehicles of R's mlbench, the 8x8 digits and
20,000 images of Fashion-MNIST, each counted the same. Cost: O(n^2 d) for the neighbours in tiles, O(n C d) for the
means; with a graph of 100 neighbours on port `graph` (`graph.knn`) the latter alone.";
    const READS: ScoreInput = ScoreInput::Neighbours;

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let most = SHARES[SHARES.len() - 1];
        let near = proxy.neighbours(most)?;
        let embeddings = usable_embeddings(proxy)?;
        let known = known(&embeddings, proxy.labels(), proxy.classes(), &near);
        let weights = ScorerNetwork::shipped();
        let scores = known.par_iter().map(|known| weights.rank(known) as f32).collect();
        Ok(Scores::harder_when_high(scores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn what_is_known_worked_by_hand() {
        // On a line: label 0 at 0, 1 and 10, label 1 at 2 and 11. Means 11/3 and 6.5.
        let x = Matrix::new(vec![0.0, 1.0, 10.0, 2.0, 11.0], 5, 1);
        let near = [vec![1, 3, 2], vec![0, 3], vec![4], vec![1, 0, 2], vec![2]];
        let found = known(&x, &ClassId::list([0, 0, 0, 1, 1]), 2, &near);
        assert_eq!(found[0][..2], [1.0, 2.0 / 3.0]);
        assert_eq!(found[2][..7], [0.0; 7]);
        let mean = 11.0 / 3.0;
        assert!((found[0][7] - mean / (mean + 6.5)).abs() < 1e-6);
        // With one class there is no other to be near to.
        let alone = known(&x, &[ClassId::at(0); 5], 1, &near);
        assert_eq!((alone[0][0], alone[0][7]), (1.0, 0.0));
    }

    #[test]
    fn a_sample_among_others_is_harder_than_one_among_its_own() {
        // Two heaps; the last of each carries the other's label.
        let heap = |at: f32| (0..20).map(move |i| at + 0.01 * i as f32);
        let x: Vec<f32> = heap(0.0).chain(heap(5.0)).collect();
        let labels: Vec<u32> =
            (0..40).map(|i| u32::from(i / 20 == 1) ^ u32::from(i % 20 == 19)).collect();
        let proxy = InMemory::embedded(&labels, 2, &x);
        let scores = Amortised::default().score(&proxy, Streams::new(0, &[])).expect("embedded");
        let wrong = scores.scores[19].min(scores.scores[39]);
        let right = (0..40).filter(|i| i % 20 != 19).map(|i| scores.scores[i]);
        assert!(right.fold(f32::NEG_INFINITY, f32::max) < wrong, "{:?}", scores.scores);
    }

    #[test]
    fn the_network_is_that_of_the_script() {
        // Printed by `scripts/amortised` for these inputs.
        let weights = ScorerNetwork::shipped();
        for (known, wanted) in EXAMPLES {
            assert!(
                (weights.rank(&known) - wanted).abs() < 1e-3,
                "{known:?}: {}",
                weights.rank(&known)
            );
        }
    }

    const EXAMPLES: [([f64; INPUTS], f64); 2] = [
        ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2], 0.4447),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.6], 0.6508),
    ];
}
