//! Results made once more, and compared.

use crate::program::{Sandbox, of_random_subsets};

fn pipeline() -> String {
    of_random_subsets("n = 200, test = 40, d = 4, classes = 3", 0.3, "seed = [0, 1]")
}

/// A program that never says the same twice.
const DICE: &str = r#"
[stage.dice]
use  = "command"
from = { data = "data" }
with = { run = ["sh", "dice.sh"], files = ["dice.sh"], output = "metrics" }
"#;

#[test]
fn results_of_their_recipes_are_the_same_once_more_and_others_are_told() {
    let place = Sandbox::new();
    place.write("p.toml", &pipeline());
    let (made, said) = place.run("p.toml", &[]);
    assert_eq!(made, (0, 8), "{said}");
    let audit = |arguments: &[&str]| {
        let all = [&["cache", "audit", "p.toml", "--device", "cpu"], arguments].concat();
        place.output(&all)
    };
    let all = audit(&[]);
    let said = String::from_utf8_lossy(&all.stdout).into_owned();
    assert!(all.status.success(), "{said}");
    assert!(said.contains("8 results made once more: 8 the same, 0 differ"), "{said}");
    let few = audit(&["--sample", "3"]);
    let said = String::from_utf8_lossy(&few.stdout).into_owned();
    assert!(said.contains("3 results made once more: 3 the same"), "{said}");

    place.write(
        "dice.sh",
        "echo \"{\\\"roll\\\": $(od -An -N4 -tu4 /dev/urandom)}\" > out/metrics.json\n",
    );
    place.write("p.toml", &pipeline().replace("[matrix]", &format!("{DICE}\n[matrix]")));
    let (made, said) = place.run("p.toml", &[]);
    assert_eq!(made, (8, 2), "{said}");
    let before = place.stored("records");
    let diced = audit(&["--json"]);
    assert!(!diced.status.success());
    let answer: serde_json::Value = serde_json::from_slice(&diced.stdout).expect("JSON");
    assert_eq!((&answer["same"], &answer["differ"]), (&8.into(), &2.into()), "{answer}");
    // What is there stays as it is, and nothing is left behind.
    assert_eq!(place.stored("records"), before);
    assert!(place.stored("tmp").is_empty());
}
