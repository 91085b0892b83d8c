//! The methods against results of DeepCore itself, and of the textbook rules, on given inputs.
//!
//! The cases and what each holds are described in their own README. The numerics of training, case
//! 19, are in `nn`.

mod attack;
mod case;
mod gradients;
mod ranking;
mod submodular;
mod traversal;

use super::{Group, Picks, Selector, TrainingSet, budget, laws::doubles};
use crate::linalg::{Compute, stand_in::stand_in};
use artifacts::{ClassId, Matrix, SampleId};
use case::{Case, assert_close, floats};
use engine::Streams;
use serde_json::Value;

impl Case {
    fn params(&self) -> Value {
        self.json("params.json")["params"].clone()
    }

    fn fraction(&self) -> f64 {
        self.params()["fraction"].as_f64().expect("it is a number")
    }

    fn number(&self, name: &str) -> usize {
        self.params()[name].as_u64().expect("it is a whole number") as usize
    }

    /// Returns the logits `H W' + b`, in f64 before they are rounded.
    fn head(&self, suffix: &str) -> (Matrix<'static>, Matrix<'static>) {
        let h = self.matrix(&format!("in_embeddings{suffix}"));
        let w = self.matrix(&format!("in_W{suffix}"));
        let b = self.matrix(&format!("in_b{suffix}"));
        let mut logits = vec![];
        for i in 0..h.rows() {
            for c in 0..w.rows() {
                let pairs = h.row(i).iter().zip(w.row(c));
                let z: f64 = pairs.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                logits.push((z + f64::from(b.data()[c])) as f32);
            }
        }
        (Matrix::new(logits, h.rows(), w.rows()), h)
    }
}

fn indices(value: &Value) -> Vec<u32> {
    let all = value.as_array().expect("it is a list").iter();
    all.map(|v| v.as_u64().expect("it is a position") as u32).collect()
}

/// Returns a list of positions in the training set.
fn samples(value: &Value) -> Vec<SampleId> {
    indices(value).into_iter().map(SampleId::from).collect()
}

fn select<S: Selector>(
    rule: &S,
    ground: &TrainingSet<'_>,
    members: &[SampleId],
    index: u64,
    budget: usize,
) -> Picks {
    let streams = Streams::new(0, rule.streams());
    let on = |compute: &Compute| {
        let group = Group { compute, ..Group::unwatched(ground, members, index, streams) };
        rule.select(&group, budget).expect("nobody stops it")
    };
    // An accelerator's sums differ in their last bits, which must not matter to any case.
    let (here, there) = (on(&Compute::default()), on(&stand_in()));
    assert_eq!(here.places, there.places, "{}", S::NAME);
    let wide = |picks: &Picks| -> Vec<f64> {
        picks.weights.iter().flatten().map(|weight| f64::from(*weight)).collect()
    };
    assert_close(wide(&there), &wide(&here), 1e-3, 1e-6);
    here
}

/// Positions in the training set as picked, with weights.
fn placed(picks: &Picks, members: &[SampleId]) -> Vec<(u32, f32)> {
    let weight = |at: usize| picks.weights.as_ref().map_or(1.0, |weights| weights[at]);
    let places = picks.places.iter().enumerate();
    places.map(|(at, place)| (members[place.index()].into(), weight(at))).collect()
}

/// Picks from the whole.
fn whole<S: Selector>(rule: &S, ground: &TrainingSet<'_>, budget: usize) -> Vec<(u32, f32)> {
    let members: Vec<SampleId> = SampleId::all(ground.labels.len()).collect();
    placed(&select(rule, ground, &members, 0, budget), &members)
}

/// Picks from class after class as DeepCore divides a fraction.
fn balanced<S: Selector>(
    rule: &S,
    ground: &TrainingSet<'_>,
    fraction: f64,
) -> Vec<Vec<(u32, f32)>> {
    let classes = ground.labels.iter().max().expect("there are labels").index() + 1;
    ClassId::all(classes)
        .map(|class| {
            let all = SampleId::all(ground.labels.len());
            let members: Vec<SampleId> =
                all.filter(|sample| ground.labels[sample.index()] == class).collect();
            let budget = budget::rounded(fraction, members.len());
            placed(&select(rule, ground, &members, class.index() as u64, budget), &members)
        })
        .collect()
}

fn in_order(picked: &[(u32, f32)]) -> Vec<u32> {
    picked.iter().map(|(at, _)| *at).collect()
}

fn sorted(picked: &[(u32, f32)]) -> Vec<u32> {
    let mut all = in_order(picked);
    all.sort_unstable();
    all
}

fn each_sorted(picked: &[Vec<(u32, f32)>]) -> Vec<u32> {
    picked.iter().flat_map(|class| sorted(class)).collect()
}

fn each_in_order(picked: &[Vec<(u32, f32)>]) -> Vec<u32> {
    picked.iter().flat_map(|class| in_order(class)).collect()
}

/// Weights by ascending position within each group.
fn weights(picked: &[Vec<(u32, f32)>]) -> Vec<f64> {
    let mut all = vec![];
    for class in picked {
        let mut class = class.clone();
        class.sort_by_key(|(at, _)| *at);
        all.extend(class.iter().map(|(_, weight)| f64::from(*weight)));
    }
    all
}

fn none(labels: &[ClassId]) -> TrainingSet<'_> {
    TrainingSet { labels, ..TrainingSet::default() }
}

#[test]
fn budgets_17_18() {
    let case = Case::open("18_budgets");
    for row in case.expected["rows"].as_array().expect("it is a list") {
        let fraction = row["fraction"].as_f64().expect("it is a number");
        let sizes = indices(&row["class_sizes"]);
        let total: u32 = sizes.iter().sum();
        assert_eq!(budget::rounded(fraction, total as usize) as u64, row["coreset_size"]);
        let each: Vec<u32> =
            sizes.iter().map(|n| budget::rounded(fraction, *n as usize) as u32).collect();
        assert_eq!(each, indices(&row["per_class_budget"]));
    }
    for illegal in case.expected["illegal_fractions"].as_array().expect("it is a list") {
        let fraction = illegal[0].as_f64().expect("it is a number");
        // Nothing at all is a subset here; DeepCore refuses it, and a budget of 0 (below) as well.
        assert_eq!(artifacts::units::Fraction::try_from(fraction).is_ok(), fraction == 0.0);
    }
    for illegal in case.expected["optimizer_illegal_budget_n4"].as_array().expect("a list") {
        let budget = illegal[0].as_u64().expect("it is a number") as usize;
        // Four samples of one class: more than there are cannot be had, none can.
        assert_eq!(budget::divide(budget, &[1.0], &[4]).is_some(), budget == 0);
    }

    let case = Case::open("17_uniform");
    let labels = case.labels();
    for fraction in floats(&case.params()["fractions"]) {
        let key = |balance: &str| format!("fraction={fraction},balance={balance},replace=False");
        let expected = &case.expected[key("True")];
        let seed = u32::try_from(case.number("random_seed")).expect("it fits numpy");
        let rule = super::deepcore::random::DeepCoreRandom { numpy_seed: seed };
        let picked = balanced(&rule, &none(&labels), fraction);
        let counts: Vec<u32> = picked.iter().map(|class| class.len() as u32).collect();
        assert_eq!(counts, indices(&expected["per_class"]));
        assert_eq!(each_in_order(&picked), indices(&expected["indices_in_order"]));
        let total = budget::rounded(fraction, labels.len());
        let picked = whole(&rule, &none(&labels), total);
        assert_eq!(in_order(&picked), indices(&case.expected[key("False")]["indices_in_order"]));
    }
    let full = whole(&super::full::Full::default(), &none(&labels), labels.len());
    assert_eq!(full.len() as u64, case.expected["full_count"]);
}
