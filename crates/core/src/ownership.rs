//! Which model in GitLab belongs to a SelfHostedModel. The one place that decides it.
//!
//! | external-id | create-pending | model of our name in GitLab | adoption | decision |
//! |---|---|---|---|---|
//! | set, id listed | – | – | – | ours |
//! | set, id not listed, lists hide nothing | – | none | – | create: somebody deleted it |
//! | set, id not listed, lists hide nothing | – | another id | `Never` | name taken |
//! | set, id not listed, family hidden | – | none | – | hidden: ours, but not to be seen |
//! | unset | our name | listed | any | ours: our create's answer was lost |
//! | lost, the status of this GitLab has it | – | – | – | as if set |
//! | unset | – | none | – | create |
//! | unset | – | listed, claimed by another resource | any | name taken |
//! | unset | – | listed | `ByName` | adopt |
//! | unset | – | listed | `Never` | name taken |

use std::fmt;

use duo_api::AdoptionPolicy;

use crate::observed::{Instance, Model};
use crate::url_rules::instance_key;

/// The GitLab in which a mark was made: numbers of models mean nothing in another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Normalised URL.
    url: String,
    /// Instance id, once GitLab's health check told it.
    id: Option<String>,
}

impl Home {
    /// The GitLab at this URL.
    pub fn new(url: &str, id: Option<String>) -> Self {
        Self { url: instance_key(url), id }
    }

    /// From the annotation `external-instance`.
    pub fn read(text: &str) -> Self {
        let (url, id) = text.split_once(' ').unwrap_or((text, ""));
        Self { url: url.to_owned(), id: Some(id.to_owned()).filter(|id| !id.is_empty()) }
    }

    /// Whether both are one GitLab: the instance ids decide where both are known, so that a GitLab may move to another
    /// URL and another one behind the same URL is noticed; else the URLs.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (Some(mine), Some(others)) => mine == others,
            _ => self.url == other.url,
        }
    }

    /// Whether the two speak to one GitLab: by the same URL, or by the same instance id behind different ones.
    pub fn shares(&self, other: &Self) -> bool {
        self.url == other.url || (self.id.is_some() && self.id == other.id)
    }

    /// Whether the instance id is known.
    pub fn is_identified(&self) -> bool {
        self.id.is_some()
    }

    /// Whether a mark with this annotation was made here. One without it is taken for one of here.
    pub fn made(&self, mark: Option<&str>) -> bool {
        mark.is_none_or(|mark| Self::read(mark).is(self))
    }

    /// The annotation to write here over `mark`: an id that is known stays known.
    pub fn written(&self, mark: Option<&str>) -> String {
        let known = mark.map(Self::read).filter(|known| known.is(self)).and_then(|known| known.id);
        Self { url: self.url.clone(), id: self.id.clone().or(known) }.to_string()
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{} {id}", self.url),
            None => f.write_str(&self.url),
        }
    }
}

/// What a SelfHostedModel has written down about itself, in the GitLab that is looked at: marks of another [`Home`] do
/// not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Annotation `external-id`.
    pub external_id: Option<String>,
    /// Annotation `create-pending`.
    pub create_pending: Option<String>,
}

impl Marks {
    /// The marks that count in `home`. `marks`: the annotations and the GitLab in which they were made; `status`: id and
    /// GitLab of the last status. Each of the two survives the loss of the other (`kubectl replace` drops annotations, a
    /// restored backup the status); with neither, the model in GitLab is nobody's.
    pub fn at(self, made: Option<&str>, status: Option<(&str, &str)>, home: &Home) -> Self {
        let bare = made.is_none() && self == Self::default();
        match status {
            Some((id, at)) if bare && Home::read(at).is(home) => {
                Self { external_id: Some(id.to_owned()), create_pending: None }
            }
            _ if home.made(made) => self,
            _ => Self::default(),
        }
    }
}

/// Which model in GitLab is meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Match<'a> {
    /// This one is ours.
    Ours(&'a Model),
    /// This one is somebody's, and the policy lets us take it over.
    Adopt(&'a Model),
    /// There is none: make it.
    Create,
    /// It is ours, but GitLab does not list it (beta family without accepted testing terms).
    Hidden(&'a str),
    /// Its name belongs to a model that is not ours.
    NameTaken(&'a Model),
}

/// Decides by the table above. `family_hidden`: GitLab does not list models of this family now; `taken_ids`: ids that
/// other SelfHostedModels hold.
pub fn match_model<'a>(
    marks: &'a Marks,
    name: &str,
    adoption: AdoptionPolicy,
    instance: &'a Instance,
    family_hidden: bool,
    taken_ids: &[&str],
) -> Match<'a> {
    if let Some(id) = marks.external_id.as_deref() {
        if let Some(model) = instance.model(id) {
            return Match::Ours(model);
        }
        if family_hidden {
            return Match::Hidden(id);
        }
    }
    match instance.model_named(name) {
        None => Match::Create,
        Some(model) if taken_ids.contains(&model.id.as_str()) => Match::NameTaken(model),
        Some(model) if marks.create_pending.as_deref() == Some(name) => Match::Ours(model),
        Some(model) if adoption == AdoptionPolicy::ByName => Match::Adopt(model),
        Some(model) => Match::NameTaken(model),
    }
}

/// Whether the mark `create-pending` stays after a create that failed. `stood_before`: it stood before this attempt, so an
/// earlier one may have made the model; `outcome_unknown`: this one may have. Else nothing was made, and a model of this
/// name that GitLab lists later is somebody else's.
pub fn pending_stays(stood_before: bool, outcome_unknown: bool) -> bool {
    stood_before || outcome_unknown
}

/// What may be deleted for a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doomed<'a> {
    /// This one, by id.
    Listed(&'a str),
    /// This one, by id, though GitLab does not list it (beta family without accepted testing terms).
    Hidden(&'a str),
    /// Nothing of ours is there any more.
    Nothing,
}

/// The model that may be deleted for this resource: only one that it holds by id, or that its own lost create made.
/// `family_hidden` and `taken_ids` as for [`match_model`]; only for an instance that [tells
/// absence](Instance::tells_absence).
pub fn may_delete<'a>(
    marks: &'a Marks,
    name: &str,
    instance: &'a Instance,
    family_hidden: bool,
    taken_ids: &[&str],
) -> Doomed<'a> {
    if let Some(id) = marks.external_id.as_deref() {
        return match instance.model(id) {
            Some(model) => Doomed::Listed(&model.id),
            None if family_hidden => Doomed::Hidden(id),
            None => Doomed::Nothing,
        };
    }
    instance
        .model_named(name)
        .filter(|model| marks.create_pending.as_deref() == Some(name) && !taken_ids.contains(&model.id.as_str()))
        .map_or(Doomed::Nothing, |model| Doomed::Listed(&model.id))
}

/// What a deletion that lets go may leave in GitLab, for people; `None`: nothing was ever made.
pub fn may_be_left(marks: &Marks, name: &str) -> Option<String> {
    match (&marks.external_id, &marks.create_pending) {
        (Some(id), _) => Some(format!("model {name:?} ({id})")),
        (None, Some(pending)) => Some(format!("model {pending:?}, if GitLab made it")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Capabilities;

    fn model(id: &str, name: &str) -> Model {
        Model {
            id: id.into(),
            name: name.into(),
            family: "mixtral".into(),
            endpoint: None,
            identifier: None,
            provider: None,
            has_api_token: false,
        }
    }

    fn instance(models: Vec<Model>) -> Instance {
        Instance {
            version: "19.5.0".into(),
            capabilities: Capabilities::newest(),
            settings: None,
            models: Some(models),
            features: vec![],
        }
    }

    #[test]
    fn each_row_of_the_table() {
        let with = instance(vec![model("1", "m")]);
        let without = instance(vec![]);
        let renamed = instance(vec![model("7", "other")]);
        let none = Marks::default();
        let ours = Marks { external_id: Some("7".into()), create_pending: None };
        let pending = Marks { external_id: None, create_pending: Some("m".into()) };
        let stale = Marks { external_id: None, create_pending: Some("old name".into()) };
        let (never, by_name) = (AdoptionPolicy::Never, AdoptionPolicy::ByName);
        let one = model("1", "m");
        let seven = model("7", "other");
        assert_eq!(match_model(&ours, "m", never, &renamed, false, &[]), Match::Ours(&seven));
        assert_eq!(match_model(&ours, "m", never, &without, false, &[]), Match::Create);
        assert_eq!(match_model(&ours, "m", never, &with, false, &[]), Match::NameTaken(&one));
        assert_eq!(match_model(&ours, "m", never, &without, true, &[]), Match::Hidden("7"));
        assert_eq!(match_model(&pending, "m", never, &with, false, &[]), Match::Ours(&one));
        assert_eq!(match_model(&pending, "m", never, &without, false, &[]), Match::Create);
        assert_eq!(match_model(&stale, "m", never, &with, false, &[]), Match::NameTaken(&one));
        assert_eq!(match_model(&pending, "m", by_name, &with, false, &["1"]), Match::NameTaken(&one));
        assert_eq!(match_model(&none, "m", never, &without, false, &[]), Match::Create);
        assert_eq!(match_model(&none, "m", by_name, &with, false, &["1"]), Match::NameTaken(&one));
        assert_eq!(match_model(&none, "m", by_name, &with, false, &[]), Match::Adopt(&one));
        assert_eq!(match_model(&none, "m", never, &with, false, &[]), Match::NameTaken(&one));
    }

    #[test]
    fn annotations_and_status_stand_in_for_each_other_in_one_gitlab_only() {
        let home = Home::new("https://g.example", None);
        let (here, there) = ("https://g.example:443", "https://other.example:443");
        let marked = Marks { external_id: Some("7".into()), create_pending: None };
        let from_status = Marks { external_id: Some("9".into()), create_pending: None };
        for (marks, made, status, counts) in [
            (marked.clone(), Some(here), None, marked.clone()),
            (marked.clone(), Some(here), Some(("9", here)), marked.clone()),
            (marked.clone(), Some(there), Some(("9", here)), Marks::default()),
            (Marks::default(), None, Some(("9", here)), from_status),
            (Marks::default(), None, Some(("9", there)), Marks::default()),
            (Marks::default(), Some(here), Some(("9", here)), Marks::default()),
            (Marks::default(), None, None, Marks::default()),
        ] {
            assert_eq!(marks.clone().at(made, status, &home), counts, "{marks:?} {made:?} {status:?}");
        }
    }

    #[test]
    fn only_what_is_ours_may_be_deleted() {
        let with = instance(vec![model("1", "m")]);
        let ours = Marks { external_id: Some("1".into()), create_pending: None };
        let gone = Marks { external_id: Some("9".into()), create_pending: None };
        let pending = Marks { external_id: None, create_pending: Some("m".into()) };
        fn may(marks: &Marks, instance: &Instance, hidden: bool, taken: &[&str]) -> String {
            match may_delete(marks, "m", instance, hidden, taken) {
                Doomed::Listed(id) => format!("listed {id}"),
                Doomed::Hidden(id) => format!("hidden {id}"),
                Doomed::Nothing => "nothing".to_owned(),
            }
        }
        assert_eq!(may(&ours, &with, false, &[]), "listed 1");
        assert_eq!(may(&pending, &with, false, &[]), "listed 1");
        assert_eq!(may(&pending, &with, false, &["1"]), "nothing");
        assert_eq!(may(&gone, &with, false, &[]), "nothing", "a model of our name that is not ours stays");
        assert_eq!(may(&Marks::default(), &with, false, &[]), "nothing");
        assert_eq!(may(&gone, &with, true, &[]), "hidden 9");
    }

    #[test]
    fn a_create_whose_answer_was_lost_may_leave_a_model_too() {
        let marks = |id: Option<&str>, pending: Option<&str>| Marks {
            external_id: id.map(Into::into),
            create_pending: pending.map(Into::into),
        };
        for (marks, left) in [
            (marks(Some("7"), None), Some("model \"m\" (7)")),
            (marks(None, Some("m")), Some("model \"m\", if GitLab made it")),
            (marks(None, None), None),
        ] {
            assert_eq!(may_be_left(&marks, "m").as_deref(), left, "{marks:?}");
        }
    }

    #[test]
    fn a_mark_counts_in_the_gitlab_in_which_it_was_made() {
        let here = |id: Option<&str>| Home::new("https://gitlab.example.com/", id.map(Into::into));
        let cases = [
            // (annotation, instance id known now, ours)
            (None, None, true),
            (Some("https://gitlab.example.com:443"), None, true),
            (Some("https://gitlab.example.com:443"), Some("a"), true),
            (Some("https://gitlab.example.com:443 a"), None, true),
            (Some("https://gitlab.example.com:443 a"), Some("a"), true),
            (Some("https://gitlab.example.com:443 a"), Some("b"), false),
            (Some("https://old.example.com:443 a"), Some("a"), true),
            (Some("https://old.example.com:443 a"), None, false),
            (Some("https://old.example.com:443"), Some("a"), false),
        ];
        for (mark, id, ours) in cases {
            assert_eq!(here(id).made(mark), ours, "{mark:?} {id:?}");
        }
    }

    #[test]
    fn a_home_is_identified_by_its_instance_id() {
        assert!(Home::new("http://g", Some("id".into())).is_identified());
        assert!(!Home::new("http://g", None).is_identified());
    }

    #[test]
    fn an_instance_id_that_is_known_stays_written() {
        let here = |id: Option<&str>| Home::new("https://g.example", id.map(Into::into));
        for (mark, id, written) in [
            (None, None, "https://g.example:443"),
            (None, Some("a"), "https://g.example:443 a"),
            (Some("https://g.example:443 a"), None, "https://g.example:443 a"),
            (Some("https://old.example:443 a"), None, "https://g.example:443"),
            (Some("https://old.example:443 a"), Some("a"), "https://g.example:443 a"),
            (Some("https://g.example:443 a"), Some("b"), "https://g.example:443 b"),
        ] {
            assert_eq!(here(id).written(mark), written, "{mark:?} {id:?}");
            assert!(here(id).made(Some(&here(id).written(mark))));
        }
    }

    #[test]
    fn the_mark_of_a_create_goes_only_when_nothing_can_have_been_made() {
        for (stood_before, outcome_unknown, stays) in
            [(false, false, false), (true, false, true), (false, true, true), (true, true, true)]
        {
            assert_eq!(pending_stays(stood_before, outcome_unknown), stays, "{stood_before} {outcome_unknown}");
        }
    }
}
