//! Secret settings: where their values stand in the pipeline file, and how these are cut out of run
//! records.

use super::instance::Instance;
use crate::spec::{MatrixAxis, Span, SpecSource};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The text in the place of a secret value.
const HIDDEN: &str = "\"(hidden)\"";

/// The secret values of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    spans: BTreeSet<Span>,
    /// The settings that hold them, by stage.
    settings: BTreeMap<Arc<str>, BTreeSet<&'static str>>,
}

impl Secrets {
    /// Adds the secret settings of a stage.
    pub(super) fn add(&mut self, stage: &Arc<str>, instance: &Instance) {
        let settings = instance.stage.secrets();
        if !settings.is_empty() {
            self.spans.extend(instance.secrets());
            self.settings.entry(Arc::clone(stage)).or_default().extend(settings);
        }
    }

    /// Replaces the secret values in the texts of the pipeline file.
    pub(super) fn cut_out(&self, sources: &mut [SpecSource]) {
        // From the end, so that the spans before stay valid.
        for span in self.spans.iter().rev() {
            let text = sources.get_mut(span.source as usize).map(|source| &mut source.text);
            if let Some(text) = text.filter(|text| text.get(span.range()).is_some()) {
                text.replace_range(span.range(), HIDDEN);
            }
        }
    }

    /// Returns the labels of the values of `axis`: numbers, where these are secret.
    pub(super) fn labels(&self, axis: &MatrixAxis) -> Vec<String> {
        let mut path = axis.name.splitn(4, '.');
        let (stage, with, setting) = (path.next(), path.next(), path.next());
        let secret = with == Some("with")
            && stage
                .and_then(|stage| self.settings.get(stage))
                .zip(setting)
                .is_some_and(|(settings, setting)| settings.contains(setting));
        let label = |(number, value): (usize, &crate::spec::AxisValue)| match secret {
            true => format!("(hidden {})", number + 1),
            false => value.label.clone(),
        };
        axis.values.iter().enumerate().map(label).collect()
    }
}
