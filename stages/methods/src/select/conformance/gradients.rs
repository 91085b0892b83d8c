//! Last-layer gradients and what is made of them: Craig, GradMatch, Glister.

use super::*;
use crate::{
    linalg::Gram,
    select::{
        craig::Craig,
        deepcore::{
            Release,
            craig::DeepCoreCraig,
            glister::DeepCoreGlister,
            gradmatch::{DeepCoreGradMatch, nearest_solution, pursue, without_zeros},
            residuals,
        },
        glister::{Glister, LastLayer},
        gradmatch::weigh,
        group::Unwatched,
    },
};
use artifacts::units::{Count, Positive};
use artifacts::{ClassId, SampleId};

fn count(n: usize) -> Count {
    Count::try_from(n as u64).expect("it is above 0")
}

/// Multiplies the factors out: what the methods never do.
fn gradients(residuals: &Matrix<'_>, embeddings: &Matrix<'_>) -> Vec<Vec<f64>> {
    let row = |i: usize| {
        let r = residuals.row(i).iter().map(|v| f64::from(*v));
        let outer = r.clone().flat_map(|r| {
            embeddings.row(i).iter().map(move |h| r * f64::from(*h)).collect::<Vec<f64>>()
        });
        r.clone().chain(outer).collect()
    };
    (0..residuals.rows()).map(row).collect()
}

#[test]
fn last_layer_gradients_06() {
    let case = Case::open("06_lastlayer_gradients");
    let labels = case.labels();
    let (logits, embeddings) = case.head("");
    for (release, name, norm) in [
        (Release::Of2023, "exp_gradients_head", "frobenius_head"),
        (Release::Of2022, "exp_gradients_legacy_double_softmax", "frobenius_legacy"),
    ] {
        let residuals = residuals(&logits, &labels, release, case.number("batch"));
        let found = gradients(&residuals, &embeddings);
        let expected = case.matrix(name);
        for (i, found) in found.iter().enumerate() {
            let wanted: Vec<f64> = expected.row(i).iter().map(|v| f64::from(*v)).collect();
            assert_close(found.iter().copied(), &wanted, 1e-3, 1e-7);
        }
        let total: f64 = found.iter().flatten().map(|v| v * v).sum();
        let wanted = case.expected[norm].as_f64().expect("it is a number");
        assert_close([total.sqrt()], &[wanted], 1e-4, 0.0);
    }
}

fn ground<'a>(
    labels: &'a [ClassId],
    logits: &'a Matrix<'_>,
    embeddings: &'a Matrix<'_>,
) -> TrainingSet<'a> {
    TrainingSet { logits: Some(logits.view()), embeddings: Some(embeddings.view()), ..none(labels) }
}

/// Returns what is picked of the case's fraction: class by class, or of all together.
fn picks(
    rule: &impl Selector,
    ground: &TrainingSet<'_>,
    case: &Case,
    balance: bool,
) -> Vec<Vec<(u32, f32)>> {
    if balance {
        return balanced(rule, ground, case.fraction());
    }
    vec![whole(rule, ground, budget::rounded(case.fraction(), ground.labels.len()))]
}

#[test]
fn craig_11() {
    let case = Case::open("11_craig");
    let labels = case.labels();
    let (logits, embeddings) = case.head("");
    let ground = ground(&labels, &logits, &embeddings);
    for (name, balance) in [
        ("balanced_one_batch_per_class", true),
        ("balanced_partial_last_batch", true),
        ("unbalanced_batch_ge_n", false),
    ] {
        let expected = &case.expected[name];
        let batch = count(expected["batch"].as_u64().expect("it is a number") as usize);
        let rule = DeepCoreCraig { batch, ..DeepCoreCraig::default() };
        let picked = picks(&rule, &ground, &case, balance);
        assert_eq!(each_sorted(&picked), indices(&expected["indices"]), "{name}");
        assert_eq!(weights(&picked), floats(&expected["weights"]), "{name}");
        if name == "balanced_one_batch_per_class" {
            // One batch divides all alike: without it the same are picked, and counted rightly.
            let picked = balanced(&Craig::default(), &ground, case.fraction());
            assert_eq!(each_sorted(&picked), indices(&expected["indices"]));
            assert_eq!(weights(&picked), floats(&expected["fixed_cluster_size_weights"]));
        }
    }
}

#[test]
fn gradmatch_12() {
    let case = Case::open("12_gradmatch");
    let labels = case.labels();
    let (logits, embeddings) = case.head("");
    let ground = ground(&labels, &logits, &embeddings);
    for (name, balance) in [
        ("balanced_one_batch_per_class", true),
        ("balanced_partial_last_batch", true),
        ("unbalanced_one_batch", false),
    ] {
        let expected = &case.expected[name];
        let batch = count(expected["batch"].as_u64().expect("it is a number") as usize);
        let rule = DeepCoreGradMatch { batch, ..DeepCoreGradMatch::default() };
        let picked = picks(&rule, &ground, &case, balance);
        assert_eq!(each_sorted(&picked), indices(&expected["indices"]), "{name}");
        assert_close(weights(&picked), &floats(&expected["weights"]), 1e-3, 0.0);
    }

    // The pursuit alone, on undivided gradients of one class.
    let omp = &case.expected["omp_class0"];
    let class = samples(&omp["class_index"]);
    let streams = Streams::new(0, &[]);
    let group = Group::unwatched(&ground, &class, 0, streams);
    let residuals = group.residuals();
    let all = gradients(&residuals, &group.embeddings());
    let mean: Vec<f64> = (0..all[0].len())
        .map(|c| all.iter().map(|g| g[c]).sum::<f64>() / all.len() as f64)
        .collect();
    let target: Vec<f64> =
        all.iter().map(|g| g.iter().zip(&mean).map(|(a, b)| a * b).sum()).collect();
    let gram = Gram::new(vec![residuals, group.inputs_of_last_layer()]);
    let mut checked = 0;
    for (name, expected) in omp.as_object().expect("it is a table") {
        let Some((lambda, k)) = name.strip_prefix("lam=").and_then(|rest| rest.split_once(",k="))
        else {
            continue;
        };
        let (lambda, k): (f64, usize) =
            (lambda.parse().expect("a number"), k.parse().expect("a number"));
        let (picks, square) =
            pursue(&gram, &target, lambda, k, &Unwatched).expect("nobody stops it");
        let right: Vec<f64> = picks.iter().map(|pick| target[*pick as usize]).collect();
        let weights = weigh(&square, &right, lambda, nearest_solution).expect("they differ");
        let picked = without_zeros(&picks, &weights);
        let local: Vec<SampleId> = SampleId::all(class.len()).collect();
        let picked = vec![placed(&picked, &local)];
        assert_eq!(each_sorted(&picked), indices(&expected["nonzero_local"]), "{name}");
        assert_close(super::weights(&picked), &floats(&expected["weights"]), 1e-3, 1e-7);
        if let Some(wanted) = expected["residual_norm"].as_f64() {
            let mut rest = mean.clone();
            for (place, weight) in &picked[0] {
                for (rest, g) in rest.iter_mut().zip(&all[*place as usize]) {
                    *rest -= f64::from(*weight) * g;
                }
            }
            let norm = rest.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert_close([norm], &[wanted], 1e-3, 0.0);
        }
        checked += 1;
    }
    assert_eq!(checked, 7);
}

#[test]
fn glister_13() {
    let case = Case::open("13_glister");
    let labels = case.labels();
    let (logits, embeddings) = case.head("");
    let ground = ground(&labels, &logits, &embeddings);
    let total = budget::rounded(case.fraction(), labels.len());
    for (name, balance) in [
        ("balanced_one_batch_per_class", true),
        ("balanced_partial_last_batch", true),
        ("unbalanced_one_batch", false),
    ] {
        let expected = &case.expected[name];
        let batch = count(expected["batch"].as_u64().expect("it is a number") as usize);
        let rule = DeepCoreGlister { batch, ..DeepCoreGlister::default() };
        let picked = if balance {
            each_sorted(&balanced(&rule, &ground, case.fraction()))
        } else {
            sorted(&whole(&rule, &ground, total))
        };
        assert_eq!(picked, indices(&expected["indices"]), "{name}");
    }
    let closed = indices(&case.expected["unbalanced_topk_closed_form_sorted"]);
    let rule = DeepCoreGlister { batch: count(100_000), ..DeepCoreGlister::default() };
    assert_eq!(sorted(&whole(&rule, &ground, total)), closed);

    let expected = &case.expected["with_update_naive_order"];
    let order = indices(&expected["order"]);
    let eta = case.params()["eta"].as_f64().expect("it is a number");
    let members: Vec<SampleId> = SampleId::all(labels.len()).collect();
    let streams = Streams::new(0, &[]);
    let group = Group::unwatched(&ground, &members, 0, streams);
    let divided = residuals(&logits, &labels, Release::Of2023, 100_000);
    let inputs = group.inputs_of_last_layer();
    let layer = LastLayer::new(&logits, &labels, &divided, &inputs, &Compute::default());
    let picked = layer.descend((eta, 1), order.len(), &Unwatched);
    assert_eq!(picked.expect("nobody stops it"), order);
    // Undivided gradients and a step as much smaller are the same thing.
    let eta = Positive::try_from(eta / labels.len() as f64).expect("it is above 0");
    let rule = Glister { eta, ..Glister::default() };
    assert_eq!(in_order(&whole(&rule, &ground, order.len())), order);
}
