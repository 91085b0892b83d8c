//! Cells of a matrix: counted, taken out, added, and each whole.

use super::{PIPELINE, mistakes, plan};
use engine::Plan;

/// Returns the values of each cell, as `a,b; c,d`.
fn cells(text: &str, set: &[&str]) -> String {
    let plan = plan(text, set);
    let one = |cell: &engine::PlanCell| {
        let values: Vec<&str> = plan.coordinates(cell).iter().map(|(_, value)| *value).collect();
        values.join(",")
    };
    plan.cells.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[test]
fn an_axis_of_any_length_is_whole() {
    let seeds: Vec<String> = (0..70_000).map(|seed: u32| seed.to_string()).collect();
    let text = format!("{PIPELINE}\n[matrix]\nseed = [{}]\n", seeds.join(", "));
    let plan = plan(&text, &[]);
    assert_eq!(plan.cells.len(), 70_000);
    let last = plan.cells.last().expect("a cell");
    assert_eq!(plan.coordinates(last), [("seed", "69999")]);
    assert_eq!(plan.node(last.node("a").expect("a")).seed, Some(69_999));
}

#[test]
fn a_matrix_is_counted_before_it_is_built() {
    let ten = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]";
    let axes: String = ["a.with.size", "a.with.rule.depth", "b.with.sleep", "a.seed", "b.seed"]
        .iter()
        .map(|axis| format!("\"{axis}\" = {ten}\n"))
        .collect();
    let text = format!("{PIPELINE}\n[matrix]\nseed = {ten}\n{axes}\"c.seed\" = {ten}\n");
    let wanted = "matrix: the matrix has 10000000 cells, which is more than 4000000: seed has 10, \
                  a.with.size has 10, a.with.rule.depth has 10, b.with.sleep has 10, a.seed has \
                  10, b.seed has 10, c.seed has 10 | give axes fewer values";
    let all = mistakes(&text, &[]);
    assert!(all.len() == 1 && all[0].contains(wanted), "{all:?}");
}

#[test]
fn cells_are_taken_out_and_added() {
    let text = format!(
        "{PIPELINE}\n[matrix]\nseed = [1, 2, 2]\n\"a.with.share\" = [0.1, 1]\nMORE\n\
         [matrix.kind]\nplain = {{}}\nother = {{ b.with = {{ sleep = 1 }} }}\n"
    );
    let with = |more: &str| text.replace("MORE", more);
    let small = |more: &str| cells(&with(more), &["seed=1"]);
    assert_eq!(small(""), "0.1,plain; 0.1,other; 1,plain; 1,other");
    assert_eq!(small("exclude = [{ share = 1.0 }]"), "0.1,plain; 0.1,other");
    assert_eq!(
        small("exclude = [{ a.with.share = 0.1, kind = \"other\" }]"),
        "0.1,plain; 1,plain; 1,other"
    );
    // A rule for another value of a pinned axis applies to no cell.
    assert_eq!(small("exclude = [{ seed = 2, kind = \"other\" }]").split("; ").count(), 4);
    assert_eq!(small("exclude = [{ seed = 1, kind = \"other\" }]"), "0.1,plain; 1,plain");
    assert_eq!(small("exclude = [{ seed = 1 }]").split("; ").count(), 4, "`--set` is stronger");
    assert_eq!(
        cells(&with("exclude = [{ seed = 2 }]"), &[]),
        "1,0.1,plain; 1,0.1,other; 1,1,plain; 1,1,other",
        "both seeds that are 2"
    );
    assert_eq!(
        small("include = [{ share = 0.7, kind = \"other\" }]"),
        "0.1,plain; 0.1,other; 1,plain; 1,other; 0.7,other"
    );
    assert_eq!(
        small("include = [{ share = 0.7 }, { share = 0.8, kind = \"plain\" }]"),
        "0.1,plain; 0.1,other; 1,plain; 1,other; 0.7,plain; 0.7,other; 0.8,plain"
    );
    // A condition on the value of a pinned axis holds, and may change nothing.
    let pinned = "include = [{ seed = 1, share = 0.7, kind = \"plain\" }, { seed = 1, share = 1 }, \
                  { seed = 3, share = 0.8 }]\nexclude = [{ seed = 2, share = 0.1 }]";
    assert_eq!(small(pinned), "0.1,plain; 0.1,other; 1,plain; 1,other; 0.7,plain");
    let both = "exclude = [{ share = 1 }]\ninclude = [{ share = 1, kind = \"plain\" }]";
    assert_eq!(small(both), "0.1,plain; 0.1,other; 1,plain", "`include` has the last word");
    let plan = plan(&with("exclude = [{ seed = 2 }, { share = 1 }]"), &[]);
    assert_eq!(plan.nodes().count(), 5, "what no cell has is not built");
}

#[test]
fn both_spellings_of_exclude_are_one() {
    let text = format!(
        "{PIPELINE}\n[matrix]\nseed = [1, 2]\n[[matrix.exclude]]\nseed = 1\n\
         [[matrix.include]]\nseed = 9\n"
    );
    assert_eq!(cells(&text, &[]), "2; 9");
}

#[test]
fn axes_change_together() {
    let text = format!(
        "{PIPELINE}\n[matrix]\nseed = [1, 2]\n\
         \"a.with.share, b.with.sleep\" = [[0.1, 10], [0.3, 5], [0.1, 20]]\nMORE"
    );
    let with = |more: &str, set: &[&str]| cells(&text.replace("MORE", more), set);
    assert_eq!(with("", &[]), "1,0.1,10; 1,0.3,5; 1,0.1,20; 2,0.1,10; 2,0.3,5; 2,0.1,20");
    let plan = plan(&text.replace("MORE", ""), &["seed=1"]);
    let names: Vec<&str> = plan.axes.iter().map(|axis| axis.name.as_str()).collect();
    assert_eq!(names, ["a.with.share", "b.with.sleep"], "each is an axis of its own");
    assert_eq!(plan.nodes().filter(|(_, node)| &*node.label == "a").count(), 2, "0.1 and 0.3");
    assert_eq!(with("", &["seed=1", "a.with.share=0.2"]), "10; 5; 20");
    assert_eq!(with("", &["seed=1", "b.with.sleep=0"]), "0.1; 0.3");
    assert_eq!(
        with("exclude = [{ seed = 1, sleep = 5 }, { seed = 2, share = 0.1 }]", &[]),
        "1,0.1,10; 1,0.1,20; 2,0.3,5"
    );
    let include = "include = [{ \"a.with.share, b.with.sleep\" = [0.9, 1] }]";
    assert_eq!(with(include, &["seed=1"]), "0.1,10; 0.3,5; 0.1,20; 0.9,1");
    let seeds = format!("{PIPELINE}\n[matrix]\n\"seed,c.seed\" = [[1, 2], [3, 4]]\n");
    assert_eq!(cells(&seeds, &[]), "1,2; 3,4");
}

#[test]
fn mistakes_in_the_choice_of_cells_are_told() {
    let text = |more: &str| {
        format!("{PIPELINE}\n[matrix]\nseed = [1, 2]\n\"a.with.share\" = [0.1, 0.2]\n{more}\n")
    };
    for (more, told) in [
        ("exclude = [{ seed = 3 }]", "3: axis `seed` has no value `3`"),
        (
            "exclude = [{ sede = 1 }]",
            "sede: axis `sede` is not in this matrix | did you mean `seed`?",
        ),
        (
            "exclude = { seed = 1 }",
            "`exclude` is a list of tables, not a table | write `exclude = [{",
        ),
        ("exclude = [1]", "1: `exclude` is a list of tables, not an integer"),
        ("exclude = [{}]", "this `exclude` names no axis"),
        (
            "include = [{ seed = 1 }]",
            "this `include` changes nothing: every cell it names is there",
        ),
        ("include = [{ seed = -1 }]", "-1: axis `seed` takes whole numbers"),
        ("exclude = [{ seed = 1 }, { seed = 2 }]", "matrix: `exclude` leaves no cell"),
        (
            "\"b.with.sleep,c.seed\" = [[1]]",
            "[1]: axis `b.with.sleep,c.seed` takes lists of 2 values, not a list of 1",
        ),
        ("\"b.with.sleep,c.seed\" = [1]", "takes lists of 2 values, not an integer"),
        ("\"b.with.sleep,c.seed\" = []", "is empty"),
        ("\"b.with.sleep,z.seed\" = [[1, 2]]", "axis `z.seed` names no stage of this pipeline"),
        ("\"b.with.sleep,a.with\" = [[1, {}]]", "axes `a.with.share` and `a.with` both set"),
        ("\"b.with.sleep,seed\" = [[1, 2]]", "axes `seed` and `seed` both set `seed`"),
        ("\"b.with.sleep,b.with.sleep\" = [[1, 2]]", "both set `b.with.sleep`"),
        (
            "\"b.with.sleep,c.seed\" = [[1, 2]]\ninclude = [{ sleep = 4 }]",
            "name all of b.with.sleep, c.seed",
        ),
        ("v = { x = {} }\ninclude = [{ v = \"y\" }]", "axis `v` has no value `y`"),
        ("v = 1\nexclude = [{ v = 1 }]", "axis `v` is an integer, not a list of values"),
        ("\"a\\u001bx\" = [1]", "the name of an axis holds a control character"),
        ("v = { \"x\\n\" = {} }", "the name of a variant holds a control character"),
    ] {
        let all = mistakes(&text(more), &[]);
        assert!(all.len() == 1 && all[0].contains(told), "{more}: {all:#?}");
    }
    let zip = "\"b.with.sleep,c.seed\" = [[1, 2], [3, 4]]\nexclude = [{ sleep = 1, c.seed = 4 }]";
    let all = mistakes(&text(zip), &[]);
    assert!(all.len() == 1 && all[0].contains("no cell has all of these values"), "{all:?}");
}

/// Returns all that a node stands on, as a text.
fn fingerprint(plan: &Plan, node: engine::NodeId) -> String {
    let this = plan.node(node);
    let inputs: Vec<String> = this
        .inputs
        .iter()
        .map(|(port, input)| format!("{port}={}", fingerprint(plan, *input)))
        .collect();
    let (settings, seed) = (&this.settings, this.seed);
    format!("{} {settings} {seed:?} ({})", plan.describe(node), inputs.join(", "))
}

fn is_whole(plan: &Plan) {
    for (node, this) in plan.nodes() {
        assert!(this.inputs.iter().all(|(_, input)| input < &node), "inputs come first");
        let index = petgraph::graph::NodeIndex::new(node.index());
        let edges = plan.graph.edges_directed(index, petgraph::Incoming);
        let mut edges: Vec<_> = edges
            .map(|edge| (*edge.weight(), petgraph::visit::EdgeRef::source(&edge).index()))
            .collect();
        let mut inputs: Vec<_> =
            this.inputs.iter().map(|(port, input)| (*port, input.index())).collect();
        edges.sort_unstable();
        inputs.sort_unstable();
        assert_eq!(edges, inputs, "an edge for each input");
        let has = |cell: &engine::PlanCell| cell.stages().any(|(_, one)| one == node);
        assert_eq!(plan.cells.iter().position(has), Some(this.cell as usize), "the first cell");
    }
    for cell in &plan.cells {
        assert!(cell.targets.iter().all(|target| cell.stages().any(|(_, one)| one == *target)));
    }
}

#[test]
fn a_plan_of_fewer_cells_is_whole() {
    use rand::{RngExt as _, SeedableRng as _};
    for seed in 0..60 {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut text = String::from("[stage.s0]\nuse = \"make\"\nwith = { draws = true }\n");
        let stages = rng.random_range(2..8);
        for stage in 1..stages {
            let inputs = rng.random_range(0..4);
            let inputs: Vec<String> =
                (0..inputs).map(|_| format!("\"s{}\"", rng.random_range(0..stage))).collect();
            text += &match inputs.is_empty() {
                true => format!(
                    "[stage.s{stage}]\nuse = \"make\"\nwith = {{ draws = true }}\nrepeats = {}\n",
                    rng.random_range(1..4)
                ),
                false => format!(
                    "[stage.s{stage}]\nuse = \"join\"\nfrom = {{ texts = [{}] }}\n",
                    inputs.join(", ")
                ),
            };
        }
        text += "[matrix]\nseed = [0, 1, 2]\n\"s0.with.share\" = [0.1, 0.2]\n";
        text += "exclude = [{ seed = 1, share = 0.2 }]\n";
        text += &format!("[matrix.v]\na = {{}}\nb.s{} = {{ seed = 3 }}\n", stages - 1);
        let whole = plan(&text, &[]);
        is_whole(&whole);
        let kept: Vec<bool> = whole.cells.iter().map(|_| rng.random_bool(0.4)).collect();
        let cells = || whole.cells.iter().zip(&kept).filter(|(_, kept)| **kept);
        let coords: Vec<&[u32]> = cells().map(|(cell, _)| &cell.coords[..]).collect();
        let mut part = plan(&text, &[]);
        part.restrict(|cell| coords.contains(&&cell.coords[..]));
        is_whole(&part);
        assert_eq!(part.cells.len(), coords.len());
        for ((before, _), after) in cells().zip(&part.cells) {
            assert_eq!(before.coords, after.coords);
            let both = before.stages().zip(after.stages());
            for ((name, before), (same, after)) in both {
                assert_eq!(name, same);
                assert_eq!(fingerprint(&whole, before), fingerprint(&part, after), "{text}");
            }
            assert_eq!(before.targets.len(), after.targets.len());
        }
        part.restrict(|_| false);
        assert_eq!((part.cells.len(), part.nodes().len()), (0, 0));
    }
}
