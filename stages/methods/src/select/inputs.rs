//! What the stage around a selector reads from its ports.

use super::{Query, SelectInput, Selector, TrainingSet, unit};
use crate::MethodError;
use artifacts::{
    ArtifactError, ClassId, Matrix, SampleId, dataset,
    graph::KnnGraph,
    parts,
    record::{self, LabelledSamples},
    scores,
    subset::Subset,
    units::Count,
};
use cache::Artifact;
use engine::{Port, StageCtx, StageError};
use std::sync::OnceLock;

/// Tells whether of a proxy `reads` asks for the embeddings and nothing else, so that a data set's
/// features will do.
pub(super) fn features_will_do(reads: &[SelectInput]) -> bool {
    let of_network = [SelectInput::Logits, SelectInput::Probabilities, SelectInput::Losses];
    reads.contains(&SelectInput::Embeddings) && !of_network.iter().any(|one| reads.contains(one))
}

/// Returns the ports of a selector that reads at most and at least these.
pub(super) fn ports(most: &[SelectInput], least: &[SelectInput]) -> Vec<Port> {
    let any = || {
        vec![
            Port::one_of("data", parts::DATA),
            Port::one_of("proxy", parts::PROXY),
            Port::one_of("scores", parts::SCORES),
        ]
    };
    if most.is_empty() {
        return any();
    }
    let mut ports = vec![];
    let mut add = |port| {
        if !ports.contains(&port) {
            ports.push(port);
        }
    };
    for input in most {
        match input {
            SelectInput::Scores => add(Port::one("scores", parts::SCORES)),
            SelectInput::Cut => add(Port::optional("cut", parts::SCORES)),
            SelectInput::Graph => add(Port::optional("graph", parts::GRAPH)),
            SelectInput::Like => {
                any().into_iter().for_each(&mut add);
                add(Port::one("like", parts::SUBSET));
            }
            SelectInput::Query => {
                add(Port::of_choice("query-data", parts::DATA, "query"));
                add(Port::of_choice("query", parts::SUBSET, "query"));
            }
            SelectInput::Logits
            | SelectInput::Embeddings
            | SelectInput::Probabilities
            | SelectInput::Losses => {
                if features_will_do(least) {
                    add(Port::one_of("proxy", parts::PROXY));
                    add(Port::one_of("data", parts::DATA));
                } else {
                    add(Port::one("proxy", parts::PROXY));
                }
            }
        }
    }
    ports
}

/// What came in on the ports of a selector, in sample order. What it does not read is absent.
pub(super) struct SelectorInputs {
    pub(super) samples: LabelledSamples,
    scores: Option<Vec<f64>>,
    scored_by: Option<String>,
    cut: Option<Vec<f64>>,
    probabilities: Option<Vec<f32>>,
    logits: Option<Matrix<'static>>,
    embeddings: Option<Matrix<'static>>,
    losses: Option<Matrix<'static>>,
    graph: Option<KnnGraph>,
    query: Option<(Matrix<'static>, Vec<SampleId>)>,
    like: Option<(Vec<u64>, Vec<SampleId>)>,
}

/// What the settings of a selector look at. It is data, so that reading is compiled once and not for each
/// selector.
pub(super) struct Asked<'a> {
    reads: &'static [SelectInput],
    epochs: Option<Count>,
    column: Option<&'a str>,
}

impl<'a> Asked<'a> {
    pub(super) fn by(rule: &'a impl Selector) -> Self {
        Self { reads: rule.reads(), epochs: rule.epochs(), column: rule.column() }
    }
}

impl SelectorInputs {
    /// Reads what is asked for; the labels are those on the first of `ports` that is connected.
    pub(super) fn read(
        ctx: &StageCtx<'_>,
        asked: &Asked<'_>,
        ports: &[Port],
    ) -> Result<Self, StageError> {
        let port = ports.iter().find(|port| ctx.input(port.name).is_some());
        let port = port.ok_or(MethodError::NoInput)?.name;
        let input = ctx.input(port).expect("it was found connected");
        let samples = LabelledSamples::of(ctx, port, input)?;
        let n = samples.labels.len();
        let other = |port| stands_on_other_labels(ctx, port, &samples);
        if ["scores", "cut", "proxy", "data"].into_iter().any(other) {
            ctx.log(format!("the classes are those of `{port}`: another input has other labels"));
        }
        let reads = |input| asked.reads.contains(&input);
        let scores = reads(SelectInput::Scores).then(|| scores::read(ctx, "scores", n));
        let scores = scores.transpose()?;
        let scored_by = if scores.is_some() { scores::made_by(ctx, "scores")? } else { None };
        let cut = ctx.input("cut").map(|_| scores::read(ctx, "cut", n)).transpose()?;
        let probabilities = reads(SelectInput::Probabilities)
            .then(|| mean_probabilities(ctx, "proxy", &samples.labels, asked.epochs));
        let logits = reads(SelectInput::Logits).then(|| outputs(ctx, "logits", n));
        let logits = logits.transpose()?;
        if let Some(logits) = logits.as_ref().map(Matrix::cols)
            && logits != samples.classes
        {
            return Err(MethodError::ProxyClasses { logits, classes: samples.classes }.into());
        }
        let embeddings = reads(SelectInput::Embeddings).then(|| outputs(ctx, "embeddings", n));
        let embeddings = embeddings.transpose()?;
        let losses =
            reads(SelectInput::Losses).then(|| losses(ctx, "proxy", &samples.labels, asked.epochs));
        let graph = KnnGraph::read(ctx, "graph", n)?;
        let query = embeddings.as_ref().filter(|_| reads(SelectInput::Query));
        let query = query.map(|embeddings| query_of(ctx, embeddings)).transpose()?;
        Ok(Self {
            scores,
            scored_by,
            cut,
            probabilities: probabilities.transpose()?,
            logits,
            embeddings,
            losses: losses.transpose()?,
            graph,
            query,
            like: asked.column.map(|column| like(ctx, column, &samples)).transpose()?,
            samples,
        })
    }

    /// Returns what a method sees of it.
    pub(super) fn training_set(&self) -> TrainingSet<'_> {
        TrainingSet {
            labels: &self.samples.labels,
            scores: self.scores.as_deref(),
            scored_by: self.scored_by.as_deref(),
            cut: self.cut.as_deref(),
            probabilities: self.probabilities.as_deref(),
            logits: self.logits.as_ref().map(Matrix::view),
            embeddings: self.embeddings.as_ref().map(Matrix::view),
            losses: self.losses.as_ref().map(Matrix::view),
            graph: self.graph.as_ref(),
            query: self
                .query
                .as_ref()
                .map(|(vectors, samples)| Query { vectors: vectors.view(), samples }),
            counts: self.like.as_ref().map(|(counts, _)| &counts[..]),
            like: self.like.as_ref().map(|(_, samples)| &samples[..]),
            label_issues: OnceLock::new(),
        }
    }
}

/// Returns `output` of the proxy, or the features of the data set in its place.
pub(crate) fn outputs(
    ctx: &StageCtx<'_>,
    output: &str,
    n: usize,
) -> Result<Matrix<'static>, StageError> {
    if let Some(proxy) = ctx.input("proxy") {
        return usable("proxy", output, record::outputs(ctx, "proxy", proxy, output)?, n);
    }
    let data = dataset::input(ctx, "data")?;
    usable("data", "features", dataset::train_features(ctx, "data", data)?, n)
}

/// Returns `matrix`, having checked that it has `n` rows and that all of it can be squared.
fn usable(
    port: &str,
    output: &str,
    matrix: Matrix<'static>,
    n: usize,
) -> Result<Matrix<'static>, StageError> {
    let (port, output, found) = (port.to_owned(), output.to_owned(), matrix.rows());
    if found != n {
        return Err(MethodError::OutputSamples { port, output, found, n }.into());
    }
    match matrix.first_unusable() {
        Some(sample) => Err(MethodError::Unusable { port, output, sample }.into()),
        None => Ok(matrix),
    }
}

/// Returns the vectors of the query, and which training samples they are, if they are such. They are in the
/// space of `embeddings`.
fn query_of(
    ctx: &StageCtx<'_>,
    embeddings: &Matrix<'_>,
) -> Result<(Matrix<'static>, Vec<SampleId>), StageError> {
    let (vectors, samples) = match ctx.input("query") {
        Some(picks) => {
            let picks = Subset::of(ctx, "query", picks, embeddings.rows())?;
            let rows = embeddings.gather(picks.samples());
            let vectors = Matrix::new(rows.data().to_vec(), rows.rows(), rows.cols());
            (vectors, picks.samples().to_vec())
        }
        None => {
            let data = dataset::input(ctx, "query-data")?;
            let features = dataset::train_features(ctx, "query-data", data)?;
            in_one_space(ctx, data)?;
            let n = features.rows();
            (usable("query-data", "features", features, n)?, vec![])
        }
    };
    if vectors.rows() == 0 {
        return Err(MethodError::EmptyQuery.into());
    }
    if vectors.cols() != embeddings.cols() {
        let (query, embeddings) = (vectors.cols(), embeddings.cols());
        return Err(MethodError::QueryWidth { query, embeddings }.into());
    }
    Ok((vectors, samples))
}

/// Returns the counts of `samples` in `column`, and the subset on port `like`.
fn like(
    ctx: &StageCtx<'_>,
    column: &str,
    samples: &LabelledSamples,
) -> Result<(Vec<u64>, Vec<SampleId>), StageError> {
    let counts = unit::sizes(samples.columns(ctx)?.as_ref(), column)?.to_vec();
    let subset = ctx.input("like").ok_or(MethodError::NoInput)?;
    let subset = Subset::of(ctx, "like", subset, counts.len())?;
    if subset.is_empty() {
        return Err(MethodError::EmptyLike.into());
    }
    Ok((counts, subset.samples().to_vec()))
}

/// Checks that the features of a query are in the space of those to select from, where both say what it is.
fn in_one_space(ctx: &StageCtx<'_>, query: &Artifact) -> Result<(), StageError> {
    // The embeddings of a proxy are in a space of its own.
    let pool = ctx.input("data").filter(|_| ctx.input("proxy").is_none());
    let Some(pool) = pool else { return Ok(()) };
    let pool = dataset::meta(ctx, "data", pool)?.space;
    let query = dataset::meta(ctx, "query-data", query)?.space;
    match (pool, query) {
        (Some(pool), Some(query)) if pool != query => {
            Err(MethodError::QuerySpace { query, pool }.into())
        }
        _ => Ok(()),
    }
}

/// Returns the loss of each of `labels` by the proxy on `port` after each of the first `epochs`, \[n,
/// epochs\]. An epoch that did not see a sample repeats the last before it that did, and the first epochs
/// the first that did.
fn losses(
    ctx: &StageCtx<'_>,
    port: &str,
    labels: &[ClassId],
    epochs: Option<Count>,
) -> Result<Matrix<'static>, StageError> {
    let proxy = ctx.input(port).expect("the port is connected");
    let epochs = epochs_on_record(proxy, epochs)?;
    record::fetch_ahead(ctx, proxy, 1..=epochs);
    let mut losses = vec![f32::NAN; labels.len() * epochs];
    for epoch in 0..epochs {
        ctx.check_cancelled()?;
        let rows = record::epoch(ctx, port, proxy, epoch + 1, labels)?;
        for (losses, row) in losses.chunks_exact_mut(epochs).zip(&rows) {
            losses[epoch] = row.loss;
        }
    }
    for (sample, losses) in losses.chunks_exact_mut(epochs).enumerate() {
        let first = losses.iter().copied().find(|loss| !loss.is_nan());
        let mut last = first.ok_or(ArtifactError::NoScore { sample })?;
        for loss in losses {
            last = if loss.is_nan() { last } else { *loss };
            *loss = last;
        }
    }
    usable(port, "losses", Matrix::new(losses, labels.len(), epochs), labels.len())
}

/// Returns how many epochs of a proxy's record are looked at: `asked`, or all.
fn epochs_on_record(proxy: &Artifact, asked: Option<Count>) -> Result<usize, MethodError> {
    let recorded = record::epochs(proxy);
    if recorded == 0 {
        return Err(MethodError::NoRecord);
    }
    let last = asked.map_or(recorded, Count::get);
    if last > recorded {
        return Err(MethodError::Epochs { first: 1, last, recorded });
    }
    Ok(last)
}

/// Whether what came in on `port`, if anything did, has other labels than `samples`.
fn stands_on_other_labels(ctx: &StageCtx<'_>, port: &str, samples: &LabelledSamples) -> bool {
    let labels = ctx.input(port).and_then(|input| input.parts.get("labels"));
    labels.is_some_and(|labels| *labels != samples.shared["labels"])
}

/// Returns the probability that the proxy on `port` gave each of `labels`, averaged over those of the
/// first `epochs` that saw the sample.
fn mean_probabilities(
    ctx: &StageCtx<'_>,
    port: &str,
    labels: &[ClassId],
    epochs: Option<Count>,
) -> Result<Vec<f32>, StageError> {
    let proxy = ctx.input(port).expect("the port is connected");
    let last = epochs_on_record(proxy, epochs)?;
    record::fetch_ahead(ctx, proxy, 1..=last);
    let (mut sums, mut seen) = (vec![0.0f64; labels.len()], vec![0u32; labels.len()]);
    for epoch in 1..=last {
        ctx.check_cancelled()?;
        let rows = record::epoch(ctx, port, proxy, epoch, labels)?;
        for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.seen()) {
            sums[i] += f64::from(row.p_y);
            seen[i] += 1;
        }
    }
    if let Some(sample) = seen.iter().position(|count| *count == 0) {
        return Err(ArtifactError::NoScore { sample }.into());
    }
    Ok(sums.iter().zip(&seen).map(|(sum, seen)| (sum / f64::from(*seen)) as f32).collect())
}
