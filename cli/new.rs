//! `coresift new`: a pipeline to begin with.

use crate::context::{
    Context, Exit, Failure, eprint, eprint_line, print_line, stderr_is_terminal, write_file,
};
use engine::{Arity, Plan, PlanRequest, Port, Registry, SpecErrorKind};
use std::{fmt::Write as _, io::IsTerminal as _, path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct NewArgs {
    /// The file to write.
    file: PathBuf,
    /// The data set: any `load` method that finds its own files [default: digits]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// The share of wrong labels given to the training set [default: 0]
    #[arg(long, value_name = "RATE", value_parser = share)]
    corrupt: Option<f64>,
    /// How to select: `select` methods, to be compared with each other and with `random`
    /// [default: top]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    selector: Vec<String>,
    /// The architecture [default: one that suits the data set]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Which shares of the training set to keep [default: 0.1]
    #[arg(long, value_name = "SHARE", value_delimiter = ',', value_parser = share)]
    keep: Vec<f64>,
    /// How many times all of it is repeated [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    seeds: Option<u16>,
    /// Ask nothing: what is not given is as its default.
    #[arg(long, short)]
    yes: bool,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

/// The data set, methods, sizes and seeds of the file to write, nothing left open.
struct NewPipeline {
    /// The full name of the `load` method.
    load: String,
    corrupt: f64,
    /// The full names of the `select` methods.
    selectors: Vec<String>,
    model: Option<String>,
    keep: Vec<f64>,
    seeds: u16,
}

pub(crate) fn run(args: &NewArgs, context: &Context) -> Result<ExitCode, Failure> {
    let path = args.file.display();
    if args.file.exists() && !args.force {
        let failure = Failure::mistake(format!("`{path}` is there already"));
        return Err(failure.hint("choose another name, or replace it with --force"));
    }
    let text = pipeline(&wanted(args, context)?, &context.registry)?;
    let request = PlanRequest { path: args.file.clone(), ..PlanRequest::default() };
    let mut absent = vec![];
    if let Err(errors) = Plan::read_text(&text, &request, &context.registry) {
        let no_data = |kind: &SpecErrorKind| matches!(kind, SpecErrorKind::File(_));
        if !errors.errors.iter().all(|error| no_data(&error.kind)) {
            return Err(errors.into());
        }
        // The files may come later; everything else is right.
        for error in errors.errors {
            absent.push(error.to_string());
            absent.extend(error.hint.map(|hint| format!("help: {hint}")));
        }
    }
    write_file(&args.file, text.as_bytes())?;
    if context.global.json {
        let value =
            serde_json::json!({ "file": path.to_string(), "next": format!("coresift run {path}") });
        print_line(&value.to_string());
    }
    absent.iter().for_each(|line| context.note(line));
    context.note(&format!("wrote `{path}`; next: coresift plan {path}, then coresift run {path}"));
    Ok(ExitCode::SUCCESS)
}

/// Takes what the flags say, asks for what they leave out where somebody can answer, and else
/// takes the defaults.
fn wanted(args: &NewArgs, context: &Context) -> Result<NewPipeline, Failure> {
    let global = &context.global;
    let ask = std::io::stdin().is_terminal() && stderr_is_terminal();
    let ask = ask && !args.yes && !global.json && !global.quiet;
    let registry = &context.registry;
    let load = |name: &str| loader(registry, name);
    let select = |name: &str| selector(registry, name);
    let rate = |text: &str| share(text).map_err(Failure::mistake);
    let count = |text: &str| match text.parse::<u16>() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Failure::mistake("a whole number from 1")),
    };
    if ask {
        eprint_line("Enter takes what stands in brackets; several are parted by commas.");
    }
    let data = match &args.dataset {
        Some(name) => load(name)?,
        None => answer(ask, "data set", "digits", &load)?,
    };
    let corrupt = match args.corrupt {
        Some(rate) => rate,
        None => answer(ask, "share of wrong labels", "0", &rate)?,
    };
    let selectors = match &args.selector[..] {
        [] => answer(ask, "selectors", "top", &|text| each(text, &select))?,
        names => names.iter().map(|name| select(name)).collect::<Result<_, _>>()?,
    };
    let suits = recipe(short(&data)).model;
    let model = match &args.model {
        Some(model) => Some(model.clone()),
        None => Some(answer(ask, "model", suits, &|text| Ok(text.to_owned()))?),
    };
    let keep = match &args.keep[..] {
        [] => answer(ask, "shares to keep", "0.1", &|text| each(text, &rate))?,
        shares => shares.to_vec(),
    };
    let seeds = match args.seeds {
        Some(seeds) => seeds,
        None => answer(ask, "repeats", "3", &count)?,
    };
    Ok(NewPipeline { load: data, corrupt, selectors, model, keep, seeds })
}

/// Returns what is answered, asking again until `read` takes it; without asking, the default.
fn answer<T>(
    ask: bool,
    question: &str,
    default: &str,
    read: &dyn Fn(&str) -> Result<T, Failure>,
) -> Result<T, Failure> {
    loop {
        let mut text = String::new();
        if ask {
            eprint(&format!("{question} [{default}]: "));
            let ended = std::io::stdin()
                .read_line(&mut text)
                .map_err(|error| Failure::failed("cannot read the answer").because(error))?
                == 0;
            if ended {
                return Err(Failure::new(
                    Exit::Interrupted,
                    "nothing is written: the answers ended",
                ));
            }
        }
        let text = text.trim();
        match read(if text.is_empty() { default } else { text }) {
            Err(failure) if ask => eprint_line(&failure.text()),
            other => return other,
        }
    }
}

fn each<T>(text: &str, read: &dyn Fn(&str) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(read).collect()
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}

/// Returns a method's name without its family.
fn short(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, name)| name)
}

/// The training settings that suit a data set: architecture, epochs of proxy and student, batch,
/// learning rate, and further settings of the student.
struct TrainingDefaults {
    model: &'static str,
    proxy_epochs: u32,
    epochs: u32,
    batch: u32,
    lr: f64,
    student: &'static str,
}

fn recipe(dataset: &str) -> TrainingDefaults {
    match dataset {
        "cifar10" | "cifar100" | "imagenet" | "tiny-imagenet" => TrainingDefaults {
            model: "resnet18",
            proxy_epochs: 10,
            epochs: 200,
            batch: 128,
            lr: 0.1,
            student: ", augment = \"crop-flip\"",
        },
        "svhn" => TrainingDefaults {
            model: "resnet18",
            proxy_epochs: 10,
            epochs: 200,
            batch: 128,
            lr: 0.1,
            student: ", augment = \"crop\"",
        },
        "mnist" | "fashion-mnist" | "qmnist" => TrainingDefaults {
            model: "lenet",
            proxy_epochs: 5,
            epochs: 20,
            batch: 128,
            lr: 0.05,
            student: "",
        },
        _ => TrainingDefaults {
            model: "mlp",
            proxy_epochs: 10,
            epochs: 100,
            batch: 64,
            lr: 0.05,
            student: "",
        },
    }
}

/// Returns the full name of a `load` method that finds its own files.
fn loader(registry: &Registry, name: &str) -> Result<String, Failure> {
    let load = method(registry, "load", name)?;
    let stage = registry.get(&load).and_then(engine::Method::sample);
    if stage.is_some_and(|stage| stage.problems().is_empty()) {
        return Ok(load);
    }
    let failure = Failure::mistake(format!("`{load}` has to be told where its files are"));
    let hint =
        format!("begin with another --dataset, then put in what `coresift methods {load}` says");
    Err(failure.hint(hint))
}

/// Returns the full name of a `select` method that selects by itself.
fn selector(registry: &Registry, name: &str) -> Result<String, Failure> {
    let select = method(registry, "select", name)?;
    let Some(lacks) = lacks(registry, &select) else { return Ok(select) };
    let failure = Failure::mistake(format!("`{select}` has to be told {lacks}"));
    let hint =
        format!("begin with another selector, then put in what `coresift methods {select}` says");
    Err(failure.hint(hint))
}

/// Returns what a selector has to be told before it can select.
fn lacks(registry: &Registry, select: &str) -> Option<&'static str> {
    let stage = registry.get(select).and_then(engine::Method::sample)?;
    let from_file = stage.problems().iter().any(|one| one.setting == "file");
    let ports = stage.inputs();
    let has = |name: &str| ports.iter().any(|port| port.name == name);
    if from_file {
        return Some("where its file is");
    }
    match (has("query"), has("like")) {
        (true, _) => Some("what its query is"),
        (_, true) => Some("which subset it is to be like"),
        _ => None,
    }
}

/// What a stage receives: its ports, and the stage connected to each.
type Wiring = Vec<(&'static str, &'static str)>;

/// Returns what a selector receives: every port it must have, and of alternatives the first.
fn wiring(registry: &Registry, select: &str, data: &'static str) -> Result<Wiring, Failure> {
    let ports = registry.get(select).and_then(engine::Method::sample).map(|stage| stage.inputs());
    let mut ports = ports.unwrap_or_default();
    let first = ports.iter().find(|port| port.choice().is_some()).map(|port| port.name);
    let cost = |port: &Port| ["data", "proxy", "scores"].iter().position(|one| *one == port.kind.0);
    ports.sort_by_key(cost);
    ports.retain(|port| match port.arity {
        Arity::One | Arity::Many => true,
        Arity::OneOf(_) | Arity::ManyOf(_) => Some(port.name) == first,
        Arity::Optional => false,
    });
    if ports.is_empty() {
        return Err(Failure::mistake(format!("`{select}` takes nothing that could be connected")));
    }
    let stage = |port: &Port| match port.kind.0 {
        "data" => data,
        "proxy" => "proxy",
        _ => "hardness",
    };
    Ok(ports.iter().map(|port| (port.name, stage(port))).collect())
}

/// Returns `wiring` as the inside of a `from` table.
fn from_table(wiring: &Wiring) -> String {
    let wires = wiring.iter().map(|(port, stage)| format!("{port} = \"{stage}\""));
    wires.collect::<Vec<_>>().join(", ")
}

/// Returns the text of the file.
fn pipeline(wanted: &NewPipeline, registry: &Registry) -> Result<String, Failure> {
    let data = if wanted.corrupt > 0.0 { "noisy" } else { "data" };
    let mut sources = vec![];
    for select in &wanted.selectors {
        sources.push(wiring(registry, select, data)?);
    }
    let ([first, ..], [source, ..]) = (&wanted.selectors[..], &sources[..]) else {
        return Err(Failure::mistake("there is no selector to write a pipeline for"));
    };
    let defaults = recipe(short(&wanted.load));
    let model = toml_string(wanted.model.as_deref().unwrap_or(defaults.model));
    let needs = |stage: &str| sources.iter().flatten().any(|(_, from)| *from == stage);
    let mut out = data_stage(wanted);
    if data == "noisy" {
        out.push_str(&noise_stage(wanted.corrupt));
    }
    if needs("proxy") || needs("hardness") {
        out.push_str(&proxy_stage(data, &model, &defaults));
    }
    if needs("hardness") {
        out.push_str(HARDNESS_STAGE);
    }
    let keep = wanted.keep.first().copied().unwrap_or(0.1);
    out.push_str(&subset_stage(first, source, keep));
    out.push_str(&student_stages(data, &model, &defaults));
    out.push_str(&matrix(wanted, &sources, data));
    Ok(out)
}

/// Returns the head of the file and its data set.
fn data_stage(wanted: &NewPipeline) -> String {
    let load = &wanted.load;
    let dataset = short(load);
    let names: Vec<&str> = wanted.selectors.iter().map(|one| short(one)).collect();
    let names = match &names[..] {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        _ => names.join(", "),
    };
    format!(
        "\
# Which part of {dataset} is worth training on: what {names} would keep, or a random part of the same size?
# `coresift plan FILE` says what a run would do, `coresift run FILE` does it and keeps every result.
# `coresift methods NAME` is the manual of a method: what it computes and all its settings.
title = \"{dataset}: {names} against random\"

# The data set.
[stage.data]
use = \"{load}\"
"
    )
}

fn noise_stage(rate: f64) -> String {
    format!(
        "
# Some training samples get a wrong label; the test samples stay as they are.
[stage.noisy]
use  = \"corrupt.labels\"
from = {{ data = \"data\" }}
with = {{ kind = \"symmetric\", rate = {rate:?} }}
"
    )
}

fn proxy_stage(data: &str, model: &str, defaults: &TrainingDefaults) -> String {
    let TrainingDefaults { proxy_epochs, batch, lr, .. } = defaults;
    format!(
        "
# A small network, trained shortly on all samples, that says how each of them behaves.
[stage.proxy]
use  = \"proxy-train\"
from = {{ data = \"{data}\" }}
with = {{ model = {model}, epochs = {proxy_epochs}, batch = {batch}, lr = {lr} }}
"
    )
}

const HARDNESS_STAGE: &str = "
# How hard each sample is: larger is harder. Any other `score` method fits here.
[stage.hardness]
use  = \"score.grand\"
from = { proxy = \"proxy\" }
";

fn subset_stage(select: &str, wiring: &Wiring, keep: f64) -> String {
    let from = from_table(wiring);
    format!(
        "
# Which samples are kept: `keep` is their share, or `budget` their number.
[stage.subset]
use  = \"{select}\"
from = {{ {from} }}
with = {{ keep = {keep:?}, balance = \"class\" }}
"
    )
}

/// Returns the training on what is kept, and its evaluation.
fn student_stages(data: &str, model: &str, defaults: &TrainingDefaults) -> String {
    let TrainingDefaults { epochs, batch, lr, student, .. } = defaults;
    format!(
        "
# The network that is trained on them alone.
[stage.student]
use  = \"train\"
from = {{ data = \"{data}\", subset = \"subset\" }}
with = {{ model = {model}, epochs = {epochs}, batch = {batch}, lr = {lr}{student} }}

# What it is worth on the test samples.
[stage.result]
use  = \"evaluate\"
from = {{ data = \"data\", model = \"student\" }}
"
    )
}

/// Returns the axes: sizes, seeds, and the selectors with what each receives.
fn matrix(wanted: &NewPipeline, sources: &[Wiring], data: &str) -> String {
    let mut out = "
# Every combination is run; what two of them share is done once. Seeds are what tables average over.
[matrix]
"
    .to_owned();
    if wanted.keep.len() > 1 {
        let _ = writeln!(out, "\"subset.with.keep\" = {:?}", wanted.keep);
    }
    let _ = writeln!(out, "seed = {:?}", (0..wanted.seeds).collect::<Vec<u16>>());
    let random = "select.random";
    let mut variants: Vec<String> = vec![];
    if !wanted.selectors.iter().any(|one| one == random) {
        variants.push(format!(
            "random = {{ subset = {{ use = \"{random}\", from = {{ data = \"{data}\" }} }} }}\n"
        ));
    }
    for (select, wiring) in wanted.selectors.iter().zip(sources) {
        let from = from_table(wiring);
        // A dot would make a table within the variant.
        let name = short(select).replace('.', "-");
        variants.push(format!(
            "{name} = {{ subset = {{ use = \"{select}\", from = {{ {from} }} }} }}\n"
        ));
    }
    if variants.len() > 1 {
        out.push_str("\n# Named variants: each lays its tables over the stages above.\n");
        out.push_str("[matrix.selector]\n");
        out.push_str(&variants.concat());
    }
    out
}

/// Returns the full name of a method that may be named without its family.
fn method(registry: &Registry, family: &str, name: &str) -> Result<String, Failure> {
    let inside = |one: &&str| one.split('.').next() == Some(family);
    let names: Vec<&str> = registry.iter().map(|method| method.name).filter(inside).collect();
    for full in [name.to_owned(), format!("{family}.{name}")] {
        if names.contains(&full.as_str()) {
            return Ok(full);
        }
    }
    let names: Vec<&str> = names.iter().filter_map(|one| Some(one.split_once('.')?.1)).collect();
    let failure = Failure::mistake(format!("no `{family}` method is called `{name}`"));
    Err(failure.hint(format!("there are {}", names.join(", "))))
}

fn toml_string(text: &str) -> String {
    // TOML reads the escapes of JSON strings the same way.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(wanted: &NewPipeline) -> Plan {
        let registry = networks::registry();
        let text = pipeline(wanted, &registry).expect("a pipeline");
        let request = PlanRequest { path: "p.toml".into(), ..PlanRequest::default() };
        let plan = Plan::read_text(&text, &request, &registry)
            .map_err(|errors| crate::mistakes::render(&errors));
        plan.unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
    }

    #[test]
    fn every_selector_gets_a_plan() {
        let registry = networks::registry();
        let own = |one: &&str| one.starts_with("select.") && lacks(&registry, one).is_none();
        let selectors = || registry.iter().map(|method| method.name).filter(own);
        let wanted = |selectors: Vec<String>, keep: &[f64]| NewPipeline {
            load: "load.digits".to_owned(),
            corrupt: 0.0,
            selectors,
            model: None,
            keep: keep.to_vec(),
            seeds: 3,
        };
        for selector in selectors() {
            let plan = planned(&wanted(vec![selector.to_owned()], &[0.25]));
            assert_eq!(plan.cells.len(), if selector == "select.random" { 3 } else { 6 });
        }
        let all: Vec<String> = selectors().map(str::to_owned).collect();
        let count = all.len();
        let plan = planned(&NewPipeline { corrupt: 0.2, ..wanted(all, &[0.1, 0.3]) });
        assert_eq!(plan.cells.len(), count * 2 * 3);
        let corrupted = |(_, node): &(engine::NodeId, &engine::PlanNode)| &*node.label == "noisy";
        assert_eq!(plan.nodes().filter(corrupted).count(), 3, "one for each seed");
    }
}
