//! `score.deepfool`: the stage around [`DeepFool`], which needs the network and the samples.

use crate::nn::{
    input_gradients::{input_gradients, normalised},
    model::Model,
};
use artifacts::{
    dataset::Dataset,
    parts::{DATA, PROXY, Parts, SCORES},
    scores::Scores,
};
use engine::{ArtifactKind, Method, Needs, Port, Stage, StageCtx, StageError, StageProgress};
use methods::score::{DeepFool, ProxyScores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const NAME: &str = "score.deepfool";

/// How little a sample has to be changed until the proxy changes its mind; little is hard.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepFoolScore {
    /// The method's own settings.
    rule: DeepFool,
}

const MANUAL: &str = "\
Moves a sample step by step to the nearest boundary of the proxy, taken as linear at each step, until
the prediction changes. The published value is the Euclidean length of the whole move, in the
normalised values the network sees; a sample near a boundary is hard, so the score is minus that.
A sample whose prediction no step can move (all gradients are 0) is infinitely far.

Moosavi-Dezfooli, Fawzi & Frossard, *DeepFool*, CVPR 2016, algorithm 2, with its overshoot of 0.02 and
its ten most probable classes; as a selection criterion Ducoffe & Precioso, *Adversarial Active
Learning for Deep Networks: a Margin Based Approach*, 2018. Cost: up to `iterations` steps a sample,
each one forward pass and one backward pass for each candidate class; most samples need two to four.
It reads the network of the proxy and the images, so `data` is connected too.
DeepCore squares the length, does not overshoot, and looks at all classes: `rule.compat =
\"deepcore\"`. The square changes no ranking; the missing overshoot makes some samples take all 50 steps.";

/// Returns the registry entry.
pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        summary: "the distance to the proxy's decision boundary; near is hard",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<DeepFoolScore>()?)),
        schema: || schemars::schema_for!(DeepFoolScore),
    }
}

// Samples moved together: small enough that a copy for each candidate class fits.
const BATCH: usize = 64;

impl Stage for DeepFoolScore {
    fn method(&self) -> &'static str {
        NAME
    }

    fn revision(&self) -> u32 {
        2
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
        if self.rule.candidates.get() >= 2 {
            return vec![];
        }
        vec![engine::Problem {
            setting: "rule.candidates".to_owned(),
            message: "one candidate is the predicted class alone: there is nowhere to go"
                .to_owned(),
            hint: Some("set it to 2 or more".to_owned()),
        }]
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let data = Dataset::read(ctx, "data")?;
        let mut repeats = ProxyScores::new(ctx, "proxy")?;
        let n = data.train.labels.len();
        if repeats.samples() != n {
            let known = repeats.samples();
            let message = format!("the proxy was trained on {known} samples, the data set has {n}");
            return Err(StageError::method(message)
                .with_hint("connect the data set that the proxy was trained on"));
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
                lengths.extend(self.rule.lengths(&mut *gradients, normalised(&feed, batch)));
                ctx.progress(StageProgress::new(
                    (at * n + lengths.len()) as u64,
                    (proxies.len() * n) as u64,
                    "sample",
                ));
            }
            repeats.add(Scores::harder_when_low(lengths));
        }
        repeats.publish(NAME)
    }
}
