//! The page of results and its figures, as their readers get them.

use crate::program::{Sandbox, repository};
use flate2::{Crc, read::ZlibDecoder};
use std::{fs, io::Read as _};

/// Runs a small copy of the digits pipeline.
fn digits() -> Sandbox {
    let place = Sandbox::new();
    let text = fs::read_to_string(repository("pipelines/digits.toml")).expect("text");
    place.write(
        "p.toml",
        &text.replace("epochs = 100", "epochs = 3").replace("[0, 1, 2]", "[0, 1]"),
    );
    place.run("p.toml", &["--no-table"]);
    place
}

/// Checks that every tag of `text` is closed, in order.
fn well_formed(text: &str) {
    let mut open: Vec<&str> = vec![];
    let (mut rest, mut tags) = (text, 0);
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        assert!(!tag.contains('<'), "{tag}");
        let name = tag.split([' ', '\n', '/']).find(|part| !part.is_empty()).unwrap_or_default();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "after {tags} tags, before {:.80}", rest);
        } else if !(tag.starts_with(['!', '?']) || tag.ends_with('/') || name == "meta") {
            open.push(name);
        }
        tags += 1;
    }
    assert!(open.is_empty() && tags > 20, "{open:?}");
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Returns what stands between the first `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from}")) + from.len();
    &text[start..start + text[start..].find(to).expect("it ends")]
}

#[test]
fn a_report_is_one_page_with_every_section() {
    let place = digits();
    place.ok(&["report", "p.toml", "-o", "r.html"]);
    let page = fs::read_to_string(place.path("r.html")).expect("written");
    well_formed(&page);
    for heading in [
        "Results",
        "Accuracy against the share kept",
        "Mislabelled samples kept",
        "Training of the proxies",
        "Training of the students",
        "Scores",
        "Overlap of the selectors",
        "Confusion",
        "Samples",
        "The stages",
        "The run",
        "Provenance",
        "To repeat it",
    ] {
        assert!(page.contains(&format!("\">{heading}</h2>")), "no section {heading}");
    }
    // Nothing is loaded: what is referred to is on the page.
    for word in ["http:", "https:", "url(", "@import", "<script", "<link", " src="] {
        assert!(!page.contains(word), "{word}");
    }
    for target in page.split("href=\"").skip(1) {
        assert!(target.starts_with('#') || target.starts_with("data:image/png;base64,"));
    }
    assert!(page.len() < 1 << 20, "{} bytes", page.len());

    // The numbers are those of the table.
    let table = place.json(&["table", "p.toml"]);
    let results = between(&page, "<table>", "</table>");
    let rows = table["rows"].as_array().expect("rows");
    assert_eq!(results.matches("<tr>").count(), rows.len() + 1);
    for row in rows {
        let stat = &row["metrics"]["accuracy"];
        let [mean, std] = ["mean", "std"].map(|of| stat[of].as_f64().expect("a number") * 100.0);
        let said = format!("{mean:.2} ± {std:.2}<");
        assert!(results.contains(&said), "{said}");
    }

    // One cell, with every default written out, is the same computations under the same keys.
    let source = page.split("<pre><code>").last().expect("a block");
    place.write("resolved.toml", &unescaped(between(source, "", "</code>")));
    let plan = place.json(&["plan", "resolved.toml"]);
    assert!(plan["hits"].as_u64().expect("a count") >= 5, "{plan}");
    assert_eq!((plan["run"].as_u64(), plan["waits"].as_u64()), (Some(0), Some(0)), "{plan}");
}

#[test]
fn a_section_without_data_is_left_out() {
    let place = Sandbox::new();
    place.write(
        "p.toml",
        r#"
title = "a <b> & \"c\""
[stage.data]
use  = "load.synthetic"
with = { n = 60, test = 30, d = 4, classes = 3 }
[stage.student]
use  = "train"
from = { data = "data" }
with = { model = "mlp", epochs = 1, batch = 32 }
[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
"#,
    );
    let none = place.output(&["report", "p.toml"]);
    assert_eq!(none.status.code(), Some(1), "before the run there is nothing to report");
    place.run("p.toml", &[]);
    place.ok(&["report", "p.toml"]);
    let page = fs::read_to_string(place.path("p.html")).expect("written");
    well_formed(&page);
    assert!(page.contains("<h1>a &lt;b&gt; &amp; &quot;c&quot;</h1>"));
    assert!(page.contains(">Confusion</h2>") && page.contains(">The stages</h2>"));
    for heading in ["Mislabelled samples kept", "Samples", "Scores", "Overlap of the selectors"] {
        assert!(!page.contains(&format!(">{heading}</h2>")), "{heading}");
    }
}

#[test]
fn a_report_says_what_failed() {
    let place = digits();
    let text = fs::read_to_string(place.path("p.toml")).expect("text");
    let mine = r#"{ subset = { use = "command", from = { data = "noisy" }, with = { run = ["sh", "mine.sh"], files = ["mine.sh"], output = "subset" } } }"#;
    let other = text.replace("balance = \"class\"", "").replace("keep = 0.1, ", "keep = 0.1");
    place.write("p.toml", &format!("{other}mine = {mine}\n"));
    place.write("mine.sh", "echo '<no> & nothing' >&2; exit 4");
    let output = place.output(&["run", "p.toml", "--device", "cpu"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    place.ok(&["report", "p.toml"]);
    let page = fs::read_to_string(place.path("p.html")).expect("written");
    well_formed(&page);
    let section = between(&page, ">What failed</h2>", "</section>");
    assert!(section.contains("<summary>subset [keep=0.1 seed=0 selector=mine]</summary>"));
    let told = "the program ended with code 4\n    &lt;no&gt; &amp; nothing\nhelp: the program";
    assert!(section.contains(told), "{section}");
}

/// Returns width, height and the bytes of an RGB PNG.
fn decoded(png: &[u8]) -> (usize, usize, Vec<u8>) {
    let (signature, mut rest) = png.split_at(8);
    assert_eq!(signature, b"\x89PNG\r\n\x1a\n");
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    let (mut head, mut packed, mut last) = (vec![], vec![], vec![]);
    while !rest.is_empty() {
        let length = word(&rest[..4]) as usize;
        let (name, body) = (&rest[4..8], &rest[8..8 + length]);
        let mut crc = Crc::new();
        crc.update(&rest[4..8 + length]);
        assert_eq!(crc.sum(), word(&rest[8 + length..12 + length]));
        match name {
            b"IHDR" => head = body.to_vec(),
            b"IDAT" => packed.extend(body),
            _ => {}
        }
        (last, rest) = (name.to_vec(), &rest[12 + length..]);
    }
    assert_eq!((&last[..], &head[8..]), (&b"IEND"[..], &[8, 2, 0, 0, 0][..]));
    let (width, height) = (word(&head[..4]) as usize, word(&head[4..8]) as usize);
    let mut lines = vec![];
    ZlibDecoder::new(&packed[..]).read_to_end(&mut lines).expect("it unpacks");
    assert_eq!(lines.len(), height * (1 + width * 3));
    let rows = lines.chunks_exact(1 + width * 3).flat_map(|line| {
        assert_eq!(line[0], 0, "no filter");
        &line[1..]
    });
    (width, height, rows.copied().collect())
}

#[test]
fn every_figure_is_drawn_as_svg_and_png() {
    let place = digits();
    for figure in [
        "accuracy",
        "noise",
        "proxies",
        "students",
        "scores",
        "overlap",
        "confusion",
        "samples",
        "graph",
        "timeline",
    ] {
        let plot = |out: &str| place.ok(&["plot", "p.toml", "--figure", figure, "--out", out]);
        plot("f.svg");
        plot("f.png");
        let svg = fs::read_to_string(place.path("f.svg")).expect("written");
        well_formed(&svg);
        let side = |name: &str| -> f64 {
            between(&svg, &format!(" {name}=\""), "\"").parse().expect("a number")
        };
        let png = fs::read(place.path("f.png")).expect("written");
        let (width, height, bytes) = decoded(&png);
        for (pixels, units) in [(width, side("width")), (height, side("height"))] {
            assert!((pixels as f64 - 2.0 * units).abs() <= 1.2, "{figure}: {pixels}, {units}");
        }
        assert_eq!(bytes[..3], [255; 3], "{figure}: the corner is paper");
        let inked = bytes.chunks_exact(3).filter(|pixel| **pixel != [255; 3]).count();
        let share = inked as f64 / (width * height) as f64;
        assert!((0.01..0.9).contains(&share), "{figure}: {share} of it is inked");
    }
    let wrong = place.output(&["plot", "p.toml", "--figure", "graph", "--out", "f.pdf"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains(".svg or .png"));
}
