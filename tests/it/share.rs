//! Several processes on one store.

use crate::program::{Place, counts};

#[test]
fn each_key_is_computed_once() {
    let place = Place::new();
    place.write(
        "p.toml",
        r#"
[stage.data]
use  = "load.synthetic"
with = { n = 300, test = 60, d = 4, classes = 3 }
[stage.student]
use  = "train"
from = { data = "data" }
with = { model = "mlp", epochs = 3, batch = 32 }
[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
[matrix]
seed = [0, 1, 2, 3, 4, 5]
"#,
    );
    for processes in [2, 4] {
        let args = [
            "run",
            "p.toml",
            "--device",
            "cpu",
            "--set",
            &format!("student.with.batch={}", 16 * processes),
        ];
        let children: Vec<_> = (0..processes).map(|_| place.start(&args)).collect();
        let mut computed = 0;
        for child in children {
            let output = child.wait_with_output().expect("it ends");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            assert!(!said.contains("note "), "no result differed: {said}");
            let (hits, here) = counts(&said);
            assert_eq!(hits + here, 18, "{said}");
            computed += here;
        }
        // Each seed has data of its own; the second round finds them.
        assert_eq!(computed, if processes == 2 { 18 } else { 12 }, "{processes} processes");
    }
}
