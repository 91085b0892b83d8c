//! The axes and cells of a matrix as they are named on the command line.

use crate::failure::Failure;
use engine::{NodeId, Plan};
use std::collections::BTreeSet;

/// Returns what each axis is called in tables: the last part of its path, or all of it where two
/// axes end alike.
pub(crate) fn axis_names<'a>(axes: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let last = |axis: &'a str| axis.rsplit('.').next().unwrap_or(axis);
    let name = |axis: &'a str| {
        let alike = axes.clone().filter(|one| last(one) == last(axis)).count();
        if alike > 1 { axis } else { last(axis) }.to_owned()
    };
    axes.clone().map(name).collect()
}

/// The axis that a name on the command line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AxisMatch {
    One(usize),
    None,
    Several,
}

/// Finds the axis called `name`: by its path, or by the end of it where no other path ends so.
pub(crate) fn find_axis<'a>(paths: impl Iterator<Item = &'a str> + Clone, name: &str) -> AxisMatch {
    if let Some(exact) = paths.clone().position(|path| path == name) {
        return AxisMatch::One(exact);
    }
    let end = format!(".{name}");
    let mut ends = paths.enumerate().filter(|(_, path)| path.ends_with(&end));
    match (ends.next(), ends.next()) {
        (Some((axis, _)), None) => AxisMatch::One(axis),
        (None, _) => AxisMatch::None,
        (Some(_), Some(_)) => AxisMatch::Several,
    }
}

/// Tells whether two values of an axis are the same, as numbers where both are.
pub(crate) fn same_value(a: &str, b: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    a == b || number(a).is_some_and(|a| Some(a) == number(b))
}

/// The cells of a matrix that `--cell AXIS=VALUE` picks, by axis and value numbers. An axis that
/// is not named takes every value.
pub(crate) struct Cells(Vec<(usize, Vec<usize>)>);

impl Cells {
    /// Reads `wanted`, where an axis goes by its path or the end of it.
    pub(crate) fn read(wanted: &[String], axes: &[(&str, &[String])]) -> Result<Self, Failure> {
        let mut picked: Vec<(usize, Vec<usize>)> = vec![];
        for text in wanted {
            let wrong = |what: String| Failure::mistake(format!("--cell {text}: {what}"));
            let Some((name, value)) = text.split_once('=') else {
                return Err(wrong("not of the form AXIS=VALUE".to_owned()));
            };
            let name = name.trim().trim_matches('"');
            let value = value.trim();
            let names = || axes.iter().map(|(axis, _)| *axis).collect::<Vec<_>>().join(", ");
            let axis = match find_axis(axes.iter().map(|(axis, _)| *axis), name) {
                AxisMatch::One(axis) => axis,
                AxisMatch::None if axes.is_empty() => {
                    return Err(wrong("the pipeline has no matrix".to_owned()));
                }
                AxisMatch::None => {
                    let hint = format!("the axes are {}", names());
                    return Err(wrong(format!("no axis is called `{name}`")).hint(hint));
                }
                AxisMatch::Several => {
                    let hint = format!("write one of {}", names());
                    return Err(wrong(format!("several axes end in `{name}`")).hint(hint));
                }
            };
            let values = axes[axis].1;
            let Some(found) = values.iter().position(|one| same_value(one, value)) else {
                let hint = format!("its values are {}", values.join(", "));
                return Err(wrong(format!("the axis has no value `{value}`")).hint(hint));
            };
            match picked.iter_mut().find(|(one, _)| *one == axis) {
                Some((_, values)) => values.push(found),
                None => picked.push((axis, vec![found])),
            }
        }
        Ok(Self(picked))
    }

    /// Reads `wanted` with the axes of `plan`.
    pub(crate) fn of(wanted: &[String], plan: &Plan) -> Result<Self, Failure> {
        let axes: Vec<(&str, &[String])> =
            plan.axes.iter().map(|axis| (axis.name.as_str(), &axis.values[..])).collect();
        Self::read(wanted, &axes)
    }

    /// Tells whether the cell at `coords` is one of them.
    pub(crate) fn hold(&self, coords: &[u32]) -> bool {
        let at = |axis: usize| coords.get(axis).map(|value| *value as usize);
        self.0.iter().all(|(axis, values)| at(*axis).is_some_and(|value| values.contains(&value)))
    }

    /// Returns the nodes called `stage` in these cells, each once, in the order of the plan.
    pub(crate) fn nodes(&self, plan: &Plan, stage: &str) -> Result<Vec<NodeId>, Failure> {
        let held = plan.cells.iter().filter(|cell| self.hold(&cell.coords));
        let nodes: BTreeSet<NodeId> = held.filter_map(|cell| cell.node(stage)).collect();
        if nodes.is_empty() {
            let what = format!("no stage called `{stage}` is needed there");
            return Err(Failure::mistake(what)
                .hint(format!("name it as a target: `--target {stage}`, and look at --cell")));
        }
        Ok(nodes.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_picked_by_the_end_of_an_axis() {
        let keep = ["0.1".to_owned(), "0.30".to_owned()];
        let seeds = ["0".to_owned(), "1".to_owned()];
        let axes: Vec<(&str, &[String])> =
            vec![("subset.with.keep", &keep), ("seed", &seeds), ("student.seed", &seeds)];
        let pick = |text: &[&str]| {
            let text: Vec<String> = text.iter().map(|one| (*one).to_owned()).collect();
            Cells::read(&text, &axes).map_err(|failure| failure.message())
        };
        let cells = pick(&["keep=0.3", "seed=0", "seed=1"]).expect("all are there");
        assert!(cells.hold(&[1, 0, 0]) && cells.hold(&[1, 1, 1]) && !cells.hold(&[0, 0, 0]));
        assert!(pick(&["with.keep=0.1"]).is_ok() && pick(&["student.seed=1"]).is_ok());
        for wrong in ["keep", "keeps=1", "keep=0.2", "ep=0.1"] {
            assert!(pick(&[wrong]).is_err(), "{wrong}");
        }
        let names = axis_names(axes.iter().map(|(axis, _)| *axis));
        assert_eq!(names, ["keep", "seed", "student.seed"]);
    }
}
