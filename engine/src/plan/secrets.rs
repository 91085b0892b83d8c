//! Settings whose values are nobody's business: where they stand, and how they are kept out of
//! what is written down.

use super::instance::Instance;
use crate::spec::{MatrixAxis, Span, SpecSource};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What stands in the place of a value.
const HIDDEN: &str = "\"(hidden)\"";

/// The secret values of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    spans: BTreeSet<Span>,
    /// The settings that hold them, by stage.
    settings: BTreeMap<Arc<str>, BTreeSet<&'static str>>,
}

impl Secrets {
    /// Adds those of a stage.
    pub(super) fn add(&mut self, stage: &Arc<str>, instance: &Instance) {
        let settings = instance.stage.secrets();
        if !settings.is_empty() {
            self.spans.extend(instance.secrets());
            self.settings.entry(Arc::clone(stage)).or_default().extend(settings);
        }
    }

    /// Takes the values out of the texts they stand in.
    pub(super) fn cut_out(&self, sources: &mut [SpecSource]) {
        // From the end, so that the places before stay where they are.
        for span in self.spans.iter().rev() {
            let text = sources.get_mut(span.source as usize).map(|source| &mut source.text);
            if let Some(text) = text.filter(|text| text.get(span.range()).is_some()) {
                text.replace_range(span.range(), HIDDEN);
            }
        }
    }

    /// Returns what tables call the values of `axis`: by number, where they are secret.
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
