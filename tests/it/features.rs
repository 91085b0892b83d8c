//! Features in the place of a proxy's embeddings: selectors and scores that need no network.

use crate::program::Sandbox;
use safetensors::{Dtype, tensor::TensorView};

/// Writes points of equally many numbers, with their labels, for `load.features`.
fn write(place: &Sandbox, name: &str, points: &[f32], labels: &[i64]) {
    let x: Vec<u8> = points.iter().flat_map(|value| value.to_le_bytes()).collect();
    let y: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    let n = labels.len();
    let x = TensorView::new(Dtype::F32, vec![n, points.len() / n], &x).expect("it fills the shape");
    let y = TensorView::new(Dtype::I64, vec![n], &y).expect("it fills the shape");
    let all = safetensors::serialize([("embeddings", x), ("labels", y)], None).expect("tensors");
    std::fs::write(place.path(name), all).expect("written");
}

const LOADED: &str = r#"
[stage.data]
use  = "load.features"
with = { train = "train.safetensors", test = "test.safetensors" }
"#;

/// Returns a place with five samples at 0, 1, 2, 3 and 10.
fn loaded() -> Sandbox {
    let place = Sandbox::new();
    write(&place, "train.safetensors", &[0.0, 1.0, 2.0, 3.0, 10.0], &[0, 0, 0, 1, 1]);
    write(&place, "test.safetensors", &[0.0, 3.0], &[0, 1]);
    place
}

/// Returns the samples that stage `subset` of a pipeline keeps.
fn kept(place: &Sandbox, stages: &str) -> Vec<usize> {
    place.write("p.toml", &format!("{LOADED}\n{stages}"));
    place.run("p.toml", &["--no-table"]);
    place.ok(&["export", "p.toml", "subset", "--to", "kept.txt"]);
    let text = std::fs::read_to_string(place.path("kept.txt")).expect("written");
    std::fs::remove_file(place.path("kept.txt")).expect("removed");
    text.lines().map(|line| line.parse().expect("an index")).collect()
}

#[test]
fn features_are_selected_from_without_a_proxy() {
    let place = loaded();
    let k_center = r#"
        [stage.subset]
        use  = "select.k-center"
        from = { data = "data" }
        with = { budget = 3, rule.centers = [0] }
    "#;
    // From 0 the farthest is 10, then 3.
    assert_eq!(kept(&place, k_center), [0, 3, 4]);
    let neighbours = r#"
        [stage.scores]
        use  = "score.knn-label"
        from = { data = "data" }
        with = { rule.neighbors = 1 }
        [stage.subset]
        use  = "select.top"
        from = { scores = "scores" }
        with = { budget = 1 }
    "#;
    // Only 3 has a nearest neighbour, 2, of another label.
    assert_eq!(kept(&place, neighbours), [3]);
    let served = r#"
        [stage.subset]
        use  = "select.facility-location"
        from = { data = "data" }
        with = { budget = 2, rule.features = "embedding" }
    "#;
    assert_eq!(kept(&place, served).len(), 2);
}

#[test]
fn a_query_is_a_data_set_or_picks() {
    let place = loaded();
    // Directions at 0, 90, 45, 180 and 3 degrees.
    let pool = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, -1.0, 0.0, 2.0, 0.1];
    write(&place, "train.safetensors", &pool, &[0, 0, 0, 1, 1]);
    write(&place, "test.safetensors", &[1.0, 0.0], &[0]);
    write(&place, "query.safetensors", &[4.0, 0.2], &[0]);
    let nearest = |query: &str, from: &str, budget: usize| {
        format!(
            "[stage.wanted]\n{query}\n[stage.subset]\nuse = \"select.nearest-query\"\n\
             from = {{ data = \"data\", {from} = \"wanted\" }}\nwith = {{ budget = {budget} }}\n"
        )
    };
    let data = "use = \"load.features\"\nwith = { train = \"query.safetensors\", test = \"test.safetensors\" }";
    assert_eq!(kept(&place, &nearest(data, "query-data", 2)), [0, 4]);
    // The second sample itself is part of the query, and is left out.
    let picks = "use = \"select.k-center\"\nfrom = { data = \"data\" }\nwith = { budget = 1, rule.centers = [1] }";
    assert_eq!(kept(&place, &nearest(picks, "query", 1)), [2]);
}

#[test]
fn what_features_cannot_give_is_refused_with_a_way_out() {
    let place = loaded();
    let refused = |text: &str, code: i32, said: &[&str]| {
        place.write("p.toml", text);
        let output = place.output(&["run", "p.toml", "--device", "cpu"]);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{err}");
        let words = err.split_whitespace().collect::<Vec<_>>().join(" ");
        said.iter().for_each(|said| assert!(words.contains(said), "{said}: {err}"));
    };
    let select = |method: &str, from: &str| {
        format!("[stage.subset]\nuse = \"{method}\"\nfrom = {from}\nwith = {{ keep = 0.5 }}\n")
    };
    let images = "[stage.data]\nuse = \"load.digits\"\n";
    let herding = select("select.herding", "{ data = \"data\" }");
    let said = ["the data on port `data` are images", "train a proxy"];
    refused(&format!("{images}{herding}"), 1, &said);
    let gradients = select("select.facility-location", "{ data = \"data\" }");
    let said = ["a data set has features, but no logits", "rule.features"];
    refused(&format!("{LOADED}{gradients}"), 2, &said);
    write(&place, "train.safetensors", &[0.0, 1e30, 2.0], &[0, 0, 1]);
    let said = ["on port `data` the features of sample 1 are not finite"];
    refused(&format!("{LOADED}{herding}"), 1, &said);
}

#[test]
fn ids_and_counts_travel_from_a_table_to_what_is_exported() {
    let place = Sandbox::new();
    place.write(
        "pool.csv",
        "id,u,v,tokens\nd4,4,0,40\na1,1,0,10\nc3,3,0,500\nb2,2,0,20\ne5,5,0,30\n",
    );
    // By id, in another order, and with a row of a sample that is not there.
    place.write("hard.csv", "id,score\nb2,0.2\nz9,9.9\na1,0.9\ne5,0.5\nd4,0.4\nc3,0.3\n");
    let stages = |with: &str| {
        format!(
            r#"
            [stage.data]
            use  = "load.features"
            with = {{ train = "pool.csv", counts = ["tokens"] }}
            [stage.hard]
            use  = "score.import"
            from = {{ data = "data" }}
            with = {{ file = "hard.csv" }}
            [stage.subset]
            use  = "select.top"
            from = {{ scores = "hard" }}
            with = {{ balance = "none", {with} }}
            "#
        )
    };
    let kept = |with: &str| {
        place.write("p.toml", &stages(with));
        let output = place.output(&["run", "p.toml", "--device", "cpu"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        let ids = place.ok(&["export", "p.toml", "subset", "--to", "-"]);
        (ids.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), table)
    };
    // The hardest are a1 (.9), e5 (.5), d4 (.4), c3 (.3), b2 (.2).
    assert_eq!(kept("budget = 2").0, ["a1", "e5"]);
    // 10 + 30 + 40 tokens fit; with the 500 of c3 they do not.
    let (ids, table) = kept("budget = 100, unit = \"tokens\"");
    assert_eq!(ids, ["d4", "a1", "e5"]);
    assert!(table.contains("tokens") && table.contains(" 80"), "{table}");
    // A tenth of 600.
    assert_eq!(kept("keep = 0.1, unit = \"tokens\"").0, ["a1", "e5"]);
    let csv = place.ok(&["export", "p.toml", "subset", "--to", "-", "--format", "csv"]);
    assert_eq!(csv, "index,id\n1,a1\n4,e5\n");
    let positions = place.ok(&["export", "p.toml", "subset", "--to", "-", "--format", "indices"]);
    assert_eq!(positions, "1\n4\n");
    place.write("p.toml", &stages("budget = 100, unit = \"bytes\""));
    let output = place.output(&["run", "p.toml", "--device", "cpu"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no count called `bytes`; it has `tokens`"), "{said}");
}
