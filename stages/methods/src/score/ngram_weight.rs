//! DSIR: how much likelier a text is in a target than in the pool, by its n-grams.

use crate::{MethodError, ngrams};
use artifacts::{
    dataset,
    parts::{self, Parts},
    record::LabelledSamples,
    rows::Rows,
    scores::{self, Scores},
    subset::Subset,
    units::{Count, NonNegative},
};
use engine::{ArtifactKind, Method, Port, Problem, Stage, StageCtx, StageError};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const NAME: &str = "score.ngram-weight";

/// What every score is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[schemars(rename = "NgramWeightStage")]
struct NgramWeightStage {
    /// The method's own settings.
    rule: NgramWeight,
}

/// How n-grams are counted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct NgramWeight {
    /// Into how many buckets n-grams are hashed.
    buckets: Count,
    /// How many tokens the longest n-grams have, up to 5: with 2, words and pairs of neighbours.
    ngrams: Count,
    /// What is added to the target's count of each bucket: raise it where the target is small.
    smoothing: NonNegative,
    /// Texts of fewer tokens get minus infinity, and so come last. The paper has 100.
    min_tokens: u64,
}

impl Default for NgramWeight {
    fn default() -> Self {
        Self {
            buckets: Count::try_from(10_000).expect("10000 is above 0"),
            ngrams: Count::try_from(2).expect("2 is above 0"),
            smoothing: NonNegative::try_from(0.0).expect("0 is not negative"),
            min_tokens: 0,
        }
    }
}

const MANUAL: &str = "\
The logarithm of an importance weight: log w = sum over buckets b of count_b (log(p_b + 1e-8) - log(q_b + 1e-8)), where
count_b is how many of the text's n-grams fall into bucket b, and p and q are the shares of the buckets among those
of the target and of the pool. High is like the target: `select.gumbel-top` draws in proportion to w, as the paper
does, and `select.top` takes the highest. log w is a sum over the text, so long texts have weights further from 0.

The pool are the training texts on port `data`, a data set of `load.text`. The target are those of another one on
port `query-data`, or picks of the pool on port `query`, which get scores themselves. What is counted is the text, not the
features: `buckets` and `ngrams` are this method's own, tokens are those of `load.text`.

Xie, Santurkar, Ma & Liang, *Data Selection for Language Models via Importance Resampling*, NeurIPS 2023 (DSIR).
The hash is another than the authors' SHA-256, tokens are Unicode's words and not NLTK's, and texts below
`min-tokens` are ranked last where the authors drop those under 100. Cost: two passes over the texts, O(buckets) memory
beside them.

    [stage.weights]
    use  = \"score.ngram-weight\"
    from = { data = \"pool\", query-data = \"target\" }

    [stage.subset]
    use  = \"select.gumbel-top\"
    from = { scores = \"weights\" }
    with = { keep = 0.1 }";

/// Returns the registry entry.
pub(super) fn method() -> Method {
    Method {
        name: NAME,
        summary: "log importance weight of a text towards a target, by hashed n-grams; high is kept",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<NgramWeightStage>()?)),
        schema: || schemars::schema_for!(NgramWeightStage),
    }
}

impl NgramWeight {
    /// Counts the n-grams of texts by bucket.
    fn counts<T: AsRef<str>, E: Send>(
        &self,
        texts: &[usize],
        text: impl Fn(usize) -> Result<T, E> + Sync,
    ) -> Result<Vec<u64>, E> {
        let buckets = self.buckets.get();
        let add = |mut all: Vec<u64>, some: Vec<u64>| {
            all.iter_mut().zip(some).for_each(|(all, some)| *all += some);
            all
        };
        let counted = texts.par_chunks(1024).map(|texts| {
            let mut counts = vec![0; buckets];
            for at in texts {
                let see = |hash| counts[ngrams::bucket(hash, buckets)] += 1;
                ngrams::each(text(*at)?.as_ref(), self.ngrams.get(), see);
            }
            Ok(counts)
        });
        counted.try_reduce(|| vec![0; buckets], |all, some| Ok(add(all, some)))
    }

    /// Returns what an n-gram in each bucket adds to log w.
    fn weights(&self, target: &[u64], pool: &[u64]) -> Vec<f64> {
        let log = |counts: &[u64], added: f64| -> Vec<f64> {
            let of = |count: &u64| *count as f64 + added;
            let total: f64 = counts.iter().map(of).sum();
            counts.iter().map(|count| (of(count) / total + 1e-8).ln()).collect()
        };
        let (target, pool) = (log(target, self.smoothing.into()), log(pool, 0.0));
        target.iter().zip(&pool).map(|(p, q)| p - q).collect()
    }

    /// Returns log w of a text.
    fn score(&self, text: &str, weights: &[f64]) -> f32 {
        let mut sum = 0.0;
        let see = |hash| sum += weights[ngrams::bucket(hash, weights.len())];
        let tokens = ngrams::each(text, self.ngrams.get(), see);
        if tokens < self.min_tokens { f32::NEG_INFINITY } else { sum as f32 }
    }
}

/// Returns the texts of the data set on `port`.
fn texts(ctx: &StageCtx<'_>, port: &str) -> Result<Rows, StageError> {
    let rows = Rows::read(ctx, port, dataset::input(ctx, port)?)?;
    rows.ok_or_else(|| MethodError::NoTexts { port: port.to_owned() }.into())
}

impl Stage for NgramWeightStage {
    fn method(&self) -> &'static str {
        NAME
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![
            Port::one("data", parts::DATA),
            Port::of_choice("query-data", parts::DATA, "query"),
            Port::of_choice("query", parts::SUBSET, "query"),
        ]
    }

    fn output(&self) -> ArtifactKind {
        parts::SCORES
    }

    fn problems(&self) -> Vec<Problem> {
        let longest = self.rule.ngrams.get();
        let problem = (longest > ngrams::LONGEST).then(|| Problem {
            setting: "rule.ngrams".to_owned(),
            message: format!("n-grams of {longest} tokens are asked for"),
            hint: Some("5 is the longest".to_owned()),
        });
        problem.into_iter().collect()
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let samples = LabelledSamples::read(ctx, &["data"])?;
        let n = samples.labels.len();
        let pool = texts(ctx, "data")?;
        samples.one_each(pool.len(), "texts")?;
        let other = ctx.input("query-data").map(|_| texts(ctx, "query-data")).transpose()?;
        let picks =
            ctx.input("query").map(|picks| Subset::of(ctx, "query", picks, n)).transpose()?;
        let (target, port, which) = match (&other, &picks) {
            (Some(other), _) => (other, "query-data", (0..other.len()).collect()),
            (None, Some(picks)) => {
                let which: Vec<usize> = picks.samples().iter().map(|one| one.index()).collect();
                (&pool, "data", which)
            }
            (None, None) => return Err(MethodError::NoInput.into()),
        };
        if which.is_empty() {
            return Err(MethodError::EmptyQuery.into());
        }
        let all: Vec<usize> = (0..n).collect();
        let of =
            |rows: &Rows, port: &str, sample: usize| {
                let port = port.to_owned();
                rows.row(sample)
                    .map(|row| row.text.into_owned())
                    .map_err(|error| MethodError::Text { port, sample, error })
            };
        let target = self.rule.counts(&which, |at| of(target, port, at))?;
        ctx.check_cancelled()?;
        let counts = self.rule.counts(&all, |at| of(&pool, "data", at))?;
        ctx.check_cancelled()?;
        let weights = self.rule.weights(&target, &counts);
        let scored = all
            .par_iter()
            .map(|at| of(&pool, "data", *at).map(|text| self.rule.score(&text, &weights)));
        let found = scored.collect::<Result<Vec<f32>, MethodError>>()?;
        let short = found.iter().filter(|score| score.is_infinite()).count();
        if short > 0 {
            ctx.log(format!("{short} texts have fewer than {} tokens", self.rule.min_tokens));
        }
        let tokens: u64 = target.iter().sum();
        ctx.log(format!("the target has {} texts and {tokens} n-grams", which.len()));
        scores::put(ctx, NAME, &Scores::harder_when_high(found), samples.shared, samples.classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn scores(rule: &NgramWeight, target: &[&str], pool: &[&str]) -> Vec<f32> {
        let counts = |texts: &[&str]| {
            let all: Vec<usize> = (0..texts.len()).collect();
            rule.counts(&all, |at| Ok::<_, Infallible>(texts[at])).expect("nothing fails")
        };
        let weights = rule.weights(&counts(target), &counts(pool));
        pool.iter().map(|text| rule.score(text, &weights)).collect()
    }

    #[test]
    fn weights_worked_by_hand() {
        let pool = ["a b", "B a", "c"];
        // Of the pool's 7 n-grams: a 2, b 2, c 1, `a b` 1, `b a` 1. Of the target's 3: a 1, b 1, `a b` 1.
        let target = ["a b"];
        let log = |p: f64, q: f64| (p + 1e-8).ln() - (q + 1e-8).ln();
        let word = log(1.0 / 3.0, 2.0 / 7.0);
        let want = [
            2.0 * word + log(1.0 / 3.0, 1.0 / 7.0),
            2.0 * word + log(0.0, 1.0 / 7.0),
            log(0.0, 1.0 / 7.0),
        ];
        let rule = NgramWeight::default();
        for (found, want) in scores(&rule, &target, &pool).iter().zip(want) {
            assert!((f64::from(*found) - want).abs() < 1e-5, "{found}, {want}");
        }
        // One added to each of 10,000 buckets.
        let smoothing = NonNegative::try_from(1.0).expect("it is not negative");
        let rule = NgramWeight { smoothing, min_tokens: 2, ..rule };
        let found = scores(&rule, &target, &pool);
        let word = log(2.0 / 10_003.0, 2.0 / 7.0);
        let want = 2.0 * word + log(1.0 / 10_003.0, 1.0 / 7.0);
        assert!((f64::from(found[1]) - want).abs() < 1e-5, "{found:?}, {want}");
        assert_eq!(found[2], f32::NEG_INFINITY);
    }
}
