//! The `[matrix]` table: axes, each a list of overlays, and which of their combinations are cells.

use super::{
    Mistakes, SpecErrorKind, did_you_mean, overlay,
    tree::{Entry, Node, Place, Table, Value, seed},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The keys of `[matrix]` that are no axes.
const ENTRIES: [&str; 2] = ["exclude", "include"];

/// As many cells as a matrix may have: more is a slip, and would be found out by waiting.
pub(crate) const MOST_CELLS: u64 = 4_000_000;

/// One axis: every value is an overlay of stages, or a seed.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) name: String,
    /// Where it is named.
    place: Place,
    pub(crate) values: Vec<AxisValue>,
    /// Whether its values are named variants.
    variants: bool,
    /// The stages any of its values touches.
    pub(crate) touches: Vec<Arc<str>>,
}

impl Axis {
    /// Tells whether the axis stands in a file that is laid over the one `said` stands in: a file
    /// is read before its bases.
    fn is_above(&self, said: &Node) -> bool {
        self.place.source < said.place.source
    }
}

/// One value of an axis.
#[derive(Clone, Debug)]
pub(crate) struct AxisValue {
    /// What it is called in tables: the value itself, or the variant's name.
    pub(crate) label: String,
    /// The value as it is written, or the variant's name.
    given: Value,
    /// The tables to lay over the stages.
    pub(crate) over: Node,
    /// The seed of every stage without one of its own.
    pub(crate) seed: Option<u64>,
}

/// One key of the table: an axis, or several that change together, with what they take in turn.
#[derive(Clone, Debug)]
struct Line {
    axes: Vec<usize>,
    values: Vec<Vec<u32>>,
}

/// One entry of `exclude` or `include`: what it says of axes, by axis.
struct Rule {
    place: Place,
    says: BTreeMap<usize, Node>,
    /// Whether it speaks of an axis that `--set` pins, or that a file laid over its own has
    /// written anew: then it may well change nothing.
    slack: bool,
}

/// The axes of a matrix, and its cells by the number of their value on each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix {
    pub(crate) axes: Vec<Axis>,
    pub(crate) cells: Vec<Vec<u32>>,
}

/// Returns the axes of `matrix` in the order they stand in the file, and its cells: all
/// combinations, the last axis changing fastest, without those that `exclude` names; then those
/// that `include` adds. An axis in `pinned` was set from outside and is none any more.
pub(crate) fn read(
    matrix: &Node,
    key: Place,
    stages: &Node,
    pinned: &BTreeMap<String, Node>,
    mistakes: &mut Mistakes,
) -> Matrix {
    let Some(table) = matrix.table() else { return Matrix::default() };
    let mut entries: Vec<(&Arc<str>, &Entry)> = table.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.key);
    let mut reader = Reader { stages, axes: vec![], lines: vec![], unread: vec![], mistakes };
    for (name, entry) in &entries {
        if !ENTRIES.contains(&&***name) {
            let before = reader.axes.len();
            reader.line(name, entry);
            if reader.axes.len() == before {
                reader.unread.extend(name.split(',').map(|path| path.trim().to_owned()));
            }
        }
    }
    reader.overlaps();
    let [excludes, includes] = ENTRIES.map(|name| reader.rules(name, table));
    let [excludes, includes] = [excludes, includes].map(|rules| pin(rules, &reader.axes, pinned));
    let map = reader.drop_pinned(pinned);
    let moved = |rules: Vec<Rule>| -> Vec<Rule> {
        let says = |says: BTreeMap<usize, Node>| {
            says.into_iter().filter_map(|(axis, node)| Some((map[axis]?, node))).collect()
        };
        rules.into_iter().map(|rule| Rule { says: says(rule.says), ..rule }).collect()
    };
    let cells = reader.cells(key, moved(excludes), moved(includes));
    for axis in &mut reader.axes {
        let tables = axis.values.iter().filter_map(|value| value.over.table());
        let touched: BTreeSet<Arc<str>> = tables.flat_map(|table| table.keys().cloned()).collect();
        axis.touches = touched.into_iter().collect();
    }
    Matrix { axes: reader.axes, cells }
}

// An axis that `--set` pins has one value: what is said of another value is said of no cell, and
// what is said of this one holds. A rule that speaks of pinned axes alone gives way to them.
fn pin(rules: Vec<Rule>, axes: &[Axis], pinned: &BTreeMap<String, Node>) -> Vec<Rule> {
    let keep = |mut rule: Rule| {
        let pins = |axis: &usize| pinned.contains_key(&axes[*axis].name);
        rule.slack = rule.says.iter().any(|(axis, said)| pins(axis) || axes[*axis].is_above(said));
        let holds = |(axis, said): (&usize, &Node)| {
            pinned.get(&axes[*axis].name).is_none_or(|node| same(&node.value, &said.value))
        };
        let holds = rule.says.iter().all(holds);
        rule.says.retain(|axis, _| !pins(axis));
        (holds && !rule.says.is_empty()).then_some(rule)
    };
    rules.into_iter().filter_map(keep).collect()
}

struct Reader<'a> {
    stages: &'a Node,
    axes: Vec<Axis>,
    lines: Vec<Line>,
    /// The axes that could not be read: what is said of them is no mistake.
    unread: Vec<String>,
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    fn wrong(&mut self, place: Place, axis: &str, why: impl Into<String>, hint: Option<String>) {
        let kind = SpecErrorKind::Axis { axis: axis.to_owned(), why: why.into() };
        self.mistakes.add(place, kind, hint);
    }

    /// Reads one key that is an axis, or several.
    fn line(&mut self, name: &Arc<str>, entry: &Entry) {
        if name.contains(char::is_control) {
            let kind = SpecErrorKind::ControlCharacter("the name of an axis");
            self.mistakes.add(entry.key, kind, None);
            return;
        }
        let items = match &entry.node.value {
            Value::Array(items) => items,
            Value::Table(variants) => {
                if let Some(values) = self.variants(name, entry, variants) {
                    self.plain(name, entry, values, true);
                }
                return;
            }
            other => {
                let why = format!("is {}, not a list of values", other.type_name());
                let hint = Some("write `[…]` around it".to_owned());
                return self.wrong(entry.node.place, name, why, hint);
            }
        };
        if name.contains(',') {
            return self.zip(name, entry, items);
        }
        if let Some(values) = self.path(name, entry.key, items) {
            self.plain(name, entry, values, false);
        }
    }

    fn plain(&mut self, name: &str, entry: &Entry, values: Vec<AxisValue>, variants: bool) {
        let is_empty = match &entry.node.value {
            Value::Array(items) => items.is_empty(),
            Value::Table(variants) => variants.is_empty(),
            _ => false,
        };
        if is_empty {
            return self.wrong(entry.node.place, name, "is empty", None);
        }
        // With no value left that is right, all that is wrong was told.
        if values.is_empty() {
            return;
        }
        let numbers = (0..count(values.len())).map(|value| vec![value]).collect();
        self.lines.push(Line { axes: vec![self.axes.len()], values: numbers });
        self.push(name, entry.key, values, variants);
    }

    fn push(&mut self, name: &str, place: Place, values: Vec<AxisValue>, variants: bool) {
        let name = name.to_owned();
        self.axes.push(Axis { name, place, values, variants, touches: vec![] });
    }

    /// Reads several axes that change together: a list of lists, one value for each.
    fn zip(&mut self, name: &Arc<str>, entry: &Entry, items: &[Node]) {
        let paths: Vec<Arc<str>> = name.split(',').map(|path| Arc::from(path.trim())).collect();
        let mut columns: Vec<Vec<Node>> = vec![vec![]; paths.len()];
        for item in items {
            match &item.value {
                Value::Array(values) if values.len() == paths.len() => {
                    for (column, value) in columns.iter_mut().zip(values.iter()) {
                        column.push(value.clone());
                    }
                }
                value => {
                    let found = match value {
                        Value::Array(values) => format!("a list of {}", values.len()),
                        other => other.type_name().to_owned(),
                    };
                    let why = format!("takes lists of {} values, not {found}", paths.len());
                    let hint = Some(format!("write one value each for {}", paths.join(", ")));
                    self.wrong(item.place, name, why, hint);
                    return;
                }
            }
        }
        if items.is_empty() {
            return self.wrong(entry.node.place, name, "is empty", None);
        }
        let mut numbers = vec![vec![]; items.len()];
        let mut columns = paths.iter().zip(columns).map(|(path, column)| {
            // A value that comes back is the same value: one column of a table, one computation.
            let mut known: BTreeMap<String, u32> = BTreeMap::new();
            let mut distinct = vec![];
            for (item, row) in column.into_iter().zip(&mut numbers) {
                let next = count(distinct.len());
                let number = *known.entry(exact(&item.value)).or_insert(next);
                if number == next {
                    distinct.push(item);
                }
                row.push(number);
            }
            (path, distinct)
        });
        let columns: Vec<(&Arc<str>, Vec<Node>)> = columns.by_ref().collect();
        let first = self.axes.len();
        let read: Option<Vec<_>> =
            columns.iter().map(|(path, items)| self.path(path, entry.key, items)).collect();
        let Some(read) = read else { return };
        // A value that is wrong was told: without it the rows would name others.
        if read.iter().zip(&columns).any(|(values, (_, items))| values.len() != items.len()) {
            return;
        }
        for (values, (path, _)) in read.into_iter().zip(&columns) {
            self.push(path, entry.key, values, false);
        }
        self.lines.push(Line { axes: (first..self.axes.len()).collect(), values: numbers });
    }

    /// Reads the values of the axis that sets the place called `name`.
    fn path(&mut self, name: &Arc<str>, key: Place, items: &[Node]) -> Option<Vec<AxisValue>> {
        if &**name != "seed" {
            let path: Vec<&str> = name.split('.').collect();
            let known = self.stages.table()?;
            if !known.contains_key(path[0]) {
                let hint = did_you_mean(path[0], known.keys().map(|key| &**key));
                self.wrong(key, name, "names no stage of this pipeline", hint);
                return None;
            }
            if path.len() < 2 || !super::STAGE_KEYS.contains(&path[1]) {
                let hint = format!(
                    "write `{}.with.SETTING`, `{0}.use`, `{0}.from`, `{0}.seed` or `{0}.repeats`",
                    path[0]
                );
                self.wrong(key, name, "does not say what of the stage it sets", Some(hint));
                return None;
            }
        }
        Some(items.iter().filter_map(|item| self.value(name, key, item)).collect())
    }

    fn value(&mut self, name: &str, key: Place, item: &Node) -> Option<AxisValue> {
        let (label, given) = (label(item), item.value.clone());
        if name != "seed" {
            let path: Vec<&str> = name.split('.').collect();
            let over = overlay::along(&path, key, item.clone());
            return Some(AxisValue { label, given, over, seed: None });
        }
        match seed(item) {
            Ok(seed) => {
                Some(AxisValue { label, given, over: Node::empty(item.place), seed: Some(seed) })
            }
            Err((kind, hint)) => {
                if matches!(item.value, Value::TooLarge(_)) {
                    self.mistakes.add(item.place, kind, hint);
                } else {
                    self.wrong(item.place, name, "takes whole numbers, not negative", None);
                }
                None
            }
        }
    }

    fn variants(
        &mut self,
        name: &Arc<str>,
        entry: &Entry,
        variants: &Table,
    ) -> Option<Vec<AxisValue>> {
        let known = self.stages.table()?;
        if known.contains_key(name)
            && variants.keys().any(|key| super::STAGE_KEYS.contains(&&**key))
        {
            let hint = format!("put the path in quotes: \"{name}.with.SETTING\" = [...]");
            self.wrong(entry.key, name, "is a table", Some(hint));
            return None;
        }
        let mut sorted: Vec<(&Arc<str>, &Entry)> = variants.iter().collect();
        sorted.sort_by_key(|(_, entry)| entry.key);
        let mut values = vec![];
        for (label, entry) in sorted {
            if label.contains(char::is_control) {
                let kind = SpecErrorKind::ControlCharacter("the name of a variant");
                self.mistakes.add(entry.key, kind, None);
                continue;
            }
            let Some(table) = entry.node.table() else {
                let why = "holds a variant that is not a table";
                self.wrong(entry.node.place, name, why, None);
                continue;
            };
            for (stage, entry) in table.iter() {
                let adds = entry.node.table().is_some_and(|table| table.contains_key("use"));
                if !known.contains_key(stage) && !adds {
                    let kind = SpecErrorKind::UnknownStage(stage.to_string());
                    let hint = did_you_mean(stage, known.keys().map(|key| &**key));
                    self.mistakes.add(entry.key, kind, hint);
                }
            }
            values.push(AxisValue {
                label: label.to_string(),
                given: Value::String(Arc::clone(label)),
                over: entry.node.clone(),
                seed: None,
            });
        }
        Some(values)
    }

    // Two axes that set the same place would make a cell depend on the order of the axes.
    fn overlaps(&mut self) {
        let paths = |axis: &Axis| {
            let all = axis.values.iter().flat_map(|value| overlay::leaves(&value.over));
            let all: BTreeSet<Vec<Arc<str>>> = all.filter(|path| !path.is_empty()).collect();
            all
        };
        let paths: Vec<BTreeSet<Vec<Arc<str>>>> = self.axes.iter().map(paths).collect();
        for (i, one) in paths.iter().enumerate() {
            for (j, other) in paths.iter().enumerate().skip(i + 1) {
                let clash =
                    one.iter().flat_map(|a| other.iter().map(move |b| (a, b))).find(|(a, b)| {
                        let n = a.len().min(b.len());
                        a[..n] == b[..n]
                    });
                let (a, b) = (&self.axes[i], &self.axes[j]);
                let path = match clash {
                    Some((a, b)) => if a.len() < b.len() { b } else { a }.join("."),
                    None if a.name == b.name => a.name.clone(),
                    None => continue,
                };
                let kind = SpecErrorKind::AxesOverlap(a.name.clone(), b.name.clone(), path);
                self.mistakes.add(b.place, kind, None);
            }
        }
    }

    /// Reads the entries of `exclude` or `include`.
    fn rules(&mut self, what: &'static str, table: &Table) -> Vec<Rule> {
        let Some(entry) = table.get(what) else { return vec![] };
        let wrong = |place: Place, found: &'static str, mistakes: &mut Mistakes| {
            let kind = SpecErrorKind::WrongType {
                what: format!("`{what}`"),
                wanted: "a list of tables",
                found,
            };
            let hint = format!("write `{what} = [{{ AXIS = VALUE }}]`, or `[[matrix.{what}]]`");
            mistakes.add(place, kind, Some(hint));
        };
        let Value::Array(items) = &entry.node.value else {
            wrong(entry.node.place, entry.node.value.type_name(), self.mistakes);
            return vec![];
        };
        let mut rules = vec![];
        for item in items.iter() {
            let Some(table) = item.table() else {
                wrong(item.place, item.value.type_name(), self.mistakes);
                continue;
            };
            let mut says = BTreeMap::new();
            if table.is_empty() {
                self.mistakes.add(item.place, SpecErrorKind::EmptyRule(what), None);
            } else if self.conditions("", table, &mut says) {
                rules.push(Rule { place: item.place, says, slack: false });
            }
        }
        rules
    }

    /// Reads `AXIS = VALUE` from `table`, which stands under the keys `before`. A path may be
    /// written in quotes or without.
    fn conditions(
        &mut self,
        before: &str,
        table: &Table,
        says: &mut BTreeMap<usize, Node>,
    ) -> bool {
        let mut fine = true;
        for (key, entry) in table.iter() {
            let name = if before.is_empty() { key.to_string() } else { format!("{before}.{key}") };
            let parts: Vec<&str> = name.split(',').map(str::trim).collect();
            if let (Value::Array(values), true) = (&entry.node.value, parts.len() > 1) {
                if values.len() != parts.len() {
                    let why = format!("takes lists of {} values here", parts.len());
                    self.wrong(entry.node.place, &name, why, None);
                    fine = false;
                }
                for (part, value) in parts.iter().zip(values.iter()) {
                    match self.named(part, entry.key, true) {
                        Some(axis) => _ = says.insert(axis, value.clone()),
                        None => fine = false,
                    }
                }
                continue;
            }
            let inner = entry.node.table();
            match (self.named(&name, entry.key, inner.is_none()), inner) {
                (Some(axis), _) => _ = says.insert(axis, entry.node.clone()),
                (None, Some(inner)) => fine &= self.conditions(&name, inner, says),
                (None, None) => fine = false,
            }
        }
        fine
    }

    /// Returns the axis that goes by `name`: its path or the end of it. One there is not is told
    /// if `tell`.
    fn named(&mut self, name: &str, place: Place, tell: bool) -> Option<usize> {
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
            let (why, among) = match ends[..] {
                [] => ("is not in this matrix", (0..self.axes.len()).collect()),
                _ => ("may be several", ends),
            };
            let names: Vec<String> =
                among.iter().map(|axis| self.axes[*axis].name.clone()).collect();
            let hint = did_you_mean(name, names.iter().map(String::as_str));
            self.wrong(place, name, why, hint);
        }
        None
    }

    /// Takes the axes away that are pinned, and returns where the others went.
    fn drop_pinned(&mut self, pinned: &BTreeMap<String, Node>) -> Vec<Option<usize>> {
        let mut left = 0;
        let stays = |axis: &Axis| !pinned.contains_key(&axis.name);
        let place = |axis: &Axis| {
            stays(axis).then(|| {
                left += 1;
                left - 1
            })
        };
        let map: Vec<Option<usize>> = self.axes.iter().map(place).collect();
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

    fn cells(
        &mut self,
        key: Place,
        mut excludes: Vec<Rule>,
        mut includes: Vec<Rule>,
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
            self.too_many(key, all);
            return self.product(&listed).take(1).collect();
        }
        let mut excluded = Excluded::default();
        for rule in &excludes {
            if let Some(numbers) = self.numbers(rule) {
                excluded.add((!rule.slack).then_some(rule.place), numbers);
            }
        }
        let mut cells: Vec<Vec<u32>> =
            self.product(&listed).filter(|cell| !excluded.takes(cell)).collect();
        for place in excluded.idle() {
            self.mistakes.add(place, SpecErrorKind::MatchesNothing("exclude"), None);
        }
        if !adds.is_empty() {
            let mut known: BTreeSet<Vec<u32>> = cells.iter().cloned().collect();
            for (rule, choices) in adds {
                let before = cells.len();
                cells.extend(self.product(&choices).filter(|cell| known.insert(cell.clone())));
                if cells.len() == before && !rule.slack {
                    self.mistakes.add(rule.place, SpecErrorKind::MatchesNothing("include"), None);
                }
            }
        }
        if cells.is_empty() {
            self.mistakes.add(key, SpecErrorKind::NoCells, None);
        }
        cells
    }

    /// Tells whether `rule` speaks of a value that its axis had before a file laid over that of
    /// the rule wrote the axis anew.
    fn is_outdated(&self, rule: &Rule) -> bool {
        let mut says = rule.says.iter();
        says.any(|(axis, said)| {
            self.axes[*axis].is_above(said) && self.having(*axis, said).is_empty()
        })
    }

    fn too_many(&mut self, key: Place, cells: u128) {
        let name = |line: &Line| {
            let names: Vec<&str> =
                line.axes.iter().map(|axis| self.axes[*axis].name.as_str()).collect();
            format!("{} has {}", names.join(","), line.values.len())
        };
        let axes: Vec<String> = self.lines.iter().map(name).collect();
        let kind = SpecErrorKind::TooManyCells { cells, most: MOST_CELLS, axes: axes.join(", ") };
        let hint = "give axes fewer values, let some change together (`\"a,b\" = [[1, 2], [3, 4]]`), \
                    or divide the study among several files";
        self.mistakes.add(key, kind, Some(hint.to_owned()));
    }

    /// Returns the combinations of `choices`, one for each line, the last changing fastest, as the
    /// value on each axis.
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
    fn numbers(&mut self, rule: &Rule) -> Option<Vec<(usize, Vec<u32>)>> {
        let mut numbers = vec![];
        for (axis, said) in &rule.says {
            let found = self.having(*axis, said);
            if found.is_empty() {
                self.no_value(*axis, said);
                return None;
            }
            numbers.push((*axis, found));
        }
        Some(numbers)
    }

    fn having(&self, axis: usize, said: &Node) -> Vec<u32> {
        let values = self.axes[axis].values.iter().zip(0..);
        values.filter(|(value, _)| same(&value.given, &said.value)).map(|(_, at)| at).collect()
    }

    fn no_value(&mut self, axis: usize, said: &Node) {
        let labels: Vec<String> =
            self.axes[axis].values.iter().map(|value| value.label.clone()).collect();
        let hint = did_you_mean(&label(said), labels.iter().map(String::as_str));
        let name = self.axes[axis].name.clone();
        self.wrong(said.place, &name, format!("has no value `{}`", label(said)), hint);
    }

    /// Returns what each line takes in the cells `rule` adds: what it says, else all that is
    /// listed. A new value becomes one of its axis.
    fn choices(&mut self, rule: &Rule, listed: &[Vec<Vec<u32>>]) -> Option<Vec<Vec<Vec<u32>>>> {
        let mut choices = vec![];
        for (at, rows) in listed.iter().enumerate() {
            let axes = self.lines[at].axes.clone();
            let said: Vec<Option<&Node>> = axes.iter().map(|axis| rule.says.get(axis)).collect();
            if said.iter().all(Option::is_some) {
                let row = axes.iter().zip(said.into_iter().flatten());
                let row: Option<Vec<u32>> =
                    row.map(|(axis, node)| self.take(*axis, node)).collect();
                choices.push(vec![row?]);
                continue;
            }
            let fits = |row: &&Vec<u32>| {
                row.iter().zip(&axes).zip(&said).all(|((number, axis), said)| {
                    let value = &self.axes[*axis].values[*number as usize];
                    said.is_none_or(|said| same(&value.given, &said.value))
                })
            };
            let rows: Vec<Vec<u32>> = rows.iter().filter(fits).cloned().collect();
            if rows.is_empty() {
                let names: Vec<&str> =
                    axes.iter().map(|axis| self.axes[*axis].name.as_str()).collect();
                let hint = format!("these change together: name all of {}", names.join(", "));
                let kind = SpecErrorKind::MatchesNothing("include");
                self.mistakes.add(rule.place, kind, Some(hint));
                return None;
            }
            choices.push(rows);
        }
        Some(choices)
    }

    /// Returns the number of the value `said` of `axis`, adding it if it is new.
    fn take(&mut self, axis: usize, said: &Node) -> Option<u32> {
        if let Some(known) = self.having(axis, said).first() {
            return Some(*known);
        }
        if self.axes[axis].variants {
            self.no_value(axis, said);
            return None;
        }
        let (name, place) = (self.axes[axis].name.clone(), self.axes[axis].place);
        let value = self.value(&name, place, said)?;
        self.axes[axis].values.push(value);
        Some(count(self.axes[axis].values.len() - 1))
    }
}

/// The cells that `exclude` takes out: for the axes its entries name, the values they name there.
#[derive(Default)]
struct Excluded {
    by_axes: BTreeMap<Vec<usize>, BTreeMap<Vec<u32>, Vec<usize>>>,
    /// Where an entry stands, if it must take something out.
    places: Vec<Option<Place>>,
    used: BTreeSet<usize>,
}

impl Excluded {
    fn add(&mut self, place: Option<Place>, numbers: Vec<(usize, Vec<u32>)>) {
        let rule = self.places.len();
        self.places.push(place);
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

    /// Returns the places of the entries that took out nothing.
    fn idle(&self) -> Vec<Place> {
        let idle = |rule: &usize| !self.used.contains(rule);
        (0..self.places.len()).filter(idle).filter_map(|rule| self.places[rule]).collect()
    }
}

fn count(values: usize) -> u32 {
    u32::try_from(values).expect("a file under 4 GiB holds fewer values")
}

/// Tells whether two values are the same to a reader: `1` is `1.0`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Integer(a), Value::Float(b)) | (Value::Float(b), Value::Integer(a)) => {
            *a as f64 == *b
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(&a.value, &b.value))
        }
        (Value::Table(a), Value::Table(b)) => {
            let keys = a.keys().eq(b.keys());
            let mut both = a.values().zip(b.values());
            keys && both.all(|(a, b)| same(&a.node.value, &b.node.value))
        }
        _ => exact(a) == exact(b),
    }
}

/// Returns a text that only the same value of the same type has.
fn exact(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(text) => format!("date {text}"),
        Value::TooLarge(text) => format!("number {text}"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| exact(&item.value)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Table(table) => {
            let entry =
                |(key, entry): (&Arc<str>, &Entry)| format!("{key:?}={}", exact(&entry.node.value));
            format!("{{{}}}", table.iter().map(entry).collect::<Vec<_>>().join(","))
        }
    }
}

fn label(node: &Node) -> String {
    match &node.value {
        Value::String(text) | Value::Datetime(text) | Value::TooLarge(text) => text.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(label).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) => {
            let inside: Vec<String> =
                table.iter().map(|(key, entry)| format!("{key}={}", label(&entry.node))).collect();
            format!("{{{}}}", inside.join(", "))
        }
    }
}
