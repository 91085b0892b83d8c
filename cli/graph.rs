//! `coresift graph`: the DAG as text, dot or mermaid.

use crate::context::{Cells, Context, Failure, Pipeline, axis_names, columns, print, print_line};
use engine::{Forecast, NodeId, Outlook, Plan, PlanCell};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    /// How to draw it.
    #[arg(long, value_enum, default_value_t)]
    format: GraphFormat,
    /// Draw this cell of the matrix: `keep=0.1` [default: the first]
    #[arg(long, value_name = "AXIS=VALUE", conflicts_with = "all")]
    cell: Vec<String>,
    /// Draw every cell, what they share once.
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum GraphFormat {
    #[default]
    Text,
    Dot,
    Mermaid,
}

pub(crate) fn run(args: &GraphArgs, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan(&args.pipeline)?;
    let cells = Cells::of(&args.cell, &plan)?;
    let store = context.store()?;
    let forecast = Forecast::of(&plan, &store)?;
    let nodes: Vec<NodeId> = if args.all {
        plan.nodes().map(|(id, _)| id).collect()
    } else {
        let cell = plan.cells.iter().find(|cell| cells.hold(&cell.coords));
        let cell = cell.ok_or_else(|| Failure::mistake("no cell of the matrix is left"))?;
        if plan.cells.len() > 1 {
            let one = coordinates(&plan, cell);
            let count = plan.cells.len();
            context.note(&format!(
                "the cell {one}, one of {count}: take another with --cell or all with --all"
            ));
        }
        let mut nodes: Vec<NodeId> = cell.stages().map(|(_, node)| node).collect();
        nodes.sort_unstable();
        nodes
    };
    let graph = GraphDrawing { plan: &plan, forecast: &forecast, nodes, whole: args.all };
    if context.global.json {
        print_line(&graph.json().to_string());
        return Ok(ExitCode::SUCCESS);
    }
    print(&match args.format {
        GraphFormat::Text => graph.text(),
        GraphFormat::Dot => graph.dot(),
        GraphFormat::Mermaid => graph.mermaid(),
    });
    Ok(ExitCode::SUCCESS)
}

fn coordinates(plan: &Plan, cell: &PlanCell) -> String {
    let names = axis_names(plan.axes.iter().map(|axis| axis.name.as_str()));
    let pairs = names.iter().zip(plan.coordinates(cell));
    pairs.map(|(name, (_, value))| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

struct GraphDrawing<'a> {
    plan: &'a Plan,
    forecast: &'a Forecast,
    /// Inputs before what needs them.
    nodes: Vec<NodeId>,
    whole: bool,
}

impl GraphDrawing<'_> {
    fn state(&self, node: NodeId) -> &'static str {
        match self.forecast.outlooks[node.index()] {
            Outlook::Hit(_) => "hit",
            Outlook::Run(_) => "run",
            Outlook::Waits(_) => "waits",
        }
    }

    fn name(&self, node: NodeId) -> String {
        if self.whole { self.plan.describe(node) } else { self.plan.node(node).label.to_string() }
    }

    fn edges(&self) -> impl Iterator<Item = (NodeId, NodeId, &'static str)> {
        let of = |node: &NodeId| (*node, &self.plan.node(*node).inputs);
        self.nodes.iter().map(of).flat_map(|(node, inputs)| {
            inputs.iter().map(move |(port, source)| (*source, node, *port))
        })
    }

    /// A line for each stage, as far to the right as it is from the first ones.
    fn text(&self) -> String {
        let mut depths: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut rows = vec![];
        for node in &self.nodes {
            let this = self.plan.node(*node);
            let above = this.inputs.iter().filter_map(|(_, source)| depths.get(source));
            let depth = above.max().map_or(0, |depth| depth + 1);
            depths.insert(*node, depth);
            let inputs: Vec<String> = this
                .inputs
                .iter()
                .map(|(port, source)| match self.name(*source) {
                    name if name == *port => name,
                    name => format!("{port} = {name}"),
                })
                .collect();
            let from = if inputs.is_empty() {
                String::new()
            } else {
                format!("← {}", inputs.join(", "))
            };
            let name = format!("{}{}", "  ".repeat(depth), self.name(*node));
            rows.push(vec![
                self.state(*node).to_owned(),
                name,
                this.stage.method().to_owned(),
                from,
            ]);
        }
        columns(&rows, |_| false)
    }

    fn dot(&self) -> String {
        let mut out = "digraph pipeline {\n  rankdir = LR;\n".to_owned();
        out.push_str(
            "  node [shape = box, style = \"rounded,filled\", fontname = \"sans-serif\"];\n",
        );
        for node in &self.nodes {
            let colour = match self.state(*node) {
                "hit" => "#d5e8d4",
                "run" => "#ffe6cc",
                _ => "#f5f5f5",
            };
            let name = quoted(&self.name(*node));
            let method = self.plan.node(*node).stage.method();
            writeln!(
                out,
                "  n{} [label = \"{name}\\n{method}\", fillcolor = \"{colour}\"];",
                node.0
            )
            .ok();
        }
        for (source, node, port) in self.edges() {
            writeln!(out, "  n{} -> n{} [label = \"{}\"];", source.0, node.0, quoted(port)).ok();
        }
        out.push_str("}\n");
        out
    }

    fn mermaid(&self) -> String {
        let mut out = "flowchart LR\n".to_owned();
        for node in &self.nodes {
            let name = self.name(*node);
            let method = self.plan.node(*node).stage.method();
            let name = name.replace('"', "#quot;");
            writeln!(out, "  n{}[\"{name}<br/>{method}\"]:::{}", node.0, self.state(*node)).ok();
        }
        for (source, node, port) in self.edges() {
            writeln!(out, "  n{} -->|{port}| n{}", source.0, node.0).ok();
        }
        out.push_str("  classDef hit fill:#d5e8d4,stroke:#82b366\n");
        out.push_str("  classDef run fill:#ffe6cc,stroke:#d79b00\n");
        out.push_str("  classDef waits fill:#f5f5f5,stroke:#999999\n");
        out
    }

    fn json(&self) -> Value {
        let node = |id: &NodeId| {
            let this = self.plan.node(*id);
            json!({
                "id": id,
                "stage": &*this.label,
                "name": self.plan.describe(*id),
                "method": this.stage.method(),
                "kind": this.stage.output().0,
                "state": self.state(*id),
                "key": self.forecast.keys[id.index()],
            })
        };
        let edge = |(from, to, port)| json!({ "from": from, "to": to, "port": port });
        let nodes: Vec<Value> = self.nodes.iter().map(node).collect();
        json!({ "nodes": nodes, "edges": self.edges().map(edge).collect::<Vec<_>>() })
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
