//! Which models exist, how they may be called and what they refuse. Facts of AWS's model pages as far as the
//! simulated flows touch them; token limits are those of the model cards.

/// Where a model may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By its own id and by its inference profiles.
    OnDemand,
    /// Only through an inference profile (newer Claude and Llama models).
    ProfileOnly,
}

/// How a model takes an assistant message at the end of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefill {
    /// It continues it.
    Continues,
    /// It refuses it, as a rule of Converse.
    Refused,
    /// It refuses it in the words of newer Claude models (4.6 and later).
    RefusedByClaude,
}

/// One foundation model.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// The base model id.
    pub id: &'static str,
    /// Whether a profile is needed.
    pub access: Access,
    /// Prefixes of the inference profiles that hold it (`us`, `eu`, `apac`, `global`, …).
    pub profiles: &'static [&'static str],
    /// Whether it takes `system`.
    pub system: bool,
    /// How it takes a last assistant message.
    pub prefill: Prefill,
    /// Whether it takes `cachePoint` blocks.
    pub cache: bool,
    /// Whether it takes `temperature`, `topP`.
    pub sampling: Sampling,
    /// The most `maxTokens` it takes.
    pub max_tokens: u64,
}

/// Which sampling parameters a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Both `temperature` and `topP`.
    Both,
    /// One of the two (Claude 4.1, 4.5 and later).
    OneOf,
    /// Neither (the newest Claude models).
    Neither,
}

impl Model {
    const BASE: Model = Model {
        id: "",
        access: Access::OnDemand,
        profiles: &[],
        system: true,
        prefill: Prefill::Refused,
        cache: false,
        sampling: Sampling::Both,
        max_tokens: 8192,
    };
    const CLAUDE: Model = Model { prefill: Prefill::Continues, ..Self::BASE };

    /// Whether it is one of Anthropic's, which check a few things themselves.
    pub fn is_claude(&self) -> bool {
        self.id.starts_with("anthropic.")
    }
}

const WIDE: &[&str] = &["us", "eu", "apac", "us-gov"];
const GLOBAL: &[&str] = &["us", "eu", "apac", "jp", "au", "global"];

/// The models that the simulator knows.
pub const MODELS: &[Model] = &[
    Model { id: "mistral.mistral-7b-instruct-v0:2", system: false, ..Model::BASE },
    Model { id: "mistral.mixtral-8x7b-instruct-v0:1", system: false, max_tokens: 4096, ..Model::BASE },
    Model { id: "mistral.mistral-large-2402-v1:0", ..Model::BASE },
    Model { id: "mistral.mistral-small-2402-v1:0", ..Model::BASE },
    Model { id: "mistral.mistral-large-2407-v1:0", ..Model::BASE },
    Model { id: "meta.llama3-8b-instruct-v1:0", max_tokens: 2048, ..Model::BASE },
    Model { id: "meta.llama3-70b-instruct-v1:0", max_tokens: 2048, ..Model::BASE },
    Model { id: "meta.llama3-1-8b-instruct-v1:0", profiles: &["us"], ..Model::BASE },
    Model { id: "meta.llama3-1-70b-instruct-v1:0", profiles: &["us"], ..Model::BASE },
    Model { id: "meta.llama3-3-70b-instruct-v1:0", access: Access::ProfileOnly, profiles: &["us"], ..Model::BASE },
    Model { id: "amazon.nova-micro-v1:0", profiles: WIDE, cache: true, max_tokens: 10_000, ..Model::CLAUDE },
    Model { id: "amazon.nova-lite-v1:0", profiles: WIDE, cache: true, max_tokens: 10_000, ..Model::CLAUDE },
    Model { id: "amazon.nova-pro-v1:0", profiles: WIDE, cache: true, max_tokens: 10_000, ..Model::CLAUDE },
    Model { id: "anthropic.claude-3-haiku-20240307-v1:0", profiles: WIDE, max_tokens: 4096, ..Model::CLAUDE },
    Model { id: "anthropic.claude-3-sonnet-20240229-v1:0", profiles: WIDE, max_tokens: 4096, ..Model::CLAUDE },
    Model { id: "anthropic.claude-3-5-sonnet-20240620-v1:0", profiles: WIDE, ..Model::CLAUDE },
    Model { id: "anthropic.claude-3-5-sonnet-20241022-v2:0", profiles: WIDE, cache: true, ..Model::CLAUDE },
    Model {
        id: "anthropic.claude-3-5-haiku-20241022-v1:0",
        access: Access::ProfileOnly,
        profiles: &["us"],
        cache: true,
        ..Model::CLAUDE
    },
    Model {
        id: "anthropic.claude-3-7-sonnet-20250219-v1:0",
        access: Access::ProfileOnly,
        profiles: WIDE,
        cache: true,
        max_tokens: 64_000,
        ..Model::CLAUDE
    },
    Model {
        id: "anthropic.claude-sonnet-4-20250514-v1:0",
        access: Access::ProfileOnly,
        profiles: GLOBAL,
        cache: true,
        max_tokens: 64_000,
        ..Model::CLAUDE
    },
    Model {
        id: "anthropic.claude-opus-4-1-20250805-v1:0",
        access: Access::ProfileOnly,
        profiles: &["us"],
        cache: true,
        sampling: Sampling::OneOf,
        max_tokens: 32_000,
        ..Model::CLAUDE
    },
    Model {
        id: "anthropic.claude-sonnet-4-5-20250929-v1:0",
        access: Access::ProfileOnly,
        profiles: GLOBAL,
        cache: true,
        sampling: Sampling::OneOf,
        max_tokens: 64_000,
        ..Model::CLAUDE
    },
    Model {
        id: "anthropic.claude-haiku-4-5-20251001-v1:0",
        access: Access::ProfileOnly,
        profiles: GLOBAL,
        cache: true,
        sampling: Sampling::OneOf,
        max_tokens: 64_000,
        ..Model::CLAUDE
    },
    Model {
        id: "anthropic.claude-opus-4-6-v1",
        access: Access::ProfileOnly,
        profiles: GLOBAL,
        cache: true,
        sampling: Sampling::OneOf,
        prefill: Prefill::RefusedByClaude,
        max_tokens: 128_000,
        ..Model::CLAUDE
    },
    Model {
        id: "anthropic.claude-sonnet-4-6",
        access: Access::ProfileOnly,
        profiles: GLOBAL,
        cache: true,
        sampling: Sampling::OneOf,
        prefill: Prefill::RefusedByClaude,
        max_tokens: 64_000,
        ..Model::CLAUDE
    },
    Model {
        id: "anthropic.claude-opus-4-7",
        access: Access::ProfileOnly,
        profiles: GLOBAL,
        cache: true,
        sampling: Sampling::Neither,
        prefill: Prefill::RefusedByClaude,
        max_tokens: 128_000,
        ..Model::CLAUDE
    },
];

/// What a caller's model id stands for.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The model.
    pub model: &'static Model,
    /// Whether an inference profile was named.
    pub profile: bool,
}

/// Finds the model that `id` names: a base id, a profile id (`us.<id>`), or an ARN of either in `region`.
/// `application_profiles` maps the ids of application inference profiles to base or profile ids.
pub fn find(id: &str, region: &str, application_profiles: &[(String, String)]) -> Option<Target> {
    if id.starts_with("arn:") {
        let parts: Vec<&str> = id.splitn(6, ':').collect();
        let [_, _, service, arn_region, _, resource] = parts[..] else { return None };
        if service != "bedrock" || arn_region != region {
            return None;
        }
        return match resource.split_once('/')? {
            ("foundation-model", name) => base(name).map(|model| Target { model, profile: false }),
            ("inference-profile", name) => find_profile(name, region),
            ("application-inference-profile", name) => {
                let (_, target) = application_profiles.iter().find(|(known, _)| known == name)?;
                let model = base(target).or_else(|| find_profile(target, region).map(|found| found.model))?;
                Some(Target { model, profile: true })
            }
            _ => None,
        };
    }
    base(id).map(|model| Target { model, profile: false }).or_else(|| find_profile(id, region))
}

fn base(id: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == id)
}

fn find_profile(id: &str, region: &str) -> Option<Target> {
    let (prefix, model) = id.split_once('.')?;
    let model = base(model)?;
    (model.profiles.contains(&prefix) && covers(prefix, region)).then_some(Target { model, profile: true })
}

/// Whether profiles of this prefix can be called from a region.
fn covers(prefix: &str, region: &str) -> bool {
    match prefix {
        "global" => !region.starts_with("us-gov-") && !region.starts_with("cn-"),
        "us" => (region.starts_with("us-") && !region.starts_with("us-gov-")) || region.starts_with("ca-"),
        "us-gov" => region.starts_with("us-gov-"),
        "eu" => region.starts_with("eu-"),
        "apac" => region.starts_with("ap-"),
        "jp" => matches!(region, "ap-northeast-1" | "ap-northeast-3"),
        "au" => matches!(region, "ap-southeast-2" | "ap-southeast-4"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_profiles_and_arns_name_models() {
        let applications = [("abc123".to_owned(), "us.anthropic.claude-sonnet-4-20250514-v1:0".to_owned())];
        let sonnet = "anthropic.claude-3-sonnet-20240229-v1:0";
        let arn = |rest: &str| format!("arn:aws:bedrock:us-east-1:{rest}");
        for (id, region, found) in [
            (sonnet.to_owned(), "us-east-1", Some((sonnet, false))),
            (format!("us.{sonnet}"), "us-east-1", Some((sonnet, true))),
            (format!("eu.{sonnet}"), "us-east-1", None),
            (format!("us.{sonnet}"), "us-gov-west-1", None),
            (format!("us-gov.{sonnet}"), "us-gov-west-1", Some((sonnet, true))),
            (arn(&format!(":foundation-model/{sonnet}")), "us-east-1", Some((sonnet, false))),
            (arn(&format!(":foundation-model/{sonnet}")), "eu-west-1", None),
            (arn(&format!("123456789012:inference-profile/us.{sonnet}")), "us-east-1", Some((sonnet, true))),
            (
                arn("123456789012:application-inference-profile/abc123"),
                "us-east-1",
                Some(("anthropic.claude-sonnet-4-20250514-v1:0", true)),
            ),
            (arn("123456789012:application-inference-profile/other"), "us-east-1", None),
            ("anthropic.claude-99".to_owned(), "us-east-1", None),
            ("us.mistral.mixtral-8x7b-instruct-v0:1".to_owned(), "us-east-1", None),
        ] {
            let got = find(&id, region, &applications).map(|target| (target.model.id, target.profile));
            assert_eq!(got, found, "{id} in {region}");
        }
    }
}
