//! Protocols: what they fill in, and that a key is that of a stage that writes it all down.

use crate::program::Sandbox;
use serde_json::Value;

const DATA: &str = "[stage.data]\nuse = \"load.digits\"\n";

/// Returns the key of stage `model` where the file ends in `stage`.
fn key(place: &Sandbox, stage: &str) -> String {
    let path = place
        .write("p.toml", &format!("{DATA}[stage.model]\nfrom = {{ data = \"data\" }}\n{stage}"));
    let plan = place.json(&["explain", path.to_str().expect("text"), "model"]);
    plan["nodes"][0]["key"].as_str().unwrap_or_else(|| panic!("a key in {plan}")).to_owned()
}

#[test]
fn a_protocol_is_what_it_stands_for() {
    let place = Sandbox::new();
    let data = place.write("d.toml", DATA);
    place.run(data.to_str().expect("text"), &["--target", "data"]);
    let written = "use = \"train\"\nwith = { model = \"mlp\", iterations = 40000, batch = 256, lr = 0.1, \
                   optimizer = \"sgd\", momentum = 0.9, nesterov = true, weight-decay = 5e-4, \
                   augment = \"crop-flip\", schedule = { kind = \"cosine\", min = 1e-4 } }\n";
    let named = "use = \"train\"\nprotocol = \"ccs\"\nwith = { model = \"mlp\" }\n";
    assert_eq!(key(&place, written), key(&place, named));

    // What the stage says goes before, and takes away what it is an alternative to.
    let written =
        written.replace("iterations = 40000", "epochs = 3").replace("min = 1e-4", "min = 0.0");
    let named = "use = \"train\"\nprotocol = \"ccs\"\nwith = { model = \"mlp\", epochs = 3, schedule.min = 0.0 }\n";
    assert_eq!(key(&place, &written), key(&place, named));
}

#[test]
fn every_protocol_is_a_pipeline_that_plans() {
    let place = Sandbox::new();
    let all = place.json(&["methods", "protocol"]);
    let all = all.as_array().expect("a list");
    assert!(all.len() >= 6, "{all:?}");
    for protocol in all {
        let name = protocol["name"].as_str().expect("text").trim_start_matches("protocol.");
        let mut text = DATA.to_owned();
        text.push_str(&format!("[stage.proxy]\nuse = \"proxy-train\"\nprotocol = \"{name}\"\nfrom = {{ data = \"data\" }}\n"));
        text.push_str("[stage.base]\nuse = \"score.el2n\"\nfrom = { proxy = \"proxy\" }\n");
        for (at, method) in protocol["settings"].as_object().expect("a table").keys().enumerate() {
            let inputs = place.json(&["methods", method])["inputs"].clone();
            let inputs = inputs.as_array().expect("a list").clone();
            let first = inputs.iter().find(|port| port["arity"] == "one-of").cloned();
            let must = |port: &&Value| {
                port["arity"] == "one" || port["arity"] == "many" || Some(*port) == first.as_ref()
            };
            let wire = |port: &Value| {
                let stage = if port["kind"] == "scores" {
                    "base"
                } else {
                    port["kind"].as_str().expect("text")
                };
                format!("{} = \"{stage}\"", port["name"].as_str().expect("text"))
            };
            let wires: Vec<String> = inputs.iter().filter(must).map(wire).collect();
            let from = format!("{{ {} }}", wires.join(", "));
            let with = if method.starts_with("select.") { "with = { keep = 0.1 }\n" } else { "" };
            text.push_str(&format!(
                "[stage.s{at}]\nuse = \"{method}\"\nprotocol = \"{name}\"\nfrom = {from}\n{with}"
            ));
        }
        let path = place.write("all.toml", &text);
        let output = place.output(&["plan", path.to_str().expect("text")]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
