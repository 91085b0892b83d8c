//! The cells of a matrix: all combinations of its axes, without those that `exclude` names, and
//! those that `include` adds.

use super::{AxisGroup, MatrixAxis, MatrixReader, count, label, values_are_equal};
use crate::spec::{
    AxisProblem, CellRuleKind, Mistakes, SpecErrorKind, did_you_mean,
    tree::{Span, TreeNode, TreeTable, TreeValue},
};
use std::collections::{BTreeMap, BTreeSet};

/// The most cells of a matrix. More are a mistake, which would otherwise show as endless waiting.
const MOST_CELLS: u64 = 4_000_000;

/// A rule: one entry of `exclude` or `include`, with the value it gives for some of the axes.
pub(super) struct CellRule {
    pub(super) span: Span,
    pub(super) says: BTreeMap<usize, TreeNode>,
    /// Whether it names an axis that `--set` pins, or that a file extending its own redefines: then
    /// it may change nothing without being a mistake.
    pub(super) slack: bool,
}

// An axis that `--set` pins has one value: a rule for another value applies to no cell, and a
// condition on this value holds. A rule for pinned axes alone is dropped.
pub(super) fn pin(
    rules: Vec<CellRule>,
    axes: &[MatrixAxis],
    pinned: &BTreeMap<String, TreeNode>,
) -> Vec<CellRule> {
    let keep = |mut rule: CellRule| {
        let pins = |axis: &usize| pinned.contains_key(&axes[*axis].name);
        rule.slack = rule.says.iter().any(|(axis, said)| pins(axis) || axes[*axis].is_above(said));
        let holds = |(axis, said): (&usize, &TreeNode)| {
            pinned
                .get(&axes[*axis].name)
                .is_none_or(|node| values_are_equal(&node.value, &said.value))
        };
        let holds = rule.says.iter().all(holds);
        rule.says.retain(|axis, _| !pins(axis));
        (holds && !rule.says.is_empty()).then_some(rule)
    };
    rules.into_iter().filter_map(keep).collect()
}

impl MatrixReader<'_> {
    /// Reads the entries of `exclude` or `include`.
    pub(super) fn read_rules(&mut self, what: CellRuleKind, table: &TreeTable) -> Vec<CellRule> {
        let Some(entry) = table.get(what.key()) else { return vec![] };
        let report_type = |span: Span, found: &'static str, mistakes: &mut Mistakes| {
            let kind = SpecErrorKind::WrongType {
                what: format!("`{what}`"),
                wanted: "a list of tables",
                found,
            };
            let hint = format!("write `{what} = [{{ AXIS = VALUE }}]`, or `[[matrix.{what}]]`");
            mistakes.add(span, kind, Some(hint));
        };
        let TreeValue::Array(items) = &entry.node.value else {
            report_type(entry.node.span, entry.node.value.type_name(), self.mistakes);
            return vec![];
        };
        let mut rules = vec![];
        for item in items.iter() {
            let Some(table) = item.table() else {
                report_type(item.span, item.value.type_name(), self.mistakes);
                continue;
            };
            let mut says = BTreeMap::new();
            if table.is_empty() {
                self.mistakes.add(item.span, SpecErrorKind::EmptyRule(what), None);
            } else if self.read_conditions("", table, &mut says) {
                rules.push(CellRule { span: item.span, says, slack: false });
            }
        }
        rules
    }

    /// Reads `AXIS = VALUE` from `table`, which stands under the keys `before`. A path may be
    /// written in quotes or without.
    fn read_conditions(
        &mut self,
        before: &str,
        table: &TreeTable,
        says: &mut BTreeMap<usize, TreeNode>,
    ) -> bool {
        let mut fine = true;
        for (key, entry) in table.iter() {
            let name = if before.is_empty() { key.to_string() } else { format!("{before}.{key}") };
            let parts: Vec<&str> = name.split(',').map(str::trim).collect();
            if let (TreeValue::Array(values), true) = (&entry.node.value, parts.len() > 1) {
                if values.len() != parts.len() {
                    let problem = AxisProblem::RuleRowLength { paths: parts.len() };
                    self.report_axis(entry.node.span, &name, problem, None);
                    fine = false;
                }
                for (part, value) in parts.iter().zip(values.iter()) {
                    match self.find_axis(part, entry.key, true) {
                        Some(axis) => _ = says.insert(axis, value.clone()),
                        None => fine = false,
                    }
                }
                continue;
            }
            let inner = entry.node.table();
            match (self.find_axis(&name, entry.key, inner.is_none()), inner) {
                (Some(axis), _) => _ = says.insert(axis, entry.node.clone()),
                (None, Some(inner)) => fine &= self.read_conditions(&name, inner, says),
                (None, None) => fine = false,
            }
        }
        fine
    }

    /// Returns the axis whose path is `name` or ends in it. An unknown one is reported if `tell`.
    fn find_axis(&mut self, name: &str, span: Span, tell: bool) -> Option<usize> {
        if let Some(axis) = self.axes.iter().position(|axis| axis.name == name) {
            return Some(axis);
        }
        let end = format!(".{name}");
        let ends: Vec<usize> =
            (0..self.axes.len()).filter(|axis| self.axes[*axis].name.ends_with(&end)).collect();
        if let [axis] = ends[..] {
            return Some(axis);
        }
        if tell && !self.unread.iter().any(|axis| axis == name || axis.ends_with(&end)) {
            let (problem, among) = match ends[..] {
                [] => (AxisProblem::Unknown, (0..self.axes.len()).collect()),
                _ => (AxisProblem::Ambiguous, ends),
            };
            let names: Vec<String> =
                among.iter().map(|axis| self.axes[*axis].name.clone()).collect();
            let hint = did_you_mean(name, names.iter().map(String::as_str));
            self.report_axis(span, name, problem, hint);
        }
        None
    }

    /// Removes the pinned axes, and returns the new index of each of the others.
    pub(super) fn drop_pinned(
        &mut self,
        pinned: &BTreeMap<String, TreeNode>,
    ) -> Vec<Option<usize>> {
        let mut left = 0;
        let stays = |axis: &MatrixAxis| !pinned.contains_key(&axis.name);
        let moved_to = |axis: &MatrixAxis| {
            stays(axis).then(|| {
                left += 1;
                left - 1
            })
        };
        let map: Vec<Option<usize>> = self.axes.iter().map(moved_to).collect();
        for line in &mut self.lines {
            let kept: Vec<bool> = line.axes.iter().map(|axis| map[*axis].is_some()).collect();
            line.axes = line.axes.iter().filter_map(|axis| map[*axis]).collect();
            if kept.contains(&false) {
                let mut seen = BTreeSet::new();
                let part = |row: Vec<u32>| -> Vec<u32> {
                    row.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(v, _)| v).collect()
                };
                line.values = std::mem::take(&mut line.values).into_iter().map(part).collect();
                line.values.retain(|row| seen.insert(row.clone()));
            }
        }
        self.lines.retain(|line| !line.axes.is_empty());
        self.axes.retain(stays);
        map
    }

    pub(super) fn cells(
        &mut self,
        key: Span,
        mut excludes: Vec<CellRule>,
        mut includes: Vec<CellRule>,
    ) -> Vec<Vec<u32>> {
        excludes.retain(|rule| !self.is_outdated(rule));
        includes.retain(|rule| !self.is_outdated(rule));
        let listed: Vec<Vec<Vec<u32>>> =
            self.lines.iter().map(|line| line.values.clone()).collect();
        let mut adds = vec![];
        for rule in &includes {
            adds.extend(self.choices(rule, &listed).map(|choices| (rule, choices)));
        }
        let size = |choices: &[Vec<Vec<u32>>]| {
            choices.iter().fold(1u128, |all, one| all.saturating_mul(one.len() as u128))
        };
        let all = adds.iter().fold(size(&listed), |all, (_, one)| all.saturating_add(size(one)));
        if all > u128::from(MOST_CELLS) {
            self.report_too_many(key, all);
            return self.product(&listed).take(1).collect();
        }
        let mut excluded = Excluded::default();
        for rule in &excludes {
            if let Some(numbers) = self.numbers(rule) {
                excluded.add((!rule.slack).then_some(rule.span), numbers);
            }
        }
        let mut cells: Vec<Vec<u32>> =
            self.product(&listed).filter(|cell| !excluded.takes(cell)).collect();
        for span in excluded.unused() {
            self.mistakes.add(span, SpecErrorKind::MatchesNothing(CellRuleKind::Exclude), None);
        }
        if !adds.is_empty() {
            let mut known: BTreeSet<Vec<u32>> = cells.iter().cloned().collect();
            for (rule, choices) in adds {
                let before = cells.len();
                cells.extend(self.product(&choices).filter(|cell| known.insert(cell.clone())));
                if cells.len() == before && !rule.slack {
                    self.mistakes.add(
                        rule.span,
                        SpecErrorKind::MatchesNothing(CellRuleKind::Include),
                        None,
                    );
                }
            }
        }
        if cells.is_empty() {
            self.mistakes.add(key, SpecErrorKind::NoCells, None);
        }
        cells
    }

    /// Tells whether `rule` names a value that its axis no longer has because a file extending the
    /// rule's redefines the axis.
    fn is_outdated(&self, rule: &CellRule) -> bool {
        let mut says = rule.says.iter();
        says.any(|(axis, said)| {
            self.axes[*axis].is_above(said) && self.values_equal_to(*axis, said).is_empty()
        })
    }

    fn report_too_many(&mut self, key: Span, cells: u128) {
        let name = |line: &AxisGroup| {
            let names: Vec<&str> =
                line.axes.iter().map(|axis| self.axes[*axis].name.as_str()).collect();
            (names.join(","), line.values.len())
        };
        let axes = self.lines.iter().map(name).collect();
        let kind = SpecErrorKind::TooManyCells { cells, most: MOST_CELLS, axes };
        let hint = "give axes fewer values, let some change together (`\"a,b\" = [[1, 2], [3, 4]]`), \
                    or divide the study among several files";
        self.mistakes.add(key, kind, Some(hint.to_owned()));
    }

    /// Returns the Cartesian product of the rows of each group of axes, the last changing fastest,
    /// as the number of the value on each axis.
    fn product(&self, choices: &[Vec<Vec<u32>>]) -> impl Iterator<Item = Vec<u32>> {
        let mut at = choices.iter().all(|one| !one.is_empty()).then(|| vec![0; choices.len()]);
        let lines: Vec<Vec<usize>> = self.lines.iter().map(|line| line.axes.clone()).collect();
        let mut cell = vec![0; self.axes.len()];
        std::iter::from_fn(move || {
            let now = at.as_mut()?;
            for ((axes, choices), at) in lines.iter().zip(choices).zip(&*now) {
                for (axis, value) in axes.iter().zip(&choices[*at]) {
                    cell[*axis] = *value;
                }
            }
            match (0..now.len()).rev().find(|line| now[*line] + 1 < choices[*line].len()) {
                Some(line) => {
                    now[line] += 1;
                    now[line + 1..].fill(0);
                }
                None => at = None,
            }
            Some(cell.clone())
        })
    }

    /// Returns the numbers of the values that `rule` names, by axis.
    fn numbers(&mut self, rule: &CellRule) -> Option<Vec<(usize, Vec<u32>)>> {
        let mut numbers = vec![];
        for (axis, said) in &rule.says {
            let found = self.values_equal_to(*axis, said);
            if found.is_empty() {
                self.report_no_value(*axis, said);
                return None;
            }
            numbers.push((*axis, found));
        }
        Some(numbers)
    }

    fn values_equal_to(&self, axis: usize, said: &TreeNode) -> Vec<u32> {
        let values = self.axes[axis].values.iter().zip(0..);
        values
            .filter(|(value, _)| values_are_equal(&value.given, &said.value))
            .map(|(_, at)| at)
            .collect()
    }

    fn report_no_value(&mut self, axis: usize, said: &TreeNode) {
        let labels: Vec<String> =
            self.axes[axis].values.iter().map(|value| value.label.clone()).collect();
        let hint = did_you_mean(&label(said), labels.iter().map(String::as_str));
        let name = self.axes[axis].name.clone();
        self.report_axis(said.span, &name, AxisProblem::NoValue(label(said)), hint);
    }

    /// Returns the rows of each group of axes in the cells that `rule` adds: those it gives, else
    /// all in the file. A new value is added to its axis.
    fn choices(&mut self, rule: &CellRule, listed: &[Vec<Vec<u32>>]) -> Option<Vec<Vec<Vec<u32>>>> {
        let mut choices = vec![];
        for (at, rows) in listed.iter().enumerate() {
            let axes = self.lines[at].axes.clone();
            let said: Vec<Option<&TreeNode>> =
                axes.iter().map(|axis| rule.says.get(axis)).collect();
            if said.iter().all(Option::is_some) {
                let row = axes.iter().zip(said.into_iter().flatten());
                let row: Option<Vec<u32>> =
                    row.map(|(axis, node)| self.value_number(*axis, node)).collect();
                choices.push(vec![row?]);
                continue;
            }
            let fits = |row: &&Vec<u32>| {
                row.iter().zip(&axes).zip(&said).all(|((number, axis), said)| {
                    let value = &self.axes[*axis].values[*number as usize];
                    said.is_none_or(|said| values_are_equal(&value.given, &said.value))
                })
            };
            let rows: Vec<Vec<u32>> = rows.iter().filter(fits).cloned().collect();
            if rows.is_empty() {
                let names: Vec<&str> =
                    axes.iter().map(|axis| self.axes[*axis].name.as_str()).collect();
                let hint = format!("these change together: name all of {}", names.join(", "));
                let kind = SpecErrorKind::MatchesNothing(CellRuleKind::Include);
                self.mistakes.add(rule.span, kind, Some(hint));
                return None;
            }
            choices.push(rows);
        }
        Some(choices)
    }

    /// Returns the number of the value `said` on `axis`, adding the value if it is new.
    fn value_number(&mut self, axis: usize, said: &TreeNode) -> Option<u32> {
        if let Some(known) = self.values_equal_to(axis, said).first() {
            return Some(*known);
        }
        if self.axes[axis].variants {
            self.report_no_value(axis, said);
            return None;
        }
        let name = self.axes[axis].name.clone();
        let value = self.read_value(&name, self.axes[axis].span, said)?;
        self.axes[axis].values.push(value);
        Some(count(self.axes[axis].values.len() - 1))
    }
}

/// The cells that `exclude` takes out: the values of its rules, by the axes that these name.
#[derive(Default)]
struct Excluded {
    by_axes: BTreeMap<Vec<usize>, BTreeMap<Vec<u32>, Vec<usize>>>,
    /// The span of each rule, or `None` if it may take out no cell.
    spans: Vec<Option<Span>>,
    used: BTreeSet<usize>,
}

impl Excluded {
    fn add(&mut self, span: Option<Span>, numbers: Vec<(usize, Vec<u32>)>) {
        let rule = self.spans.len();
        self.spans.push(span);
        let mut rows: Vec<Vec<u32>> = vec![vec![]];
        for (_, values) in &numbers {
            let longer = |row: &Vec<u32>| {
                let row = row.clone();
                values.iter().map(move |value| [&row[..], &[*value]].concat())
            };
            rows = rows.iter().flat_map(longer).collect();
        }
        let axes = numbers.into_iter().map(|(axis, _)| axis).collect();
        let known = self.by_axes.entry(axes).or_default();
        rows.into_iter().for_each(|row| known.entry(row).or_default().push(rule));
    }

    fn takes(&mut self, cell: &[u32]) -> bool {
        let mut taken = false;
        for (axes, rows) in &self.by_axes {
            let row: Vec<u32> = axes.iter().map(|axis| cell[*axis]).collect();
            if let Some(rules) = rows.get(&row) {
                self.used.extend(rules);
                taken = true;
            }
        }
        taken
    }

    /// Returns the spans of the rules that took out no cell.
    fn unused(&self) -> Vec<Span> {
        let idle = |rule: &usize| !self.used.contains(rule);
        (0..self.spans.len()).filter(idle).filter_map(|rule| self.spans[rule]).collect()
    }
}
