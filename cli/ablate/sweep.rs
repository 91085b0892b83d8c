//! Which pipelines an ablation runs: the file, with other axes laid over its matrix.

use crate::context::{Context, Failure, Pipeline};
use engine::{Plan, PlanNode, PlanRequest};
use std::fmt::Write as _;

/// The name of the source in which mistakes of the swept axes are shown.
const NAME: &str = "the axes of the ablation";

/// One axis of an ablation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SweptAxis {
    /// Its full name, such as `proxy.with.epochs`.
    pub(super) path: String,
    /// Its values, as TOML.
    values: Vec<String>,
}

impl SweptAxis {
    /// Reads `PATH=VALUE,VALUE,…`.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| {
            let failure = Failure::mistake(format!("`{text}` {what}"));
            failure.hint("write an axis as `proxy.with.epochs=1,2,5`")
        };
        let (path, values) = text.split_once('=').ok_or_else(|| wrong("is no axis"))?;
        let path = path.trim().trim_matches('"');
        let values: Vec<String> = pieces(values).iter().map(|value| toml(value)).collect();
        if path.is_empty() || values.iter().any(|value| value == "\"\"") {
            return Err(wrong("has an empty part"));
        }
        Ok(Self { path: path.to_owned(), values })
    }

    /// Returns its whole numbers.
    fn numbers(&self) -> Vec<u64> {
        self.values.iter().filter_map(|value| value.parse().ok()).collect()
    }
}

/// Splits at the commas that are inside no bracket.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = vec![];
    let mut depth = 0_i32;
    let mut from = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                pieces.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(text[from..].trim());
    pieces
}

/// Returns a value as TOML: a word needs no quotes here.
fn toml(value: &str) -> String {
    let plain = value.parse::<f64>().is_ok_and(f64::is_finite)
        || ["true", "false"].contains(&value)
        || value.starts_with(['[', '{', '"', '\'']);
    // A JSON string is a TOML string.
    if plain { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

/// The horizon of a learning rate schedule, in epochs, with which the lengths swept share their
/// beginning.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Horizon {
    pub(super) stage: String,
    /// The horizon of the learning rate schedule to set, if any.
    pub(super) set: Option<u64>,
    /// Why, as people read it.
    pub(super) why: String,
}

impl Horizon {
    /// Returns that of each training stage in `plan`, the file as it is, whose epochs `axes`
    /// sweep; `alone` tells that other axes are swept at the file's own length.
    pub(super) fn of(plan: &Plan, axes: &[SweptAxis], alone: bool) -> Vec<Self> {
        axes.iter().filter_map(|axis| Self::one(plan, axis, axes, alone)).collect()
    }

    fn one(plan: &Plan, axis: &SweptAxis, axes: &[SweptAxis], alone: bool) -> Option<Self> {
        let stage = axis.path.strip_suffix(".with.epochs")?;
        let trains = |node: &&PlanNode| &*node.label == stage && node.stage.trajectory().is_some();
        let nodes: Vec<&PlanNode> = plan.nodes().map(|(_, node)| node).filter(trains).collect();
        let first = nodes.first()?;
        let schedule = |node: &PlanNode| {
            let schedule = &node.settings["schedule"];
            let kind = schedule["kind"].as_str().unwrap_or_default().to_owned();
            (kind, schedule["horizon"].as_u64().unwrap_or(0))
        };
        let (kind, horizon) = schedule(first);
        let runs_course = ["cosine", "one-cycle"].contains(&kind.as_str());
        let swept = axes.iter().any(|one| one.path.starts_with(&format!("{stage}.with.schedule")));
        let name = format!("{stage}.with.schedule.horizon");
        let (set, why) = if swept
            || nodes.iter().any(|node| schedule(node) != (kind.clone(), horizon))
        {
            (None, format!("{name} is left as it is, for the schedules differ from cell to cell"))
        } else if !runs_course {
            (
                None,
                format!(
                    "schedule `{kind}` of {stage} has no horizon: a longer training goes on from a shorter one as it is"
                ),
            )
        } else if horizon > 0 {
            (
                None,
                format!(
                    "{name} is {horizon}, as the file says: a longer training goes on from a shorter one"
                ),
            )
        } else {
            let own =
                nodes.iter().filter(|_| alone).filter_map(|node| node.settings["epochs"].as_u64());
            let longest = axis.numbers().into_iter().chain(own).max()?;
            let why = format!(
                "{name} is set to {longest}, the longest of all: the `{kind}` schedule then begins alike \
                 at every length, and a longer training goes on from a shorter one. A shorter one ends \
                 before its rate has come down; --own-horizons lets each run its own schedule"
            );
            (Some(longest), why)
        };
        Some(Self { stage: stage.to_owned(), set, why })
    }
}

/// The axes of one sweep, and those of the other sweeps, which stand still in it.
#[derive(Clone, Copy)]
pub(super) struct Sweep<'a> {
    pub(super) axes: &'a [SweptAxis],
    pub(super) fixed: &'a [SweptAxis],
}

/// Reads `pipeline` with the axes of `sweep` in its matrix. A fixed axis that the file has stands
/// at its first value.
pub(super) fn plan(
    context: &Context,
    pipeline: &Pipeline,
    base: &Plan,
    sweep: Sweep<'_>,
    horizons: &[Horizon],
) -> Result<Plan, Failure> {
    let sets = |path: &str| {
        let named = |text: &String| text.split_once('=').is_some_and(|(one, _)| one.trim() == path);
        pipeline.set.iter().any(named)
    };
    if let Some(axis) = sweep.axes.iter().find(|axis| sets(&axis.path)) {
        return Err(set_too(axis));
    }
    let path = &pipeline.pipeline;
    let file = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let text = text(&file, base, sweep, horizons);
    let request = PlanRequest {
        // Beside the file, so that it is found.
        path: path.with_file_name(NAME),
        set: pipeline.set.clone(),
        targets: pipeline.target.clone(),
    };
    let mut plan = Plan::read_text(&text, &request, &context.registry).map_err(|mut errors| {
        if let Some(source) = errors.sources.first_mut() {
            source.name = NAME.to_owned();
        }
        errors
    })?;
    if let Some(lost) =
        sweep.axes.iter().find(|axis| !plan.axes.iter().any(|one| one.name == axis.path))
    {
        return Err(set_too(lost));
    }
    plan.path.clone_from(path);
    if let Some(source) = plan.sources.first_mut() {
        source.name = NAME.to_owned();
    }
    Ok(plan)
}

fn set_too(axis: &SweptAxis) -> Failure {
    let failure = Failure::mistake(format!("`{}` is swept and set at once", axis.path));
    failure.hint("leave the --set away")
}

fn text(file: &str, base: &Plan, sweep: Sweep<'_>, horizons: &[Horizon]) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let is_fixed = |path: &str| sweep.fixed.iter().any(|one| one.path == path);
    let mut text = format!("extends = {}\n", quoted(file));
    let set = horizons.iter().filter_map(|one| Some((&one.stage, one.set?)));
    for (stage, horizon) in set {
        write!(text, "\n[stage.{}.with]\nschedule.horizon = {horizon}\n", quoted(stage))
            .expect("a string takes everything");
    }
    text.push_str("\n[matrix]\n");
    for axis in sweep.axes {
        writeln!(text, "{} = [{}]", quoted(&axis.path), axis.values.join(", "))
            .expect("a string takes everything");
    }
    for axis in base.axes.iter().filter(|axis| is_fixed(&axis.name)) {
        writeln!(text, "{} = [{}]", quoted(&axis.name), toml(&axis.values[0]))
            .expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_read_as_toml() {
        let read = |text: &str| SweptAxis::read(text).map_err(|failure| failure.message());
        let axis = read("proxy.with.epochs=1, 2,5").expect("an axis");
        assert_eq!((axis.path.as_str(), axis.numbers()), ("proxy.with.epochs", vec![1, 2, 5]));
        let axis = read("proxy.with.model=mlp,resnet18").expect("an axis");
        assert_eq!(axis.values, ["\"mlp\"", "\"resnet18\""]);
        assert_eq!(read("a.with.b=[1, 2],[3]").expect("an axis").values, ["[1, 2]", "[3]"]);
        for wrong in ["proxy.with.epochs", "proxy.with.epochs=1,,2", "=1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
