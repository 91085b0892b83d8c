//! Texts: kept rows come out as they went in, whatever file they came in.

use crate::program::Sandbox;
use parquet::{
    data_type::{ByteArray, ByteArrayType, Int64Type},
    file::{
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    schema::parser::parse_message_type,
};
use std::{fs, io::Write as _, sync::Arc};

fn pipeline(with: &str) -> String {
    format!(
        "[stage.data]\nuse = \"load.text\"\nwith = {{ {with} }}\n[stage.subset]\nuse = \"select.random\"\n\
         from = {{ data = \"data\" }}\nwith = {{ keep = 0.5, unit = \"tokens\" }}\n\
         [stage.all]\nuse = \"select.full\"\nfrom = {{ data = \"data\" }}\n"
    )
}

/// Returns the file of kept rows of `stage`.
fn rows(place: &Sandbox, stage: &str, file: &str) -> Vec<u8> {
    place.ok(&["export", "p.toml", stage, "--rows", file]);
    fs::read(place.path(file)).expect("written")
}

/// Returns the ids of the rows that were kept.
fn ids(place: &Sandbox) -> Vec<String> {
    place.ok(&["export", "p.toml", "subset", "--to", "kept.txt", "--format", "ids"]);
    let text = fs::read_to_string(place.path("kept.txt")).expect("written");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn kept_lines_are_the_lines_of_the_pool() {
    let place = Sandbox::new();
    // Blanks, escapes, an ending of Windows and none at the end: all of it stays.
    let pool = "{\"text\":  \"one\"}\n{\"text\": \"t\\u00fc \\\"x\\\"\", \"n\": 1.0}\r\n\
                {\"n\": 2, \"text\": \"three \u{1f30d}\"}\n {\"text\": \"four\"}\n{\"text\": \"five\"}";
    place.write("pool.jsonl", pool);
    place.write("p.toml", &pipeline("train = \"pool.jsonl\""));
    place.run("p.toml", &["--no-table"]);
    assert_eq!(rows(&place, "all", "all.jsonl"), pool.as_bytes());
    let kept = rows(&place, "subset", "kept.jsonl");
    let lines: Vec<&str> = pool.split_inclusive('\n').collect();
    let ids = ids(&place);
    let wanted: String =
        ids.iter().map(|line| lines[line.parse::<usize>().expect("a line") - 1]).collect();
    assert!((1..5).contains(&ids.len()));
    assert_eq!(String::from_utf8_lossy(&kept), wanted);
    let output = place.output(&["export", "p.toml", "all", "--rows", "all.csv"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("end the name in .jsonl"), "{said}");

    // The same as a table, packed.
    let table = "id,text\r\na,\"x, y\r\nz\"\r\nb,w\r\n";
    let packed = fs::File::create(place.path("pool.csv.gz")).expect("a file");
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    packed.write_all(table.as_bytes()).expect("written");
    packed.finish().expect("written");
    place.write("p.toml", &pipeline("train = \"pool.csv.gz\", ids = \"id\""));
    place.run("p.toml", &["--no-table"]);
    assert_eq!(rows(&place, "all", "all.csv"), table.as_bytes());

    // Files go into a folder, and what comes of its folders is the label.
    for (name, text) in [("in/ham/1.txt", "hello\nyou"), ("in/spam/2.txt", "buy")] {
        let path = place.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    place.write("p.toml", &pipeline("train = \"in\""));
    let (_, said) = place.run("p.toml", &["--no-table"]);
    assert!(!said.contains("unlabelled"), "{said}");
    place.ok(&["export", "p.toml", "all", "--rows", "out"]);
    assert_eq!(fs::read(place.path("out/ham/1.txt")).expect("written"), b"hello\nyou");
    assert_eq!(fs::read(place.path("out/spam/2.txt")).expect("written"), b"buy");
}

#[test]
fn kept_rows_of_parquet_have_its_schema() {
    let place = Sandbox::new();
    let schema = "message rows { required int64 id; required byte_array body (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let file = fs::File::create(place.path("pool.parquet")).expect("a file");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
    // Two groups of rows.
    for first in [10, 20] {
        let mut group = writer.next_row_group().expect("a group");
        let mut column = group.next_column().expect("reads").expect("there are two");
        let ids = [first, first + 1];
        column.typed::<Int64Type>().write_batch(&ids, None, None).expect("written");
        column.close().expect("closed");
        let mut column = group.next_column().expect("reads").expect("there are two");
        let texts = ids.map(|id| ByteArray::from(format!("text {id}").as_str()));
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).expect("written");
        column.close().expect("closed");
        group.close().expect("closed");
    }
    writer.close().expect("closed");
    place.write("p.toml", &pipeline("train = \"pool.parquet\", text = [\"body\"], ids = \"id\""));
    place.run("p.toml", &["--no-table"]);
    let ids = ids(&place);
    assert_eq!(ids.len(), 2);
    rows(&place, "subset", "kept.parquet");
    let file = fs::File::open(place.path("kept.parquet")).expect("written");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let found = reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string());
    let wanted = ids.iter().map(|id| format!("{{id: {id}, body: \"text {id}\"}}"));
    assert_eq!(found.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
}

#[test]
fn rows_without_text_are_told_with_their_line() {
    let place = Sandbox::new();
    place.write("pool.jsonl", "{\"text\": \"a\"}\n{\"body\": \"b\"}\n{\"text\": \"\"}\n");
    place.write("p.toml", &pipeline("train = \"pool.jsonl\""));
    let output = place.output(&["run", "p.toml", "--device", "cpu"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let wanted = "`pool.jsonl` has 2 of 3 rows that cannot be used: line 2 has no field `text`; \
                  line 3 has an empty text";
    assert!(said.contains(wanted) && said.contains("bad-rows = \"skip\""), "{said}");
    place.write("p.toml", &pipeline("train = \"pool.jsonl\", bad-rows = \"skip\""));
    place.run("p.toml", &["--no-table"]);
    assert_eq!(rows(&place, "all", "all.jsonl"), b"{\"text\": \"a\"}\n");
}

#[test]
fn an_exported_subset_comes_back_by_ids() {
    let place = Sandbox::new();
    let lines = (1..=9).map(|n| format!("{{\"text\": \"word {n}\", \"key\": {n}}}\n"));
    place.write("pool.jsonl", &lines.collect::<String>());
    // Keys are numbers, which could be taken for positions.
    place.write("p.toml", &pipeline("train = \"pool.jsonl\", ids = \"key\""));
    place.run("p.toml", &["--no-table"]);
    let before = ids(&place);
    for file in ["kept.npy", "kept.csv", "kept.parquet", "kept.safetensors", "kept.json"] {
        place.ok(&["export", "p.toml", "subset", "--to", file]);
        let back = format!(
            "{}[stage.back]\nuse = \"select.import\"\nfrom = {{ data = \"data\" }}\nwith = {{ file = \"{file}\" }}\n",
            pipeline("train = \"pool.jsonl\", ids = \"key\"")
        );
        place.write("q.toml", &back);
        place.run("q.toml", &["--no-table"]);
        place.ok(&["export", "q.toml", "back", "--to", "again.txt"]);
        let again = fs::read_to_string(place.path("again.txt")).expect("written");
        assert_eq!(again.lines().collect::<Vec<_>>(), before, "{file}");
    }
}

#[test]
fn a_query_weighted_by_other_texts_is_refused() {
    let place = Sandbox::new();
    place.write("pool.txt", "one two\ntwo three\nfour\n");
    place.write("query.txt", "two\n");
    let text = |with: &str, query: &str| {
        format!(
            "[stage.data]\nuse = \"load.text\"\nwith = {{ train = \"pool.txt\"{with} }}\n\
             [stage.query]\nuse = \"load.text\"\nwith = {{ train = \"query.txt\"{query} }}\n\
             [stage.subset]\nuse = \"select.nearest-query\"\n\
             from = {{ data = \"data\", query-data = \"query\" }}\nwith = {{ budget = 1 }}\n"
        )
    };
    let (idf, three) = (", weighting = \"tf-idf\"", ", ngrams = 3");
    for (with, query) in [(idf, idf), (idf, ""), ("", three)] {
        place.write("p.toml", &text(with, query));
        let output = place.output(&["run", "p.toml", "--device", "cpu"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("the query's features are n-grams of up to"), "{said}");
        assert!(said.contains("weighting = \"tf\""), "{said}");
    }
    place.write("p.toml", &text("", ""));
    place.run("p.toml", &["--no-table"]);
}
