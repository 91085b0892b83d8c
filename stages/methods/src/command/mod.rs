//! `command`: a program of the user's own as a stage.
//!
//! What it is given and how it answers is in `exchange.rs` and `answer.rs`, how it is run and
//! stopped in `process.rs`. No language is known here.

mod answer;
mod declared;
mod error;
mod exchange;
mod network;
mod process;
mod program;

use crate::{MethodError, Runtime, select};
use artifacts::{
    architecture::Family,
    parts::{self, Parts},
    record::LabelledSamples,
    units::{Count, Fraction, Positive},
};
use cache::{Digest, WorkFolder, retrying};
use engine::{
    ArtifactKind, InputFile, InputFolder, Method, Needs, Port, Problem, SpecPath, Stage, StageCtx,
    StageError,
};
pub use error::{OutError, ProgramEnd};
use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

/// The program, what it needs, and what it gives.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Command {
    /// The program and its arguments: `["python3", "my_selector.py"]`. A program without a `/` is
    /// looked for on the `PATH`. Required.
    #[serde(skip_serializing)]
    run: Vec<SpecPath>,
    /// The files it reads, its own script first of all: files, folders (`pkg`) and patterns
    /// (`src/*.py`). They lie in its working directory under the names written here, and their
    /// names and bytes are in the key. Of a folder, what is hidden and what Python caches is left
    /// out.
    #[serde(skip_serializing)]
    files: Vec<SpecPath>,
    /// What it gives: `scores`, `subset`, `metrics`, `data`, `proxy` or `model`. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output>,
    /// Handed to the program as they are, in `request.json`.
    settings: Map<String, Value>,
    /// Environment variables it is given besides the usual few. Their values are in the key, and
    /// nowhere written down: records and messages hold their digests.
    #[serde(serialize_with = "digests_of_values")]
    env: BTreeMap<String, String>,
    /// Environment variables it is given as this program has them, by name (`HF_TOKEN`) or by how
    /// their names begin (`SLURM_*`). They are not in the key, so none may change a result.
    #[serde(skip_serializing)]
    pass_env: Vec<String>,
    /// How often it is run again if it fails. It changes no result.
    #[serde(skip_serializing)]
    retries: u32,
    /// Whether it draws random numbers. It then gets a seed, which is in the key.
    random: bool,
    /// `subset`: which share of the training set is asked for, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<Fraction>,
    /// `subset`: how many samples are asked for, instead of `keep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<usize>,
    /// `model`: the architecture of the network it gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Family>,
    /// `model`: how wide it is, for the families that say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<Count>,
    /// After how many seconds it is stopped. It changes no result.
    #[serde(skip_serializing)]
    time_out: Option<Positive>,
    /// Whether it uses the accelerator, and so waits for its turn there. It changes no result.
    #[serde(skip_serializing)]
    device: bool,
}

/// What a program gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Output {
    /// One number for each training sample, larger is harder.
    Scores,
    /// Positions in the training set, and weights if there are any.
    Subset,
    /// Measured numbers, by name.
    Metrics,
    /// A data set.
    Data,
    /// Logits and embeddings of each training sample, and a training record.
    Proxy,
    /// A trained network of a known architecture.
    Model,
}

impl Output {
    fn kind(self) -> ArtifactKind {
        match self {
            Self::Scores => parts::SCORES,
            Self::Subset => parts::SUBSET,
            Self::Metrics => parts::METRICS,
            Self::Data => parts::DATA,
            Self::Proxy => parts::PROXY,
            Self::Model => parts::MODEL,
        }
    }
}

const MANUAL: &str = "\
Runs a program in a directory made for it, and takes what it leaves there. Before it starts, the directory \
holds `request.json` (settings, seed, budget, and where the inputs are), the parts of each input in \
`in/PORT/` (tensors as safetensors, the rest as JSON), the declared `files`, and an empty `out/`. It is \
the program's working directory.

The program answers with one of these, as `.npy` or safetensors (lists also as `.json`, `.csv` or `.txt`):

- `scores`: `out/scores`, one finite number for each training sample; larger is harder.
- `subset`: `out/indices`, each below the number of training samples and none twice, in any order; and \
  `out/weights` if they are weighted. With `keep` or `budget`, exactly so many; fewer only with weights.
- `metrics`: `out/metrics.json`, an object.
- `data`: `out/data.safetensors` with `train` (u8 images [n, c, h, w], or floats [n, d]), `train_labels`, \
  and the same for `test`; `out/data.json` may hold `name`, `classes`, `mean` and `std`.
- `proxy`: `out/outputs.safetensors` with `logits` [n, classes] or `embeddings` [n, d] or both; and the \
  logits of each epoch, if they are on record, as `out/record.0001.npy` and so on.
- `model`: `out/model.safetensors`, a state dict of `model` under the names that `export` writes, \
  torchvision's included.

What it prints goes to the stage's log; a line `progress 3/10 loss=0.25` moves the bar. If it fails, \
the last lines are the message, and the directory is kept and named.

The key holds the settings, the bytes of `files`, and what the inputs hold; the seed only with `random`. \
It holds neither paths nor the version of the interpreter: name what matters in `settings`. Of the \
environment a program sees `env`, `pass-env`, and little else. A file that is not declared is not there to be read by a \
relative path. Cost: the program's own; inputs are linked, not copied.";

pub(crate) fn methods() -> Vec<Method> {
    vec![Method {
        name: "command",
        summary: "runs a program of your own: a selector, a score, anything with a typed output",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<Command>()?)),
        schema: || schemars::schema_for!(Command),
    }]
}

/// Tells whether there is a file at `path`, whatever a network file system says in passing.
fn is_file(path: &Path) -> bool {
    retrying(|| fs::metadata(path)).is_ok_and(|data| data.is_file())
}

fn problem(setting: &str, message: impl Into<String>, hint: &str) -> Problem {
    Problem { setting: setting.to_owned(), message: message.into(), hint: Some(hint.to_owned()) }
}

/// Writes the digest of each value in its place: enough for a key, and no secret to anybody.
fn digests_of_values<S: Serializer>(
    env: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let hidden = |(name, value): (&String, &String)| {
        let digest = Digest::of(format!("{name}={value}").as_bytes());
        (name.clone(), format!("blake3:{digest}"))
    };
    serializer.collect_map(env.iter().map(hidden))
}

impl Command {
    /// Returns how many of `n` samples are asked for, if it is said.
    fn budget(&self, n: usize) -> Option<usize> {
        self.budget.or(self.keep.map(|keep| select::rounded(keep.into(), n)))
    }

    fn work(
        &self,
        ctx: &StageCtx<'_>,
        folder: &WorkFolder,
        ground: Option<&LabelledSamples>,
    ) -> Result<Parts, StageError> {
        let request = exchange::Request {
            settings: &self.settings,
            output: self.output.map_or("", |output| output.kind().0),
            seed: self.random.then(|| ctx.streams().get("command").next_u32()),
            samples: ground.map(|ground| ground.labels.len()),
            classes: ground.map(|ground| ground.classes),
            budget: ground.and_then(|ground| self.budget(ground.labels.len())),
        };
        let laid = exchange::lay_out(ctx, folder.path(), &request)?;
        let mut command = program::command(
            &self.run,
            &self.files,
            folder.path(),
            Runtime::of(ctx).supervisor.as_ref(),
        )?;
        program::set_environment(&mut command, &self.env, &self.pass_env);
        // One that no clock can hold is no limit; `problems` has refused it.
        let time_out =
            self.time_out.and_then(|limit| Duration::try_from_secs_f64(limit.into()).ok());
        let ended = process::run(ctx, &mut command, time_out, folder);
        laid.check(ctx)?;
        ended?;
        self.answer(ctx, &folder.path().join("out"), ground)
    }
}

impl Stage for Command {
    fn method(&self) -> &'static str {
        "command"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        let mut all = json!(self);
        all["run"] = program::words(&self.run, &self.files).into();
        all
    }

    fn inputs(&self) -> Vec<Port> {
        vec![
            Port::optional("data", parts::DATA),
            Port::optional("proxy", parts::PROXY),
            Port::optional("scores", parts::SCORES),
            Port::optional("subset", parts::SUBSET),
            Port::optional("model", parts::MODEL),
        ]
    }

    fn output(&self) -> ArtifactKind {
        self.output.map_or(parts::SUBSET, Output::kind)
    }

    fn streams(&self) -> &'static [&'static str] {
        if self.random { &["command"] } else { &[] }
    }

    fn needs(&self) -> Needs {
        if self.device { Needs::Device } else { Needs::Cpu }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut all = program::problems(&self.run, &self.files, &self.env, &self.pass_env);
        let limit = self.time_out.map(f64::from);
        if let Some(limit) = limit.filter(|limit| Duration::try_from_secs_f64(*limit).is_err()) {
            let message = format!("{limit:e} seconds is longer than any clock can count");
            all.push(problem("time-out", message, "leave it out: without one there is no limit"));
        }
        if self.output.is_none() {
            let hint = "set it to scores, subset, metrics, data, proxy or model";
            all.push(problem("output", "setting `output` is required", hint));
        }
        let only = |setting, given: bool, output| {
            let odd = given && self.output.is_some_and(|one| one != output);
            let kind = output.kind().0;
            odd.then(|| {
                problem(setting, format!("only a {kind} has a `{setting}`"), "leave it out")
            })
        };
        all.extend(only("keep", self.keep.is_some(), Output::Subset));
        all.extend(only("budget", self.budget.is_some(), Output::Subset));
        all.extend(only("model", self.model.is_some(), Output::Model));
        all.extend(only("width", self.width.is_some(), Output::Model));
        if self.keep.is_some() && self.budget.is_some() {
            let message = "`keep` and `budget` both say how much to select";
            all.push(problem("budget", message, "leave one of them out"));
        }
        if self.output == Some(Output::Model) && self.model.is_none() {
            let message = "which architecture the network has is not said";
            all.push(problem("", message, "set `model = \"resnet18\"`, say"));
        }
        all
    }

    fn wiring(&self, connected: &[&str]) -> Vec<Problem> {
        let any = |ports: &[&str]| connected.iter().any(|port| ports.contains(port));
        let (fine, hint) = match self.output {
            None | Some(Output::Metrics | Output::Data) => (true, ""),
            Some(Output::Scores | Output::Subset) => (
                any(&["data", "proxy", "scores"]),
                "add `from = { data = \"STAGE\" }`, or connect `proxy` or `scores`",
            ),
            Some(Output::Proxy | Output::Model) => {
                (any(&["data"]), "add `from = { data = \"STAGE\" }`")
            }
        };
        let message = "no input says which training set this is about";
        (!fine).then(|| problem("", message, hint)).into_iter().collect()
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let declared = declared::all(&self.files)?;
        program::find(&self.run, &declared)?;
        Ok(declared::files(&declared))
    }

    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        Ok(declared::folders(&declared::all(&self.files)?))
    }

    fn secrets(&self) -> &'static [&'static str] {
        &["env"]
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let ports = ["data", "proxy", "scores"];
        let ground = match ports.iter().any(|port| ctx.input(port).is_some()) {
            true => Some(LabelledSamples::read(ctx, &ports)?),
            false => None,
        };
        if let (Some(ground), Some(budget)) = (&ground, self.budget)
            && budget > ground.labels.len()
        {
            return Err(MethodError::Budget { budget, n: ground.labels.len() }.into());
        }
        let mut tried = 0;
        let (folder, answer) = loop {
            let folder = ctx.folder()?;
            match self.work(ctx, &folder, ground.as_ref()) {
                Err(StageError::Method(failure)) if tried < self.retries => {
                    tried += 1;
                    ctx.log(format!(
                        "failed, and is tried again ({tried} of {}): {failure}",
                        self.retries
                    ));
                    ctx.check_cancelled()?;
                }
                answer => break (folder, answer),
            }
        };
        match answer {
            Err(StageError::Method(failure)) => {
                Err(MethodError::Kept { failure, folder: folder.keep() }.into())
            }
            other => other,
        }
    }
}
