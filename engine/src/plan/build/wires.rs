//! Which stage gives what to which port, and in which order stages come.

use super::{super::order, Builder, Instance, Wires};
use crate::{
    Arity, Choice, Port,
    spec::{SpecErrorKind, did_you_mean},
};
use std::collections::BTreeSet;

impl Builder<'_> {
    pub(super) fn check_wires(&mut self, instance: &Instance, number: usize) {
        let ports = &self.ports[number];
        let method = instance.stage.method();
        for wire in &instance.from {
            let Some(port) = ports.iter().find(|port| port.name == wire.port) else {
                let kind = SpecErrorKind::UnknownPort { method, port: wire.port.clone() };
                let hint = match ports.len() {
                    0 => Some("it takes no inputs".to_owned()),
                    _ => did_you_mean(&wire.port, ports.iter().map(|port| port.name)),
                };
                self.mistakes.add(wire.port_span, kind, hint);
                continue;
            };
            if wire.is_list
                && !port.takes_many()
                && let Some((_, span)) = wire.stages.get(1)
            {
                let kind = SpecErrorKind::NotMany { method, port: port.name };
                self.mistakes.add(*span, kind, None);
            }
        }
        let connected = |port: &Port| {
            instance.from.iter().any(|wire| wire.port == port.name && !wire.stages.is_empty())
        };
        for port in ports {
            if matches!(port.arity, Arity::One | Arity::Many) && !connected(port) {
                let kind = SpecErrorKind::Unconnected { method, port: port.name };
                // Reported at the first port of `from`, which may stand in a variant.
                let (at, hint) = match instance.from.first() {
                    None => (instance.at, format!("add `from = {{ {} = \"STAGE\" }}`", port.name)),
                    Some(wire) => {
                        let add = format!("add `{} = \"STAGE\"` to `from`", port.name);
                        (wire.port_span, format!("{add}, which is taken as a whole"))
                    }
                };
                self.mistakes.add(at, kind, Some(hint));
            }
        }
        let names: Vec<&str> = ports.iter().filter(|p| connected(p)).map(|p| p.name).collect();
        if instance.sound {
            let problems = instance.stage.wiring(&names).into_iter();
            problems.for_each(|problem| instance.report(problem, self.mistakes, false));
        }
        let choices: BTreeSet<Choice> = ports.iter().filter_map(Port::choice).collect();
        for choice in choices {
            let choice: Vec<&Port> =
                ports.iter().filter(|port| port.choice() == Some(choice)).collect();
            let names = || choice.iter().map(|port| port.name).collect();
            match choice.iter().filter(|port| connected(port)).count() {
                0 => {
                    let kind = SpecErrorKind::NoneConnected { method, ports: names() };
                    let hint = Some(format!("add `from = {{ {} = \"STAGE\" }}`", choice[0].name));
                    self.mistakes.add(instance.at, kind, hint);
                }
                1 => {}
                _ => {
                    let kind = SpecErrorKind::TwoConnected { method, ports: names() };
                    self.mistakes.add(instance.at, kind, None);
                }
            }
        }
    }

    /// Returns the wires of each stage of the cell, and whether names and kinds are all right.
    pub(super) fn resolve_wires(&mut self, instances: &[Option<usize>]) -> (Vec<Wires>, bool) {
        let mut whole = true;
        let mut result = vec![vec![]; instances.len()];
        for (stage, slot) in result.iter_mut().enumerate() {
            let Some(number) = instances[stage] else { continue };
            let instance = &self.instances[number];
            for wire in &instance.from {
                let Some(port) = self.ports[number].iter().find(|port| port.name == wire.port)
                else {
                    whole = false;
                    continue;
                };
                for (name, span) in &wire.stages {
                    let there = |stage: &usize| {
                        let known = self.spec.stages.table();
                        instances[*stage].is_some()
                            || known.is_some_and(|table| table.contains_key(&self.names[*stage]))
                    };
                    let Some(source) = self.stage_index(name).filter(there) else {
                        let hint = did_you_mean(name, self.names.iter().map(|name| &**name));
                        let kind = SpecErrorKind::UnknownStage(name.to_string());
                        self.mistakes.add(*span, kind, hint);
                        whole = false;
                        continue;
                    };
                    if let Some(given) = instances[source] {
                        let gives = self.instances[given].stage.output();
                        if gives != port.kind {
                            let kind = SpecErrorKind::KindMismatch {
                                port: port.name,
                                wants: port.kind.0,
                                stage: name.to_string(),
                                gives: gives.0,
                            };
                            let fitting = self.stages_giving(port, instances);
                            self.mistakes.add(*span, kind, fitting);
                            whole = false;
                        }
                    }
                    if let Some(given) = instances[source]
                        && let repeats @ 2.. = self.instances[given].repeats.count
                        && !port.takes_many()
                    {
                        let kind = SpecErrorKind::RepeatsOnOne {
                            method: instance.stage.method(),
                            port: port.name,
                            stage: name.to_string(),
                            repeats,
                        };
                        let hint = "use a method that takes several, or leave `repeats` out";
                        self.mistakes.add(*span, kind, Some(hint.to_owned()));
                        whole = false;
                    }
                    slot.push((port.name, source));
                }
            }
            // Sorted, for the order of keys in a table has no meaning.
            slot.sort_by_key(|(port, _)| *port);
        }
        (result, whole)
    }

    fn stages_giving(&self, port: &Port, instances: &[Option<usize>]) -> Option<String> {
        let fits = |stage: &usize| {
            instances[*stage].is_some_and(|i| self.instances[i].stage.output() == port.kind)
        };
        let names: Vec<&str> =
            (0..instances.len()).filter(fits).map(|stage| &*self.names[stage]).collect();
        (!names.is_empty())
            .then(|| format!("stages that give {}: {}", port.kind.0, names.join(", ")))
    }

    /// Returns the stages in topological order, inputs first, or `None` after reporting a cycle.
    pub(super) fn topological_order(
        &mut self,
        wires: &[Wires],
        instances: &[Option<usize>],
    ) -> Option<Vec<usize>> {
        let starts = (0..wires.len()).filter(|stage| instances[*stage].is_some());
        match order::topological(wires, starts) {
            Ok(order) => Some(order),
            Err(ring) => {
                self.report_cycle(&ring, instances);
                None
            }
        }
    }

    /// Reports a cycle where the first stage of `ring` names the second to last as its input.
    fn report_cycle(&mut self, ring: &[usize], instances: &[Option<usize>]) {
        let consumer = ring[0];
        let source = ring[ring.len() - 2];
        let span = instances[consumer]
            .map(|number| &self.instances[number])
            .and_then(|instance| {
                let mut sources = instance.from.iter().flat_map(|wire| &wire.stages);
                sources.find(|(name, _)| **name == *self.names[source])
            })
            .map(|(_, span)| *span)
            .unwrap_or_default();
        let names = ring.iter().map(|stage| self.names[*stage].to_string()).collect();
        self.mistakes.add(span, SpecErrorKind::Cycle(names), None);
    }
}
