//! Data sets of image files: into the store, keyed by what the files hold, and through a training.

use crate::program::Sandbox;
use std::fs;

/// 40x24 pixels.
const IMAGE: &[u8] = include_bytes!("../../stages/methods/src/load/images/test.jpg");

const PIPELINE: &str = r#"
[stage.data]
use  = "load.folder"
with = { dir = "pets", size = 8, test-fraction = 0.25 }

[stage.student]
use  = "train"
from = { data = "data" }
with = { model = "linear", epochs = 1, batch = 4 }

[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
"#;

/// Four images of a cat and eight of a dog, and a pipeline that trains on them.
fn place() -> Sandbox {
    let place = Sandbox::new();
    for (class, n) in [("cat", 4), ("dog", 8)] {
        fs::create_dir_all(place.path(&format!("pets/{class}"))).expect("a folder");
        for at in 0..n {
            fs::write(place.path(&format!("pets/{class}/{at}.jpg")), IMAGE).expect("written");
        }
    }
    place.write("pets/cat/notes.txt", "not an image");
    place.write("p.toml", PIPELINE);
    place
}

#[test]
fn a_folder_is_keyed_by_names_and_bytes() {
    let place = place();
    assert_eq!(place.run("p.toml", &[]).0, (0, 3));
    assert_eq!(place.run("p.toml", &[]).0, (3, 0));
    // Neither where the folder is nor what else lies in it is part of the key.
    fs::rename(place.path("pets"), place.path("moved")).expect("moved");
    place.write("moved/dog/notes.txt", "not an image either");
    let moved = ["--set", "data.with.dir=\"moved\""];
    assert_eq!(place.run("p.toml", &moved).0, (3, 0));
    // Another image is, even if it is at the end; with it one dog more is trained on.
    fs::write(place.path("moved/dog/9.jpg"), IMAGE).expect("written");
    let plan = place.ok(&["plan", "p.toml", moved[0], moved[1]]);
    assert!(plan.starts_with("run    data: "), "{plan}");
    assert_eq!(place.run("p.toml", &moved).0, (0, 3));
    // The name of a class is.
    fs::rename(place.path("moved/cat"), place.path("moved/tomcat")).expect("renamed");
    assert_eq!(place.run("p.toml", &moved).0.1, 3);
}

#[test]
fn damaged_images_are_refused_together_or_left_out() {
    let place = place();
    fs::write(place.path("pets/cat/1.jpg"), &IMAGE[..IMAGE.len() / 2]).expect("written");
    fs::write(place.path("pets/dog/7.jpg"), b"").expect("written");
    let output = place.output(&["run", "p.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for want in ["2 of 12 images cannot be used", "1.jpg", "is cut short", "7.jpg", "is empty"] {
        assert!(flat.contains(want), "{said}");
    }
    let skip = ["--set", "data.with.damaged=\"skip\""];
    let (counts, said) = place.run("p.toml", &skip);
    assert_eq!(counts, (0, 3));
    assert!(said.contains("2 damaged of 12 images left out"), "{said}");
}

#[test]
fn what_is_wrong_with_a_folder_is_found_before_anything_runs() {
    let place = place();
    let says = |set: &str, want: &str| {
        let output = place.output(&["run", "p.toml", "--set", set]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(want), "{want}: {said}");
    };
    says("data.with.dir=\"nowhere\"", "there is no folder `nowhere`");
    says("data.with.channels=2", "expected 1 or 3 channels, found 2");
    says("data.with.test-fraction=1.0", "nothing would be left to train on");
    fs::create_dir(place.path("pets/empty")).expect("a folder");
    says("seed=0", "has no image in it");
    fs::create_dir(place.path("pets/Test")).expect("a folder");
    fs::create_dir(place.path("pets/val")).expect("a folder");
    says("seed=0", "which look like splits, not like classes");
}

#[test]
fn the_log_says_what_was_loaded_and_what_was_passed_over() {
    let place = place();
    fs::create_dir(place.path("pets/ant")).expect("a folder");
    let keep = ["--set", "data.with.empty-classes=\"keep\""];
    let (_, said) = place.run("p.toml", &keep);
    for want in [
        "9 + 3 samples of [3, 8, 8] in 3 classes: `ant` 0 + 0, `cat` 3 + 1, `dog` 6 + 2",
        "no sample to train on of `ant`",
        "passed over 1 files that are no images: 1 `.txt`",
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }
}

#[test]
fn images_of_all_classes_in_a_folder_have_their_labels_in_a_table() {
    let place = place();
    let table = "image_id,dx,split\n0,nv,train\n1,mel,train\n2,nv,train\n3,mel,test\n";
    place.write("labels.csv", table);
    let with = |more: &str| {
        let stage = "use  = \"load.images-table\"\nwith = { dir = \"pets/dog\", table = \"labels.csv\", size = 8";
        let text = PIPELINE.split_once("[stage.student]").map_or("", |(_, rest)| rest);
        place.write("t.toml", &format!("[stage.data]\n{stage}{more} }}\n[stage.student]{text}"));
    };
    with("");
    let (counts, said) = place.run("t.toml", &[]);
    assert_eq!(counts, (0, 3));
    let want = "3 + 1 samples of [3, 8, 8] in 2 classes: `mel` 1 + 1, `nv` 2 + 0";
    assert!(said.contains(want), "{said}");
    // A share is drawn from all rows, whatever a column says.
    with(", test-fraction = 0.5");
    let (_, said) = place.run("t.toml", &[]);
    assert!(said.contains("`mel` 1 + 1, `nv` 1 + 1"), "{said}");
    place.write("labels.csv", &format!("{table}99,nv,train\n"));
    let output = place.output(&["run", "t.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("names 1 images that are not in `pets/dog`: `99`"), "{said}");
}
