//! The names of metrics, which of them are shown, and with how many digits.

use super::{
    USUAL,
    estimate::{Estimate, Trust},
};
use crate::{
    context::Failure,
    results::{Grid, MetricValue, SECONDS},
};
use std::collections::{BTreeMap, BTreeSet};

/// The metrics of a table.
#[derive(Clone, Default)]
pub(super) struct Metrics {
    /// The names of those shown, in order.
    pub(super) names: Vec<String>,
    /// The names of metrics shown in percent, and of those that are whole numbers throughout.
    pub(super) percent: BTreeSet<String>,
    pub(super) whole: BTreeSet<String>,
}

impl Metrics {
    /// Returns all that the results of `grid` have.
    pub(super) fn of(grid: &Grid) -> Self {
        let mut all: BTreeMap<&str, Vec<MetricValue>> = BTreeMap::new();
        let done = grid.results.iter().filter_map(|result| result.metrics.as_ref());
        for (name, metric) in done.flat_map(|metrics| &metrics.numbers) {
            all.entry(name).or_default().push(*metric);
        }
        let are = |test: &dyn Fn(&str, &[MetricValue]) -> bool| -> BTreeSet<String> {
            let those = all.iter().filter(|(name, values)| test(name, values));
            those.map(|(name, _)| (*name).to_owned()).collect()
        };
        let whole = are(&|_, values| values.iter().all(|metric| metric.whole));
        let percent = are(&|name, values| is_share(name) && are_shares(values));
        let names = all.keys().map(|name| (*name).to_owned()).collect();
        Self { names, percent, whole }
    }

    /// Takes the metrics asked for; without any, the usual ones, or all where none of those is
    /// measured.
    pub(super) fn choose(&mut self, asked: &[String]) -> Result<(), Failure> {
        if asked.is_empty() {
            let usual = USUAL.iter().filter(|name| self.names.iter().any(|one| one == *name));
            let usual: Vec<String> = usual.map(|name| (*name).to_owned()).collect();
            if usual.iter().any(|name| name != SECONDS) {
                self.names = usual;
            }
            return Ok(());
        }
        // Before the first result there is nothing to compare the names with.
        if let Some(unknown) = asked.iter().find(|name| !self.names.contains(name))
            && !self.names.is_empty()
        {
            let failure = Failure::mistake(format!("no metric is called `{unknown}`"));
            return Err(failure.hint(format!("there are {}", self.names.join(", "))));
        }
        self.names = asked.to_vec();
        Ok(())
    }

    /// Takes the metrics asked for; without any, the first of the usual ones alone.
    pub(super) fn choose_one(&mut self, asked: &[String]) -> Result<(), Failure> {
        self.choose(asked)?;
        if asked.is_empty() {
            self.names.truncate(1);
        }
        Ok(())
    }

    /// Returns the heading of a metric's column.
    pub(super) fn title(&self, name: &str) -> String {
        if self.percent.contains(name) { format!("{name} %") } else { name.to_owned() }
    }

    /// Returns the factor and the digits with which values about `size` of a metric are shown.
    fn scale(&self, name: &str, size: f64) -> (f64, usize) {
        match name {
            _ if self.percent.contains(name) => (100.0, 2),
            _ if self.whole.contains(name) && size.fract() == 0.0 => (1.0, 0),
            SECONDS if size < 10.0 => (1.0, 2),
            SECONDS => (1.0, 1),
            _ if size.abs() >= 100.0 || self.whole.contains(name) => (1.0, 1),
            _ => (1.0, 4),
        }
    }

    /// Returns a mean and how far to trust it.
    pub(super) fn show(&self, name: &str, stat: &Estimate) -> String {
        let (factor, digits) = self.scale(name, stat.mean);
        let mean = format!("{:.digits$}", stat.mean * factor);
        match stat.trust {
            // A whole number that is the same in every repeat is no measurement.
            Trust::Std(std) if !(std == 0.0 && self.whole.contains(name)) => {
                format!("{mean} ± {:.digits$}", std * factor)
            }
            Trust::Interval(one) if !(one.low == one.high && self.whole.contains(name)) => {
                format!("{mean} [{:.digits$}, {:.digits$}]", one.low * factor, one.high * factor)
            }
            _ => mean,
        }
    }

    /// Returns a difference of two values of a metric, with its sign.
    pub(super) fn show_difference(&self, name: &str, value: f64) -> String {
        let sign = if value.is_sign_negative() { '-' } else { '+' };
        format!("{sign}{}", self.show_distance(name, value.abs()))
    }

    /// Returns how far two values of a metric are apart.
    pub(super) fn show_distance(&self, name: &str, value: f64) -> String {
        let (factor, digits) = self.scale(name, 0.5);
        format!("{:.digits$}", value * factor)
    }
}

/// The shares of some kind of sample among those kept.
const KEPT: [&str; 5] =
    ["corrupted_kept", "minority_kept", "foreign_kept", "duplicate_kept", "changed_kept"];

/// Tells whether less of a metric is better, by its name.
pub(super) fn small_is_good(name: &str) -> bool {
    let parts = [
        "loss",
        "ece",
        "error",
        "corrupted",
        "foreign",
        "duplicate",
        "gap",
        SECONDS,
        "train_samples",
        "brier",
        "seen",
        "break_even",
    ];
    name.split('_').any(|part| parts.contains(&part)) || parts.contains(&name)
}

/// Tells whether a metric is a share by its name; whether its values are is looked at too.
fn is_share(name: &str) -> bool {
    name.starts_with("accuracy")
        || ["worst_class", "worst_group", "group_gap", "ece"].contains(&name)
        || KEPT.iter().any(|kept| name.starts_with(kept))
        || name.ends_with("_share")
}

fn are_shares(values: &[MetricValue]) -> bool {
    values.iter().all(|metric| !metric.whole && (0.0..=1.0).contains(&metric.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_0_and_1_is_a_share() {
        let metric = |value, whole| MetricValue { value, whole };
        assert!(is_share("accuracy_best") && are_shares(&[metric(0.5, false), metric(1.0, false)]));
        assert!(!are_shares(&[metric(13.0, true)]) && !are_shares(&[metric(1.5, false)]));
    }

    #[test]
    fn less_loss_is_better_and_less_accuracy_is_not() {
        assert!(small_is_good("loss") && small_is_good("corrupted_kept") && small_is_good("ece"));
        assert!(!small_is_good("accuracy") && !small_is_good("worst_class"));
        assert!(small_is_good("group_gap") && !small_is_good("worst_group"));
    }
}
