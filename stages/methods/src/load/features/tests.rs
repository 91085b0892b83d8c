use super::*;
use crate::load::{Loaded, file::Scratch};
use artifacts::{
    ClassId,
    dataset::{Inputs, Split},
    parts::StoredTensor,
};
use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::path::PathBuf;

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|one| one.to_le_bytes()).collect()
}

fn i64s(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|one| one.to_le_bytes()).collect()
}

type Given<'a> = (Dtype, &'a [usize], &'a [u8]);

fn view<'a>((dtype, shape, data): Given<'a>) -> TensorView<'a> {
    TensorView::new(dtype, shape.to_vec(), data).expect("the bytes fill the shape")
}

fn tensors(x: Given<'_>, y: Given<'_>) -> Vec<u8> {
    safetensors::serialize([("embeddings", view(x)), ("labels", view(y))], None)
        .expect("it can be encoded")
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    artifacts::formats::npy::encode(1, &header, data)
}

/// Returns the numbers of a tensor of f32.
fn numbers(all: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = all.tensor(name).expect("it is there");
    let (words, _) = view.data().as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// Returns what a stage reads, having checked that what it writes in blocks is the object that is made of it in memory.
fn load(stage: &LoadFeatures) -> Result<Loaded, StageError> {
    let files = stage.files().expect("the files are there");
    let opened = OpenFiles::open(&files)?;
    let found = stage.read(&opened)?;
    let meta = found.meta.clone();
    let mut bytes = found.header()?;
    found.each_block(&mut |block| {
        bytes.extend_from_slice(block);
        Ok(())
    })?;
    let all = SafeTensors::deserialize(&bytes).expect("it is whole");
    let (train, test) = (numbers(&all, "train"), numbers(&all, "test"));
    let d = meta.sample[0];
    let tensors = [
        StoredTensor::f32("train", &[meta.train, d], &train),
        StoredTensor::f32("test", &[meta.test, d], &test),
    ];
    assert!(bytes == parts::encode_tensors(&tensors).expect("it encodes"));
    let [train_labels, test_labels] = found.labels;
    let train = Split { inputs: Inputs::Features(train), labels: train_labels };
    let test = Split { inputs: Inputs::Features(test), labels: test_labels };
    Ok(Loaded { columns: found.columns, ..Loaded::new(meta, train, test) })
}

fn listed(path: PathBuf) -> Option<FileList> {
    Some(path.into())
}

#[test]
fn both_formats_give_the_same_data() {
    let scratch = Scratch::new("features");
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let wide: Vec<u8> = x.iter().flat_map(|one| f64::from(*one).to_le_bytes()).collect();
    let half: Vec<u8> = x.iter().flat_map(|one| f16::from_f32(*one).to_le_bytes()).collect();
    let both = tensors((Dtype::F16, &[3, 1, 2], &half), (Dtype::I64, &[3], &i64s(&[2, 0, 1])));
    let one = LoadFeatures {
        train: listed(scratch.write("both.safetensors", &both)),
        ..LoadFeatures::default()
    };
    let two = LoadFeatures {
        train: listed(scratch.write("x.npy", &npy("<f8", "(3, 2)", &wide))),
        train_labels: listed(scratch.write("y.npy", &npy("|u1", "(3,)", &[2, 0, 1]))),
        test: listed(scratch.write("t.npy", &npy("<f4", "(1, 2)", &f32s(&[9.0, 8.0])))),
        test_labels: listed(scratch.write("u.npy", &npy("<i4", "(1, 1)", &[3, 0, 0, 0]))),
        ..LoadFeatures::default()
    };
    assert_eq!((one.problems(), two.problems()), (vec![], vec![]));
    let (one, two) = (load(&one).expect("it is whole"), load(&two).expect("they are whole"));
    assert_eq!(one.train, two.train);
    assert_eq!(one.train.inputs, Inputs::Features(x.to_vec()));
    assert_eq!(one.train.labels, ClassId::list([2, 0, 1]));
    assert_eq!((one.meta.sample, one.meta.test, one.meta.classes.len()), (vec![2], 0, 3));
    assert_eq!((two.meta.test, two.test.labels[0].index(), two.meta.classes.len()), (1, 3, 4));
}

#[test]
fn files_that_do_not_fit_are_named() {
    let scratch = Scratch::new("features-odd");
    let y = i64s(&[0, 1]);
    let labels = (Dtype::I64, &[2_usize][..], &y[..]);
    let good = f32s(&[1.0, 2.0]);
    let bad = f32s(&[1.0, f32::NAN]);
    let whole = tensors((Dtype::F32, &[2, 1], &good), labels);
    for (bytes, want) in [
        (
            tensors((Dtype::F32, &[2, 1], &bad), labels),
            "the value NaN in the embedding of sample 1",
        ),
        (tensors((Dtype::F32, &[1, 2], &good), labels), "has 2 labels, but"),
        (tensors((Dtype::F32, &[2], &good), labels), "of shape [2]: expected [n, d]"),
        (
            tensors((Dtype::F32, &[2, 1], &good), (Dtype::I64, &[2], &i64s(&[0, -1]))),
            "has label -1 for sample 1: expected 0 to 999999",
        ),
        (
            tensors((Dtype::F32, &[2, 1], &good), (Dtype::F32, &[2], &bad)),
            "has label NaN for sample 1: expected whole numbers",
        ),
        (whole[..whole.len() - 1].to_vec(), "is neither .npy nor whole safetensors"),
        (u64::MAX.to_le_bytes().to_vec(), "is of a kind that is not known"),
        (b"<!DOCTYPE html><html>".to_vec(), "is a web page"),
    ] {
        let train = listed(scratch.write("x", &bytes));
        let error =
            load(&LoadFeatures { train, ..LoadFeatures::default() }).expect_err("it does not fit");
        let found = error.to_string();
        assert!(found.contains(want) && found.contains("/x`"), "{found}");
    }
    let train = listed(scratch.write("x", &whole));
    let labels = "target".to_owned();
    let error =
        load(&LoadFeatures { train, labels, ..LoadFeatures::default() }).expect_err("no such");
    let found = error.to_string();
    assert!(found.ends_with(
        "has no tensor `target`: it has `embeddings`, `labels`; `labels` names another"
    ));
}

#[test]
fn a_table_has_a_column_for_each_feature_and_texts_are_classes() {
    let scratch = Scratch::new("features-table");
    // The rows say where they belong.
    let text = b"index,width,height,species\n2,5,6,cat\n0,1,2.5,cat\n1,3,4,ant\n";
    let stage = LoadFeatures {
        train: listed(scratch.write("x.csv", text)),
        labels: "species".to_owned(),
        ..LoadFeatures::default()
    };
    let found = load(&stage).expect("it is a table");
    assert_eq!(found.train.inputs, Inputs::Features(vec![1.0, 2.5, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!(found.meta.classes, ["ant", "cat"]);
    assert_eq!(found.train.labels, ClassId::list([1, 0, 1]));
    let classes = Some(names::owned(&["cat", "dog"]));
    let error = load(&LoadFeatures { classes, ..stage }).expect_err("ant is no class");
    assert!(error.to_string().contains("has label `ant` for sample 1"), "{error}");
}

#[test]
fn labels_may_be_missing_and_may_not_be_identifiers() {
    let scratch = Scratch::new("features-labels");
    let x = scratch.write("x.npy", &npy("<f4", "(3, 1)", &f32s(&[1.0, 2.0, 3.0])));
    let alone = LoadFeatures { train: listed(x), ..LoadFeatures::default() };
    let found = load(&alone).expect("it is whole");
    assert_eq!(
        (found.meta.classes, found.train.labels),
        (names::owned(&["unlabelled"]), ClassId::list([0; 3]))
    );
    let y = scratch.write("y.npy", &npy("<i8", "(3,)", &i64s(&[0, 1, 900_000])));
    let error = load(&LoadFeatures { train_labels: listed(y), ..alone }).expect_err("it is an id");
    assert!(error.to_string().contains("has label 900000, but only 3 different labels"), "{error}");
}

#[test]
fn large_files_go_to_the_store_in_blocks_wherever_their_numbers_lie() {
    let scratch = Scratch::new("features-large");
    let (n, d) = (5, 1 << 20);
    let mut x: Vec<f32> = (0..n * d).map(|at| at as f32).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {d}), }}\n");
    let plain = artifacts::formats::npy::encode(1, &header, &f32s(&x));
    let tensors = tensors((Dtype::F32, &[n, d], &f32s(&x)), (Dtype::I64, &[n], &i64s(&[0; 5])));
    for path in [scratch.write("x.npy", &plain), scratch.write("x.safetensors", &tensors)] {
        let stage = LoadFeatures { train: listed(path), ..LoadFeatures::default() };
        let found = load(&stage).expect("it is whole");
        assert!(found.train.inputs == Inputs::Features(x.clone()));
    }
    x[3 * d + 7] = f32::INFINITY;
    let odd = artifacts::formats::npy::encode(1, &header, &f32s(&x));
    let train = listed(scratch.write("x.npy", &odd));
    let error = load(&LoadFeatures { train, ..LoadFeatures::default() }).expect_err("not finite");
    assert!(error.to_string().contains("value inf in the embedding of sample 3, at 7"), "{error}");
}

#[test]
fn several_files_are_one_pool() {
    let scratch = Scratch::new("features-pool");
    let csv = |name: &str, text: &str| scratch.write(name, text.as_bytes());
    csv("part-2.csv", "index,id,a,b,label\n1,y,3,4,0\n0,x,1,2,1\n");
    csv("part-10.csv", "index,id,a,b,label\n2,z,5,6,2\n");
    let pattern = || listed(scratch.path().join("part-*.csv"));
    let stage = || LoadFeatures { train: pattern(), ..LoadFeatures::default() };
    let found = load(&stage()).expect("they are whole");
    assert_eq!(found.train.inputs, Inputs::Features(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!(found.train.labels, ClassId::list([1, 0, 2]));
    assert_eq!(found.columns.ids, Some(names::owned(&["x", "y", "z"])));
    let limited = LoadFeatures { train_limit: Count::try_from(2).ok(), ..stage() };
    let found = load(&limited).expect("they are whole");
    assert_eq!((found.train.inputs.len(), found.columns.ids.map(|ids| ids.len())), (4, Some(2)));
    // Labels in files of their own, which are divided otherwise.
    csv("y-1.txt", "2\n");
    csv("y-2.txt", "1\n1\n");
    let train_labels = listed(scratch.path().join("y-*.txt"));
    let found = load(&LoadFeatures { train_labels, ..stage() }).expect("they are whole");
    assert_eq!(found.train.labels, ClassId::list([2, 1, 1]));
    for (text, want) in [
        ("id,a,b,c,label\nz,5,6,7,2\n", "has embeddings of 3 values, but those of `"),
        ("id,a,b\nz,5,6\n", "has no labels, but `"),
        ("id,a,b,label\nz,5,6,cat\n", "has labels that are texts, but `"),
        ("id,a,b,label\nz,5,nan,1\n", "value NaN in the embedding of sample 0"),
    ] {
        csv("part-10.csv", text);
        let found = load(&stage()).expect_err("it does not fit").to_string();
        assert!(
            found.contains(want) && found.starts_with('`') && found.contains("part-10.csv` has"),
            "{found}"
        );
    }
    // Ids that are not asked for may be anything.
    csv("part-10.csv", "id,a,b,label\ny,5,6,2\n");
    assert_eq!(load(&stage()).expect("they are whole").columns.ids, None);
    let ids = Some("id".to_owned());
    let error = load(&LoadFeatures { ids, ..stage() }).expect_err("it is there twice").to_string();
    assert!(error.contains("has the id `y`, which stands in a file before it"), "{error}");
}

#[test]
fn columns_are_brought_to_scale_by_the_training_samples_alone() {
    let scratch = Scratch::new("features-scale");
    let stage = |scale| LoadFeatures {
        train: listed(scratch.write("train.csv", b"a,b,c,label\n1,100,7,x\n3,300,7,y\n")),
        test: listed(scratch.write("test.csv", b"a,b,c,label\n5,200,8,x\n")),
        scale,
        ..LoadFeatures::default()
    };
    // By hand: means 2 and 200, deviations 1 and 100; the third column never varies.
    let loaded = load(&stage(Scale::Standard)).expect("it is a table");
    let values = |split: &Split| match &split.inputs {
        Inputs::Features(values) => values.to_vec(),
        Inputs::Images(_) => panic!("a table has no images"),
    };
    assert_eq!(values(&loaded.train), [-1.0, -1.0, 0.0, 1.0, 1.0, 0.0]);
    assert_eq!(values(&loaded.test), [3.0, 0.0, 0.0]);
    let untouched = load(&stage(Scale::None)).expect("it is a table");
    assert_eq!(values(&untouched.test), [5.0, 200.0, 8.0]);
    assert!(!serde_json::json!(stage(Scale::None)).to_string().contains("scale"));
}
