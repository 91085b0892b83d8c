//! `coresift new`: a pipeline to begin with.

use crate::context::{Context, Failure, MISTAKE, print_line, write_file};
use engine::{Plan, Registry, Request, SpecErrorKind};
use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to write.
    file: PathBuf,
    /// The data set: any `load` method that finds its own files.
    #[arg(long, value_name = "NAME", default_value = "digits")]
    dataset: String,
    /// How to select: any `select` method.
    #[arg(long, value_name = "NAME", default_value = "top")]
    selector: String,
    /// The architecture [default: one that suits the data set]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Which share of the training set to keep.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    keep: f64,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let path = args.file.display();
    if args.file.exists() && !args.force {
        let failure = Failure::new(MISTAKE, format!("`{path}` is there already"));
        return Err(failure.hint("choose another name, or replace it with --force"));
    }
    let text = pipeline(args, &context.registry)?;
    let request = Request { path: args.file.clone(), ..Request::default() };
    let mut absent = vec![];
    if let Err(errors) = Plan::read_text(&text, &request, &context.registry) {
        let no_data = |kind: &SpecErrorKind| matches!(kind, SpecErrorKind::File(_));
        if !errors.errors.iter().all(|error| no_data(&error.kind)) {
            return Err(context.mistakes(errors));
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

/// What suits a data set: architecture, epochs of proxy and student, batch, learning rate, and
/// what else the training is told.
struct Recipe {
    model: &'static str,
    proxy_epochs: u32,
    epochs: u32,
    batch: u32,
    lr: f64,
    student: &'static str,
}

fn recipe(dataset: &str) -> Recipe {
    match dataset {
        "cifar10" | "cifar100" | "imagenet" | "tiny-imagenet" => Recipe {
            model: "resnet18",
            proxy_epochs: 10,
            epochs: 200,
            batch: 128,
            lr: 0.1,
            student: ", augment = \"crop-flip\"",
        },
        "svhn" => Recipe {
            model: "resnet18",
            proxy_epochs: 10,
            epochs: 200,
            batch: 128,
            lr: 0.1,
            student: ", augment = \"crop\"",
        },
        "mnist" | "fashion-mnist" | "qmnist" => Recipe {
            model: "lenet",
            proxy_epochs: 5,
            epochs: 20,
            batch: 128,
            lr: 0.05,
            student: "",
        },
        _ => {
            Recipe { model: "mlp", proxy_epochs: 10, epochs: 100, batch: 64, lr: 0.05, student: "" }
        }
    }
}

fn pipeline(args: &Args, registry: &Registry) -> Result<String, Failure> {
    let (load, select) =
        (method(registry, "load", &args.dataset)?, method(registry, "select", &args.selector)?);
    let loader = registry.get(&load).and_then(engine::Method::sample);
    if loader.is_none_or(|stage| !stage.problems().is_empty()) {
        let failure = Failure::new(MISTAKE, format!("`{load}` has to be told where its files are"));
        let hint = format!(
            "begin with another --dataset, then put in what `coresift methods {load}` says"
        );
        return Err(failure.hint(hint));
    }
    let ports = registry.get(&select).and_then(engine::Method::sample).map(|stage| stage.inputs());
    let mut ports: Vec<(&str, &str)> =
        ports.unwrap_or_default().iter().map(|port| (port.name, port.kind.0)).collect();
    // Of several alternatives, the one that costs least.
    ports.sort_by_key(|(_, kind)| ["data", "proxy", "scores"].iter().position(|one| one == kind));
    let Some((port, kind)) = ports.first().copied() else {
        return Err(Failure::new(
            MISTAKE,
            format!("`{select}` takes nothing that could be connected"),
        ));
    };
    let source = match kind {
        "data" => "data",
        "proxy" => "proxy",
        _ => "hardness",
    };
    let dataset = load.split_once('.').map_or(load.as_str(), |(_, name)| name);
    let selector = select.split_once('.').map_or(select.as_str(), |(_, name)| name);
    let Recipe { model, proxy_epochs, epochs, batch, lr, student } = recipe(dataset);
    let model = toml_string(args.model.as_deref().unwrap_or(model));
    let keep = if args.keep.is_finite() { format!("{:?}", args.keep) } else { "0.1".to_owned() };
    let mut out = format!(
        "\
# Is a coreset of {dataset} chosen by `{select}` better than a random one of the same size?
# `coresift plan FILE` says what a run would do, `coresift run FILE` does it and keeps every result.
# `coresift methods NAME` is the manual of a method: what it computes and all its settings.
title = \"{dataset}: {selector} against random\"

# The data set.
[stage.data]
use = \"{load}\"
"
    );
    if source != "data" {
        let _ = write!(
            out,
            "
# A small network, trained shortly on all samples, that says how each of them behaves.
[stage.proxy]
use  = \"proxy-train\"
from = {{ data = \"data\" }}
with = {{ model = {model}, epochs = {proxy_epochs}, batch = {batch}, lr = {lr} }}
"
        );
    }
    if source == "hardness" {
        out.push_str(
            "
# How hard each sample is: larger is harder. Any other `score` method fits here.
[stage.hardness]
use  = \"score.grand\"
from = { proxy = \"proxy\" }
",
        );
    }
    let _ = write!(
        out,
        "
# Which samples are kept: `keep` is their share, or `budget` their number.
[stage.subset]
use  = \"{select}\"
from = {{ {port} = \"{source}\" }}
with = {{ keep = {keep}, balance = \"class\" }}

# The network that is trained on them alone.
[stage.student]
use  = \"train\"
from = {{ data = \"data\", subset = \"subset\" }}
with = {{ model = {model}, epochs = {epochs}, batch = {batch}, lr = {lr}{student} }}

# What it is worth on the test samples.
[stage.result]
use  = \"evaluate\"
from = {{ data = \"data\", model = \"student\" }}

# Every combination is run; what two of them share is done once. Seeds are what tables average over.
[matrix]
seed = [0, 1, 2]
"
    );
    if selector != "random" {
        let _ = write!(
            out,
            "
# Named variants: each lays its tables over the stages above.
[matrix.selector]
random = {{ subset = {{ use = \"select.random\", from = {{ data = \"data\" }} }} }}
{selector} = {{}}
"
        );
    }
    Ok(out)
}

/// Returns the full name of a method that may be named without its family.
fn method(registry: &Registry, family: &str, name: &str) -> Result<String, Failure> {
    let full = if name.contains('.') { name.to_owned() } else { format!("{family}.{name}") };
    let inside = |one: &&str| one.split('.').next() == Some(family);
    let names: Vec<&str> = registry.iter().map(|method| method.name).filter(inside).collect();
    if names.contains(&full.as_str()) {
        return Ok(full);
    }
    let names: Vec<&str> = names.iter().filter_map(|one| Some(one.split_once('.')?.1)).collect();
    let failure = Failure::new(MISTAKE, format!("no `{family}` method is called `{name}`"));
    Err(failure.hint(format!("there are {}", names.join(", "))))
}

fn toml_string(text: &str) -> String {
    // What JSON escapes, TOML reads the same way.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_gets_a_plan() {
        let registry = stages::registry();
        let names = registry.iter().filter_map(|method| method.name.strip_prefix("select."));
        for selector in names {
            let args = Args {
                file: "p.toml".into(),
                dataset: "digits".to_owned(),
                selector: selector.to_owned(),
                model: None,
                keep: 0.25,
                force: false,
            };
            let text =
                pipeline(&args, &registry).map_err(|failure| failure.text).expect("a pipeline");
            let request = Request { path: "p.toml".into(), ..Request::default() };
            let plan = Plan::read_text(&text, &request, &registry).map_err(crate::mistakes::render);
            let plan = plan.unwrap_or_else(|mistakes| panic!("{selector}: {mistakes}\n{text}"));
            assert_eq!(plan.cells.len(), if selector == "random" { 3 } else { 6 });
        }
    }
}
