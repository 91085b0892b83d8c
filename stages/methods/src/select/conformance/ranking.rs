//! Scores and what is ranked by them: uncertainty, GraNd, forgetting, CAL.

use super::*;
use crate::linalg::{Compute, neighbours, stand_in::stand_in};
use crate::{
    score::{
        Forgetting, GraNd, Margin, NeverLearnt, Scorer,
        deepcore::{
            entropy::DeepCoreEntropy, grand::DeepCoreGraNd,
            least_confidence::DeepCoreLeastConfidence,
        },
        testing::InMemory,
    },
    select::{bottom::Bottom, cal::Cal, deepcore::cal::DeepCoreCal, top::Top},
};
use artifacts::{ClassId, SampleId, record::EpochRow, units::Count};

fn proxy(labels: &[ClassId], logits: &Matrix<'_>, embeddings: &[f32]) -> InMemory {
    InMemory {
        labels: labels.to_vec(),
        logits: logits.data().to_vec(),
        embeddings: embeddings.to_vec(),
        ..InMemory::recorded(&[], logits.cols(), &[])
    }
}

fn score<S: Scorer>(rule: &S, proxy: &InMemory) -> Vec<f32> {
    rule.score(proxy, Streams::new(0, S::STREAMS)).expect("it is recorded").scores
}

fn uncertainty<S: Scorer>(name: &str, rule: &S) {
    let case = Case::open("05_uncertainty");
    let (labels, logits) = (case.labels(), case.matrix("in_logits"));
    let expected = &case.expected[name];
    let scores = score(rule, &proxy(&labels, &logits, &[]));
    // Theirs is low where it is hard.
    let theirs = scores.iter().map(|score| -f64::from(*score));
    assert_close(theirs, &floats(&expected["score_dataset_order"]), 1e-4, 1e-6);
    let ground = TrainingSet { scores: Some(&doubles(&scores)), ..none(&labels) };
    let picked = balanced(&Top::default(), &ground, case.fraction());
    assert_eq!(each_in_order(&picked), indices(&expected["balanced_in_returned_order"]));
    let budget = budget::rounded(case.fraction(), labels.len());
    let picked = whole(&Top::default(), &ground, budget);
    let fixed = &expected["unbalanced_fixed_most_uncertain_first"];
    assert_eq!(in_order(&picked), indices(fixed));
    let picked = whole(&Bottom::default(), &ground, budget);
    let deepcore = &expected["unbalanced_deepcore_in_returned_order"];
    assert_eq!(in_order(&picked), indices(deepcore));
}

#[test]
fn uncertainty_05() {
    uncertainty("LeastConfidence", &DeepCoreLeastConfidence::default());
    uncertainty("Entropy", &DeepCoreEntropy::default());
    uncertainty("Margin", &Margin::default());
}

#[test]
fn grand_07() {
    let case = Case::open("07_grand");
    let labels = case.labels();
    let norms = case.matrix("exp_norm_matrix");
    let batch = Count::try_from(case.number("batch") as u64).expect("it is above 0");
    let mut means = [vec![0.0f64; labels.len()], vec![0.0; labels.len()]];
    for repeat in 0..case.number("repeats") {
        let suffix = if repeat == 0 { String::new() } else { format!("_{repeat}") };
        let (logits, embeddings) = case.head(&suffix);
        let proxy = proxy(&labels, &logits, embeddings.data());
        let deepcore = score(&DeepCoreGraNd { batch, ..DeepCoreGraNd::default() }, &proxy);
        let wanted: Vec<f64> = (0..labels.len()).map(|i| f64::from(norms.row(i)[repeat])).collect();
        assert_close(deepcore.iter().map(|s| f64::from(*s)), &wanted, 1e-4, 1e-6);
        let fixed = score(&GraNd::default(), &proxy);
        for (mean, scores) in means.iter_mut().zip([deepcore, fixed]) {
            for (mean, score) in mean.iter_mut().zip(scores) {
                *mean += f64::from(score) / case.number("repeats") as f64;
            }
        }
    }
    let expected = &case.expected;
    let budget = budget::rounded(case.fraction(), labels.len());
    let [deepcore, fixed] = means;
    assert_close(deepcore.iter().copied(), &floats(&expected["mean_score"]), 1e-4, 1e-6);
    let scores: Vec<f32> = deepcore.iter().map(|mean| *mean as f32).collect();
    let ground = TrainingSet { scores: Some(&doubles(&scores)), ..none(&labels) };
    let picked = balanced(&Top::default(), &ground, case.fraction());
    assert_eq!(each_in_order(&picked), indices(&expected["balanced_in_returned_order"]));
    let picked = whole(&Top::default(), &ground, budget);
    assert_eq!(in_order(&picked), indices(&expected["unbalanced_in_returned_order"]));

    assert_close(
        fixed.iter().copied(),
        &floats(&expected["fixed_unscaled_mean_score"]),
        1e-4,
        1e-6,
    );
    let scores: Vec<f32> = fixed.iter().map(|mean| *mean as f32).collect();
    let ground = TrainingSet { scores: Some(&doubles(&scores)), ..none(&labels) };
    let picked = whole(&Top::default(), &ground, budget);
    assert_eq!(in_order(&picked), indices(&expected["fixed_unbalanced_in_order"]));
}

#[test]
fn forgetting_08() {
    let case = Case::open("08_forgetting");
    let labels = case.labels();
    let (shape, correct) = case.array("in_correct", "|u1");
    let classes = labels.iter().max().expect("there are labels").index() + 1;
    let rows = |epoch: &[u8]| {
        let each = epoch.iter().zip(&labels).map(|(right, label)| {
            let top = if *right == 1 { label.index() } else { (label.index() + 1) % classes };
            let mut logits = vec![0.0; classes];
            logits[top] = 1.0;
            EpochRow::of(&logits, *label)
        });
        each.collect::<Vec<_>>()
    };
    let epochs = correct.chunks_exact(shape[1]).map(rows).collect();
    let logits = Matrix::new(vec![0.0; labels.len() * classes], labels.len(), classes);
    let proxy = InMemory { epochs, ..proxy(&labels, &logits, &[]) };
    let scores = score(&Forgetting { never_learnt: NeverLearnt::Zero, epochs: None }, &proxy);
    let counts: Vec<u32> = scores.iter().map(|score| *score as u32).collect();
    assert_eq!(counts, indices(&case.expected["forgetting_counts"]));
    // The paper's reading differs in samples that were never learnt, and has them for the hardest.
    let never_learnt = indices(&case.expected["never_learned"]);
    let paper = score(&Forgetting::default(), &proxy);
    let largest = paper.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for (at, (paper, zero)) in paper.iter().zip(&scores).enumerate() {
        let wanted = if never_learnt.contains(&(at as u32)) { largest } else { *zero };
        assert_eq!(*paper, wanted, "sample {at}");
    }
    let ground = TrainingSet { scores: Some(&doubles(&scores)), ..none(&labels) };
    let picked = balanced(&Top::default(), &ground, case.fraction());
    assert_eq!(each_in_order(&picked), indices(&case.expected["balanced_in_returned_order"]));
    let picked = whole(&Top::default(), &ground, budget::rounded(case.fraction(), labels.len()));
    let top: Vec<u32> = picked.iter().map(|(at, _)| counts[*at as usize]).collect();
    assert_eq!(top, indices(&case.expected["unbalanced_top_counts_multiset_desc"]));
}

#[test]
fn cal_09() {
    let case = Case::open("09_cal");
    let labels = case.labels();
    let (logits, embeddings) = (case.matrix("in_logits"), case.matrix("in_embeddings"));
    let ground = TrainingSet {
        logits: Some(logits.view()),
        embeddings: Some(embeddings.view()),
        ..none(&labels)
    };
    let neighbors = Count::try_from(case.number("neighbors") as u64).expect("it is above 0");
    let cal = Cal { neighbors, ..Cal::default() };
    let deepcore = DeepCoreCal { neighbors, ..DeepCoreCal::default() };
    let expected = &case.expected;
    let groups = |balance: bool| -> Vec<Vec<SampleId>> {
        let all = || SampleId::all(labels.len());
        if balance {
            let class =
                |class: ClassId| all().filter(|sample| labels[sample.index()] == class).collect();
            ClassId::all(3).map(class).collect()
        } else {
            vec![all().collect()]
        }
    };
    for (balance, name) in [(true, "balanced"), (false, "unbalanced")] {
        for (at, members) in groups(balance).iter().enumerate() {
            let streams = Streams::new(0, &[]);
            let group = Group::unwatched(&ground, members, at as u64, streams);
            let scores = cal.scores(&group).expect("nobody stops it");
            let wanted = floats(&expected[format!("{name}_scores")][at]);
            assert_close(scores.iter().map(|s| f64::from(*s)), &wanted, 1e-4, 1e-6);
            let near = |compute: &Compute| {
                let near = neighbours(&group.embeddings(), 10, compute, |_, _| Ok(()));
                near.expect("nobody stops it")
            };
            let there = near(&stand_in());
            let near = near(&Compute::default());
            assert_eq!(near, there);
            let rows = expected[format!("{name}_knn_first5_rows")].as_array().expect("a list");
            if at == 0 {
                for (row, wanted) in rows.iter().enumerate() {
                    assert_eq!(near[row], indices(wanted));
                }
            }
        }
        let (theirs, ours) = if balance {
            let fraction = case.fraction();
            (
                each_in_order(&balanced(&deepcore, &ground, fraction)),
                each_in_order(&balanced(&cal, &ground, fraction)),
            )
        } else {
            let budget = budget::rounded(case.fraction(), labels.len());
            (in_order(&whole(&deepcore, &ground, budget)), in_order(&whole(&cal, &ground, budget)))
        };
        let wanted = |what: &str| indices(&expected[format!("{name}_{what}")]);
        assert_eq!(theirs, wanted("deepcore_lowest_divergence_in_order"));
        assert_eq!(ours, wanted("fixed_highest_divergence_in_order"));
    }
}
