//! An instance: a stage's table of the pipeline file, read and checked, with its wiring not yet
//! resolved.

use super::former::Current;
use crate::{
    Problem, Registry, Renamed, Stage, StageRef,
    spec::{
        Mistakes, Settings, SettingsMistake, SettingsMistakeKind, Span, SpecErrorKind, SpecSource,
        TreeNode, TreeValue, did_you_mean, seed, without,
    },
};
use serde_json::Value as Json;
use std::sync::Arc;

/// The most repeats a stage may have.
const MOST_REPEATS: u32 = 10_000;

/// A stage as the file describes it.
pub(crate) struct Instance {
    pub(crate) stage: StageRef,
    pub(crate) settings: Arc<Json>,
    /// The wires, one for each port.
    pub(crate) from: Vec<Wire>,
    pub(crate) seed: Option<u64>,
    pub(crate) repeats: StageRepeats,
    pub(crate) at: Span,
    /// Whether its settings have no mistakes. Its wires are checked in any case.
    pub(crate) sound: bool,
    /// What was read under another name than it has now, and where it stands.
    pub(crate) renamed: Vec<(Span, Renamed)>,
    with: TreeNode,
}

/// How often a stage is computed, each time with another seed.
pub(crate) struct StageRepeats {
    pub(crate) count: u32,
    /// The span of `repeats`.
    span: Span,
}

/// A wire: one entry of `from`, from stages to a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wire {
    pub(crate) port: String,
    pub(crate) port_span: Span,
    pub(crate) stages: Vec<(Arc<str>, Span)>,
    pub(crate) is_list: bool,
}

impl Instance {
    /// Reads `table`, the stage called `name` whose key stands at `key`.
    pub(crate) fn read(
        name: &Arc<str>,
        key: Span,
        table: &TreeNode,
        registry: &Registry,
        sources: &[SpecSource],
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let Some(entries) = table.table() else {
            let what = format!("stage `{name}`");
            let found = table.value.type_name();
            mistakes.add(
                table.span,
                SpecErrorKind::WrongType { what, wanted: "a table", found },
                None,
            );
            return None;
        };
        for (key, entry) in entries.iter() {
            if !crate::spec::STAGE_KEYS.contains(&&**key) {
                let kind = SpecErrorKind::UnknownKey { what: "a stage", key: key.to_string() };
                let hint = did_you_mean(key, crate::spec::STAGE_KEYS)
                    .map(|hint| format!("{hint} (settings of the method stand in `with`)"));
                mistakes.add(entry.key, kind, hint);
            }
        }
        let seed = entries.get("seed").and_then(|entry| match seed(&entry.node) {
            Ok(seed) => Some(seed),
            Err((kind, hint)) => {
                mistakes.add(entry.node.span, kind, hint);
                None
            }
        });
        let repeats = match entries.get("repeats") {
            None => StageRepeats { count: 1, span: key },
            Some(entry) => StageRepeats {
                count: read_repeats(&entry.node, mistakes).unwrap_or(1),
                span: entry.node.span,
            },
        };
        let from =
            entries.get("from").map(|entry| read_wires(&entry.node, mistakes)).unwrap_or_default();
        let Some(method) = entries.get("use") else {
            mistakes.add(
                key,
                SpecErrorKind::NoMethod(name.to_string()),
                Some("add `use = \"…\"`".into()),
            );
            return None;
        };
        let Some(method_name) = method.node.str() else {
            let what = "`use`".to_owned();
            let found = method.node.value.type_name();
            mistakes.add(
                method.node.span,
                SpecErrorKind::WrongType { what, wanted: "a string", found },
                None,
            );
            return None;
        };
        let Some(written) = registry.get(method_name) else {
            let kind = SpecErrorKind::UnknownMethod(method_name.to_string());
            let hint = unknown_method_hint(method_name, registry);
            mistakes.add(method.node.span, kind, hint);
            return None;
        };
        let with =
            entries.get("with").map_or_else(|| TreeNode::empty(key), |entry| entry.node.clone());
        if with.table().is_none() {
            let what = "`with`".to_owned();
            let found = with.value.type_name();
            mistakes.add(
                with.span,
                SpecErrorKind::WrongType { what, wanted: "a table", found },
                None,
            );
            return None;
        }
        let Current { method: current, with, renamed } = Current::of(method_name, with, registry);
        let with = match entries.get("protocol") {
            Some(entry) => with_protocol(&entry.node, current, with, registry, mistakes)?,
            None => with,
        };
        let known = registry.get(current).unwrap_or(written);
        let (stage, clean) = read_settings(&with, known.parse, sources, mistakes)?;
        let at = method.node.span;
        let mut instance = Self {
            sound: clean,
            settings: Arc::new(stage.settings()),
            stage: StageRef::from(stage),
            from,
            seed,
            repeats,
            at,
            renamed,
            with,
        };
        if instance.repeats.count > 1 && clean && instance.stage.streams().is_empty() {
            let kind = SpecErrorKind::NothingToRepeat { method: instance.stage.method() };
            mistakes.add(instance.repeats.span, kind, Some("leave `repeats` out".to_owned()));
            instance.sound = false;
            instance.repeats.count = 1;
        }
        let problems = instance.stage.problems();
        // Without the settings that have mistakes, the others cannot be judged as a whole.
        if clean {
            instance.sound &= problems.is_empty();
            problems.into_iter().for_each(|problem| instance.report(problem, mistakes, false));
        }
        Some(instance)
    }

    /// Returns the spans of the values of secret settings.
    pub(crate) fn secrets(&self) -> Vec<Span> {
        fn leaves(node: &TreeNode, spans: &mut Vec<Span>) {
            match node.table() {
                Some(table) => table.values().for_each(|entry| leaves(&entry.node, spans)),
                None => spans.push(node.span),
            }
        }
        let mut spans = vec![];
        for setting in self.stage.secrets() {
            if let Some(entry) = self.with.table().and_then(|table| table.get(*setting)) {
                leaves(&entry.node, &mut spans);
            }
        }
        spans
    }

    /// Reports `problem` at the setting it names, or at `use`.
    pub(crate) fn report(&self, problem: Problem, mistakes: &mut Mistakes, file: bool) {
        let mut span = self.at;
        let mut node = &self.with;
        for part in problem.setting.split('.') {
            match node.table().and_then(|table| table.get(part)) {
                Some(entry) => {
                    node = &entry.node;
                    span = node.span;
                }
                None => break,
            }
        }
        let kind = match file {
            true => SpecErrorKind::File(problem.message),
            false => SpecErrorKind::Setting { setting: None, message: problem.message },
        };
        mistakes.add(span, kind, problem.hint);
    }
}

fn read_repeats(node: &TreeNode, mistakes: &mut Mistakes) -> Option<u32> {
    let kind = match node.value {
        TreeValue::Integer(found) => match u32::try_from(found) {
            Ok(repeats @ 1..=MOST_REPEATS) => return Some(repeats),
            _ => SpecErrorKind::Repeats { found, most: MOST_REPEATS },
        },
        _ => {
            let what = "`repeats`".to_owned();
            let found = node.value.type_name();
            SpecErrorKind::WrongType { what, wanted: "an integer", found }
        }
    };
    mistakes.add(node.span, kind, None);
    None
}

fn read_wires(from: &TreeNode, mistakes: &mut Mistakes) -> Vec<Wire> {
    let Some(ports) = from.table() else {
        let found = from.value.type_name();
        let wanted = "a table of `port = \"stage\"`";
        mistakes.add(
            from.span,
            SpecErrorKind::WrongType { what: "`from`".into(), wanted, found },
            None,
        );
        return vec![];
    };
    let mut wires = vec![];
    for (port, entry) in ports.iter() {
        let (list, is_list): (Vec<&TreeNode>, bool) = match &entry.node.value {
            TreeValue::Array(items) => (items.iter().collect(), true),
            _ => (vec![&entry.node], false),
        };
        let mut stages = vec![];
        for node in list {
            match node.str() {
                Some(stage) => stages.push((Arc::clone(stage), node.span)),
                None => {
                    let what = format!("input `{port}`");
                    let found = node.value.type_name();
                    let wanted = "the name of a stage";
                    mistakes.add(node.span, SpecErrorKind::WrongType { what, wanted, found }, None);
                }
            }
        }
        wires.push(Wire { port: port.to_string(), port_span: entry.key, stages, is_list });
    }
    wires
}

fn unknown_method_hint(name: &str, registry: &Registry) -> Option<String> {
    let family: Vec<&str> = registry
        .iter()
        .map(|method| method.name)
        .filter(|one| one.split_once('.').is_some_and(|(family, _)| family == name))
        .collect();
    if !family.is_empty() {
        return Some(format!("write one of {}", family.join(", ")));
    }
    let same =
        |one: &&str| name.split_once('.').is_some_and(|(f, _)| one.split('.').next() == Some(f));
    let all: Vec<&str> = registry.iter().map(|method| method.name).collect();
    let near: Vec<&str> = all.iter().copied().filter(same).collect();
    let hint = did_you_mean(name, if near.is_empty() { all } else { near });
    hint.or_else(|| Some("`coresift methods` lists them all".into()))
}

/// Returns `with` over what the protocol that `written` names sets of `method`.
fn with_protocol(
    written: &TreeNode,
    method: &str,
    with: TreeNode,
    registry: &Registry,
    mistakes: &mut Mistakes,
) -> Option<TreeNode> {
    let span = written.span;
    let Some(name) = written.str() else {
        let what = "`protocol`".to_owned();
        let found = written.value.type_name();
        let kind = SpecErrorKind::WrongType { what, wanted: "a string", found };
        mistakes.add(span, kind, None);
        return None;
    };
    let known: Vec<&str> = registry.protocols().map(|(name, _)| name).collect();
    let Some((_, protocol)) = registry.protocols().find(|(one, _)| *one == &**name) else {
        let hint = did_you_mean(name, known.iter().copied())
            .unwrap_or_else(|| format!("there are {}", known.join(", ")));
        mistakes.add(span, SpecErrorKind::UnknownProtocol(name.to_string()), Some(hint));
        return None;
    };
    let filled = registry.protocol_filler().fill(protocol, method, &with, span);
    if filled.is_none() {
        let methods: Vec<&str> = protocol.methods().collect();
        let hint = format!("it speaks of {}; leave `protocol` out here", methods.join(", "));
        let (protocol, method) = (name.to_string(), method.to_owned());
        mistakes.add(span, SpecErrorKind::SilentProtocol { protocol, method }, Some(hint));
    }
    filled
}

// serde stops at the first mistake. To find them all, the setting with the mistake is taken out and
// the rest read again, until there is none. The stage that is left has the right ports; the flag
// says whether there was no mistake at all.
fn read_settings(
    with: &TreeNode,
    parse: crate::Parse,
    sources: &[SpecSource],
    mistakes: &mut Mistakes,
) -> Option<(Box<dyn Stage>, bool)> {
    let mut rest = with.clone();
    let mut clean = true;
    for _ in 0..64 {
        let error = match parse(Settings::new(&rest, sources)) {
            Ok(stage) => return Some((stage, clean)),
            Err(error) => error,
        };
        let error = error.details();
        // A required setting may be missing only because it was taken out.
        if !matches!(error.kind, SettingsMistakeKind::Missing(_)) || clean {
            report_setting(error, with, mistakes);
        }
        clean = false;
        let path: Vec<Arc<str>> = error.path.iter().rev().cloned().collect();
        rest = take_out(&rest, &path)?;
    }
    None
}

fn report_setting(error: &SettingsMistake, with: &TreeNode, mistakes: &mut Mistakes) {
    let span = error.span.unwrap_or(with.span);
    let setting = error.path.first().map(|name| name.to_string());
    let (kind, hint) = match &error.kind {
        SettingsMistakeKind::UnknownSetting { name, known } => {
            let hint = did_you_mean(name, known.iter().copied());
            (SpecErrorKind::UnknownSetting(name.clone()), hint)
        }
        SettingsMistakeKind::UnknownChoice { found, known } => {
            let hint = did_you_mean(found, known.iter().copied());
            (SpecErrorKind::UnknownChoice(found.clone()), hint)
        }
        SettingsMistakeKind::Missing(field) => {
            let hint = format!("add `{field} = …` to `with`");
            (SpecErrorKind::MissingSetting(field), Some(hint))
        }
        SettingsMistakeKind::Refused { message, hint } => {
            let message = message.clone();
            (SpecErrorKind::Setting { setting, message }, hint.map(str::to_owned))
        }
    };
    mistakes.add(span, kind, hint);
}

fn take_out(node: &TreeNode, path: &[Arc<str>]) -> Option<TreeNode> {
    let (first, rest) = path.split_first()?;
    let table = node.table()?;
    let entry = table.get(first)?;
    if rest.is_empty() {
        return Some(without(node, first));
    }
    // If the path goes deeper than the file, the innermost part that exists is taken out.
    let Some(inner) = take_out(&entry.node, rest) else { return Some(without(node, first)) };
    let mut table = (**table).clone();
    table.insert(Arc::clone(first), crate::spec::TreeEntry { key: entry.key, node: inner });
    Some(TreeNode { span: node.span, value: TreeValue::Table(Arc::new(table)) })
}
