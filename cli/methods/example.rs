//! An example of a stage, for the manual of its method.

use engine::{Arity, Method, Port};
use std::fmt::Write as _;

/// Returns a stage of `method` as a pipeline file has it, connected to stages that are called as
/// what they give.
pub(super) fn example(method: &Method) -> String {
    let (family, name) = method.name.split_once('.').unwrap_or((method.name, ""));
    let label = match family {
        "load" => "data",
        "corrupt" => "noisy",
        "proxy-train" => "proxy",
        "score" => "scores",
        "select" => "subset",
        "train" => "model",
        "evaluate" => "result",
        other => other,
    };
    let mut out = format!("[stage.{label}]\nuse  = \"{}\"\n", method.name);
    if let Some(stage) = method.sample() {
        let mut ports = stage.inputs();
        // The first of alternative inputs is connected.
        let mut chosen = vec![];
        ports.retain(|port| match port.choice() {
            Some(choice) if chosen.contains(&choice) => false,
            Some(choice) => {
                chosen.push(choice);
                true
            }
            None => true,
        });
        // An optional one that takes what another takes already stays open, as does a graph, which only saves time, and a
        // proxy's subset: the usual one selects by the proxy.
        let kinds: Vec<_> = ports.iter().map(|port| port.kind).collect();
        let mut before = 0..;
        ports.retain(|port| {
            let before = &kinds[..before.next().unwrap_or_default()];
            port.arity != Arity::Optional
                || !(before.contains(&port.kind)
                    || port.kind == artifacts::parts::GRAPH
                    || (port.kind == artifacts::parts::SUBSET && method.name == "proxy-train"))
        });
        let pair = |port: &Port| format!("{} = \"{}\"", port.name, stage_for(port, label));
        let pairs: Vec<String> = ports.iter().map(pair).collect();
        if !pairs.is_empty() {
            let _ = writeln!(out, "from = {{ {} }}", pairs.join(", "));
        }
    }
    let with = match (family, name) {
        ("select", "full") => "",
        ("select", "import") => "file = \"kept.npy\"",
        ("score", "import") => "file = \"scores.npy\"",
        ("command", _) => {
            "run = [\"python3\", \"my_selector.py\"], files = [\"my_selector.py\"], \
             output = \"subset\", keep = 0.1"
        }
        ("select", _) => "keep = 0.1, balance = \"class\"",
        ("corrupt", "duplicates") => "share = 0.1, noise = 0.02",
        ("corrupt", "group-file") => "train = \"train-groups.npy\", test = \"test-groups.npy\"",
        ("corrupt", "groups") => "correlation = 0.95",
        ("corrupt", "images") => "kind = \"gaussian-noise\", severity = 3",
        ("corrupt", "imbalance") => "factor = 50",
        ("corrupt", "label-file") => "file = \"labels.npy\"",
        ("corrupt", "labels") => "kind = \"symmetric\", rate = 0.2",
        ("corrupt", "outliers") => "share = 0.1",
        ("proxy-train", _) => "model = \"mlp\", epochs = 10, lr = 0.05",
        ("train", _) => "model = \"mlp\", epochs = 100, lr = 0.05",
        ("load", "features") => "train = \"train.safetensors\", test = \"test.safetensors\"",
        ("load", "folder") => "dir = \"pets\", test-fraction = 0.2",
        ("load", "image-arrays") => "train = \"pathmnist.npz\"",
        ("load", "images-table") => "dir = \"images\", table = \"labels.csv\", test-fraction = 0.2",
        ("load", "parquet-images" | "webdataset") => "dir = \"my-data\", test-fraction = 0.2",
        ("load", "idx") => "dir = \"my-data\"",
        ("load", "text") => "train = \"pool.jsonl\", text = [\"messages.content\"]",
        _ => "",
    };
    if !with.is_empty() {
        let _ = writeln!(out, "with = {{ {with} }}");
    }
    out
}

/// Returns the name of a stage that gives what `port` takes to the stage called `label`.
fn stage_for(port: &Port, label: &str) -> &'static str {
    match port.kind.0 {
        _ if port.name == "query-data" => "wanted",
        "scores" if label == "scores" => "known",
        "subset" if label == "subset" => "other",
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{Plan, PlanRequest, SpecErrorKind};

    #[test]
    fn every_example_is_part_of_a_pipeline_that_reads() {
        let registry = networks::registry();
        for method in registry.iter() {
            let example = example(method);
            let mut text = String::new();
            // The stages that give each kind of input, without the example itself.
            for (label, uses) in [
                ("data", "use = \"load.digits\""),
                ("wanted", "use = \"load.digits\""),
                ("proxy", "use = \"proxy-train\"\nfrom = { data = \"data\" }"),
                ("scores", "use = \"score.grand\"\nfrom = { proxy = \"proxy\" }"),
                ("known", "use = \"score.grand\"\nfrom = { proxy = \"proxy\" }"),
                (
                    "other",
                    "use = \"select.random\"\nfrom = { data = \"data\" }\nwith = { keep = 0.5 }",
                ),
                (
                    "subset",
                    "use = \"select.random\"\nfrom = { data = \"data\" }\nwith = { keep = 0.5 }",
                ),
                ("model", "use = \"train\"\nfrom = { data = \"data\" }"),
            ] {
                if !example.starts_with(&format!("[stage.{label}]")) {
                    text.push_str(&format!("[stage.{label}]\n{uses}\n"));
                }
            }
            text.push_str(&example);
            let target = example["[stage.".len()..].split(']').next().unwrap_or_default();
            let request = PlanRequest {
                path: "p.toml".into(),
                targets: vec![target.to_owned()],
                ..PlanRequest::default()
            };
            let Err(errors) = Plan::read_text(&text, &request, &registry) else { continue };
            // Whether the files are there depends on the machine.
            let file = |kind: &SpecErrorKind| matches!(kind, SpecErrorKind::File(_));
            let read = errors.errors.iter().all(|error| file(&error.kind));
            assert!(read, "{}: {:?}\n{text}", method.name, errors.errors);
        }
    }
}
