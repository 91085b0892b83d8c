//! Plans of pipeline files: cells, sharing, overrides, and every mistake at its span.

#[path = "../fake/mod.rs"]
mod fake;
mod matrix;

use engine::{Plan, PlanRequest, SpecErrors};

fn read(text: &str, set: &[&str]) -> Result<Plan, SpecErrors> {
    let set = set.iter().map(|one| (*one).to_owned()).collect();
    let request = PlanRequest { path: "test.toml".into(), set, targets: vec![] };
    Plan::read_text(text, &request, &fake::registry())
}

fn plan(text: &str, set: &[&str]) -> Plan {
    read(text, set).unwrap_or_else(|errors| panic!("{:#?}", errors.errors))
}

/// Returns every mistake as `line: underlined text: message | hint`.
fn mistakes(text: &str, set: &[&str]) -> Vec<String> {
    let errors = read(text, set).err().expect("mistakes");
    let one = |error: &engine::SpecError| {
        let source = &errors.sources[error.span.source as usize].text;
        let range = error.span.range();
        let line = source[..range.start].matches('\n').count() + 1;
        let under = source[range].lines().next().unwrap_or_default();
        let hint = error.hint.as_deref().unwrap_or("-");
        format!("{line}: {under}: {error} | {hint}")
    };
    errors.errors.iter().map(one).collect()
}

const PIPELINE: &str = r#"
seed = 5
[stage.a]
use = "make"
with = { text = "x", draws = true, rule.depth = 2 }
[stage.b]
use = "join"
from = { texts = ["a", "a"] }
[stage.c]
use = "count"
from = { text = "b" }
[stage.unused]
use = "make"
"#;

#[test]
fn a_cell_has_what_its_results_need() {
    let plan = plan(PIPELINE, &[]);
    let labels: Vec<&str> = plan.nodes().map(|(_, node)| &*node.label).collect();
    assert_eq!(labels, ["a", "b", "c"]);
    let (_, a) = plan.nodes().next().expect("a node");
    assert_eq!(a.seed, Some(5), "a draws");
    assert!(plan.nodes().skip(1).all(|(_, node)| node.seed.is_none()), "the others do not");
    assert_eq!(plan.cells[0].targets.len(), 1);
}

#[test]
fn cells_share_what_their_axes_do_not_touch() {
    let text = format!(
        "{PIPELINE}\n[matrix]\n\"b.with.sleep\" = [0, 1, 2]\nseed = [1, 2]\n\
         [matrix.kind]\nplain = {{}}\nother = {{ b = {{ use = \"join\", from = {{ texts = \"a\" }} }} }}\n"
    );
    let plan = plan(&text, &[]);
    assert_eq!(plan.cells.len(), 12);
    let count = |label: &str| plan.nodes().filter(|(_, node)| &*node.label == label).count();
    assert_eq!((count("a"), count("b"), count("c")), (2, 12, 12), "a depends on the seed alone");
    let names: Vec<&str> = plan.axes.iter().map(|axis| axis.name.as_str()).collect();
    assert_eq!(names, ["b.with.sleep", "seed", "kind"], "in the order of the file");
    let last = plan.cells.last().expect("a cell");
    let wanted = [("b.with.sleep", "2"), ("seed", "2"), ("kind", "other")];
    assert_eq!(plan.coordinates(last), wanted);
    assert_eq!(plan.node(last.node("b").expect("b")).inputs.len(), 1, "`from` is replaced whole");
}

#[test]
fn overrides_reach_settings_and_pin_axes() {
    let text = format!("{PIPELINE}\n[matrix]\n\"a.with.text\" = [\"p\", \"q\"]\n");
    let plan = plan(&text, &["a.with.text=word", "a.with.rule.depth=7", "seed=9"]);
    assert_eq!(plan.cells.len(), 1, "the axis is pinned");
    let (_, a) = plan.nodes().next().expect("a node");
    assert_eq!((a.settings["text"].as_str(), a.seed), (Some("word"), Some(9)));
    assert_eq!(a.settings["rule"]["depth"], 7);
}

#[test]
fn a_change_of_method_leaves_the_old_rule_behind() {
    let text =
        PIPELINE.replace("use = \"join\"", "use = \"join\"\nwith = { rule.width = 3, sleep = 4 }");
    let text =
        format!("{text}\n[matrix.kind]\nnew = {{ b = {{ use = \"make\", from = {{}} }} }}\n");
    // `rule.width` is gone with `join`; `sleep` stands in `with` and `make` does not know it.
    let all = mistakes(&text, &[]);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].contains("no setting is called `sleep`"), "{all:?}");
}

#[test]
fn every_mistake_is_found_at_its_place() {
    let text = r#"
sede = 1
[stage.a]
use = "mkae"
[stage.b]
use = "make"
with = { text = 3, sise = 1, share = 1.5, rule.deep = 1 }
[stage.c]
use = "join"
from = { texts = "d", extra = "b" }
[stage.d]
use = "join"
from = { texts = "c" }
[stage.e]
use = "count"
from = { text = "f" }
form = 1
[stage.f]
use = "count"
"#;
    let all = mistakes(text, &[]).join("\n");
    let wanted = "\
2: sede: a pipeline has no key called `sede` | did you mean `seed`?
4: \"mkae\": no method is called `mkae` | did you mean `make`?
7: 3: setting `text`: expected a string, found integer `3` | -
7: sise: no setting is called `sise` | did you mean `size`?
7: deep: no setting is called `deep` | known are: depth
10: extra: `join` has no input called `extra` | known are: more, texts
13: \"c\": stages wait for each other: d → c → d | -
16: \"f\": input `text` takes text, but `f` gives result | stages that give text: b, c, d
17: form: a stage has no key called `form` | did you mean `from`? (settings of the method stand in `with`)
19: \"count\": input `text` of `count` is not connected | add `from = { text = \"STAGE\" }`";
    assert_eq!(all, wanted);
}

#[test]
fn cycles_and_axes_are_checked() {
    let text = r#"
[stage.c]
use = "join"
from = { texts = "d" }
[stage.d]
use = "join"
from = { texts = "c" }
"#;
    let all = mistakes(text, &[]);
    assert_eq!(all, ["7: \"c\": stages wait for each other: d → c → d | -"]);
    let text = format!(
        "{PIPELINE}\n[matrix]\n\"a.with.text\" = []\n\"q.with.x\" = [1]\n\"b.wiht\" = [1]\n\
         \"a.with.rule.depth\" = [1]\n[matrix.v]\none = {{ a.with.rule = {{ depth = 3 }} }}\n"
    );
    let all = mistakes(&text, &[]).join("\n");
    for wanted in
        ["axis `a.with.text` is empty", "axis `q.with.x` names no stage", "`b.wiht`", "both set"]
    {
        assert!(all.contains(wanted), "{wanted}: {all}");
    }
    // A variant's inputs stand in for all of the stage's: what is missing is missing there.
    let text = format!("{PIPELINE}\n[matrix.v]\none = {{ b.from = {{ more = \"a\" }} }}\n");
    let line = text.lines().count();
    let wanted = format!(
        "{line}: more: input `texts` of `join` is not connected | add `texts = \"STAGE\"` to \
         `from`, which is taken as a whole"
    );
    assert_eq!(mistakes(&text, &[]), [wanted]);
    let all = mistakes(PIPELINE, &["a.with.size=-1", "z.with.x=1"]).join("\n");
    assert!(
        all.contains(
            "-1: setting `size`: expected a whole number from 0 to 4294967295, found integer `-1`"
        ),
        "{all}"
    );
    assert!(all.contains("no stage is called `z`"), "{all}");
}

#[test]
fn files_extend_each_other() {
    let dir = tempfile::tempdir().expect("a place");
    let write =
        |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write("base.toml", PIPELINE);
    write("top.toml", "extends = \"base.toml\"\nseed = 8\n[stage.a.with]\ntext = \"y\"\n");
    let request =
        |name: &str| PlanRequest { path: dir.path().join(name), ..PlanRequest::default() };
    let plan = Plan::read(&request("top.toml"), &fake::registry()).expect("a plan");
    let (_, a) = plan.nodes().next().expect("a node");
    assert_eq!((a.settings["text"].as_str(), a.seed), (Some("y"), Some(8)));
    assert_eq!(a.settings["rule"]["depth"], 2, "`with` is merged key by key");
    write("loop.toml", "extends = \"loop.toml\"\n");
    let errors = Plan::read(&request("loop.toml"), &fake::registry()).err().expect("a loop");
    assert!(errors.errors[0].to_string().contains("extends itself"), "{errors:?}");
}

#[test]
fn numbers_that_cannot_be_held_are_told() {
    let text = "[stage.a]\nuse = \"make\"\nwith = { SETTING }\n";
    let with = |setting: &str| mistakes(&text.replace("SETTING", setting), &[]);
    let far = "is too large: integers go from -9223372036854775808 to 9223372036854775807 | \
               write a smaller number, a float, or a string";
    for (setting, told) in [
        ("share = inf", "inf: setting `share`: `inf` is not a finite number | keys and records"),
        ("share = -inf", "-inf: setting `share`: `-inf` is not a finite number"),
        ("share = nan", "nan: setting `share`: `nan` is not a finite number"),
        ("share = 1e400", "1e400: setting `share`: `1e400` is too large: floats go up to 1.8e308"),
        ("share = 0x10000000000000000", &format!("setting `share`: `0x10000000000000000` {far}")),
        ("size = 99999999999999999999", &format!("setting `size`: `99999999999999999999` {far}")),
        ("text = 2026-11-25", "2026-11-25: setting `text`: `2026-11-25` is a date, and no setting"),
        ("rule.depth = 07:30:00", "07:30:00: setting `depth`: `07:30:00` is a date"),
        ("share = \"1\"", "\"1\": setting `share`: expected a number, found string \"1\" | -"),
    ] {
        let all = with(setting);
        assert!(all.len() == 1 && all[0].starts_with("3: "), "{setting}: {all:?}");
        assert!(all[0].contains(told), "{setting}: {all:?}, not {told}");
    }
    let seed = "`9223372036854775808` is too large: seeds go from 0 to 9223372036854775807 | -";
    let text = format!(
        "seed = 9223372036854775808\n{}\n[stage.z]\nuse = \"make\"\nseed = 9223372036854775808\n\
         [matrix]\nseed = [1, 9223372036854775808]\n\"a.with.share\" = [0.5, inf]\n",
        PIPELINE.replace("seed = 5", "")
    );
    let all = mistakes(&text, &[]);
    assert_eq!(all.iter().filter(|one| one.ends_with(seed)).count(), 3, "{all:#?}");
    assert_eq!(all.len(), 4, "{all:#?}");
    let share = "inf: setting `share`: `inf` is not a finite number";
    assert!(all[3].contains(share), "{all:#?}");
    let set = mistakes(PIPELINE, &["a.with.share=nan"]);
    assert!(set.len() == 1 && set[0].contains("`nan` is not a finite number"), "{set:?}");
}

#[test]
fn zero_has_one_sign() {
    let with = |value: &str| {
        let plan = plan(PIPELINE, &[&format!("a.with.share={value}")]);
        plan.nodes().next().expect("a node").1.settings["share"].to_string()
    };
    assert_eq!((with("-0.0"), with("0.0")), ("0.0".to_owned(), "0.0".to_owned()));
}

#[test]
fn a_line_that_is_not_toml_is_one_mistake() {
    for value in [".1", "10%", "\"x", "[1", "nil", "1_", "0.1.2", "'"] {
        let text = format!("[stage.a]\nuse = \"make\"\n[stage.a.with]\nshare = {value}\n");
        let all = mistakes(&text, &[]);
        assert!(all.len() == 1 && all[0].starts_with("4: "), "{value}: {all:?}");
    }
    let line = PIPELINE.lines().count() + 3;
    let array = format!("x = {}{}", "[".repeat(300), "]".repeat(300));
    let table = format!("[stage.a.with.rule{}]", ".a".repeat(300));
    let keys = format!("stage.z{} = 1", ".a".repeat(300));
    for deep in [array, table, keys] {
        let all = mistakes(&format!("{PIPELINE}\n\n{deep}\n# end\n"), &[]);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].starts_with(&format!("{line}: ")) && all[0].contains("recur"), "{all:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_base_without_an_end_is_a_mistake() {
    let all = mistakes("extends = \"/dev/zero\"\n", &[]).join("\n");
    assert!(all.contains("it is not a file"), "{all}");
}

#[test]
fn names_are_letters_and_digits_of_any_script() {
    for name in ["größe", "日本", "a-b", "_x", "7", "n".repeat(300).as_str()] {
        plan(&format!("[stage.\"{name}\"]\nuse = \"make\"\n"), &[]);
    }
    for (name, hint) in [
        ("e\u{301}", "(U+0301) are two characters here: type them as one"),
        ("-x", "does not begin with `-`"),
        ("new\\nline", "use letters"),
        ("\\u001b[31m", "use letters"),
        ("a b", "use letters"),
        ("*", "use letters"),
        ("it's", "use letters"),
        ("", "use letters"),
        ("seed", "`seed` is taken"),
        ("a#2", "use letters"),
        ("a\u{200b}b", "use letters"),
    ] {
        let all = mistakes(&format!("[stage.\"{name}\"]\nuse = \"make\"\n"), &[]);
        assert!(all.len() == 1 && all[0].contains(hint), "{name:?}: {all:?}");
        assert!(all[0].contains("a stage cannot be called"), "{name:?}: {all:?}");
        let variant =
            format!("[stage.a]\nuse = \"make\"\n[matrix.v]\nx.\"{name}\" = {{ use = \"make\" }}\n");
        let all = mistakes(&variant, &[]);
        assert!(all.len() == 1 && all[0].contains(hint), "{name:?}: {all:?}");
    }
    let all = mistakes(&format!("title = \"a\\u001bb\"\n{PIPELINE}"), &[]);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with("1: \"a") && all[0].contains("control character"), "{all:?}");
}

#[test]
fn bases_that_share_a_base_keep_what_each_changed() {
    let dir = tempfile::tempdir().expect("a place");
    let write =
        |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    let read = |name: &str| {
        let request = PlanRequest { path: dir.path().join(name), ..PlanRequest::default() };
        Plan::read(&request, &fake::registry())
    };
    write("base.toml", PIPELINE);
    write("l.toml", "extends = \"base.toml\"\n[stage.a.with]\ntext = \"l\"\n");
    write("r.toml", "extends = \"base.toml\"\nseed = 8\n[stage.a.with]\nrule.depth = 7\n");
    for both in [
        "[\"l.toml\", \"r.toml\"]",
        "[\"r.toml\", \"l.toml\"]",
        "[\"l.toml\", \"base.toml\", \"r.toml\"]",
    ] {
        write("both.toml", &format!("extends = {both}\n"));
        let plan = read("both.toml").expect("a plan");
        let (_, a) = plan.nodes().next().expect("a node");
        let told = (a.settings["text"].as_str(), a.settings["rule"]["depth"].as_u64(), a.seed);
        assert_eq!(told, (Some("l"), Some(7), Some(8)), "{both}");
        assert_eq!(plan.sources.len(), 4, "each file is read once");
    }
    // A base's rules for values that an axis no longer has are ignored.
    let matrix = "[matrix]\n\"a.with.share\" = [0.1, 0.2]\nseed = [1, 2]\n";
    let rules = "exclude = [{ share = 0.2, seed = 2 }]\ninclude = [{ share = 0.3, seed = 1 }]\n";
    write("rules.toml", &format!("{PIPELINE}\n{matrix}{rules}"));
    write("new.toml", "extends = \"rules.toml\"\n[matrix]\n\"a.with.share\" = [0.7, 0.8]\n");
    assert_eq!(read("rules.toml").expect("a plan").cells.len(), 4);
    assert_eq!(read("new.toml").expect("a plan").cells.len(), 4);
    write("bad.toml", "extends = \"rules.toml\"\n[matrix]\nexclude = [{ share = 0.7 }]\n");
    let errors = read("bad.toml").err().expect("a mistake");
    assert_eq!(errors.errors[0].to_string(), "axis `a.with.share` has no value `0.7`");
    // Each extends the one before twice: 2^60 readings, were they not one.
    write("e0.toml", PIPELINE);
    for i in 1..=60 {
        let before = format!("\"e{}.toml\"", i - 1);
        write(&format!("e{i}.toml"), &format!("extends = [{before}, {before}]\n"));
    }
    assert_eq!(read("e60.toml").expect("a plan").sources.len(), 61);
    write("x.toml", "extends = [\"base.toml\", \"y.toml\"]\n");
    write("y.toml", "extends = \"x.toml\"\n");
    let errors = read("x.toml").err().expect("a circle");
    assert_eq!(errors.errors.len(), 1, "{errors:?}");
    assert!(errors.errors[0].to_string().contains("extends itself"), "{errors:?}");
}

#[test]
fn a_stage_is_repeated() {
    let text = PIPELINE
        .replace("[stage.b]", "repeats = 3\n[stage.b]")
        .replace("[\"a\", \"a\"]", "[\"unused\", \"a\"]");
    let plan = plan(&text, &[]);
    let cell = &plan.cells[0];
    let b = plan.node(cell.node("b").expect("b"));
    let given: Vec<&str> = b.inputs.iter().map(|(_, node)| &*plan.node(*node).label).collect();
    assert_eq!(given, ["unused", "a", "a-2", "a-3"], "in order, where the stage is named");
    let seeds: Vec<_> = b.inputs.iter().map(|(_, node)| plan.node(*node).seed).collect();
    assert_eq!(seeds[..2], [None, Some(5)], "the first has the seed it has without `repeats`");
    assert!(seeds[2].is_some() && seeds[2] != seeds[3] && seeds[2] != seeds[1], "{seeds:?}");
    assert_eq!(cell.stages().count(), 6);
    // The numbers do not collide with a stage that is called so.
    let other = format!("{text}\n[stage.a-2]\nuse = \"make\"\n");
    let read = self::plan(&other, &[]);
    assert!(read.cells[0].node("a--2").is_some() && read.cells[0].node("a-2").is_none());
    let targets = PlanRequest { targets: vec!["a".into()], ..PlanRequest::default() };
    let read = Plan::read_text(&text, &targets, &fake::registry()).expect("a plan");
    assert_eq!(read.cells[0].targets.len(), 3, "all of them are wanted");
    // It is a key like the others: for `--set` and for the matrix.
    let axis = format!("{text}\n[matrix]\n\"a.repeats\" = [1, 3]\nseed = [1, 2]\n");
    let read = self::plan(&axis, &[]);
    let inputs = |cell: &engine::PlanCell| read.node(cell.node("b").expect("b")).inputs.len();
    assert_eq!(read.cells.iter().map(inputs).collect::<Vec<_>>(), [2, 2, 4, 4]);
    assert_eq!(self::plan(&text, &["a.repeats=1"]).nodes().count(), 4);
}

#[test]
fn what_cannot_be_repeated_is_told() {
    let with = |value: &str| {
        let text = PIPELINE.replace("[stage.b]", &format!("repeats = {value}\n[stage.b]"));
        mistakes(&text, &[])
    };
    for (value, told) in [
        ("0", "6: 0: `repeats` lies between 1 and 10000, but 0 does not | -"),
        ("10001", "6: 10001: `repeats` lies between 1 and 10000, but 10001 does not | -"),
        ("-1", "6: -1: `repeats` lies between"),
        ("1.5", "6: 1.5: `repeats` is an integer, not a float | -"),
        ("9223372036854775808", "`repeats` is an integer, not a number too large to hold"),
    ] {
        let all = with(value);
        assert!(all.len() == 1 && all[0].contains(told), "{value}: {all:?}");
    }
    let all = mistakes(PIPELINE, &["b.repeats=2"]);
    let wanted = "1: 2: `join` draws no random numbers: its repeats would all be the same | leave \
                  `repeats` out";
    assert_eq!(all, [wanted]);
    assert_eq!(plan(PIPELINE, &["b.repeats=1"]).nodes().count(), 3, "one is as none");
    let text = PIPELINE.replace("text = \"b\"", "text = \"a\"");
    let wanted = "11: \"a\": input `text` of `count` takes one stage, but `a` has 2 repeats | use a \
                  method that takes several, or leave `repeats` out";
    assert_eq!(mistakes(&text, &["a.repeats=2"]), [wanted]);
}

#[test]
fn one_cycle_is_shown_and_it_is_the_shortest_through_its_first_stage() {
    let joins = |stages: &[(&str, &[&str])]| -> String {
        let stage = |(name, inputs): &(&str, &[&str])| {
            format!("[stage.{name}]\nuse = \"join\"\nfrom = {{ texts = {inputs:?} }}\n")
        };
        stages.iter().map(stage).collect()
    };
    let all = mistakes(&joins(&[("a", &["a"])]), &[]);
    assert_eq!(all, ["3: \"a\": stages wait for each other: a → a | -"]);
    // Led to from outside; `b` is on a ring of three and on one of two.
    let text = joins(&[("a", &["c"]), ("b", &["c", "d"]), ("c", &["d"]), ("d", &["b"])]);
    assert_eq!(mistakes(&text, &[]), ["12: \"b\": stages wait for each other: d → b → d | -"]);
}

#[test]
fn a_chain_may_be_as_long_as_the_file() {
    let mut text = String::from("[stage.s0]\nuse = \"make\"\n");
    for number in 1..20_000 {
        let before = number - 1;
        text += &format!("[stage.s{number}]\nuse = \"join\"\nfrom = {{ texts = \"s{before}\" }}\n");
    }
    let request = PlanRequest { path: "test.toml".into(), ..PlanRequest::default() };
    let plan = Plan::read_text(&text, &request, &fake::registry()).map_err(|errors| errors.errors);
    let plan = plan.expect("the chain is whole");
    assert_eq!(plan.nodes().len(), 20_000);
    let ordered = |(id, node): (engine::NodeId, &engine::PlanNode)| {
        node.inputs.iter().all(|(_, input)| *input < id)
    };
    assert!(plan.nodes().all(ordered));
}

#[test]
fn a_base_that_is_a_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("base.toml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there");
    assert!(made.success());
    let request = PlanRequest { path: folder.path().join("p.toml"), ..PlanRequest::default() };
    let text = "extends = \"base.toml\"\n[stage.a]\nuse = \"make\"\n";
    let read = Plan::read_text(text, &request, &fake::registry()).map(|_| ());
    let errors = read.expect_err("a pipe is no base").errors;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().ends_with("it is not a file"), "{}", errors[0]);
}
