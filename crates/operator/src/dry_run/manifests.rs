//! Manifests: from text to objects that know where they stand. Knows no file system and no cluster.

use std::collections::BTreeMap;
use std::fmt;

use duo_api::{GROUP, VERSION};
use serde_json::{Map, Value};

/// Where a document begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// File as it was named, `-` for standard input.
    pub file: String,
    /// Line of the document's first field, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = if self.file == "-" { "standard input" } else { &self.file };
        write!(f, "{file}:{}", self.line)
    }
}

/// The kinds that a plan takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
    AIGateway,
    SelfHostedModel,
    FeatureAssignment,
}

impl Kind {
    /// Our own kinds, in the order in which they depend on each other.
    pub(super) const OURS: [Self; 3] = [Self::AIGateway, Self::SelfHostedModel, Self::FeatureAssignment];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::AIGateway => "AIGateway",
            Self::SelfHostedModel => "SelfHostedModel",
            Self::FeatureAssignment => "FeatureAssignment",
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
            Self::AIGateway => "aigateways",
            Self::SelfHostedModel => "selfhostedmodels",
            Self::FeatureAssignment => "featureassignments",
        }
    }

    fn of(api_version: &str, kind: &str) -> Option<Self> {
        let ours = format!("{GROUP}/{VERSION}");
        match (api_version, kind) {
            ("v1", "Secret") => Some(Self::Secret),
            ("v1", "ConfigMap") => Some(Self::ConfigMap),
            (version, kind) if version == ours => Self::OURS.into_iter().find(|own| own.name() == kind),
            _ => None,
        }
    }
}

/// One object that a plan takes in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manifest {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    pub place: Place,
    /// The object, with its namespace and without `status`.
    pub object: Value,
}

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    pub objects: Vec<Manifest>,
    /// What is left alone, and why.
    pub notes: Vec<String>,
    /// What is wrong, with its place and the cure.
    pub mistakes: Vec<String>,
}

impl Manifests {
    /// Takes in one file. Objects without a namespace belong to `namespace`; with `only`, one of another namespace is a
    /// mistake.
    pub(super) fn add(&mut self, file: &str, text: &str, namespace: &str, only: bool) {
        for (line, text) in documents(text) {
            let place = Place { file: file.to_owned(), line };
            match parse(&text) {
                Ok(Value::Null) => {}
                Ok(value) => self.take(value, &place, namespace, only),
                Err((at, why)) => {
                    let at = Place { line: line + at, ..place };
                    self.mistakes.push(format!("{at}: this is not YAML: {why}"));
                }
            }
        }
    }

    fn take(&mut self, value: Value, place: &Place, namespace: &str, only: bool) {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        if api_version.is_empty() || kind.is_empty() {
            self.mistakes
                .push(format!("{place}: a manifest needs apiVersion and kind; this document lacks one of them"));
            return;
        }
        if kind == "List" && api_version == "v1" {
            for item in value.get("items").and_then(Value::as_array).into_iter().flatten() {
                self.take(item.clone(), place, namespace, only);
            }
            return;
        }
        let name = text("/metadata/name");
        let Some(known) = Kind::of(&api_version, &kind) else {
            match api_version.strip_prefix(GROUP) {
                Some(_) => self.mistakes.push(format!(
                    "{place}: {api_version} {kind} is no kind of Duo Operator; {GROUP}/{VERSION} has AIGateway, \
                     SelfHostedModel and FeatureAssignment"
                )),
                None => self.notes.push(format!("{place}: {} is left alone", format!("{kind} {name}").trim_end())),
            }
            return;
        };
        if name.is_empty() {
            self.mistakes.push(format!("{place}: {kind} has no metadata.name; give it one"));
            return;
        }
        let declared = text("/metadata/namespace");
        if only && !declared.is_empty() && declared != namespace {
            self.mistakes.push(format!(
                "{place}: {kind} {name} is of namespace {declared}, not of --namespace {namespace}; leave one of the two out"
            ));
            return;
        }
        let namespace = if declared.is_empty() { namespace.to_owned() } else { declared };
        let mut object = value;
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        object["metadata"]["namespace"] = Value::from(namespace.as_str());
        self.objects.push(Manifest { kind: known, namespace, name, place: place.clone(), object });
    }

    /// Objects that stand twice are a mistake: which one counts depends on the order in which they are applied.
    pub(super) fn check_duplicates(&mut self) {
        let mut first: BTreeMap<(Kind, &str, &str), &Place> = BTreeMap::new();
        for item in &self.objects {
            let key = (item.kind, item.namespace.as_str(), item.name.as_str());
            match first.get(&key) {
                Some(place) => self.mistakes.push(format!(
                    "{}: {} {}/{} stands in {place} already; take one of the two out",
                    item.place,
                    item.kind.name(),
                    item.namespace,
                    item.name
                )),
                None => {
                    first.insert(key, &item.place);
                }
            }
        }
    }
}

/// The documents of a text with the line at which each begins. A line that begins with `---` or `...` ends one.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut first, mut document) = (0, String::new());
    let marks = |line: &str, mark: &str| {
        line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']))
    };
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if marks(line, "---") || marks(line, "...") {
            found.push((first, std::mem::take(&mut document)));
            first = index;
            // what stands behind the mark belongs to the document; blanks keep columns and lines as they are
            document.push_str("   ");
            document.push_str(line.get(3..).unwrap_or_default());
            document.push('\n');
            continue;
        }
        document.push_str(line);
        document.push('\n');
    }
    found.push((first, document));
    let content = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && !line.starts_with('%')
    };
    found
        .into_iter()
        .filter_map(|(first, document)| {
            let skipped = document.lines().position(content)?;
            // cut in front, so that a mistake is counted from the line that is named
            let rest: Vec<&str> = document.lines().skip(skipped).collect();
            Some((first + skipped + 1, rest.join("\n")))
        })
        .collect()
}

/// One document as JSON; the error has the number of lines below the first one. Keys that stand twice are a mistake, as
/// for the API server.
fn parse(text: &str) -> Result<Value, (usize, String)> {
    let told = |error: serde_yaml_ng::Error| {
        let line = error.location().map_or(0, |location| location.line().saturating_sub(1));
        let words = error.to_string();
        // the place is told in front, counted in the file
        let words = words.split(" at line ").next().unwrap_or_default().to_owned();
        (line, words)
    };
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(told)?;
    value.apply_merge().map_err(told)?;
    serde_json::to_value(value).map_err(|error| (0, error.to_string()))
}

/// A Secret or ConfigMap as the API server would keep it: `stringData` becomes `data`. The error never holds a value.
pub(super) fn stored(manifest: &Manifest) -> Result<Value, String> {
    let mut object = manifest.object.clone();
    let refuse = |why: &str| format!("{}: {} {}: {why}", manifest.place, manifest.kind.name(), manifest.name);
    let texts = |value: &Value| -> Option<Map<String, Value>> {
        let fields = value.as_object()?;
        fields.values().all(Value::is_string).then(|| fields.clone())
    };
    for field in ["data", "stringData"] {
        if object.get(field).is_some_and(|value| !value.is_null() && texts(value).is_none()) {
            return Err(refuse(&format!("{field} must be a mapping of texts; put numbers and booleans into quotes")));
        }
    }
    if manifest.kind != Kind::Secret {
        return Ok(object);
    }
    let mut data = object.get("data").and_then(texts).unwrap_or_default();
    for (key, value) in &data {
        let decoded: Result<k8s_openapi::ByteString, _> = serde_json::from_value(value.clone());
        if decoded.is_err() {
            return Err(refuse(&format!("data[{key}] is not base64; write plain text into stringData")));
        }
    }
    for (key, value) in object.get("stringData").and_then(texts).unwrap_or_default() {
        let bytes = k8s_openapi::ByteString(value.as_str().unwrap_or_default().as_bytes().to_vec());
        let encoded = serde_json::to_value(bytes).map_err(|_| refuse("stringData cannot be encoded"))?;
        data.insert(key, encoded);
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("stringData");
        fields.insert("data".to_owned(), Value::Object(data));
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Manifests {
        let mut manifests = Manifests::default();
        manifests.add("a.yaml", text, "ns", false);
        manifests.check_duplicates();
        manifests
    }

    const GATEWAY: &str = "apiVersion: duo.selfhosted.dev/v1alpha1\nkind: AIGateway\nmetadata: {name: duo}\n";

    #[test]
    fn documents_know_their_lines() {
        let text = format!("# head\n\n---\n{GATEWAY}---\n# only words\n--- # more\n{GATEWAY}  \n...\n---\n");
        let places: Vec<usize> = documents(&text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(places, [4, 10]);
        assert_eq!(documents("{a: 1}")[0], (1, "{a: 1}".to_owned()));
        assert_eq!(documents("--- {a: 1}\n")[0].0, 1);
        assert_eq!(documents("a: |\n  x\n ---\n")[0].0, 1, "an indented mark ends nothing");
        assert_eq!(documents("%YAML 1.2\n---\na: 1\n")[0].0, 3);
    }

    #[test]
    fn objects_without_a_namespace_belong_to_the_default_one() {
        let found =
            read(&format!("{GATEWAY}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: other}}\n"));
        let names: Vec<_> = found.objects.iter().map(|item| (item.kind, item.namespace.as_str())).collect();
        assert_eq!(names, [(Kind::AIGateway, "ns"), (Kind::Secret, "other")]);
        assert_eq!(found.objects[0].object["metadata"]["namespace"], "ns");
    }

    #[test]
    fn each_mistake_names_its_place_and_cure() {
        let cases = [
            ("kind: X\n", "a.yaml:1: a manifest needs apiVersion and kind"),
            ("a: 1\n---\n\nb: [1\n", "a.yaml:"),
            ("apiVersion: v1\nkind: Secret\nmetadata: {}\n", "a.yaml:1: Secret has no metadata.name"),
            ("a: 1\na: 2\n", "a.yaml:"),
            (
                "apiVersion: duo.selfhosted.dev/v1beta1\nkind: AIGateway\nmetadata: {name: x}\n",
                "a.yaml:1: duo.selfhosted.dev/v1beta1 AIGateway is no kind of Duo Operator",
            ),
            (
                "apiVersion: duo.selfhosted.dev/v1alpha1\nkind: AiGateway\nmetadata: {name: x}\n",
                "a.yaml:1: duo.selfhosted.dev/v1alpha1 AiGateway is no kind",
            ),
        ];
        for (text, words) in cases {
            let mistakes = read(text).mistakes;
            assert!(mistakes.iter().any(|mistake| mistake.starts_with(words)), "{text}: {mistakes:?}");
        }
        let broken = read("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n---\n\na: b: c\n").mistakes;
        assert!(broken[0].starts_with("a.yaml:6: this is not YAML: "), "{broken:?}");
        let twice = read(&format!("{GATEWAY}---\n{GATEWAY}")).mistakes;
        assert_eq!(twice, ["a.yaml:5: AIGateway ns/duo stands in a.yaml:1 already; take one of the two out"]);
    }

    #[test]
    fn other_kinds_are_left_alone_with_a_note() {
        let found = read(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n",
        );
        assert!(found.objects.is_empty() && found.mistakes.is_empty());
        assert_eq!(found.notes, ["a.yaml:1: Kustomization is left alone", "a.yaml:5: Namespace n is left alone"]);
    }

    #[test]
    fn another_namespace_than_the_asked_one_is_a_mistake() {
        let mut manifests = Manifests::default();
        manifests.add("a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: b}\n", "a", true);
        assert!(manifests.mistakes[0].contains("is of namespace b, not of --namespace a"), "{:?}", manifests.mistakes);
    }

    #[test]
    fn lists_are_taken_apart() {
        let found = read(
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n",
        );
        assert_eq!(found.objects.len(), 2);
    }

    #[test]
    fn a_secret_is_kept_as_the_api_server_keeps_it_and_mistakes_hold_no_value() {
        let secret = |rest: &str| {
            read(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{rest}")).objects.remove(0)
        };
        let kept = stored(&secret("data: {a: aGVsbG8=}\nstringData: {b: hello, a: x}\n")).unwrap();
        assert_eq!(kept["data"], serde_json::json!({"a": "eA==", "b": "aGVsbG8="}));
        assert!(kept.get("stringData").is_none());
        for (rest, words) in [
            ("data: {a: hush!}\n", "data[a] is not base64"),
            ("stringData: {a: 12345}\n", "stringData must be a mapping of texts"),
            ("data: hush\n", "data must be a mapping of texts"),
        ] {
            let refused = stored(&secret(rest)).unwrap_err();
            assert!(refused.contains(words) && !refused.contains("hush") && !refused.contains("12345"), "{refused}");
        }
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let found = read("apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: a}\nx: {<<: *m, z: q}\n");
        assert_eq!(found.objects[0].object["x"], serde_json::json!({"z": "q", "name": "a"}));
    }
}
