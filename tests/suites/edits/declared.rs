//! A small model of what GitLab has to hold, made from the specs alone. It knows nothing of the operator's code: rules
//! are those that users are told.
//!
//! Claims are judged by age. What is not accepted keeps in GitLab what it had there.

use std::collections::{BTreeMap, BTreeSet};

/// Features that the generator uses, as the resource and as GitLab spell them. Sub-features of Duo Chat are left out:
/// what becomes of them follows Duo Chat, and has tests of its own.
pub const FEATURES: [(&str, &str); 6] = [
    ("CodeCompletions", "code_completions"),
    ("CodeGenerations", "code_generations"),
    ("DuoChat", "duo_chat"),
    ("GenerateCommitMessage", "generate_commit_message"),
    ("ResolveVulnerability", "resolve_vulnerability"),
    ("SummarizeReview", "summarize_review"),
];

/// What GitLab holds of a model: name, identifier.
pub type Held = (String, String);

/// A SelfHostedModel.
#[derive(Clone, Debug)]
pub struct Model {
    /// Place in the order of creation.
    pub age: u32,
    /// `spec.displayName`.
    pub display_name: String,
    /// `spec.identifier`.
    pub identifier: String,
    /// Somebody deleted it.
    pub deleting: bool,
    /// What GitLab holds.
    pub held: Option<Held>,
    /// Whether GitLab holds what is declared now.
    pub synced: bool,
}

/// What an assignment wants for its features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A SelfHostedModel by its resource's name, which need not exist.
    Model(String),
    /// Switched off.
    Disabled,
}

/// A FeatureAssignment.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Place in the order of creation.
    pub age: u32,
    /// Indexes into [`FEATURES`].
    pub features: BTreeSet<usize>,
    /// See there.
    pub target: Target,
}

/// How a feature is set: provider, and resource name of the model.
pub type Setting = (&'static str, Option<String>);

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// By resource name.
    pub models: BTreeMap<String, Model>,
    /// By resource name.
    pub assignments: BTreeMap<String, Assignment>,
    /// Features that somebody of ours has set, as GitLab holds them.
    pub settings: BTreeMap<usize, Setting>,
    /// Seconds.
    pub timeout: u64,
    ages: u32,
}

impl Declared {
    /// A gateway without models.
    pub fn new(timeout: u64) -> Self {
        Self { timeout, ..Self::default() }
    }

    /// The next place in the order of creation.
    pub fn age(&mut self) -> u32 {
        self.ages += 1;
        self.ages
    }

    /// Assignments that name a model.
    pub fn users_of(&self, model: &str) -> impl Iterator<Item = (&String, &Assignment)> {
        let target = Target::Model(model.to_owned());
        self.assignments.iter().filter(move |(_, assignment)| assignment.target == target)
    }

    /// Who holds a feature: the oldest that names it.
    pub fn holder(&self, feature: usize) -> Option<&String> {
        let naming = self.assignments.iter().filter(|(_, assignment)| assignment.features.contains(&feature));
        naming.min_by_key(|(_, assignment)| assignment.age).map(|(name, _)| name)
    }

    /// What becomes of GitLab once everything has come to rest.
    pub fn settle(&mut self) {
        // each round what became free in the last one is taken; there are fewer rounds than objects
        for _ in 0..self.models.len() + 2 {
            self.settle_models();
            self.settle_features();
            self.models.retain(|name, model| {
                let used = self.assignments.values().any(|item| item.target == Target::Model(name.clone()));
                let set = self.settings.values().any(|(_, on)| on.as_ref() == Some(name));
                !model.deleting || used || set
            });
        }
    }

    fn settle_models(&mut self) {
        let mut names: Vec<String> = self.models.keys().cloned().collect();
        names.sort_by_key(|name| self.models[name].age);
        for name in &names {
            let me = &self.models[name];
            let declared = (me.display_name.clone(), me.identifier.clone());
            let others = || self.models.iter().filter(|(other, _)| *other != name);
            let claimed = others()
                .any(|(_, other)| !other.deleting && other.age < me.age && other.display_name == me.display_name);
            let taken = others().any(|(_, other)| other.held.as_ref().is_some_and(|held| held.0 == me.display_name));
            let synced = !me.deleting && !claimed && (me.held.as_ref() == Some(&declared) || !taken);
            if let Some(me) = self.models.get_mut(name) {
                me.synced = synced;
                if synced {
                    me.held = Some(declared);
                }
            }
        }
    }

    fn settle_features(&mut self) {
        for feature in 0..FEATURES.len() {
            match self.holder(feature).map(|name| self.assignments[name].target.clone()) {
                None => {
                    if let Some(setting) = self.settings.get_mut(&feature) {
                        *setting = ("unassigned", None);
                    }
                }
                Some(Target::Disabled) => drop(self.settings.insert(feature, ("disabled", None))),
                Some(Target::Model(model)) => {
                    // one that is not there leaves the feature as it is
                    if self.models.get(&model).is_some_and(|model| model.synced) {
                        self.settings.insert(feature, ("self_hosted", Some(model)));
                    }
                }
            }
        }
    }

    /// Whether users can use all features of an assignment now.
    pub fn is_ready(&self, assignment: &str) -> bool {
        let item = &self.assignments[assignment];
        let holds = item.features.iter().all(|feature| self.holder(*feature).is_some_and(|name| name == assignment));
        let served = match &item.target {
            Target::Disabled => true,
            Target::Model(model) => self.models.get(model).is_some_and(|model| model.synced),
        };
        holds && served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(declared: &mut Declared, name: &str, display_name: &str) {
        let (age, display_name) = (declared.age(), display_name.to_owned());
        let identifier = "bedrock/x".to_owned();
        let model = Model { age, display_name, identifier, deleting: false, held: None, synced: false };
        declared.models.insert(name.to_owned(), model);
        declared.settle();
    }

    #[test]
    fn a_name_goes_to_the_older_and_to_the_younger_once_it_is_free() {
        let mut declared = Declared::default();
        model(&mut declared, "a", "X");
        model(&mut declared, "b", "X");
        assert!(declared.models["a"].synced && !declared.models["b"].synced && declared.models["b"].held.is_none());
        declared.models.get_mut("a").expect("a").display_name = "Y".to_owned();
        declared.settle();
        assert!(declared.models["a"].synced && declared.models["b"].synced);
    }

    #[test]
    fn a_model_in_use_stays_and_its_features_with_it() {
        let mut declared = Declared::default();
        model(&mut declared, "a", "X");
        let age = declared.age();
        let assignment = Assignment { age, features: [2].into(), target: Target::Model("a".to_owned()) };
        declared.assignments.insert("f".to_owned(), assignment);
        declared.models.get_mut("a").expect("a").deleting = true;
        declared.settle();
        assert!(declared.models.contains_key("a") && !declared.is_ready("f") && declared.settings.is_empty());
        declared.assignments.clear();
        declared.settle();
        assert!(declared.models.is_empty());
    }
}
