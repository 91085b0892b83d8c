//! Facility location, graph cut, log-determinant, and the four optimizers.

use super::*;
use crate::linalg::{Compute, CoverageGains};
use crate::select::{
    deepcore::{
        facility_location::DeepCoreFacilityLocation, graph_cut::DeepCoreGraphCut,
        log_det::DeepCoreLogDet,
    },
    facility_location::{Coverage, FacilityLocation},
    graph_cut::{Cut, GraphCut},
    greedy::{GreedyOptimizer, Objective, Search, best_of, maximize},
    log_det::LogDet,
    similarity::{self, Features},
};
use artifacts::{SampleId, units::NonNegative};

const OPTIMIZERS: [(&str, GreedyOptimizer); 3] = [
    ("NaiveGreedy", GreedyOptimizer::Naive),
    ("LazyGreedy", GreedyOptimizer::Lazy),
    ("ApproximateLazyGreedy", GreedyOptimizer::ApproximateLazy),
];

fn check(objective: &mut impl Objective, name: &str, group: &Group<'_>, expected: &Value) {
    let first: Vec<u32> = (0..8).collect();
    let wanted = floats(&expected[format!("{name}/first_gains_first8")]);
    assert_close(objective.gains(&first), &wanted, 1e-4, 1e-6);
    let stochastic = &expected[format!("{name}/StochasticGreedy")];
    if let Some(steps) = stochastic["candidates_per_step"].as_array() {
        let order = indices(&stochastic["order"]);
        let picked = best_of(objective, order.len(), group, |step, _| indices(&steps[step]));
        assert_eq!(picked.expect("nobody stops it"), order, "{name}");
    }
}

#[test]
fn functions_and_optimizers_14_16() {
    for name in ["14_submodular", "16_submodular_large"] {
        let case = Case::open(name);
        let (labels, features) = (case.labels(), case.matrix("in_features"));
        let ground = TrainingSet { embeddings: Some(features.view()), ..none(&labels) };
        let members: Vec<SampleId> = SampleId::all(labels.len()).collect();
        let streams = Streams::new(0, &[]);
        let group = Group::unwatched(&ground, &members, 0, streams);
        let cosines = || similarity::cosines(&group, Features::Embedding, true);
        if case.params()["matrix"].as_bool() != Some(false) {
            let expected = case.matrix("exp_similarity");
            for i in 0..expected.rows() {
                let wanted: Vec<f64> = expected.row(i).iter().map(|v| f64::from(*v)).collect();
                let found = similarity::several(&cosines(), &[i as u32]);
                assert_close(found.iter().map(|v| f64::from(*v)), &wanted, 1e-4, 1e-6);
            }
        }
        let expected = &case.expected;
        let coverage = || {
            Coverage(CoverageGains::new(
                similarity::rows(cosines()),
                0.0,
                &mut Compute::default().memory,
            ))
        };
        check(&mut coverage(), "FacilityLocation", &group, expected);
        check(&mut Cut::new(cosines(), 1.0), "GraphCut", &group, expected);
        let mut checked = 0;
        for (optimizer_name, optimizer) in OPTIMIZERS {
            let search = Search { optimizer, ..Search::default() };
            let order = |name: &str| {
                let order = &expected[format!("{name}/{optimizer_name}")]["order"];
                order.is_array().then(|| indices(order))
            };
            if let Some(order) = order("FacilityLocation") {
                let picked = maximize(&mut coverage(), order.len(), search, &group);
                assert_eq!(picked.expect("nobody stops it"), order, "{optimizer_name}");
                checked += 1;
            }
            if let Some(order) = order("GraphCut") {
                let mut cut = Cut::new(cosines(), 1.0);
                let picked = maximize(&mut cut, order.len(), search, &group);
                assert_eq!(picked.expect("nobody stops it"), order, "{optimizer_name}");
                checked += 1;
            }
        }
        assert_eq!(checked, if name == "14_submodular" { 6 } else { 4 });

        if let Some(order) = expected["LogDeterminant/fixed_order"].as_array() {
            let features = Features::Embedding;
            for ridge in [0.0, f64::from(LogDet::default().ridge)] {
                let ridge = NonNegative::try_from(ridge).expect("it is not negative");
                let rule = LogDet { ridge, features, ..LogDet::default() };
                let picked = whole(&rule, &ground, order.len());
                assert_eq!(in_order(&picked), indices(&expected["LogDeterminant/fixed_order"]));
            }
            let naive = &expected["LogDeterminant/NaiveGreedy"]["order"];
            let naive_search = Search { optimizer: GreedyOptimizer::Naive, ..Search::default() };
            let rule =
                DeepCoreLogDet { features, search: naive_search, ..DeepCoreLogDet::default() };
            let picked = whole(&rule, &ground, order.len());
            assert_eq!(in_order(&picked), indices(naive));
            // What is redundant grows with the picks, so their lazy greedy takes the first at hand.
            let rule = DeepCoreLogDet { search: Search::default(), ..rule };
            let picked = whole(&rule, &ground, order.len());
            assert_eq!(in_order(&picked), (0..order.len() as u32).collect::<Vec<_>>());
        }
    }
}

#[test]
fn on_gradients_15() {
    let case = Case::open("15_submodular_class");
    let labels = case.labels();
    let (logits, embeddings) = case.head("");
    let ground = TrainingSet {
        logits: Some(logits.view()),
        embeddings: Some(embeddings.view()),
        ..none(&labels)
    };
    let total = budget::rounded(case.fraction(), labels.len());
    let expected = &case.expected;
    let facility = FacilityLocation::default();
    let theirs = DeepCoreFacilityLocation::default();
    for (by_class, all) in [
        (balanced(&facility, &ground, case.fraction()), whole(&facility, &ground, total)),
        (balanced(&theirs, &ground, case.fraction()), whole(&theirs, &ground, total)),
    ] {
        assert_eq!(each_sorted(&by_class), indices(&expected["FacilityLocation/balanced"]));
        assert_eq!(sorted(&all), indices(&expected["FacilityLocation/unbalanced"]));
    }
    let (cut, theirs) = (GraphCut::default(), DeepCoreGraphCut::default());
    for (by_class, all) in [
        (balanced(&cut, &ground, case.fraction()), whole(&cut, &ground, total)),
        (balanced(&theirs, &ground, case.fraction()), whole(&theirs, &ground, total)),
    ] {
        assert_eq!(each_sorted(&by_class), indices(&expected["GraphCut/balanced"]));
        assert_eq!(sorted(&all), indices(&expected["GraphCut/unbalanced"]));
    }
}
