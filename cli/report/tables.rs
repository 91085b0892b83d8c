//! The tables of a report: what was measured, and what the noise did.

use super::page;
use crate::{
    context::Failure,
    plot::figures::mislabelled,
    results::{Condition, Study},
    stats::MeanStd,
};

pub(super) const NOTE: &str = "Mean ± standard deviation over seeds, one row per combination of \
    the matrix. The best accuracy of each share kept is marked ★.";

/// A metric: its name, its heading, what it is multiplied with, its digits.
const COLUMNS: [(&str, &str, f64, usize); 7] = [
    ("accuracy", "accuracy, %", 100.0, 2),
    ("accuracy_best", "best epoch, %", 100.0, 2),
    ("loss", "loss, nats", 1.0, 4),
    ("worst_class", "worst class, %", 100.0, 2),
    ("worst_group", "worst group, %", 100.0, 2),
    ("ece", "calibration error, %", 100.0, 2),
    ("train_samples", "samples", 1.0, 0),
];

pub(super) fn table(study: &Study<'_>) -> String {
    let rows = &study.conditions;
    let facets = rows.iter().any(|row| !row.facet.is_empty());
    let gaps = rows.iter().any(|row| row.repeats.len() < row.wanted);
    let shown: Vec<_> = COLUMNS
        .iter()
        .filter(|(name, ..)| rows.iter().any(|row| row.mean(name).is_some()))
        .collect();
    let mut head = vec!["selector".to_owned(), "kept".to_owned()];
    head.extend(facets.then(|| "where".to_owned()));
    let words = head.len();
    head.extend(shown.iter().map(|(_, heading, ..)| (*heading).to_owned()));
    head.push("seeds".to_owned());
    head.extend(gaps.then(|| "missing".to_owned()));
    let mut all = vec![head];
    for row in rows {
        let share = if row.keep.is_some() { row.share() } else { row.size.clone() };
        let mut line = vec![row.series.clone(), share];
        line.extend(facets.then(|| row.facet.clone()));
        for (at, (name, _, factor, digits)) in shown.iter().enumerate() {
            let text = row.mean(name).map_or("–".to_owned(), |stat| show(stat, *factor, *digits));
            line.push(if at == 0 && leads(rows, row) { format!("★ {text}") } else { text });
        }
        line.push(row.repeats.len().to_string());
        line.extend(gaps.then(|| (row.wanted - row.repeats.len()).to_string()));
        all.push(line);
    }
    page::table("What the students are worth on the test split", &all, words)
}

/// Whether no other row of the same size did better, among several.
fn leads(rows: &[Condition], row: &Condition) -> bool {
    let accuracy = |row: &Condition| row.mean("accuracy").map(|stat| stat.mean);
    let Some(own) = accuracy(row) else { return false };
    let others = rows.iter().filter(|other| other.size == row.size && other.facet == row.facet);
    let others: Vec<f64> =
        others.filter(|other| same(other.keep, row.keep)).filter_map(accuracy).collect();
    others.len() > 1 && others.iter().all(|other| *other <= own)
}

fn same(a: Option<f64>, b: Option<f64>) -> bool {
    a.zip(b).is_none_or(|(a, b)| (a - b).abs() < 0.01 * b)
}

fn show(stat: MeanStd, factor: f64, digits: usize) -> String {
    let mean = format!("{:.digits$}", stat.mean * factor);
    match stat.std {
        Some(std) if digits > 0 => format!("{mean} ± {:.digits$}", std * factor),
        _ => mean,
    }
}

/// Returns the table of wrong labels kept, or nothing where no labels were corrupted.
pub(super) fn noise(study: &Study<'_>) -> Result<String, Failure> {
    let head =
        ["selector", "kept", "mislabelled kept", "of all mislabelled, %", "share of the kept, %"];
    let mut all = vec![head.map(str::to_owned).to_vec()];
    for row in &study.conditions {
        let Some(found) = mislabelled(study, row)? else { continue };
        let reach = found.count.mean / found.all.mean.max(1.0);
        all.push(vec![
            row.series.clone(),
            [row.share(), row.facet.clone()].join(" ").trim_end().to_owned(),
            show(found.count, 1.0, 1),
            format!("{:.1}", reach * 100.0),
            show(found.share, 100.0, 2),
        ]);
    }
    if all.len() == 1 {
        return Ok(String::new());
    }
    Ok(page::table("Wrong labels among the samples kept", &all, 2))
}
