//! Former declarations of models: what the gateway goes on serving while requests of GitLab's may still name it.
//!
//! GitLab's requests name a model by family, endpoint and identifier. Where one of these is edited, GitLab and the gateway's
//! pods cannot change at the same moment, and who is asked for what it does not know answers 422. So the pods change first,
//! and by way of both:
//!
//! 1. the pods are told of the new declaration and keep the former one beside it, under a name of its own and with the keys
//!    that it had ([`formers`]);
//! 2. GitLab is told once every ready pod has the new one, or [`PATIENCE`] after the first of them has ([`turn`]);
//! 3. the former goes when GitLab has held the new one for so long that nothing of GitLab's can name the former any more
//!    ([`CHANGE_OVER`]).
//!
//! Where the pods stand is read from their last configuration, and what GitLab holds from GitLab: nothing is written down
//! for it, and a restart of the operator changes nothing. What GitLab holds decides only how long a former declaration
//! stays; what is served was declared by people, so that nobody makes the gateway call a place by editing a model in GitLab.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use duo_api::SelfHostedModelSpec;
use duo_api::condition::SYNCED;
use duo_gateway_config::{GatewayConfig, Model, ModelKey, model_key};

use crate::conditions::Finding;
use crate::listener::CHANGE_OVER;
use crate::observed::{self, Instance};
use crate::serving::InForce;

/// Most former declarations of one model: who edits on while GitLab does not follow loses the oldest that GitLab does not
/// hold.
const MOST: usize = 3;
/// What stands between a model's name and a number; no name of an object has it.
const MARK: &str = "~former-";
/// What the files of former declarations begin with.
const FILE: &str = "former.";

/// So long after the first pod has it GitLab is told although others lack it. Pods whose annotation is touched take a
/// configuration over within about a second; one that has not by now is sick, or its node is, and the edit may be the cure
/// of something.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Who waits no longer than this says nothing of it.
pub const SILENCE: Duration = Duration::from_secs(3);

/// What GitLab's requests name a model by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nobody knows now.
    Unknown,
    /// GitLab has no model for this resource.
    Nothing,
    /// This.
    Key(ModelKey),
}

impl Held {
    /// What GitLab holds for a resource with the model `id`, as it was seen last. A model that is not listed may be hidden.
    pub fn of(id: Option<&str>, seen: Option<&Instance>) -> Self {
        let Some(seen) = seen.filter(|seen| seen.models.is_some()) else { return Self::Unknown };
        match id {
            None => Self::Nothing,
            Some(id) => seen.model(id).map_or(Self::Unknown, |model| Self::Key(key_of(model))),
        }
    }

    /// Whether requests name nothing but what is declared.
    pub fn follows(&self, declared: &ModelKey) -> bool {
        match self {
            Self::Unknown => false,
            Self::Nothing => true,
            Self::Key(key) => key == declared,
        }
    }
}

/// The key of requests for a model of GitLab's.
fn key_of(model: &observed::Model) -> ModelKey {
    model_key(&model.family, model.endpoint.as_deref(), model.identifier.as_deref().unwrap_or_default())
}

/// A SelfHostedModel whose former declarations may be served.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// What is declared now, accepted or not.
    pub declared: ModelKey,
    /// What GitLab holds.
    pub held: Held,
    /// For how long GitLab has held what is declared now; `None` while it does not.
    pub followed_for: Option<Duration>,
}

/// A former declaration that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// It, under a name of its own and with files of its own.
    pub model: Model,
    /// Its files, each with the one of which it is a copy.
    pub files: Vec<(String, String)>,
}

/// The former declarations that are to be served beside the `current` ones. `told`: the models of the pods' last
/// configuration. Current declarations win: what requests mean by them is never a former one.
pub fn formers(told: &[Model], current: &[Model], subjects: &[Subject]) -> Vec<Former> {
    let mut taken: BTreeSet<ModelKey> = current.iter().map(Model::key).collect();
    let mut all = Vec::new();
    for subject in subjects.iter().filter(|subject| subject.followed_for.is_none_or(|time| time < CHANGE_OVER)) {
        let mut served: BTreeMap<usize, Former> =
            told.iter().filter_map(|model| Some((number(&subject.name, &model.name)?, again(model)))).collect();
        if let Some(own) = told.iter().find(|model| model.name == subject.name && model.key() != subject.declared) {
            // declared anew since
            served.retain(|_, former| former.model.key() != own.key());
            if let Some(number) = free(&served, &subject.held) {
                served.insert(number, first(own, number));
            }
        }
        all.extend(served.into_values().filter(|former| taken.insert(former.model.key())));
    }
    all
}

/// Whether any of the models that the pods were told of was, or is about to become, a former declaration of these.
pub fn concerns(told: &[Model], subjects: &[Subject]) -> bool {
    subjects.iter().any(|subject| {
        let former = |model: &Model| number(&subject.name, &model.name).is_some();
        told.iter().any(|model| former(model) || model.name == subject.name && model.key() != subject.declared)
    })
}

/// A number for one more former declaration, in place of one if there are too many.
fn free(served: &BTreeMap<usize, Former>, held: &Held) -> Option<usize> {
    let unheld = |number: &usize| {
        served.get(number).is_none_or(|former| !matches!(held, Held::Key(key) if *key == former.model.key()))
    };
    (1..=MOST).find(|number| !served.contains_key(number)).or_else(|| (1..=MOST).find(unheld))
}

/// Whether a model that the pods are told of is a former declaration of this one.
pub fn is_of(told: &str, name: &str) -> bool {
    number(name, told).is_some()
}

/// The number of a former declaration of this model.
fn number(model: &str, name: &str) -> Option<usize> {
    name.strip_prefix(model)?.strip_prefix(MARK)?.parse().ok()
}

/// One that is former from now on. Its keys are kept, for the new declaration may come with others.
fn first(own: &Model, number: usize) -> Former {
    let digest = own.digest();
    let mut model = Model { name: format!("{}{MARK}{number}", own.name), ..own.clone() };
    let mut files = Vec::new();
    for (at, file) in model.files_mut().into_iter().enumerate() {
        let copy = format!("{FILE}{digest}.{at}");
        files.push((copy.clone(), std::mem::replace(file, copy)));
    }
    Former { model, files }
}

/// One that was former before.
fn again(model: &Model) -> Former {
    let mut model = model.clone();
    let files = model.files_mut().into_iter().map(|file| (file.clone(), file.clone())).collect();
    Former { model, files }
}

/// Puts former declarations into a configuration that has the current ones, and their files, taken from those that the pods
/// have `now`, to its `files`. One that lacks a file or breaks a rule by now is left out: it must not hold up the others.
pub fn serve(
    formers: Vec<Former>,
    now: &BTreeMap<String, Vec<u8>>,
    config: &mut GatewayConfig,
    files: &mut BTreeMap<String, Vec<u8>>,
) {
    for Former { model, files: named } in formers {
        // One that was copied already is not copied again: its origin may have another value by now.
        let values: Option<Vec<_>> = named
            .into_iter()
            .map(|(file, origin)| now.get(&file).or_else(|| now.get(&origin)).cloned().map(|value| (file, value)))
            .collect();
        let Some(values) = values else { continue };
        config.models.push(model);
        if config.validate().is_ok() {
            files.extend(values);
        } else {
            config.models.pop();
        }
    }
}

/// What requests for a declared model name it by.
pub fn declared(spec: &SelfHostedModelSpec) -> ModelKey {
    model_key(spec.family.key(), spec.endpoint.as_deref(), &spec.identifier)
}

/// Whether it is GitLab's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// GitLab may be told.
    Tell,
    /// It is told although not every pod has it: that took too long.
    TellLate,
    /// The pods come first.
    Wait,
}

/// Whether GitLab's requests will name the model by something else once it is told what is declared.
pub fn renames(found: &observed::Model, declared: &ModelKey) -> bool {
    key_of(found) != *declared
}

/// The reason while the pods come first.
pub const WAITING_FOR_GATEWAY: &str = "WaitingForGateway";

/// Whether GitLab may be told of a declaration after which its requests name a model that they did not name so before, for
/// it [renames](renames) the model or gives it a feature that another one served. `in_force`: the pods that have what is
/// declared; `some_for`: for how long [some](some_have) have had it.
///
/// Pods that have it serve the former one, too: waiting costs no call. Where no pod has it, telling cures nothing.
pub fn turn(in_force: InForce, some_for: Option<Duration>) -> Turn {
    if in_force.have >= in_force.told {
        Turn::Tell
    } else if some_for.is_some_and(|time| time >= PATIENCE) {
        Turn::TellLate
    } else {
        Turn::Wait
    }
}

/// Whether some pods can serve what is declared. `accepted`: all of them serve the rendered configuration, by their word
/// about the whole of it; then those that tell otherwise of a model do so in words of another version.
pub fn some_have(in_force: InForce, accepted: bool) -> bool {
    in_force.have > 0 || accepted
}

/// Why GitLab is not told yet, for people; `what`: what the pods are to have; `waited`: since GitLab would have been told.
pub fn waiting(what: &str, in_force: InForce, waited: Duration) -> Finding {
    let InForce { told, have } = in_force;
    let until = if have == 0 && waited >= PATIENCE {
        "they do; see ConfigAccepted of the AIGateway".to_owned()
    } else {
        format!("all do, or {} s after the first of them", PATIENCE.as_secs())
    };
    let text = format!(
        "{have} of {told} ready gateway pods have {what}; users are served as before, and GitLab is told once {until}"
    );
    Finding::unknown(SYNCED, WAITING_FOR_GATEWAY, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Capabilities;

    /// A model of one endpoint, told apart by its identifier.
    fn entry(name: &str, identifier: &str) -> Model {
        Model::new(name, "mistral", format!("bedrock/{identifier}"))
    }

    fn own_server(name: &str, identifier: &str) -> Model {
        let endpoint = Some("http://vllm:8000/v1".to_owned());
        Model { endpoint, ..Model::new(name, "mistral", format!("custom_openai/{identifier}")) }
    }

    fn key(identifier: &str) -> ModelKey {
        model_key("mistral", None, &format!("bedrock/{identifier}"))
    }

    fn subject(name: &str, declared: &str, held: Held, followed_for: Option<u64>) -> Subject {
        let followed_for = followed_for.map(Duration::from_secs);
        Subject { name: name.into(), declared: key(declared), held, followed_for }
    }

    fn holds(identifier: &str) -> Held {
        Held::Key(key(identifier))
    }

    /// What is served beside the current ones, as `name=identifier`.
    fn served(told: &[(&str, &str)], current: &[(&str, &str)], subjects: &[Subject]) -> Vec<String> {
        let all = |list: &[(&str, &str)]| list.iter().map(|(name, of)| entry(name, of)).collect::<Vec<_>>();
        let formers = formers(&all(told), &all(current), subjects);
        assert!(formers.is_empty() || concerns(&all(told), subjects), "{formers:?}");
        let short = |former: &Former| format!("{}={}", former.model.name, &former.model.identifier["bedrock/".len()..]);
        formers.iter().map(short).collect()
    }

    #[test]
    fn a_former_declaration_stays_until_nothing_of_gitlabs_can_name_it() {
        let over = CHANGE_OVER.as_secs();
        // (told to the pods last, declared, held by GitLab, followed for, served beside it)
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Held, Option<u64>, &'a [&'a str]);
        let cases: [Case<'_>; 15] = [
            // nothing changes
            (&[("m", "a")], "a", holds("a"), None, &[]),
            (&[("m", "a")], "a", Held::Unknown, None, &[]),
            (&[], "a", Held::Nothing, None, &[]),
            // put back by the operator, whatever somebody makes of it in GitLab
            (&[("m", "a")], "a", holds("by-hand"), None, &[]),
            // edited
            (&[("m", "a")], "b", holds("a"), None, &["m~former-1=a"]),
            (&[("m", "a")], "b", Held::Unknown, None, &["m~former-1=a"]),
            (&[("m", "a")], "b", Held::Nothing, Some(0), &["m~former-1=a"]),
            // the pods have both
            (&[("m", "b"), ("m~former-1", "a")], "b", holds("a"), None, &["m~former-1=a"]),
            (&[("m", "b"), ("m~former-1", "a")], "b", Held::Unknown, None, &["m~former-1=a"]),
            // GitLab has followed
            (&[("m", "b"), ("m~former-1", "a")], "b", holds("b"), Some(0), &["m~former-1=a"]),
            (&[("m", "b"), ("m~former-1", "a")], "b", holds("b"), Some(over - 1), &["m~former-1=a"]),
            (&[("m", "b"), ("m~former-1", "a")], "b", holds("b"), Some(over), &[]),
            // edited again on the way
            (&[("m", "b"), ("m~former-1", "a")], "c", holds("a"), None, &["m~former-1=a", "m~former-2=b"]),
            // and reverted on the way: GitLab may have been told of both
            (&[("m", "b"), ("m~former-1", "a")], "a", holds("a"), Some(0), &["m~former-2=b"]),
            // a name that only begins like it
            (&[("m", "b"), ("m2~former-1", "a"), ("m~former-x", "c")], "b", holds("a"), None, &[]),
        ];
        for (told, declared, held, followed_for, expected) in cases {
            let subject = subject("m", declared, held, followed_for);
            assert_eq!(
                served(told, &[("m", declared)], std::slice::from_ref(&subject)),
                expected,
                "{told:?} {subject:?}"
            );
        }
    }

    #[test]
    fn what_is_declared_now_wins_over_what_was() {
        let pods = [("m", "a"), ("n", "b")];
        let both = |m: &str, n: &str| [subject("m", m, holds("a"), None), subject("n", n, holds("b"), None)];
        // swapped: each former declaration is the other's present one
        assert_eq!(served(&pods, &[("m", "b"), ("n", "a")], &both("b", "a")), [""; 0]);
        // half of a swap: the younger one is refused for as long as requests could not tell the two apart
        assert_eq!(served(&pods, &[("n", "b")], &both("b", "b")), ["m~former-1=a"]);
        let halfway = [("n", "b"), ("m~former-1", "a")];
        assert_eq!(served(&halfway, &[("m", "b"), ("n", "a")], &both("b", "a")), [""; 0]);
        // one takes what the other gives up
        assert_eq!(served(&pods, &[("m", "c"), ("n", "a")], &both("c", "a")), ["n~former-1=b"]);
        // two former declarations of one key: one of them
        let twice = [("m", "c"), ("n", "d"), ("m~former-1", "a"), ("n~former-1", "a")];
        assert_eq!(served(&twice, &[("m", "c"), ("n", "d")], &both("c", "d")), ["m~former-1=a"]);
        // nobody is left whose it is
        assert_eq!(served(&twice, &[("n", "d")], &both("c", "d")[1..]), ["n~former-1=a"]);
    }

    #[test]
    fn who_was_never_edited_is_not_concerned() {
        let both = [subject("m", "a", holds("a"), None), subject("n", "b", holds("b"), None)];
        let concerned = |told: &[(&str, &str)]| {
            let told: Vec<Model> = told.iter().map(|(name, of)| entry(name, of)).collect();
            concerns(&told, &both)
        };
        assert!(!concerned(&[("m", "a"), ("n", "b"), ("gone", "c"), ("gone~former-1", "d")]));
        assert!(concerned(&[("m", "a"), ("n", "c")]));
        assert!(concerned(&[("m", "a"), ("m~former-2", "b")]));
        for (told, of) in [("m~former-2", true), ("m", false), ("n~former-2", false), ("m~former-x", false)] {
            assert_eq!(is_of(told, "m"), of, "{told}");
        }
    }

    #[test]
    fn an_edit_that_is_refused_leaves_what_gitlab_holds_in_force() {
        let edited = [subject("m", "b", holds("a"), None)];
        assert_eq!(served(&[("m", "a")], &[], &edited), ["m~former-1=a"]);
        assert_eq!(served(&[("m~former-1", "a")], &[], &edited), ["m~former-1=a"]);
        assert_eq!(served(&[("m~former-1", "a")], &[("m", "a")], &[subject("m", "a", holds("a"), Some(0))]), [""; 0]);
    }

    #[test]
    fn there_are_never_more_than_a_few_and_the_one_that_gitlab_holds_is_among_them() {
        let mut told: Vec<(String, String)> = vec![("m".into(), "0".into())];
        for edit in 1..20 {
            let (now, refs) =
                (edit.to_string(), told.iter().map(|(n, i)| (n.as_str(), i.as_str())).collect::<Vec<_>>());
            let formers = served(&refs, &[("m", &now)], &[subject("m", &now, holds("0"), None)]);
            assert!(formers.len() <= MOST && formers.contains(&"m~former-1=0".to_owned()), "{formers:?}");
            assert!(formers.iter().any(|text| text.ends_with(&format!("={}", edit - 1))), "the last one: {formers:?}");
            told = formers.iter().filter_map(|text| text.split_once('=')).map(|(n, i)| (n.into(), i.into())).collect();
            told.push(("m".into(), now));
        }
    }

    #[test]
    fn what_gitlab_holds() {
        let model = |id: &str, family: &str, endpoint: Option<&str>, identifier: Option<&str>| observed::Model {
            id: id.into(),
            name: "M".into(),
            family: family.into(),
            endpoint: endpoint.map(Into::into),
            identifier: identifier.map(Into::into),
            provider: None,
            has_api_token: false,
        };
        let seen = |models| Instance {
            version: String::new(),
            capabilities: Capabilities::newest(),
            settings: None,
            models,
            features: vec![],
        };
        let listed = seen(Some(vec![
            model("1", "mistral", Some("http://v/v1/"), Some("custom_openai/m")),
            model("2", "claude_3", Some("http://bedrockselfhostedmodel.com"), Some("bedrock/c")),
            model("3", "mistral", None, None),
        ]));
        let held = |id, seen| Held::of(id, seen);
        let own = Held::Key(model_key("mistral", Some("http://v/v1"), "custom_openai/m"));
        assert_eq!(held(Some("1"), Some(&listed)), own);
        assert_eq!(held(Some("2"), Some(&listed)), Held::Key(model_key("claude_3", None, "bedrock/c")));
        assert_eq!(held(Some("3"), Some(&listed)), Held::Key(model_key("mistral", None, "")));
        assert_eq!(held(Some("9"), Some(&listed)), Held::Unknown, "a beta family may be hidden");
        assert_eq!(held(None, Some(&listed)), Held::Nothing);
        assert_eq!(held(Some("1"), None), Held::Unknown);
        assert_eq!(held(None, Some(&seen(None))), Held::Unknown, "the token may not look");
        for (held, follows) in [(Held::Unknown, false), (Held::Nothing, true), (holds("a"), true), (holds("b"), false)]
        {
            assert_eq!(held.follows(&key("a")), follows, "{held:?}");
        }
    }

    #[test]
    fn a_former_declaration_keeps_the_keys_that_it_had() {
        let own = Model { api_key_file: Some("model.m.key".into()), ..own_server("m", "a") };
        let edited = [subject("m", "b", Held::Unknown, None)];
        let values = |list: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
            list.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
        };
        let at_edit = formers(&[own], &[own_server("m", "b")], &edited);
        let served = |formers: &[Former], now: &BTreeMap<String, Vec<u8>>| {
            let (mut config, mut files) = (GatewayConfig::new("http://gitlab"), BTreeMap::new());
            serve(formers.to_vec(), now, &mut config, &mut files);
            (config.models, files)
        };
        let (models, files) = served(&at_edit, &values(&[("model.m.key", "old"), ("other", "x")]));
        let copy = models[0].api_key_file.clone().unwrap();
        assert!(copy.starts_with("former.") && files == values(&[(&copy, "old")]), "{files:?}");
        // the same again once the pods' Secret has the new key: it was written before the configuration was
        let now = values(&[("model.m.key", "new"), (&copy, "old")]);
        assert_eq!(served(&at_edit, &now), (models.clone(), files.clone()));
        let told = [own_server("m", "b"), models[0].clone()];
        let later = formers(&told, &[own_server("m", "b")], &edited);
        assert_eq!(served(&later, &now), (models, files));
        // without its key it would be called without one
        assert_eq!(served(&later, &values(&[("model.m.key", "new")])), (vec![], BTreeMap::new()));
    }

    #[test]
    fn one_that_breaks_a_rule_by_now_does_not_hold_up_the_others() {
        let mut config = GatewayConfig::new("http://gitlab");
        config.models.push(own_server("m", "b"));
        let broken = Model { endpoint: None, ..own_server("v", "c") };
        assert!(GatewayConfig { models: vec![broken.clone()], ..config.clone() }.validate().is_err());
        let formers = [broken, own_server("n", "a")].map(|model| Former { model, files: vec![] });
        serve(formers.to_vec(), &BTreeMap::new(), &mut config, &mut BTreeMap::new());
        let names: Vec<&str> = config.models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["m", "n"]);
    }

    #[test]
    fn gitlab_waits_for_the_pods_and_not_for_ever() {
        use Turn::{Tell, TellLate, Wait};
        let (short, long) = (PATIENCE - Duration::from_millis(1), PATIENCE);
        for (have, told, some_for, expected) in [
            (0, 2, None, Wait),
            (1, 2, Some(Duration::ZERO), Wait),
            (1, 2, Some(short), Wait),
            (2, 2, Some(Duration::ZERO), Tell),
            (2, 2, Some(long), Tell),
            (1, 2, Some(long), TellLate),
            (0, 2, Some(long), TellLate),
            // no pod is ready: there is nobody to wait for
            (0, 0, None, Tell),
        ] {
            assert_eq!(turn(InForce { told, have }, some_for), expected, "{have} of {told} for {some_for:?}");
        }
        for (have, accepted, expected) in [(0, false, false), (1, false, true), (0, true, true)] {
            assert_eq!(some_have(InForce { told: 2, have }, accepted), expected, "{have} {accepted}");
        }
        let first = "once all do, or 20 s after the first of them";
        let nobody = "once they do; see ConfigAccepted of the AIGateway";
        for (have, waited, words) in [(0, short, first), (0, long, nobody), (1, short, first), (1, long, first)] {
            let told = waiting("it", InForce { told: 2, have }, waited);
            assert_eq!((told.type_, told.reason), (SYNCED, WAITING_FOR_GATEWAY));
            let begins = format!("{have} of 2 ready gateway pods have it;");
            assert!(told.message.starts_with(&begins) && told.message.ends_with(words), "{told:?}");
        }
    }

    #[test]
    fn only_what_requests_name_a_model_by_is_waited_for() {
        let found = observed::Model {
            id: "1".into(),
            name: "M".into(),
            family: "mistral".into(),
            endpoint: Some("http://v/v1/".into()),
            identifier: Some("custom_openai/m".into()),
            provider: None,
            has_api_token: true,
        };
        let spec = |change: fn(&mut SelfHostedModelSpec)| {
            let (platform, family) = (duo_api::Platform::OpenAICompatible, duo_api::Family::Mistral);
            let mut spec = SelfHostedModelSpec::new("duo", "Renamed", platform, family, "custom_openai/m");
            spec.endpoint = Some("http://v/v1".into());
            change(&mut spec);
            renames(&found, &declared(&spec))
        };
        assert!(!spec(|_| {}), "a new name is told at once");
        assert!(!spec(|spec| spec.weight = Some(2)));
        assert!(spec(|spec| spec.identifier = "custom_openai/n".into()));
        assert!(spec(|spec| spec.endpoint = Some("http://w/v1".into())));
        assert!(spec(|spec| spec.family = duo_api::Family::Mixtral));
    }
}
