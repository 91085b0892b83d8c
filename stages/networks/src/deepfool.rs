//! `score.deepfool` and `score.deepcore.deepfool`: the stage around what needs the network and the
//! samples.

use crate::{
    NetworkError,
    nn::{
        input_gradients::{input_gradients, normalised},
        model::Model,
    },
};
use artifacts::{
    dataset::Dataset,
    parts::{DATA, PROXY, Parts, SCORES},
    scores::Scores,
};
use engine::{ArtifactKind, Method, Needs, Port, Stage, StageCtx, StageError, StageProgress};
use methods::score::{BoundaryDistance, DeepCoreDeepFool, DeepFool, ProxyScores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How little a sample has to be changed until the proxy changes its mind; little is hard.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case", bound = "S: BoundaryDistance")]
#[schemars(rename = "{S}", bound = "S: BoundaryDistance")]
struct DistanceScore<S> {
    /// The method's own settings.
    rule: S,
}

/// Returns the registry entries.
pub(crate) fn methods() -> Vec<Method> {
    vec![method::<DeepFool>(), method::<DeepCoreDeepFool>()]
}

fn method<S: BoundaryDistance>() -> Method {
    Method {
        name: S::NAME,
        summary: S::SUMMARY,
        manual: S::MANUAL,
        parse: |with| Ok(Box::new(with.read::<DistanceScore<S>>()?)),
        schema: || schemars::schema_for!(DistanceScore<S>),
    }
}

// Samples moved together: small enough that a copy for each candidate class fits.
const BATCH: usize = 64;

impl<S: BoundaryDistance> Stage for DistanceScore<S> {
    fn method(&self) -> &'static str {
        S::NAME
    }

    fn revision(&self) -> u32 {
        S::REVISION
    }

    fn settings(&self) -> Value {
        serde_json::json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::many("proxy", PROXY), Port::one("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        SCORES
    }

    fn needs(&self) -> Needs {
        Needs::Device
    }

    fn problems(&self) -> Vec<engine::Problem> {
        let inside = |problem: engine::Problem| engine::Problem {
            setting: format!("rule.{}", problem.setting),
            ..problem
        };
        self.rule.problems().into_iter().map(inside).collect()
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let data = Dataset::read(ctx, "data")?;
        let mut repeats = ProxyScores::new(ctx, "proxy")?;
        let n = data.train.labels.len();
        if repeats.samples() != n {
            return Err(NetworkError::ProxySamples { proxy: repeats.samples(), n }.into());
        }
        let mut inputs = Some(data.train.inputs);
        let proxies = ctx.inputs("proxy");
        for (at, artifact) in proxies.iter().enumerate() {
            repeats.check(at, artifact)?;
            let model = Model::load(ctx, "proxy", artifact)?;
            // The last network takes the samples with it.
            let mine = if at + 1 == proxies.len() { inputs.take() } else { inputs.clone() };
            let mine = mine.expect("only the last one takes them");
            let feed = model.feed(&data.meta.sample, mine)?;
            let mut gradients = input_gradients(&model);
            let mut lengths = Vec::with_capacity(n);
            let rows: Vec<u32> = (0..n as u32).collect();
            for batch in rows.chunks(BATCH) {
                ctx.check_cancelled()?;
                lengths.extend(self.rule.distances(&mut *gradients, normalised(&feed, batch)));
                ctx.progress(StageProgress::new(
                    (at * n + lengths.len()) as u64,
                    (proxies.len() * n) as u64,
                    "sample",
                ));
            }
            repeats.add(Scores::harder_when_low(lengths));
        }
        repeats.publish(S::NAME)
    }
}
