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

#[test]
fn scores_of_64_bits_are_ranked_and_stratified_by_all_of_them() {
    let place = Sandbox::new();
    let points: Vec<f32> = (0..40).map(|at| at as f32).collect();
    write(&place, "train.safetensors", &points, &[0; 40]);
    // The hardness of sample `at`, from 0 to 39; as f32 all scores are equal, or many are.
    let rank = |at: i64| at * 7 % 40;
    let doubles: Vec<u8> =
        (0..40).flat_map(|at| (1.0 + rank(at) as f64 * 1e-12).to_le_bytes()).collect();
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (40,), }";
    let npy = [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()];
    std::fs::write(place.path("small.npy"), [&npy.concat()[..], &doubles].concat())
        .expect("written");
    let line = |at| format!("{}\n", (1_i64 << 40) + rank(at));
    place.write("large.csv", &(0..40).map(line).collect::<String>());
    let sorted = |ranks: std::ops::Range<i64>| {
        let mut at: Vec<usize> =
            (0..40).filter(|at| ranks.contains(&rank(*at))).map(|at| at as usize).collect();
        at.sort_unstable();
        at
    };
    for (file, hard) in [("small.npy", "high"), ("large.csv", "high"), ("large.csv", "low")] {
        let stages = |select: &str| {
            format!(
                r#"
                [stage.data]
                use  = "load.features"
                with = {{ train = "train.safetensors" }}
                [stage.scores]
                use  = "score.import"
                from = {{ data = "data" }}
                with = {{ file = "{file}", hard = "{hard}" }}
                [stage.subset]
                from = {{ scores = "scores" }}
                {select}
                "#
            )
        };
        let kept = |select: &str| {
            place.write("p.toml", &stages(select));
            place.run("p.toml", &["--no-table"]);
            let text = place.ok(&["export", "p.toml", "subset", "--to", "-"]);
            text.lines().map(|line| line.parse().expect("an index")).collect::<Vec<usize>>()
        };
        // The easiest and the hardest change places.
        let range = |from: i64, to: i64| if hard == "high" { from..to } else { 40 - to..40 - from };
        let top = kept("use = \"select.top\"\nwith = { budget = 5, balance = \"none\" }");
        assert_eq!(top, sorted(range(35, 40)), "{file} {hard}");
        let between =
            kept("use = \"select.double-end\"\nwith = { budget = 5, balance = \"none\" }");
        assert_eq!(between, sorted(range(31, 36)), "{file} {hard}");
        // Ten strata of four samples each: one of each.
        let ccs = kept(
            "use = \"select.ccs\"\nwith = { budget = 10, balance = \"none\", rule.cutoff = 0.0, rule.strata = 10 }",
        );
        let mut strata: Vec<i64> = ccs.iter().map(|at| rank(*at as i64) / 4).collect();
        strata.sort_unstable();
        assert_eq!(strata, (0..10).collect::<Vec<i64>>(), "{file} {hard}");
        let scores = place.ok(&["export", "p.toml", "scores", "--to", "-", "--format", "csv"]);
        let cell = scores.lines().nth(1).and_then(|line| line.split(',').nth(1)).map(str::to_owned);
        // As the file has them, whichever end is hard.
        let first = if file == "small.npy" { "1" } else { "1099511627776" };
        assert_eq!(cell.as_deref(), Some(first), "{scores}");
    }
}

#[test]
fn a_pool_of_files_is_one_data_set_and_ids_with_commas_come_back() {
    let place = Sandbox::new();
    place.write("part-10.csv", "id,u,v\n\"e, 5\",5,0\n");
    place.write("part-9.csv", "id,u,v\n\"a, 1\",1,0\n\"b \"\"2\"\"\",2,0\nc,3,0\n\"d,4,4\",4,0\n");
    let data = "[stage.data]\nuse = \"load.features\"\nwith = { train = \"part-*.csv\" }\n";
    let k_center = "[stage.subset]\nuse = \"select.k-center\"\nfrom = { data = \"data\" }\n\
        with = { budget = 3, rule.centers = [0] }\n";
    place.write("p.toml", &format!("{data}{k_center}"));
    place.run("p.toml", &["--no-table"]);
    place.ok(&["export", "p.toml", "subset", "--to", "kept.txt"]);
    let kept = std::fs::read_to_string(place.path("kept.txt")).expect("written");
    assert_eq!(kept, "a, 1\nc\ne, 5\n");
    let import = "[stage.subset]\nuse = \"select.import\"\nfrom = { data = \"data\" }\nwith = { file = \"kept.txt\" }\n";
    place.write("q.toml", &format!("{data}{import}"));
    place.run("q.toml", &["--no-table"]);
    let again = place.ok(&["export", "q.toml", "subset", "--to", "-", "--format", "indices"]);
    assert_eq!(again, "0\n2\n4\n");
    // The bytes of every file are in the key.
    assert_eq!(place.run("p.toml", &["--no-table"]).0, (2, 0));
    place.write("part-10.csv", "id,u,v\n\"e, 5\",6,0\n");
    assert_eq!(place.run("p.toml", &["--no-table"]).0, (0, 2));
    place.write("part-11.csv", "id,u\nf,6\n");
    let output = place.output(&["run", "p.toml", "--device", "cpu"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("part-11.csv` has embeddings of 1 values, but those of `part-9.csv`"),
        "{said}"
    );
}
