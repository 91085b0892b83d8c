//! `coresift export`: an artifact as a file other programs read.

#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "export/no_parquet.rs"]
mod parquet;
mod rows;
mod table;
mod tensor;

use crate::context::{Cells, Context, Failure, Pipeline, bytes_of, print_bytes, write_file};
use artifacts::{
    columns::{COLUMNS, SampleColumns},
    parts::{SCORES, SUBSET},
};
use cache::{Artifact, Store};
use engine::{Forecast, NodeId, Outlook, Plan};
use safetensors::SafeTensors;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
};
use tensor::TensorPart;

#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    /// The stage whose output is written.
    stage: String,
    /// The file, or `-` for stdout.
    #[arg(long, value_name = "FILE", required_unless_present = "rows")]
    to: Option<PathBuf>,
    /// The file for the kept rows of a `load.text`, byte for byte as they came, or `-` for stdout; a new folder where
    /// the texts came as files.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "part", "tensor", "format", "names"])]
    rows: Option<PathBuf>,
    /// Which cell of the matrix: `keep=0.1`.
    #[arg(long, value_name = "AXIS=VALUE")]
    cell: Vec<String>,
    /// Which part of the artifact [default: the one it is named for]
    #[arg(long)]
    part: Option<String>,
    /// Which tensor of the part, where there are several.
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// How to write it [default: what the file's name ends in; on stdout, by the kind of artifact]
    #[arg(long, value_enum)]
    format: Option<ExportFormat>,
    /// Whose names the weights of a network get, in safetensors.
    #[arg(long, value_enum, default_value = "stored")]
    names: Names,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Names {
    /// As they are stored: those of the PyTorch modules that the methods' papers used.
    Stored,
    /// Those of torchvision's models, where it has the architecture.
    Torchvision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    /// One NumPy array (.npy).
    Npy,
    /// One line per sample (.csv).
    Csv,
    /// The same as columns of a Parquet file (.parquet).
    Parquet,
    /// The tensors as they are stored (.safetensors).
    Safetensors,
    /// One whole number per line (.txt).
    Indices,
    /// One id per line, of data that has ids (.txt).
    Ids,
    /// Text, or tensors as lists of numbers (.json).
    Json,
}

pub(crate) fn run(args: &ExportArgs, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan_to(&args.pipeline, &args.stage)?;
    let cells = Cells::of(&args.cell, &plan)?;
    let store = context.store()?;
    let forecast = Forecast::of(&plan, &store)?;
    let node = only(&plan, &forecast, &cells, &args.stage)?;
    let Outlook::Hit(record) = &forecast.outlooks[node.index()] else {
        let failure = Failure::failed(format!("{} is not computed yet", plan.describe(node)));
        let target = vec![args.stage.clone()];
        let command = Pipeline { target, ..args.pipeline.clone() }.run_command();
        return Err(failure.hint(format!("`{command}` computes it")));
    };
    if let Some(to) = &args.rows {
        let written = rows::write(&store, &record.output, to)?;
        if to.as_os_str() != "-" {
            context.note(&format!("{written} of {} to `{}`", plan.describe(node), to.display()));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let to = args.to.as_deref().unwrap_or_else(|| Path::new("-"));
    let to_stdout = to.as_os_str() == "-";
    let format = format(args, to, &record.output.kind)?;
    let lists = [SUBSET.0, SCORES.0].contains(&record.output.kind.as_str());
    let ids = match format {
        ExportFormat::Ids => ids(&store, &record.output)?,
        ExportFormat::Indices if args.format.is_some() => None,
        ExportFormat::Indices | ExportFormat::Csv | ExportFormat::Parquet if lists => {
            ids(&store, &record.output)?
        }
        _ => None,
    };
    let format = match (format, args.format) {
        // What is named by its ending goes by ids where there are any.
        (ExportFormat::Indices, None) if record.output.kind == SUBSET.0 && ids.is_some() => {
            ExportFormat::Ids
        }
        _ => format,
    };
    let bytes = encode(&store, &record.output, format, ids.as_deref(), args)?;
    if to_stdout {
        print_bytes(&bytes);
        return Ok(ExitCode::SUCCESS);
    }
    write_file(to, &bytes)?;
    let size = bytes_of(bytes.len() as u64);
    context.note(&format!("{} to `{}`, {size}", plan.describe(node), to.display()));
    if context.global.json {
        let value =
            serde_json::json!({ "key": forecast.keys[node.index()], "output": record.output });
        crate::context::print_line(&value.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the one computation called `stage` in `cells`, or says which axes tell several apart.
fn only(plan: &Plan, forecast: &Forecast, cells: &Cells, stage: &str) -> Result<NodeId, Failure> {
    let nodes = cells.nodes(plan, stage)?;
    // Several that gave the same are one to whoever reads the file.
    let output = |node: &NodeId| forecast.record(*node).map(|record| &record.output);
    if nodes.len() == 1
        || nodes.iter().all(|node| output(node).is_some_and(|one| Some(one) == output(&nodes[0])))
    {
        return Ok(nodes[0]);
    }
    let differ = |axis: &usize| {
        // Whether two cells that differ on this axis alone have different nodes.
        let mut alike: BTreeMap<Vec<u32>, BTreeSet<NodeId>> = BTreeMap::new();
        for cell in plan.cells.iter().filter(|cell| cells.hold(&cell.coords)) {
            let mut coords = cell.coords.clone();
            coords[*axis] = 0;
            alike.entry(coords).or_default().extend(cell.node(stage));
        }
        alike.values().any(|nodes| nodes.len() > 1)
    };
    let axes: Vec<String> = (0..plan.axes.len())
        .filter(differ)
        .map(|axis| &plan.axes[axis])
        .map(|axis| format!("--cell {}={}", axis.name, axis.values.join("|")))
        .collect();
    let failure = Failure::mistake(format!("`{stage}` is {} different computations", nodes.len()));
    Err(failure.hint(format!("pick one with {}", axes.join(" "))))
}

fn format(args: &ExportArgs, to: &Path, kind: &str) -> Result<ExportFormat, Failure> {
    let to_stdout = to.as_os_str() == "-";
    if let Some(format) = args.format {
        return Ok(format);
    }
    let end = to.extension().map(|end| end.to_string_lossy().to_lowercase());
    let found = match (end.as_deref(), kind) {
        (Some("npy"), _) => Some(ExportFormat::Npy),
        (Some("csv"), _) => Some(ExportFormat::Csv),
        (Some("parquet"), _) => Some(ExportFormat::Parquet),
        (Some("safetensors"), _) => Some(ExportFormat::Safetensors),
        (Some("txt" | "indices"), _) => Some(ExportFormat::Indices),
        (Some("json"), _) => Some(ExportFormat::Json),
        (None, "subset") if to_stdout => Some(ExportFormat::Indices),
        (None, "scores") if to_stdout => Some(ExportFormat::Csv),
        (None, "metrics") if to_stdout => Some(ExportFormat::Json),
        _ => None,
    };
    found.ok_or_else(|| {
        let failure = Failure::mistake("the name of the file does not tell its format");
        failure
            .hint("end it in .npy, .csv, .parquet, .safetensors, .txt or .json, or give --format")
    })
}

fn encode(
    store: &Store,
    artifact: &Artifact,
    format: ExportFormat,
    ids: Option<&[String]>,
    args: &ExportArgs,
) -> Result<Vec<u8>, Failure> {
    let named = match (&args.part, &args.tensor) {
        (None, Some(tensor)) => holder(store, artifact, tensor)?,
        _ => None,
    };
    // What is asked for by a tensor's name is no JSON.
    let form = if args.tensor.is_some() { ExportFormat::Npy } else { format };
    let usual = || usual_part(&artifact.kind, form);
    let wanted = args.part.as_deref().or(named).unwrap_or_else(usual);
    let Some((name, blob)) = artifact.parts.get_key_value(wanted) else {
        let names: Vec<&str> = artifact.parts.keys().map(String::as_str).collect();
        let kind = &artifact.kind;
        let failure = Failure::mistake(format!("this {kind} artifact has no part `{wanted}`"));
        return Err(failure.hint(format!("name one with --part: {}", names.join(", "))));
    };
    let bytes = store.get(blob)?;
    if is_json(&bytes) {
        return match (format, &args.tensor) {
            (_, Some(_)) => Err(wrong(name, "is JSON and holds no tensors", "leave out --tensor")),
            (ExportFormat::Json, None) => Ok(lines(&bytes)),
            _ => Err(wrong(name, "is JSON", "--format json, or another --part")),
        };
    }
    if args.names == Names::Torchvision
        && (format != ExportFormat::Safetensors || name != "weights")
    {
        return Err(wrong(name, "has no other names", "take --format safetensors --part weights"));
    }
    if format == ExportFormat::Safetensors {
        return match (args.names, artifact.parts.get("meta")) {
            (Names::Torchvision, Some(meta)) => {
                artifacts::architecture::with_torchvision_names(&store.get(meta)?, &bytes)
                    .ok_or_else(|| wrong(name, "is of no known network", "leave out --names"))
            }
            _ => Ok(bytes.to_vec()),
        };
    }
    let part = TensorPart { name, tensors: tensors(name, &bytes)?, only: args.tensor.as_deref() };
    match format {
        ExportFormat::Npy => part.npy(),
        ExportFormat::Indices => part.indices(),
        ExportFormat::Json => part.json(),
        ExportFormat::Ids => {
            let ids = ids.ok_or_else(|| {
                let without = Failure::mistake("the data behind it has no ids");
                without.hint("take --format indices, or name the column of ids where it is loaded")
            })?;
            let positions = part.table(None)?.positions();
            let lines: Vec<&str> = positions.iter().map(|at| ids[*at].as_str()).collect();
            Ok(self::lines(lines.join("\n").as_bytes()))
        }
        ExportFormat::Csv | ExportFormat::Parquet | ExportFormat::Safetensors => {
            let labels = artifact.parts.get("labels").filter(|_| artifact.kind == "scores");
            let labels = labels.map(|blob| store.get(blob)).transpose()?;
            let labels = labels.as_ref().map(|bytes| tensors("labels", bytes)).transpose()?;
            let labels = labels.as_ref().filter(|_| name == "scores");
            let mut table = part.table(labels.and_then(|all| all.tensor("train").ok()))?;
            if ["subset", "scores"].contains(&name.as_str())
                && let Some(ids) = ids
            {
                table.ids(table.positions().iter().map(|at| ids[*at].clone()).collect());
            }
            if format != ExportFormat::Parquet {
                return Ok(table.csv());
            }
            let cannot =
                |error| Failure::mistake(format!("part `{name}` as Parquet")).because(error);
            parquet::file(&table).map_err(cannot)
        }
    }
}

/// Returns the ids of the training samples behind `artifact`, if their data has any.
fn ids(store: &Store, artifact: &Artifact) -> Result<Option<Vec<String>>, Failure> {
    let columns = SampleColumns::open(store, artifact).map_err(|error| {
        Failure::failed(format!("part `{COLUMNS}` does not read")).because(error)
    })?;
    Ok(columns.and_then(|columns| columns.ids))
}

/// Returns the part of `artifact` that has a tensor called `tensor`: the usual one, or the only
/// one that is not one of a series; `None` if no part has.
fn holder<'a>(
    store: &Store,
    artifact: &'a Artifact,
    tensor: &str,
) -> Result<Option<&'a str>, Failure> {
    let mut found: Vec<&str> = vec![];
    for (name, blob) in &artifact.parts {
        let bytes = store.get(blob)?;
        let holds = |all: SafeTensors<'_>| all.tensor(tensor).is_ok();
        if !is_json(&bytes) && SafeTensors::deserialize(&bytes).is_ok_and(holds) {
            found.push(name);
        }
    }
    let usual = usual_part(&artifact.kind, ExportFormat::Npy);
    let single: Vec<&str> = found.iter().copied().filter(|name| !name.contains('.')).collect();
    match (&found[..], &single[..]) {
        ([], _) => Ok(None),
        _ if found.contains(&usual) => Ok(Some(usual)),
        ([one], _) | (_, [one]) => Ok(Some(one)),
        _ => {
            let what = format!("several parts hold a tensor `{tensor}`");
            let hint = format!("name one with --part: {}", found.join(", "));
            Err(Failure::mistake(what).hint(hint))
        }
    }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

fn usual_part(kind: &str, format: ExportFormat) -> &'static str {
    match (kind, format) {
        ("data" | "proxy" | "model", ExportFormat::Json) => "meta",
        ("data", _) => "labels",
        ("proxy" | "model", _) => "weights",
        ("scores", _) => "scores",
        ("subset", _) => "subset",
        ("metrics", _) => "metrics",
        _ => "meta",
    }
}

fn wrong(part: &str, what: &str, hint: &str) -> Failure {
    Failure::mistake(format!("part `{part}` {what}")).hint(hint)
}

fn tensors<'a>(part: &str, bytes: &'a [u8]) -> Result<SafeTensors<'a>, Failure> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| Failure::failed(format!("part `{part}` does not read")).because(error))
}

/// Ends `bytes` with a line break, as a text file does.
fn lines(bytes: &[u8]) -> Vec<u8> {
    let mut text = bytes.to_vec();
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    text
}
