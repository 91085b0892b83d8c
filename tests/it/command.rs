//! Programs of one's own as stages, and numbers from elsewhere. The programs are `sh` scripts,
//! which run wherever the tests do.

use crate::program::{Sandbox, repository};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, thread, time};

const PIPELINE: &str = r#"
[stage.data]
use  = "load.synthetic"
with = { n = 60, test = 12, d = 3, classes = 3 }

[stage.mine]
use  = "command"
from = { data = "data" }
with = { run = ["sh", "mine.sh"], files = ["mine.sh"], output = "subset" }
"#;

/// Writes the pipeline with `with` laid over the command's settings, and the script.
fn place(script: &str) -> Sandbox {
    let place = Sandbox::new();
    place.write("p.toml", PIPELINE);
    place.write("mine.sh", script);
    place
}

const MINE: [&str; 3] = ["--target", "mine", "--no-table"];

/// Runs stage `mine`, which must fail, and returns what was said.
fn fails(place: &Sandbox, more: &[&str]) -> String {
    let args = [&["run", "p.toml", "--device", "cpu"], &MINE[..], more].concat();
    let output = place.output(&args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

fn exported(place: &Sandbox, stage: &str) -> String {
    place.ok(&["export", "p.toml", stage, "--to", "-"])
}

#[test]
fn a_script_is_run_once_and_again_when_it_changes() {
    let place = place("printf '7\\n3\\n5\\n' > out/indices.txt; echo three of them");
    let (counts, said) = place.run("p.toml", &MINE);
    assert_eq!(counts, (0, 2));
    assert!(said.contains("mine: three of them"), "its lines are logged: {said}");
    assert_eq!(exported(&place, "mine"), "3\n5\n7\n");
    assert_eq!(place.run("p.toml", &MINE).0, (2, 0));
    // Neither its place nor a time-out is in the key.
    let moved = place.path("elsewhere");
    fs::create_dir(&moved).expect("made");
    for file in ["p.toml", "mine.sh"] {
        fs::copy(place.path(file), moved.join(file)).expect("copied");
    }
    let longer = ["--set", "mine.with.time-out=50"];
    assert_eq!(place.run("elsewhere/p.toml", &[&MINE[..], &longer].concat()).0, (2, 0));

    place.write("mine.sh", "echo 8 > out/indices.txt");
    let plan = place.ok(&["plan", "p.toml", "--target", "mine"]);
    assert!(plan.starts_with("run    mine: file `mine.sh` has changed\n"), "{plan}");
    assert_eq!(place.run("p.toml", &MINE).0, (1, 1));
    assert_eq!(exported(&place, "mine"), "8\n");
    assert!(leftovers(&place).is_empty(), "its directory is gone");
}

fn leftovers(place: &Sandbox) -> Vec<String> {
    let tmp = fs::read_dir(place.path("store/tmp")).expect("a folder");
    tmp.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_program_is_told_what_it_needs() {
    let place = place("cp request.json out/metrics.json");
    let set = [
        "--set",
        r#"mine.with.output="metrics""#,
        "--set",
        r#"mine.with.settings={ depth = 3, tag = "a" }"#,
    ];
    place.run("p.toml", &[&MINE[..], &set].concat());
    let read = |set: &[&str]| -> serde_json::Value {
        let args = ["export", "p.toml", "mine", "--to", "-"];
        serde_json::from_str(&place.ok(&[&args, set].concat())).expect("JSON")
    };
    let request = read(&set);
    assert_eq!(request["settings"], serde_json::json!({ "depth": 3, "tag": "a" }));
    assert_eq!((&request["samples"], &request["classes"]), (&60.into(), &3.into()));
    assert_eq!(request["inputs"]["data"]["parts"]["meta"], "in/data/meta.json");
    assert_eq!(request["inputs"]["data"]["parts"]["labels"], "in/data/labels.safetensors");
    assert!(request["seed"].is_null());

    // The seed is given, and in the key, only where the command says that it draws.
    let other = [&MINE[..], &set, &["--set", "mine.seed=9"]].concat();
    assert_eq!(place.run("p.toml", &other).0, (2, 0));
    let random = [&set[..], &["--set", "mine.with.random=true"]].concat();
    let other = [&random[..], &["--set", "mine.seed=9"]].concat();
    place.run("p.toml", &[&MINE[..], &random].concat());
    assert_eq!(place.run("p.toml", &[&MINE[..], &other].concat()).0, (1, 1));
    assert!(read(&random)["seed"].is_u64());
    assert_ne!(read(&random)["seed"], read(&other)["seed"]);
}

#[test]
fn only_what_is_declared_is_there() {
    let place =
        place("ls > out/list; test -z \"$SECRET\" || exit 3; echo $SHOWN > out/indices.txt");
    place.write("undeclared.txt", "1");
    let output = Command::new(env!("CARGO_BIN_EXE_coresift"))
        .args(["run", "p.toml", "--set", r#"mine.with.env={ SHOWN = "4" }"#])
        .args(MINE)
        .current_dir(place.path(""))
        .env("CORESIFT_STORE", place.path("store"))
        .env("SECRET", "no")
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let args =
        ["export", "p.toml", "mine", "--to", "-", "--set", r#"mine.with.env={ SHOWN = "4" }"#];
    assert_eq!(place.ok(&args), "4\n");
    // A failure keeps the directory, to look at it.
    place.write("mine.sh", "ls; exit 1");
    let said = fails(&place, &[]);
    assert!(said.contains("    in\n    mine.sh\n    out\n    request.json\n"), "{said}");
}

#[test]
fn what_goes_wrong_is_said() {
    let place = place(
        "echo at work; echo 'Traceback (most recent call last):' >&2; echo 'ValueError: no' >&2; exit 2",
    );
    let said = fails(&place, &[]);
    let wanted =
        "the program ended with code 2\n    Traceback (most recent call last):\n    ValueError: no";
    assert!(said.contains(wanted), "{said}");
    assert_eq!(said.matches("ValueError").count(), 1, "it is told once: {said}");
    let kept = said.split("kept: `").nth(1).and_then(|rest| rest.split('`').next()).expect("named");
    assert!(Path::new(kept).join("request.json").exists());
    for (script, says) in [
        ("true", "the program left no `out/indices.npy`"),
        ("echo 60 > out/indices.txt", "has index 60 at position 0: expected 0 to 59"),
        ("printf '1\\n1\\n' > out/indices.txt", "has index 1 twice"),
        ("printf '1\\nx\\n' > out/indices.txt", "`out/indices.txt` has `x` on line 2"),
        ("echo 1 > out/indices.txt; echo [1] > out/indices.json", "are both there"),
        ("echo 1 > out/indices.txt; echo -1 > out/weights.txt", "the weight -1 of index 0"),
        (
            "chmod u+w in/data/labels.safetensors; echo >> in/data/labels.safetensors; echo 1 > out/indices.txt",
            "wrote to one of its inputs",
        ),
        ("kill -9 $$", "the program was killed"),
    ] {
        place.write("mine.sh", script);
        let said = fails(&place, &[]);
        assert!(said.contains(says), "{script}: {said}");
    }
    // What it wrote to was made again by the run after that.
    place.write("mine.sh", "echo 1 > out/indices.txt");
    assert_eq!(place.run("p.toml", &MINE).0, (1, 1));
    let said = fails(&place, &["--set", "mine.with.budget=2"]);
    assert!(said.contains("has 1 indices, but 2 samples were asked for"), "{said}");

    let scores = ["--set", r#"mine.with.output="scores""#];
    for (script, says) in [
        ("seq 59 > out/scores.txt", "there are 59 scores for 60 samples"),
        ("(seq 59; echo nan) > out/scores.txt", "has NaN as score 59"),
        (
            "(echo index,score; echo 2,0.5) > out/scores.csv",
            "has index 2 in row 0: expected each of",
        ),
    ] {
        place.write("mine.sh", script);
        let said = fails(&place, &scores);
        assert!(said.contains(says), "{script}: {said}");
    }
    place.write("mine.sh", "seq 60 | tac > out/scores.txt");
    place.run("p.toml", &[&MINE[..], &scores].concat());
}

#[test]
fn a_failure_is_explained_until_it_is_mended() {
    let place = place("echo 1 > out/indices.txt");
    place.run("p.toml", &MINE);
    place.write("mine.sh", "printf '\\033[31mTraceback\\033[0m\\nno such column\\n' >&2; exit 3");
    fails(&place, &[]);
    let told = "the program ended with code 3\n";
    let explained = place.ok(&["explain", "p.toml", "mine"]);
    assert!(explained.starts_with("mine\n  run: it failed in run "), "{explained}");
    let words = format!("{told}      Traceback\n      no such column\n    help: the program's");
    assert!(explained.contains(&words), "{explained}");
    assert!(explained.contains("  run: file `mine.sh` has changed\n"), "{explained}");
    let plan = place.ok(&["plan", "p.toml", "--target", "mine"]);
    let first = plan.lines().next().unwrap_or_default();
    assert!(first.ends_with("code 3; file `mine.sh` has changed"), "one line in a plan: {first}");

    let words = format!("failed mine: {told}    Traceback\n    no such column\n  help: ");
    assert!(place.ok(&["show", "last"]).contains(&words), "it is told with the run");
    let followed = place.ok(&["show", "last", "--follow"]);
    let line = |end: &str| followed.lines().any(|line| line.ends_with(end));
    assert!(line("s  failed mine: the program ended with code 3"), "{followed}");
    assert!(line("                no such column"), "{followed}");

    place.write("mine.sh", "echo 1 > out/indices.txt");
    assert!(place.ok(&["explain", "p.toml", "mine"]).starts_with("mine\n  hit: "));
}

/// Returns whether the process whose number is in `file` is there and not dead.
fn lives(file: &Path) -> bool {
    let number = fs::read_to_string(file).expect("it wrote its number");
    let stat = fs::read_to_string(format!("/proc/{}/stat", number.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_program_is_stopped_with_all_it_started() {
    let place = Sandbox::new();
    let number = place.path("number");
    let script = format!("trap '' TERM; sleep 600 & echo $! > {}; wait", number.display());
    place.write("p.toml", PIPELINE);
    place.write("mine.sh", &script);
    let said = fails(&place, &["--set", "mine.with.time-out=0.5"]);
    assert!(said.contains("it took longer than 500ms"), "{said}");
    assert!(!lives(&number), "what it started is gone");

    fs::remove_file(&number).expect("it is there");
    let mut run = place.start(&["run", "p.toml", "--device", "cpu", "--target", "mine"]);
    while !number.exists() {
        thread::sleep(time::Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(run.wait().expect("it ends").code(), Some(130));
    assert!(!lives(&number), "what it started is gone");
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let place = place("echo 1 > out/indices.txt");
    let says = |set: &[&str], wanted: &str| {
        let all: Vec<&str> = set.iter().flat_map(|one| ["--set", one]).collect();
        let output = place.output(&[&["run", "p.toml", "--target", "mine"], &all[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{set:?}: {said}");
        assert!(said.contains(wanted), "{set:?}: {said}");
    };
    says(&[r#"mine.with.run=["no-such-program"]"#], "no program `no-such-program` is on the PATH");
    says(&["mine.with.run=[]"], "no program is named");
    says(&[r#"mine.with.files=["mine.sh", "gone.sh"]"#], "there is no file `gone.sh`");
    says(&["mine.with.files=[]"], "`mine.sh` is a file, but not among `files`");
    says(&[r#"mine.with.run=["./mine.sh"]"#], "mine.sh` cannot be executed");
    let own = [r#"mine.with.run=["./mine.sh"]"#, r#"mine.with.files=["./mine.sh"]"#];
    says(&own, "`./mine.sh` cannot be executed");
    says(&["mine.with.keep=1.5"], "a fraction lies between 0 and 1");
    says(&[r#"mine.with.output="scores""#, "mine.with.keep=0.5"], "only a subset has a `keep`");
    says(&[r#"mine.with.output="model""#], "which architecture the network has is not said");
    says(&[r#"mine.from={}"#], "no input says which training set this is about");
    assert!(place.stored("objects").is_empty(), "nothing was run");

    let script = place.write("mine.sh", "#!/bin/sh\necho 1 > out/indices.txt");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("changed");
    let set: Vec<&str> = own.iter().flat_map(|one| ["--set", one]).collect();
    assert_eq!(place.run("p.toml", &[&MINE[..], &set].concat()).0, (0, 2));
}

#[test]
fn subsets_and_scores_from_elsewhere_are_taken() {
    let place = place("seq 60 > out/scores.txt");
    place.run("p.toml", &[&MINE[..], &["--set", r#"mine.with.output="scores""#]].concat());
    // What was exported is taken in again, in each of the forms.
    let scores = r#"mine.with.output="scores""#;
    for form in ["csv", "npy", "safetensors"] {
        let path = place.path(&format!("scores.{form}"));
        let path = path.to_str().expect("text");
        place.ok(&["export", "p.toml", "mine", "--set", scores, "--to", path]);
        let again = PIPELINE.split("[stage.mine]").next().expect("the data").to_owned()
            + &format!(
                "[stage.mine]\nuse = \"score.import\"\nfrom = {{ data = \"data\" }}\n\
                 with = {{ file = \"scores.{form}\", hard = \"low\" }}\n\
                 [stage.top]\nuse = \"select.top\"\nfrom = {{ scores = \"mine\" }}\n\
                 with = {{ budget = 3 }}\n"
            );
        place.write("again.toml", &again);
        place.run("again.toml", &["--target", "top", "--no-table"]);
        assert_eq!(place.ok(&["export", "again.toml", "top", "--to", "-"]), "0\n1\n2\n", "{form}");
    }
    // A tensor is found in the part that has it; what is not there is no other thing's name.
    let set = ["--set", scores, "--to", "-"];
    let export =
        |more: &[&str]| place.output(&[&["export", "p.toml", "mine"][..], &set, more].concat());
    let labels = export(&["--tensor", "train", "--format", "indices"]);
    assert_eq!(String::from_utf8_lossy(&labels.stdout).lines().count(), 60);
    let none = export(&["--tensor", "trian", "--format", "json"]);
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(none.status.code() == Some(2) && said.contains("has no tensor `trian`"), "{said}");
    let table = export(&["--format", "parquet"]).stdout;
    assert!(table.starts_with(b"PAR1") && table.ends_with(b"PAR1"));
    let import = |with: &str| {
        let data = PIPELINE.split("[stage.mine]").next().expect("the data");
        let from = "from = { data = \"data\" }";
        format!("{data}[stage.mine]\nuse = \"select.import\"\n{from}\nwith = {with}\n")
    };
    place.write("kept.csv", "index,weight\n9,0.5\n2,1.5\n");
    place.write("kept.json", "[59, 60]");
    place.write("twice.txt", "4\n4\n");
    place.write("p.toml", &import(r#"{ file = "kept.csv" }"#));
    place.run("p.toml", &MINE);
    let table = place.ok(&["export", "p.toml", "mine", "--to", "-", "--format", "csv"]);
    assert_eq!(table, "index,weight\n2,1.5\n9,0.5\n");
    place.write("p.toml", &import(r#"{ file = "kept.json" }"#));
    assert!(fails(&place, &[]).contains("has index 60 at position 1: expected 0 to 59"));
    for (file, says) in [("twice.txt", "has index 4 twice"), ("gone.npy", "there is no file")] {
        place.write("p.toml", &import(&format!("{{ file = \"{file}\" }}")));
        let output = place.output(&["plan", "p.toml", "--target", "mine"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{said}");
    }
}

#[test]
fn a_model_goes_out_and_comes_back() {
    let place = Sandbox::new();
    place.write(
        "out.toml",
        r#"
[stage.data]
use  = "load.digits"
[stage.student]
use  = "train"
from = { data = "data" }
with = { model = "resnet18", width = 2, iterations = 2, batch = 16, test-every = 0 }
[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
"#,
    );
    place.run("out.toml", &[]);
    let path = place.path("theirs.safetensors");
    let path = path.to_str().expect("text");
    place.ok(&["export", "out.toml", "student", "--to", path, "--names", "torchvision"]);
    let text = fs::read_to_string(place.path("out.toml")).expect("text");
    let (data, rest) = text.split_once("[stage.student]").expect("the student");
    let (_, result) = rest.split_once("[stage.result]").expect("the result");
    place.write(
        "back.toml",
        &format!(
            "{data}[stage.student]\nuse = \"command\"\nfrom = {{ data = \"data\" }}\n\
         with = {{ run = [\"cp\", \"theirs.safetensors\", \"out/model.safetensors\"], \
         files = [\"theirs.safetensors\"], output = \"model\", model = \"resnet18\", width = 2 }}\n\
         [stage.result]{result}"
        ),
    );
    place.run("back.toml", &[]);
    let result = |file: &str| place.ok(&["export", file, "result", "--to", "-"]);
    let read = |file| -> serde_json::Value { serde_json::from_str(&result(file)).expect("JSON") };
    let (there, back) = (read("out.toml"), read("back.toml"));
    for figure in ["accuracy", "loss", "confusion"] {
        assert_eq!(there[figure], back[figure], "{figure}");
    }
}

/// Runs the example in NumPy if this machine has what it needs.
#[test]
#[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
fn the_example_in_numpy_runs() {
    let python = Command::new("python3").args(["-c", "import numpy, safetensors.numpy"]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no python3 with numpy and safetensors");
        return;
    }
    let place = Sandbox::new();
    let path = repository("pipelines/examples/numpy_selector/pipeline.toml");
    let path = path.to_str().expect("text");
    place.run(path, &["--target", "subset", "--no-table"]);
    let kept = place.ok(&["export", path, "subset", "--to", "-"]);
    assert_eq!(kept.lines().count(), 288, "a fifth of 1,442 samples");
}

/// Writes a made-up text model of BERT's kind: ten words, four numbers a vector, one layer of two heads.
fn made_model(place: &Sandbox) {
    let (words, width, inner, positions) = (10, 4, 6, 16);
    let attention = ["self.query", "self.key", "self.value", "output.dense"];
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![words, width]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![positions, width]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, width]),
    ];
    let layer = "encoder.layer.0";
    let dense = attention.map(|part| (format!("{layer}.attention.{part}"), width, width));
    let dense = dense.into_iter().chain([
        (format!("{layer}.intermediate.dense"), inner, width),
        (format!("{layer}.output.dense"), width, inner),
    ]);
    for (name, out, into) in dense {
        shapes.push((format!("{name}.weight"), vec![out, into]));
        shapes.push((format!("{name}.bias"), vec![out]));
    }
    let norms = [
        "embeddings.LayerNorm".to_owned(),
        format!("{layer}.attention.output.LayerNorm"),
        format!("{layer}.output.LayerNorm"),
    ];
    for name in norms {
        shapes.extend(["weight", "bias"].map(|part| (format!("{name}.{part}"), vec![width])));
    }
    let numbers = |(at, (_, shape)): (usize, &(String, Vec<usize>))| -> Vec<u8> {
        let value = |i: usize| ((i * 7919 + at * 104_729) % 41) as f32 / 20.0 - 1.0;
        (0..shape.iter().product()).flat_map(|i| value(i).to_le_bytes()).collect()
    };
    let bytes: Vec<Vec<u8>> = shapes.iter().enumerate().map(numbers).collect();
    let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
        (name, view.expect("it fills the shape"))
    });
    let weights = safetensors::serialize(views, None).expect("tensors");
    fs::create_dir(place.path("model")).expect("made");
    fs::write(place.path("model/model.safetensors"), weights).expect("written");
    place.write(
        "model/config.json",
        r#"{ "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "pad_token_id": 0,
             "layer_norm_eps": 1e-12 }"#,
    );
    place.write(
        "model/tokenizer.json",
        r#"{ "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "WhitespaceSplit" },
             "model": { "type": "WordLevel", "unk_token": "?", "vocab": { "pad": 0, "?": 1, "a": 2,
             "b": 3, "c": 4, "d": 5, "e": 6, "f": 7, "g": 8, "h": 9 } } }"#,
    );
}

/// Embeds texts by the example with a made model, if this machine has what it needs.
#[test]
#[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
fn the_embedding_example_gives_selectors_their_vectors() {
    let needs = "import numpy, safetensors.numpy, tokenizers";
    let python = Command::new("python3").args(["-c", needs]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no python3 with numpy, safetensors and tokenizers");
        return;
    }
    let place = Sandbox::new();
    made_model(&place);
    let example = |name: &str| {
        let path = repository("pipelines/examples/embed").join(name);
        fs::read_to_string(path).expect("it is there")
    };
    place.write("embed.py", &example("embed.py"));
    let pipeline = example("pipeline.toml").replace("pipelines/examples/embed/", "");
    place.write("p.toml", &pipeline);
    let vectors = |texts: &[&str]| -> Vec<f32> {
        let row =
            |(at, text): (usize, &&str)| format!("{{\"id\": \"{at}\", \"text\": \"{text}\"}}\n");
        place.write("notes.jsonl", &texts.iter().enumerate().map(row).collect::<String>());
        assert_eq!(place.run("p.toml", &["--no-table"]).0, (0, 3));
        assert_eq!(place.run("p.toml", &["--no-table"]).0, (3, 0));
        let tensor = ["--tensor", "embeddings", "--to", "vectors.npy"];
        place.ok(&[&["export", "p.toml", "vectors"], &tensor[..]].concat());
        let file = fs::read(place.path("vectors.npy")).expect("written");
        let four = |b: &[u8]| f32::from_le_bytes(b.try_into().expect("four bytes"));
        file[file.len() - texts.len() * 16..].chunks_exact(4).map(four).collect()
    };
    let alone = vectors(&["c b", "d"]);
    let beside = vectors(&["c b", "a b c d e f g h a b c", "b c", "c b"]);
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    // What a shorter text is padded with counts for nothing; the order of words does.
    assert!(near(&alone[..4], &beside[..4]) && near(&beside[..4], &beside[12..]), "{beside:?}");
    assert!(!near(&beside[..4], &beside[8..12]), "{beside:?}");
    for vector in beside.chunks_exact(4) {
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5, "{vector:?}");
    }
    // A quarter of four.
    assert_eq!(place.ok(&["export", "p.toml", "subset", "--to", "-"]).lines().count(), 1);
}
