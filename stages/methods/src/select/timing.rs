//! What every selector costs on one group: run by hand, in release, with `--ignored --nocapture`.
//!
//! See `crate::timing` for its variables. A tenth is selected of each; d = 512, ten classes in one group.

use super::{Group, Picks, Query, Selector, TrainingSet, laws::doubles};
use crate::linalg::noise;
use artifacts::{ClassId, Matrix, SampleId};
use engine::Streams;

const D: usize = 512;
const CLASSES: usize = 10;
const EPOCHS: usize = 20;
const QUERY: usize = 500;

fn time<S: Selector>(rule: &S, group: &Group<'_>, budget: usize) {
    let size = |picks: &Picks| format!("n {:7} k {:6}", group.len(), picks.places.len());
    crate::timing::time(S::NAME, size, || rule.select(group, budget).expect("nobody stops it"));
}

#[test]
#[ignore = "it takes its time, and asserts nothing"]
fn selectors() {
    for n in crate::timing::sizes() {
        selectors_of(n);
    }
}

fn selectors_of(n: usize) {
    let labels = ClassId::list((0..n as u32).map(|i| i % CLASSES as u32));
    let (means, mut embeddings) = (noise(CLASSES * D, 1), noise(n * D, 2));
    for (at, h) in embeddings.iter_mut().enumerate() {
        *h = (*h + means[labels[at / D].index() * D + at % D]).max(0.0);
    }
    let mut logits = noise(n * CLASSES, 3);
    for (i, label) in labels.iter().enumerate() {
        logits[i * CLASSES + label.index()] += 2.0;
    }
    let scores = noise(n, 4);
    let probabilities: Vec<f32> = scores.iter().map(|score| (1.0 - score) / 2.0).collect();
    let (losses, query) = (noise(n * EPOCHS, 5), noise(QUERY * D, 6));
    let ground = TrainingSet {
        labels: &labels,
        scores: Some(&doubles(&scores)),
        probabilities: Some(&probabilities),
        logits: Some(Matrix::new(&logits, n, CLASSES)),
        embeddings: Some(Matrix::new(&embeddings, n, D)),
        losses: Some(Matrix::new(&losses, n, EPOCHS)),
        query: Some(Query { vectors: Matrix::new(&query, QUERY, D), samples: &[] }),
        ..TrainingSet::default()
    };
    let members: Vec<SampleId> = SampleId::all(n).collect();
    let streams = Streams::new(0, &["first", "picks", "strata", "clusters"]);
    let group = Group::unwatched(&ground, &members, 0, streams);
    let budget = n / 10;
    time(&super::top::Top::default(), &group, budget);
    time(&super::random::RandomSubset::default(), &group, budget);
    time(&super::k_center::KCenter::default(), &group, budget);
    time(&super::contextual_diversity::ContextualDiversity::default(), &group, budget);
    time(&super::herding::Herding::default(), &group, budget);
    time(&super::cal::Cal::default(), &group, budget);
    time(&super::craig::Craig::default(), &group, budget);
    time(&super::gradmatch::GradMatch::default(), &group, budget);
    if n == 5000 {
        time(&super::gradmatch::GradMatch::default(), &group, 150);
    }
    time(&super::glister::Glister::default(), &group, budget);
    time(&super::facility_location::FacilityLocation::default(), &group, budget);
    time(&super::graph_cut::GraphCut::default(), &group, budget);
    time(&super::log_det::LogDet::default(), &group, budget);
    time(&super::ccs::Ccs::default(), &group, budget);
    time(&super::beta::Beta::default(), &group, budget);
    time(&super::double_end::DoubleEnd::default(), &group, budget);
    time(&super::gm_matching::GmMatching::default(), &group, budget);
    time(&super::dedup::Dedup::default(), &group, budget);
    time(&super::d2::D2::default(), &group, budget);
    time(&super::bws::Bws::default(), &group, budget);
    time(&super::infomax::InfoMax::default(), &group, budget);
    time(&super::nearest_query::NearestQuery::default(), &group, budget);
    for rule in super::mutual_information::MutualInformation::functions() {
        time(&rule, &group, budget);
    }
    time(&super::trajectory_clusters::TrajectoryClusters::default(), &group, budget);
    time(&super::saturated_coverage::SaturatedCoverage::default(), &group, budget);
    time(&super::feature_based::FeatureBased::default(), &group, budget);
    time(&super::dpp::Dpp::default(), &group, budget);
    time(&super::sensitivity::Sensitivity::default(), &group, budget);
    time(&super::prune_issues::PruneIssues::default(), &group, budget);
    time(&super::crust::Crust::default(), &group, budget);
    time(&super::prune4rel::Prune4Rel::default(), &group, budget);
}
