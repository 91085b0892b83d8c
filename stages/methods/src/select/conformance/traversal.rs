//! k-centre, contextual diversity, herding.

use super::*;
use crate::{
    linalg::squared_distance,
    select::{
        contextual_diversity::{ContextualDiversity, Divergence},
        deepcore::{herding::DeepCoreHerding, k_center::DeepCoreKCenter},
        herding::Herding,
        k_center::KCenter,
    },
};
use artifacts::ClassId;

fn features(case: &Case) -> (Vec<ClassId>, Matrix<'static>) {
    (case.labels(), case.matrix("in_features"))
}

#[test]
fn k_center_01_02() {
    for name in ["01_kcenter", "02_kcenter_large"] {
        let case = Case::open(name);
        let (labels, features) = features(&case);
        let ground = TrainingSet { embeddings: Some(features.view()), ..none(&labels) };
        let expected = &case.expected;
        let first = expected["first_center"].as_u64().expect("it is a position") as u32;
        let picked = whole(&KCenter { centers: vec![first.into()] }, &ground, case.number("k"));
        assert_eq!(in_order(&picked), indices(&expected["selection_order"]));
        assert_eq!(sorted(&picked), indices(&expected["selected_sorted"]));
        let nearest = |i: usize| {
            let to = picked.iter().map(|(at, _)| {
                f64::from(squared_distance(features.row(i), features.row(*at as usize)))
            });
            to.fold(f64::INFINITY, f64::min).sqrt()
        };
        let radius = (0..labels.len()).map(nearest).fold(0.0, f64::max);
        let wanted = expected["cover_radius"].as_f64().expect("it is a number");
        assert_close([radius], &[wanted], 1e-4, 1e-6);

        // DeepCore's budget counts the new ones alone.
        let already = samples(&case.params()["already"]);
        let total = already.len() + case.number("k2");
        let picked = whole(&KCenter { centers: already }, &ground, total);
        let wanted = &expected["with_already_selected"]["returned_sorted"];
        assert_eq!(sorted(&picked), indices(wanted));
    }

    let case = Case::open("01_kcenter");
    let (labels, features) = features(&case);
    let ground = TrainingSet { embeddings: Some(features.view()), ..none(&labels) };
    let seed = u32::try_from(case.number("random_seed")).expect("it fits numpy");
    let rule = DeepCoreKCenter { numpy_seed: seed };
    let first = in_order(&whole(&rule, &ground, 1));
    assert_eq!(first, indices(&Value::from(vec![case.expected["first_center"].clone()])));
    let picked = balanced(&rule, &ground, case.fraction());
    assert_eq!(each_sorted(&picked), indices(&case.expected["balanced"]["indices"]));
}

#[test]
fn contextual_diversity_03() {
    let case = Case::open("03_contextual_diversity");
    let (labels, logits) = (case.labels(), case.matrix("in_logits"));
    let divergence = Divergence::new(&logits);
    for (i, row) in
        case.expected["divergence_first8"].as_array().expect("a list").iter().enumerate()
    {
        let found = (0..8).map(|j| f64::from(divergence.between(i, j)));
        assert_close(found, &floats(row), 1e-4, 1e-6);
    }
    let ground = TrainingSet { logits: Some(logits.view()), ..none(&labels) };
    let first = case.expected["first_center_unbalanced"].as_u64().expect("a position") as u32;
    let budget = budget::rounded(case.fraction(), labels.len());
    let picked = whole(&ContextualDiversity { centers: vec![first.into()] }, &ground, budget);
    assert_eq!(sorted(&picked), indices(&case.expected["unbalanced"]));
    let ranks = indices(&case.expected["first_rank_per_class_balanced"]);
    let centers = ranks.iter().enumerate().map(|(class, rank)| {
        let mut all =
            SampleId::all(labels.len()).filter(|sample| labels[sample.index()].index() == class);
        all.nth(*rank as usize).expect("the class is large enough")
    });
    let rule = ContextualDiversity { centers: centers.collect() };
    let picked = balanced(&rule, &ground, case.fraction());
    assert_eq!(each_sorted(&picked), indices(&case.expected["balanced"]));
}

#[test]
fn herding_04() {
    let case = Case::open("04_herding");
    let (labels, features) = features(&case);
    let ground = TrainingSet { embeddings: Some(features.view()), ..none(&labels) };
    let budget = budget::rounded(case.fraction(), labels.len());
    let expected = &case.expected;
    let gap = |picked: &[(u32, f32)]| {
        let mut gap: Vec<f64> = crate::linalg::column_sums(&features)
            .iter()
            .map(|s| -s / labels.len() as f64)
            .collect();
        for (at, _) in picked {
            for (gap, x) in gap.iter_mut().zip(features.row(*at as usize)) {
                *gap += f64::from(*x) / picked.len() as f64;
            }
        }
        gap.iter().map(|v| v * v).sum::<f64>().sqrt()
    };
    let wanted = |name: &str| expected[name].as_f64().expect("it is a number");

    let deepcore = DeepCoreHerding::default();
    let picked = whole(&deepcore, &ground, budget);
    assert_eq!(in_order(&picked), indices(&expected["deepcore_unbalanced_order"]));
    assert_eq!(sorted(&picked), indices(&expected["deepcore_unbalanced"]));
    assert_close([gap(&picked)], &[wanted("mean_gap_deepcore")], 1e-4, 1e-6);
    let picked = balanced(&deepcore, &ground, case.fraction());
    assert_eq!(each_sorted(&picked), indices(&expected["deepcore_balanced"]));

    let picked = whole(&Herding::default(), &ground, budget);
    assert_eq!(in_order(&picked), indices(&expected["fixed_argmin_unbalanced_order"]));
    assert_close([gap(&picked)], &[wanted("mean_gap_fixed")], 1e-4, 1e-6);
    let picked = balanced(&Herding::default(), &ground, case.fraction());
    let classes = expected["fixed_argmin_balanced_per_class_sorted"].as_array().expect("a list");
    for (picked, expected) in picked.iter().zip(classes) {
        assert_eq!(sorted(picked), indices(expected));
    }
}
