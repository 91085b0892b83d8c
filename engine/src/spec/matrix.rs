//! The `[matrix]` table: axes of values, each an overlay of the stages.

mod cells;

use self::cells::{CellRule, pin};
use super::{
    AxisProblem, CellRuleKind, Mistakes, SpecErrorKind, did_you_mean, overlay,
    tree::{Span, TreeEntry, TreeNode, TreeTable, TreeValue, seed},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The keys of `[matrix]` that are lists of rules, not axes.
const RULE_KINDS: [CellRuleKind; 2] = [CellRuleKind::Exclude, CellRuleKind::Include];

/// An axis: every value is an overlay of stages, or a seed.
#[derive(Clone, Debug)]
pub(crate) struct MatrixAxis {
    pub(crate) name: String,
    /// The span of its name.
    span: Span,
    pub(crate) values: Vec<AxisValue>,
    /// Whether its values are named variants.
    variants: bool,
    /// The stages that any of its values sets something of.
    pub(crate) touches: Vec<Arc<str>>,
}

impl MatrixAxis {
    /// Tells whether the axis stands in a file that extends the one `said` stands in: a file is
    /// read before its bases.
    fn is_above(&self, said: &TreeNode) -> bool {
        self.span.source < said.span.source
    }
}

/// One value of an axis.
#[derive(Clone, Debug)]
pub(crate) struct AxisValue {
    /// Its label in tables: the value itself, or the variant's name.
    pub(crate) label: String,
    /// The value as it is written, or the variant's name.
    given: TreeValue,
    /// The overlay to merge over the stages.
    pub(crate) over: TreeNode,
    /// The seed of every stage without one of its own.
    pub(crate) seed: Option<u64>,
}

/// One key of the table: an axis or several that change together, with the rows of values they take
/// in turn.
#[derive(Clone, Debug)]
struct AxisGroup {
    axes: Vec<usize>,
    values: Vec<Vec<u32>>,
}

/// The axes of a matrix, and its cells as the number of their value on each.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpecMatrix {
    pub(crate) axes: Vec<MatrixAxis>,
    pub(crate) cells: Vec<Vec<u32>>,
}

/// Returns the axes of `matrix` in the order of the file, and its cells: all combinations, the last
/// axis changing fastest, without those that `exclude` names; then those that `include` adds. An
/// axis in `pinned` is set by `--set`, and is left out.
pub(crate) fn read(
    matrix: &TreeNode,
    key: Span,
    stages: &TreeNode,
    pinned: &BTreeMap<String, TreeNode>,
    mistakes: &mut Mistakes,
) -> SpecMatrix {
    let Some(table) = matrix.table() else { return SpecMatrix::default() };
    let mut entries: Vec<(&Arc<str>, &TreeEntry)> = table.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.key);
    let mut reader = MatrixReader { stages, axes: vec![], lines: vec![], unread: vec![], mistakes };
    for (name, entry) in &entries {
        if RULE_KINDS.iter().all(|kind| kind.key() != &***name) {
            let before = reader.axes.len();
            reader.read_key(name, entry);
            if reader.axes.len() == before {
                reader.unread.extend(name.split(',').map(|path| path.trim().to_owned()));
            }
        }
    }
    reader.report_overlaps();
    let [excludes, includes] = RULE_KINDS.map(|kind| reader.read_rules(kind, table));
    let [excludes, includes] = [excludes, includes].map(|rules| pin(rules, &reader.axes, pinned));
    let map = reader.drop_pinned(pinned);
    let moved = |rules: Vec<CellRule>| -> Vec<CellRule> {
        let says = |says: BTreeMap<usize, TreeNode>| {
            says.into_iter().filter_map(|(axis, node)| Some((map[axis]?, node))).collect()
        };
        rules.into_iter().map(|rule| CellRule { says: says(rule.says), ..rule }).collect()
    };
    let cells = reader.cells(key, moved(excludes), moved(includes));
    for axis in &mut reader.axes {
        let tables = axis.values.iter().filter_map(|value| value.over.table());
        let touched: BTreeSet<Arc<str>> = tables.flat_map(|table| table.keys().cloned()).collect();
        axis.touches = touched.into_iter().collect();
    }
    SpecMatrix { axes: reader.axes, cells }
}

struct MatrixReader<'a> {
    stages: &'a TreeNode,
    axes: Vec<MatrixAxis>,
    lines: Vec<AxisGroup>,
    /// The axes that have mistakes: rules that name them are not checked.
    unread: Vec<String>,
    mistakes: &'a mut Mistakes,
}

impl MatrixReader<'_> {
    fn report_axis(&mut self, span: Span, axis: &str, problem: AxisProblem, hint: Option<String>) {
        let kind = SpecErrorKind::Axis { axis: axis.to_owned(), problem };
        self.mistakes.add(span, kind, hint);
    }

    /// Reads a key that is an axis, or several joined by commas.
    fn read_key(&mut self, name: &Arc<str>, entry: &TreeEntry) {
        if name.contains(char::is_control) {
            let kind = SpecErrorKind::ControlCharacter("the name of an axis");
            self.mistakes.add(entry.key, kind, None);
            return;
        }
        let items = match &entry.node.value {
            TreeValue::Array(items) => items,
            TreeValue::Table(variants) => {
                if let Some(values) = self.read_variants(name, entry, variants) {
                    self.push_single(name, entry, values, true);
                }
                return;
            }
            other => {
                let problem = AxisProblem::NotAList { found: other.type_name() };
                let hint = Some("write `[…]` around it".to_owned());
                return self.report_axis(entry.node.span, name, problem, hint);
            }
        };
        if name.contains(',') {
            return self.read_zipped(name, entry, items);
        }
        if let Some(values) = self.read_path_values(name, entry.key, items) {
            self.push_single(name, entry, values, false);
        }
    }

    fn push_single(
        &mut self,
        name: &str,
        entry: &TreeEntry,
        values: Vec<AxisValue>,
        variants: bool,
    ) {
        let is_empty = match &entry.node.value {
            TreeValue::Array(items) => items.is_empty(),
            TreeValue::Table(variants) => variants.is_empty(),
            _ => false,
        };
        if is_empty {
            return self.report_axis(entry.node.span, name, AxisProblem::Empty, None);
        }
        // Every value has a mistake that is reported already.
        if values.is_empty() {
            return;
        }
        let numbers = (0..count(values.len())).map(|value| vec![value]).collect();
        self.lines.push(AxisGroup { axes: vec![self.axes.len()], values: numbers });
        self.push_axis(name, entry.key, values, variants);
    }

    fn push_axis(&mut self, name: &str, span: Span, values: Vec<AxisValue>, variants: bool) {
        let name = name.to_owned();
        self.axes.push(MatrixAxis { name, span, values, variants, touches: vec![] });
    }

    /// Reads several axes that change together (zipped): a list of rows with one value for each.
    fn read_zipped(&mut self, name: &Arc<str>, entry: &TreeEntry, items: &[TreeNode]) {
        let paths: Vec<Arc<str>> = name.split(',').map(|path| Arc::from(path.trim())).collect();
        let mut columns: Vec<Vec<TreeNode>> = vec![vec![]; paths.len()];
        for item in items {
            match &item.value {
                TreeValue::Array(values) if values.len() == paths.len() => {
                    for (column, value) in columns.iter_mut().zip(values.iter()) {
                        column.push(value.clone());
                    }
                }
                value => {
                    let together = paths.len();
                    let problem = match value {
                        TreeValue::Array(values) => {
                            AxisProblem::RowLength { paths: together, found: values.len() }
                        }
                        other => {
                            AxisProblem::RowNotAList { paths: together, found: other.type_name() }
                        }
                    };
                    let hint = Some(format!("write one value each for {}", paths.join(", ")));
                    self.report_axis(item.span, name, problem, hint);
                    return;
                }
            }
        }
        if items.is_empty() {
            return self.report_axis(entry.node.span, name, AxisProblem::Empty, None);
        }
        let mut numbers = vec![vec![]; items.len()];
        let mut columns = paths.iter().zip(columns).map(|(path, column)| {
            // Equal values in several rows are one value of the axis.
            let mut known: BTreeMap<String, u32> = BTreeMap::new();
            let mut distinct = vec![];
            for (item, row) in column.into_iter().zip(&mut numbers) {
                let next = count(distinct.len());
                let number = *known.entry(canonical_text(&item.value)).or_insert(next);
                if number == next {
                    distinct.push(item);
                }
                row.push(number);
            }
            (path, distinct)
        });
        let columns: Vec<(&Arc<str>, Vec<TreeNode>)> = columns.by_ref().collect();
        let first = self.axes.len();
        let read: Option<Vec<_>> = columns
            .iter()
            .map(|(path, items)| self.read_path_values(path, entry.key, items))
            .collect();
        let Some(read) = read else { return };
        // A value with a mistake, reported already, is missing: the numbers in the rows would be
        // off.
        if read.iter().zip(&columns).any(|(values, (_, items))| values.len() != items.len()) {
            return;
        }
        for (values, (path, _)) in read.into_iter().zip(&columns) {
            self.push_axis(path, entry.key, values, false);
        }
        self.lines.push(AxisGroup { axes: (first..self.axes.len()).collect(), values: numbers });
    }

    /// Reads the values of the axis that sets the path `name`.
    fn read_path_values(
        &mut self,
        name: &Arc<str>,
        key: Span,
        items: &[TreeNode],
    ) -> Option<Vec<AxisValue>> {
        if &**name != "seed" {
            let path: Vec<&str> = name.split('.').collect();
            let known = self.stages.table()?;
            if !known.contains_key(path[0]) {
                let hint = did_you_mean(path[0], known.keys().map(|key| &**key));
                self.report_axis(key, name, AxisProblem::NoStage, hint);
                return None;
            }
            if path.len() < 2 || !super::STAGE_KEYS.contains(&path[1]) {
                let hint = format!(
                    "write `{}.with.SETTING`, `{0}.use`, `{0}.from`, `{0}.protocol`, `{0}.seed` or \
                     `{0}.repeats`",
                    path[0]
                );
                self.report_axis(key, name, AxisProblem::NoKey, Some(hint));
                return None;
            }
        }
        Some(items.iter().filter_map(|item| self.read_value(name, key, item)).collect())
    }

    fn read_value(&mut self, name: &str, key: Span, item: &TreeNode) -> Option<AxisValue> {
        let label = label(item);
        let given = item.value.clone();
        if name != "seed" {
            let path: Vec<&str> = name.split('.').collect();
            let over = overlay::nest(&path, key, item.clone());
            return Some(AxisValue { label, given, over, seed: None });
        }
        match seed(item) {
            Ok(seed) => {
                Some(AxisValue { label, given, over: TreeNode::empty(item.span), seed: Some(seed) })
            }
            Err((kind, hint)) => {
                if matches!(item.value, TreeValue::TooLarge(_)) {
                    self.mistakes.add(item.span, kind, hint);
                } else {
                    self.report_axis(item.span, name, AxisProblem::NotASeed, None);
                }
                None
            }
        }
    }

    fn read_variants(
        &mut self,
        name: &Arc<str>,
        entry: &TreeEntry,
        variants: &TreeTable,
    ) -> Option<Vec<AxisValue>> {
        let known = self.stages.table()?;
        if known.contains_key(name)
            && variants.keys().any(|key| super::STAGE_KEYS.contains(&&**key))
        {
            let hint = format!("put the path in quotes: \"{name}.with.SETTING\" = [...]");
            self.report_axis(entry.key, name, AxisProblem::UnquotedPath, Some(hint));
            return None;
        }
        let mut sorted: Vec<(&Arc<str>, &TreeEntry)> = variants.iter().collect();
        sorted.sort_by_key(|(_, entry)| entry.key);
        let mut values = vec![];
        for (label, entry) in sorted {
            if label.contains(char::is_control) {
                let kind = SpecErrorKind::ControlCharacter("the name of a variant");
                self.mistakes.add(entry.key, kind, None);
                continue;
            }
            let Some(table) = entry.node.table() else {
                self.report_axis(entry.node.span, name, AxisProblem::VariantNotATable, None);
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
                given: TreeValue::String(Arc::clone(label)),
                over: entry.node.clone(),
                seed: None,
            });
        }
        Some(values)
    }

    // Two axes that set the same place would make a cell depend on the order of the axes.
    fn report_overlaps(&mut self) {
        let paths = |axis: &MatrixAxis| {
            let all = axis.values.iter().flat_map(|value| overlay::paths_set(&value.over));
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
                let kind = SpecErrorKind::AxesOverlap {
                    first: a.name.clone(),
                    second: b.name.clone(),
                    path,
                };
                self.mistakes.add(b.span, kind, None);
            }
        }
    }
}

fn count(values: usize) -> u32 {
    u32::try_from(values).expect("a file under 4 GiB holds fewer values")
}

/// Tells whether two values are equal, with `1` equal to `1.0`.
fn values_are_equal(a: &TreeValue, b: &TreeValue) -> bool {
    match (a, b) {
        (TreeValue::Integer(a), TreeValue::Integer(b)) => a == b,
        (TreeValue::Float(a), TreeValue::Float(b)) => a == b,
        (TreeValue::Integer(a), TreeValue::Float(b))
        | (TreeValue::Float(b), TreeValue::Integer(a)) => *a as f64 == *b,
        (TreeValue::Array(a), TreeValue::Array(b)) => {
            a.len() == b.len()
                && a.iter().zip(b.iter()).all(|(a, b)| values_are_equal(&a.value, &b.value))
        }
        (TreeValue::Table(a), TreeValue::Table(b)) => {
            let keys = a.keys().eq(b.keys());
            let mut both = a.values().zip(b.values());
            keys && both.all(|(a, b)| values_are_equal(&a.node.value, &b.node.value))
        }
        _ => canonical_text(a) == canonical_text(b),
    }
}

/// Returns a text that is different for every value and type: a key for maps.
fn canonical_text(value: &TreeValue) -> String {
    match value {
        TreeValue::String(text) => format!("{text:?}"),
        TreeValue::Integer(number) => number.to_string(),
        TreeValue::Float(number) => format!("{number:?}"),
        TreeValue::Boolean(flag) => flag.to_string(),
        TreeValue::Datetime(text) => format!("date {text}"),
        TreeValue::TooLarge(text) => format!("number {text}"),
        TreeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| canonical_text(&item.value)).collect();
            format!("[{}]", items.join(","))
        }
        TreeValue::Table(table) => {
            let entry = |(key, entry): (&Arc<str>, &TreeEntry)| {
                format!("{key:?}={}", canonical_text(&entry.node.value))
            };
            format!("{{{}}}", table.iter().map(entry).collect::<Vec<_>>().join(","))
        }
    }
}

fn label(node: &TreeNode) -> String {
    match &node.value {
        TreeValue::String(text) | TreeValue::Datetime(text) | TreeValue::TooLarge(text) => {
            text.to_string()
        }
        TreeValue::Integer(number) => number.to_string(),
        TreeValue::Float(number) => number.to_string(),
        TreeValue::Boolean(flag) => flag.to_string(),
        TreeValue::Array(items) => {
            format!("[{}]", items.iter().map(label).collect::<Vec<_>>().join(", "))
        }
        TreeValue::Table(table) => {
            let inside: Vec<String> =
                table.iter().map(|(key, entry)| format!("{key}={}", label(&entry.node))).collect();
            format!("{{{}}}", inside.join(", "))
        }
    }
}
