//! Mean ranks of the methods, and which of them the data cannot tell apart (Demšar 2006).

use super::{
    against::{chance, exact},
    metrics::{Metrics, small_is_good},
    sheet::{Sheet, csv_line},
    write::MetricTable,
};
use crate::{
    context::Failure,
    results::{CellResult, Grid},
    stats::{Test, friedman, mean_ranks, nemenyi_difference, regrets},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The blocks of a ranking: comparisons of all methods under one set of conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Blocks {
    /// Every cell of the other axes, each seed for itself.
    #[default]
    Cells,
    /// The means over seeds: fewer blocks, but no block is another's repeat.
    Means,
}

/// How a method stands among the others.
struct Standing {
    name: String,
    rank: f64,
    /// How far it is behind the best of a block: the mean over blocks, and the largest.
    behind: f64,
    most_behind: f64,
}

/// The mean ranks of the methods for one metric.
pub(super) struct Ranking {
    metric: String,
    metrics: Metrics,
    axis: (String, String),
    /// By mean rank.
    ranks: Vec<Standing>,
    blocks: usize,
    /// Blocks in which a method had no value.
    left_out: usize,
    of: String,
    friedman: Option<Test>,
    /// Nemenyi's critical difference of mean ranks, and its level.
    difference: f64,
    alpha: f64,
}

impl Ranking {
    /// Ranks the methods on axis `by` for each of `metrics`.
    pub(super) fn all(
        grid: &Grid,
        metrics: &Metrics,
        by: usize,
        blocks: Blocks,
        over: &[bool],
        level: f64,
    ) -> Result<Vec<Self>, Failure> {
        let one = |metric: &String| Self::one(grid, metrics, metric, by, blocks, over, 1.0 - level);
        metrics.names.iter().map(one).collect()
    }

    fn one(
        grid: &Grid,
        metrics: &Metrics,
        metric: &str,
        by: usize,
        blocks: Blocks,
        over: &[bool],
        alpha: f64,
    ) -> Result<Self, Failure> {
        let used = |value: &usize| grid.results.iter().any(|one| one.coords[by] as usize == *value);
        let methods: Vec<usize> = (0..grid.axes[by].values.len()).filter(used).collect();
        let averaged = |axis: usize| blocks == Blocks::Means && over[axis];
        // Blocks, and in them the values of each method.
        let mut all: BTreeMap<(&str, Vec<u32>), Vec<Vec<f64>>> = BTreeMap::new();
        for result in &grid.results {
            let method = methods.binary_search(&(result.coords[by] as usize));
            let method = method.expect("every value is among them");
            let others = result.coords.iter().enumerate();
            let others = others.filter(|(axis, _)| *axis != by && !averaged(*axis));
            let block = (result.label.as_str(), others.map(|(_, value)| *value).collect());
            let slot = all.entry(block).or_insert_with(|| vec![vec![]; methods.len()]);
            let value = |one: &CellResult| one.metrics.as_ref()?.value(metric);
            slot[method].extend(value(result));
        }
        // Means that differ by the rounding of their sums alone are a tie.
        let mean = |values: &Vec<f64>| exact(values.iter().sum::<f64>() / values.len() as f64);
        let (whole, parts): (Vec<_>, Vec<_>) =
            all.into_values().partition(|block| block.iter().all(|values| !values.is_empty()));
        let whole: Vec<Vec<f64>> =
            whole.iter().map(|block| block.iter().map(mean).collect()).collect();
        let name = &grid.axes[by].name;
        if methods.len() < 2 || whole.is_empty() {
            let what = format!("there is no cell in which two values of `{name}` have `{metric}`");
            let failure = Failure::mistake(what);
            return Err(
                failure.hint("a block counts where every method has a value: pick with --where")
            );
        }
        let named = methods.iter().map(|method| grid.axes[by].values[*method].clone());
        let small_is_good = small_is_good(metric);
        let behind = regrets(&whole, small_is_good);
        let mut ranks: Vec<Standing> = named
            .zip(mean_ranks(&whole, small_is_good))
            .zip(behind)
            .map(|((name, rank), (behind, most_behind))| Standing {
                name,
                rank,
                behind,
                most_behind,
            })
            .collect();
        // Equal ranks stay in the order of the axis.
        ranks.sort_by(|a, b| a.rank.total_cmp(&b.rank));
        let others = (0..grid.axes.len()).filter(|axis| *axis != by && !averaged(*axis));
        let others: Vec<&str> = others.map(|axis| grid.axes[axis].name.as_str()).collect();
        Ok(Self {
            metric: metric.to_owned(),
            metrics: metrics.clone(),
            axis: (name.clone(), grid.axes[by].path.clone()),
            ranks,
            blocks: whole.len(),
            left_out: parts.len(),
            of: others.join(" x "),
            friedman: friedman(&whole),
            difference: nemenyi_difference(methods.len(), whole.len(), alpha),
            alpha: exact(alpha),
        })
    }

    /// Returns the longest runs of methods whose ranks are not farther apart than the critical
    /// difference, as first and last place.
    fn alike(&self) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = vec![];
        for first in 0..self.ranks.len() {
            let near = |one: &&Standing| one.rank - self.ranks[first].rank <= self.difference;
            let last = first + self.ranks[first..].iter().take_while(near).count() - 1;
            if last > first && runs.last().is_none_or(|(_, end)| last > *end) {
                runs.push((first, last));
            }
        }
        runs
    }
}

impl MetricTable for Ranking {
    const LIST: &'static str = "rankings";

    fn sheet(&self) -> Sheet {
        let runs = self.alike();
        let shown = |value: f64| self.metrics.show_distance(&self.metric, value);
        let row = |(place, one): (usize, &Standing)| {
            // One letter for each group the method is in, as statisticians mark them.
            let inside = |(group, (first, last)): (usize, &(usize, usize))| {
                let letter = char::from(b'a' + u8::try_from(group % 26).unwrap_or(0));
                if (*first..=*last).contains(&place) { letter } else { ' ' }
            };
            let marks: String = runs.iter().enumerate().map(inside).collect();
            let marks = marks.trim_end().to_owned();
            let (behind, most) = (shown(one.behind), shown(one.most_behind));
            vec![one.name.clone(), format!("{:.2}", one.rank), behind, most, marks]
        };
        let first = if small_is_good(&self.metric) { "smallest" } else { "largest" };
        let caption = format!(
            "{}: mean ranks over {} blocks ({}), rank 1 the {first}",
            self.metric, self.blocks, self.of
        );
        let mut notes = vec![];
        if let Some(test) = self.friedman {
            let freedom = self.ranks.len() - 1;
            let p = chance(test.p);
            let is = if p.starts_with('<') { " " } else { " = " };
            notes.push(format!(
                "Friedman: chi2 = {:.3}, {freedom} degrees of freedom, p{is}{p}",
                test.statistic
            ));
        }
        notes.push(format!(
            "behind the best of a block by {}: the mean over blocks, and the largest",
            self.metrics.title(&self.metric)
        ));
        notes.push(format!(
            "Nemenyi: ranks farther apart than {:.3} differ at {:.3}; methods that share a letter do not",
            self.difference, self.alpha
        ));
        if self.left_out > 0 {
            notes
                .push(format!("{} blocks without a value of every method left out", self.left_out));
        }
        Sheet {
            caption: Some(caption),
            head: [&self.axis.0, "mean rank", "behind", "most behind", "alike"]
                .map(str::to_owned)
                .to_vec(),
            rows: self.ranks.iter().enumerate().map(row).collect(),
            numbers: 1..4,
            notes,
        }
    }

    fn csv_head(&self) -> String {
        let head = [
            "metric",
            &self.axis.0,
            "mean_rank",
            "blocks",
            "critical_difference",
            "behind",
            "most_behind",
        ];
        csv_line(&head.map(str::to_owned))
    }

    fn csv(&self) -> String {
        let row = |one: &Standing| {
            csv_line(&[
                self.metric.clone(),
                one.name.clone(),
                one.rank.to_string(),
                self.blocks.to_string(),
                self.difference.to_string(),
                one.behind.to_string(),
                one.most_behind.to_string(),
            ])
        };
        self.ranks.iter().map(row).collect()
    }

    fn json(&self) -> Value {
        let rank = |one: &Standing| {
            let Standing { name, rank, behind, most_behind } = one;
            json!({ "value": name, "rank": rank, "behind": behind, "most_behind": most_behind })
        };
        let names = |(first, last): &(usize, usize)| -> Vec<&str> {
            self.ranks[*first..=*last].iter().map(|one| one.name.as_str()).collect()
        };
        json!({
            "metric": self.metric,
            "axis": self.axis.1,
            "ranks": self.ranks.iter().map(rank).collect::<Vec<_>>(),
            "blocks": self.blocks,
            "left_out": self.left_out,
            "friedman": self.friedman.map(|test| json!({ "chi2": test.statistic, "p": test.p })),
            "nemenyi": { "critical_difference": self.difference, "alpha": self.alpha },
            "alike": self.alike().iter().map(names).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_means_are_a_tie_in_whatever_order_they_were_summed() {
        let mean = |values: [f64; 3]| values.iter().sum::<f64>() / 3.0;
        let (one, other) = (mean([0.2, 0.6, 0.7]), mean([0.7, 0.6, 0.2]));
        assert!(one != other && exact(one) == exact(other), "{one} {other}");
        assert_eq!(mean_ranks(&[vec![exact(one), exact(other)]], false), [1.5, 1.5]);
    }

    #[test]
    fn methods_are_alike_up_to_the_critical_difference() {
        let rank = |name: &str, rank: f64| Standing {
            name: name.to_owned(),
            rank,
            behind: 0.0,
            most_behind: 0.0,
        };
        let ranking = Ranking {
            metric: "accuracy".to_owned(),
            metrics: Metrics::default(),
            axis: ("selector".to_owned(), "selector".to_owned()),
            ranks: vec![rank("a", 1.2), rank("b", 2.0), rank("c", 2.9), rank("d", 3.9)],
            blocks: 14,
            left_out: 0,
            of: "keep x seed".to_owned(),
            friedman: None,
            difference: 1.25,
            alpha: 0.05,
        };
        assert_eq!(ranking.alike(), [(0, 1), (1, 2), (2, 3)]);
        let marks: Vec<String> =
            ranking.sheet().rows.into_iter().map(|mut row| row.remove(4)).collect();
        assert_eq!(marks, ["a", "ab", " bc", "  c"]);
        assert_eq!(Ranking { difference: 0.5, ..ranking }.alike(), []);
    }
}
