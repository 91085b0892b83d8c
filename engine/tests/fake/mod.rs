//! Stages that do what they are told, for testing the engine without the real ones.

use engine::{
    ArtifactKind, Method, MethodFailure, Port, Problem, Registry, Settings, SettingsError, Stage,
    StageCtx, StageError,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{borrow::Cow, collections::BTreeMap};
use thiserror::Error;

pub(crate) const TEXT: ArtifactKind = ArtifactKind("text");
pub(crate) const RESULT: ArtifactKind = ArtifactKind("result");

/// Why a fake fails.
#[derive(Debug, Error)]
enum FakeError {
    #[error("told to fail")]
    Told,
    #[error("no input")]
    NoInput,
}

impl MethodFailure for FakeError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Told => Some("tell it otherwise".into()),
            Self::NoInput => None,
        }
    }
}

/// Gives a text of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Make {
    text: String,
    size: u32,
    share: f64,
    draws: bool,
    rule: MakeRule,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct MakeRule {
    depth: u32,
}

/// Joins the texts it is given; can be told to fail.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Join {
    fail: bool,
    full: bool,
    panic: bool,
    first: bool,
    sleep: u64,
    rule: JoinRule,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct JoinRule {
    width: u32,
}

/// Counts what it is given: a result.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CountBytes {}

impl Stage for Make {
    fn method(&self) -> &'static str {
        "make"
    }
    fn revision(&self) -> u32 {
        1
    }
    fn settings(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
    fn inputs(&self) -> Vec<Port> {
        vec![]
    }
    fn output(&self) -> ArtifactKind {
        TEXT
    }
    fn streams(&self) -> &'static [&'static str] {
        if self.draws { &["text"] } else { &[] }
    }
    fn problems(&self) -> Vec<Problem> {
        if self.share <= 1.0 {
            return vec![];
        }
        let message = format!("a share is at most 1, but {} is more", self.share);
        vec![Problem { setting: "share".into(), message, hint: Some("write 0.5 for half".into()) }]
    }
    fn run(&self, ctx: &StageCtx<'_>) -> Result<BTreeMap<String, cache::Blob>, StageError> {
        let mut text = self.text.clone();
        if self.draws {
            use rand::Rng as _;
            text.push_str(&ctx.streams().get("text").next_u64().to_string());
        }
        Ok(BTreeMap::from([("text".to_owned(), ctx.put(text.as_bytes())?)]))
    }
}

impl Stage for Join {
    fn method(&self) -> &'static str {
        "join"
    }
    fn revision(&self) -> u32 {
        1
    }
    fn settings(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
    fn inputs(&self) -> Vec<Port> {
        vec![Port::many("texts", TEXT), Port::optional("more", TEXT)]
    }
    fn output(&self) -> ArtifactKind {
        TEXT
    }
    fn run(&self, ctx: &StageCtx<'_>) -> Result<BTreeMap<String, cache::Blob>, StageError> {
        assert!(!self.panic, "told to");
        if self.fail {
            return Err(FakeError::Told.into());
        }
        if self.full {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(cache::StoreError::Io { action: "write", path: "x".into(), source }.into());
        }
        std::thread::sleep(std::time::Duration::from_millis(self.sleep));
        ctx.check_cancelled()?;
        let mut text = vec![];
        for input in ctx.inputs("texts").iter().take(if self.first { 1 } else { usize::MAX }) {
            text.extend_from_slice(&ctx.get(&input.parts["text"])?);
        }
        Ok(BTreeMap::from([("text".to_owned(), ctx.put(&text)?)]))
    }
}

impl Stage for CountBytes {
    fn method(&self) -> &'static str {
        "count"
    }
    fn revision(&self) -> u32 {
        1
    }
    fn settings(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("text", TEXT)]
    }
    fn output(&self) -> ArtifactKind {
        RESULT
    }
    fn run(&self, ctx: &StageCtx<'_>) -> Result<BTreeMap<String, cache::Blob>, StageError> {
        let input = ctx.input("text").ok_or(FakeError::NoInput)?;
        let text = ctx.get(&input.parts["text"])?;
        let count = text.len().to_string();
        Ok(BTreeMap::from([("count".to_owned(), ctx.put(count.as_bytes())?)]))
    }
}

fn parse<S: Stage + DeserializeOwned + 'static>(
    with: Settings<'_>,
) -> Result<Box<dyn Stage>, SettingsError> {
    Ok(Box::new(with.read::<S>()?))
}

pub(crate) fn registry() -> Registry {
    let method = |name, parse| Method {
        name,
        summary: "a fake",
        manual: "a fake",
        parse,
        schema: || schemars::json_schema!({}),
    };
    Registry::default()
        .with([
            method("make", parse::<Make>),
            method("join", parse::<Join>),
            method("count", parse::<CountBytes>),
        ])
        .with_results(RESULT)
}
