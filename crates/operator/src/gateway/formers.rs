//! Former declarations of models that the gateway goes on serving until GitLab has followed an edit. Where the pods stand
//! is in their last configuration, their keys are in their own Secret; [`duo_core::formers`] decides.

use std::collections::BTreeMap;
use std::time::Duration;

use duo_api::{AIGateway, SelfHostedModel};
use duo_core::conditions::Finding;
use duo_core::desired::Credentials;
use duo_core::formers::{self, Held, Subject};
use duo_core::inputs::Kind;
use duo_core::labels;
use duo_core::listener::CHANGE_OVER;
use duo_gateway_config::GatewayConfig;
use kube::ResourceExt;

use crate::context::{Context, held_id};
use crate::error::{Error, Next};
use crate::session::key;

/// What is served beside the declared models.
#[derive(Default)]
pub(super) struct Formers {
    /// Models whose former declarations are served.
    names: Vec<String>,
    pub next: Next,
}

impl Formers {
    /// The finding about the pods' configuration, with a word on what a person would not expect in it.
    pub(super) fn told(&self, mut finding: Finding) -> Finding {
        let whose = match self.names.as_slice() {
            [] => return finding,
            [name] => format!("the former declaration of {name}"),
            names => format!("former declarations of {} models", names.len()),
        };
        finding.message.push_str(&format!("; with {whose}, until nothing of GitLab's names it any more"));
        finding
    }
}

/// Adds to a configuration that has the declared models what is served beside them. `told`: the pods' last configuration.
pub(super) async fn look(
    gateway: &AIGateway,
    models: &[SelfHostedModel],
    told: Option<&GatewayConfig>,
    config: &mut GatewayConfig,
    credentials: &mut Credentials,
    ctx: &Context,
) -> Result<Formers, Error> {
    let Some(told) = told else { return Ok(Formers::default()) };
    let mut subjects: Vec<Subject> = models
        .iter()
        .map(|model| Subject {
            name: model.name_any(),
            declared: formers::declared(&model.spec),
            held: Held::Unknown,
            followed_for: None,
        })
        .collect();
    if !formers::concerns(&told.models, &subjects) {
        return Ok(Formers::default());
    }
    let seen = ctx.sessions.seen(&key(gateway)).await;
    for (subject, model) in subjects.iter_mut().zip(models) {
        if let Some((home, instance)) = &seen {
            subject.held = Held::of(held_id(model, home).as_deref(), Some(instance));
        }
        if subject.held.follows(&subject.declared) {
            subject.followed_for = Some(ctx.followed.elapsed(model, &subject.declared));
        } else {
            ctx.followed.forget(model);
        }
    }
    let formers = formers::formers(&told.models, &config.models, &subjects);
    let now = match formers.iter().any(|former| !former.files.is_empty()) {
        true => files(gateway, ctx).await?,
        false => BTreeMap::new(),
    };
    let declared = config.models.len();
    formers::serve(formers, &now, config, &mut credentials.files);
    let served = config.models.get(declared..).unwrap_or_default();
    let served =
        subjects.iter().filter(|subject| served.iter().any(|model| formers::is_of(&model.name, &subject.name)));
    let (mut names, mut next) = (Vec::new(), Next::OnChange);
    for subject in served {
        names.push(subject.name.clone());
        let left = match (&subject.held, subject.followed_for) {
            (_, Some(time)) => CHANGE_OVER.saturating_sub(time) + Duration::from_millis(100),
            // This process has not looked yet, or could not.
            (Held::Unknown, None) => CHANGE_OVER,
            // The model's status wakes the gateway when GitLab follows.
            (Held::Nothing | Held::Key(_), None) => continue,
        };
        next = next.sooner(Next::After(left));
    }
    Ok(Formers { names, next })
}

/// What the pods' own Secret holds now.
async fn files(gateway: &AIGateway, ctx: &Context) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), labels::credentials_secret(&gateway.name_any()));
    let found = ctx.fresh.get(Kind::Secret, &namespace, &name).await?;
    Ok(found.map(|secret| secret.data.clone()).unwrap_or_default())
}
