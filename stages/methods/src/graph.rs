//! `graph.knn`: the nearest neighbours of every training sample, found once for all that ask.

use crate::{
    MethodError, Runtime,
    linalg::{
        ClusterSearch, clustered_neighbours, nearest_among, neighbours, squared_distance, unit,
    },
    select::outputs,
};
use artifacts::{
    Matrix, SampleId,
    graph::KnnGraph,
    parts::{DATA, GRAPH, PROXY, Parts},
    record::LabelledSamples,
    units::Count,
};
use engine::{
    ArtifactKind, Method, Needs, Port, Problem, Stage, StageCtx, StageError, StageProgress,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What `graph.knn` is told.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct GraphKnn {
    /// How many neighbours each sample gets.
    neighbors: Count,
    /// What is near: `euclidean`, or `cosine`, which is Euclidean between embeddings of length 1.
    metric: Metric,
    /// `exact`, or `clusters`: looked for in the clusters around each sample alone.
    search: GraphSearch,
    /// For `search = "clusters"`: how many clusters; the square root of the number of samples where it is left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    clusters: Option<Count>,
    /// For `search = "clusters"`: in how many of them a sample looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<Count>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Metric {
    #[default]
    Euclidean,
    Cosine,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum GraphSearch {
    #[default]
    Exact,
    Clusters,
}

impl Default for GraphKnn {
    fn default() -> Self {
        Self {
            neighbors: Count::try_from(20).expect("20 is above 0"),
            metric: Metric::default(),
            search: GraphSearch::default(),
            clusters: None,
            probes: None,
        }
    }
}

/// In how many clusters a sample looks where `probes` does not say.
const PROBES: usize = 8;

/// Of how many samples the neighbours are found exactly too, to tell how many were found.
const CHECKED: usize = 1000;

const MANUAL: &str = "\
The k nearest others of every training sample in the embeddings of a proxy or the features of a data set: a kNN
graph, made once and kept, for all methods with a port `graph`, which then look for no neighbours themselves:

    [stage.near]
    use  = \"graph.knn\"
    from = { data = \"data\" }
    with = { metric = \"cosine\", search = \"clusters\" }

    [stage.subset]
    use  = \"select.facility-location\"
    from = { data = \"data\", graph = \"near\" }
    with = { keep = 0.1, rule.features = \"embedding\" }

`score.knn-label`, `select.d2`, `select.infomax` and `select.cal` take their neighbours from it, and are those they
are without it where it is exact, has at least as many neighbours, and nothing divides the budget (a sample's
neighbours in other classes are no neighbours within its class). `select.facility-location`, `select.graph-cut` and
`select.dedup` see pairs that the graph joins and no others, which is what makes them possible for a million
samples.

`search = \"exact\"` compares all pairs, O(n^2 d) in tiles. `\"clusters\"` is the inverted file of Sivic &
Zisserman, *Video Google*, ICCV 2003, as FAISS has it (Johnson, Douze & Jegou, *Billion-scale similarity search with
GPUs*, IEEE Big Data 2021): k-means on 40 samples for each of c = sqrt(n) centres, and each sample is compared with
those of its 8 (`probes`) nearest clusters: O(n c d + probes n^2 d / c). How many of the true neighbours it found,
the recall, is measured on 1,000 samples, told when it is done, and stands in the summary of the artifact.

The artifact has `neighbours` and `distances`, both [n, k], nearest first, of equally near ones the earlier; -1 and
infinity where there are not so many. Memory: 8 n k bytes beside the embeddings, and a copy of these for `cosine`.";

/// Returns the registry entry.
pub(crate) fn methods() -> Vec<Method> {
    vec![Method {
        name: "graph.knn",
        summary: "the nearest neighbours of every sample, for all methods that ask for them",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<GraphKnn>()?)),
        schema: || schemars::schema_for!(GraphKnn),
    }]
}

impl GraphKnn {
    /// Returns where to look among `n` samples, or `None` if among all.
    fn clusters(&self, n: usize) -> Option<ClusterSearch> {
        let clusters = self.clusters.map_or((n as f64).sqrt().round() as usize, Count::get).max(1);
        let probes = self.probes.map_or(PROBES, Count::get);
        (self.search == GraphSearch::Clusters).then_some(ClusterSearch { clusters, probes })
    }

    fn neighbours(
        &self,
        ctx: &StageCtx<'_>,
        vectors: &Matrix<'_>,
    ) -> Result<Vec<Vec<u32>>, StageError> {
        let count = self.neighbors.get();
        let step = |done: usize, all: usize| {
            ctx.progress(StageProgress::new(done as u64, all as u64, "samples"));
            ctx.check_cancelled()
        };
        match self.clusters(vectors.rows()) {
            None => neighbours(vectors, count, &Runtime::of(ctx).compute(true), step),
            Some(search) => {
                let mut stream = ctx.streams().get("clusters");
                clustered_neighbours(vectors, count, search, &mut stream, step)
            }
        }
    }
}

/// Checks that `graph` has `count` neighbours of each sample, or all others.
///
/// # Errors
///
/// Fails if it has fewer.
pub(crate) fn check_count(graph: &KnnGraph, count: usize) -> Result<(), MethodError> {
    if graph.count() < count.min(graph.samples().saturating_sub(1)) {
        return Err(MethodError::FewNeighbours { found: graph.count(), wanted: count });
    }
    Ok(())
}

/// Returns the graph of these `neighbours`, nearest first by their distances between `vectors`.
fn graph(vectors: &Matrix<'_>, neighbours: &[Vec<u32>], count: usize) -> KnnGraph {
    let row = |(i, others): (usize, &Vec<u32>)| {
        let apart = |j: &u32| squared_distance(vectors.row(i), vectors.row(*j as usize)).sqrt();
        let mut row: Vec<(u32, f32)> = others.iter().map(|j| (*j, apart(j))).collect();
        row.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        row
    };
    let rows: Vec<_> = neighbours.par_iter().enumerate().map(row).collect();
    KnnGraph::new(count, rows)
}

/// Returns which share of the true neighbours of a thousand samples `graph` has.
fn recall(
    graph: &KnnGraph,
    vectors: &Matrix<'_>,
    step: impl Fn() -> Result<(), StageError> + Sync,
) -> Result<f64, StageError> {
    let n = vectors.rows();
    let checked = CHECKED.min(n);
    let samples: Vec<SampleId> =
        (0..checked).map(|at| SampleId::from((at * n / checked) as u32)).collect();
    // One more, for each is nearest to itself; of copies it may not be among the first.
    let near = nearest_among(&vectors.gather(&samples), vectors, graph.count() + 1, step)?;
    let truth = near.into_iter().zip(&samples).map(|(near, sample)| {
        let others = near.into_iter().map(|(other, _)| other);
        others.filter(|other| *other as usize != sample.index()).take(graph.count()).collect()
    });
    Ok(graph.recall(&samples, &truth.collect::<Vec<_>>()))
}

impl Stage for GraphKnn {
    fn method(&self) -> &'static str {
        "graph.knn"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one_of("proxy", PROXY), Port::one_of("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        GRAPH
    }

    fn streams(&self) -> &'static [&'static str] {
        if self.search == GraphSearch::Clusters { &["clusters"] } else { &[] }
    }

    fn needs(&self) -> Needs {
        if self.search == GraphSearch::Exact { Needs::Device } else { Needs::Cpu }
    }

    fn problems(&self) -> Vec<Problem> {
        let settings = [("clusters", self.clusters), ("probes", self.probes)];
        let unused = settings
            .into_iter()
            .filter(|(_, set)| set.is_some() && self.search == GraphSearch::Exact);
        let problem = |(setting, _): (&str, _)| Problem {
            setting: setting.to_owned(),
            message: format!("`{setting}` says nothing to an exact search"),
            hint: Some("set `search = \"clusters\"`, or leave it out".to_owned()),
        };
        unused.map(problem).collect()
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let samples = LabelledSamples::read(ctx, &["proxy", "data"])?;
        let embeddings = outputs(ctx, "embeddings", samples.labels.len())?;
        let vectors = match self.metric {
            Metric::Euclidean => embeddings,
            Metric::Cosine => unit(&embeddings),
        };
        let count = self.neighbors.get().min(vectors.rows().saturating_sub(1)).max(1);
        let neighbours = self.neighbours(ctx, &vectors)?;
        let graph = graph(&vectors, &neighbours, count);
        drop(neighbours);
        let mut facts = json!({ "neighbors": count, "metric": self.metric, "search": self.search });
        if self.search == GraphSearch::Clusters {
            let recall = recall(&graph, &vectors, || ctx.check_cancelled())?;
            ctx.log(format!(
                "recall {recall:.3}: so many of the {count} true neighbours were found, of up to {CHECKED} samples"
            ));
            facts["recall"] = recall.into();
        }
        graph.put(ctx, samples, &facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{Compute, noise};

    #[test]
    fn an_exact_graph_is_in_order_and_finds_all() {
        let (n, d) = (300, 3);
        let x = noise(n * d, 1);
        let x = Matrix::new(&x, n, d);
        let near = neighbours(&x, 4, &Compute::default(), |_, _| Ok(())).expect("it goes on");
        let whole = graph(&x, &near, 4);
        assert_eq!(recall(&whole, &x, || Ok(())).expect("it goes on"), 1.0);
        let half: Vec<Vec<u32>> = near.iter().map(|row| row[..2].to_vec()).collect();
        assert_eq!(recall(&graph(&x, &half, 4), &x, || Ok(())).expect("it goes on"), 0.5);
        let first = whole.neighbours(SampleId::from(0));
        assert_eq!(first, near[0]);
    }
}
