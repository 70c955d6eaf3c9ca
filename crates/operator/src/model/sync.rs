//! Observe, plan, act for one model.

use std::collections::BTreeMap;
use std::time::Duration;

use duo_api::annotations::{CREATE_PENDING, EXTERNAL_ID};
use duo_api::condition::{GATEWAY_URL_CONFIGURED, SYNCED, TOKEN_VALID};
use duo_api::{AIGateway, ManagementPolicy, SelfHostedModel};
use duo_core::conditions::{self, Finding};
use duo_core::observed::Instance;
use duo_core::ownership::{Home, Marks, Match, match_model, may_be_left, pending_stays};
use duo_core::plan::{self, Operation};
use duo_core::validate;
use duo_runtime::metadata::{self, Changed};
use kube::{Api, ResourceExt};

use super::{Outcome, check};
use crate::context::{Context, held_id, home_mark, made_at};
use crate::convert;
use crate::error::{Error, Next};
use crate::report::Event;
use crate::session::{Session, SessionError};

/// An observation this old is good enough to find that nothing is to be done.
const FRESH: Duration = Duration::from_secs(3);

pub(super) async fn run(
    model: &mut SelfHostedModel,
    api: &Api<SelfHostedModel>,
    gateway: &AIGateway,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let Some(session) = session(gateway, ctx, outcome).await? else { return Ok(()) };
    let instance = match session.observe(FRESH).await {
        Ok(instance) => instance,
        Err(error) => {
            outcome.accepted();
            outcome.failed(&error, false);
            return Ok(());
        }
    };
    let home = session.home();
    let marks = marks_at(model, &home);
    let exists = marks.external_id.is_some() || instance.model_named(&model.spec.display_name).is_some();
    if let Some(refusal) = validate::family(&instance, model.spec.family, exists) {
        outcome.findings.push(refusal);
        return Ok(());
    }
    outcome.accepted();
    if instance.models.is_none() {
        outcome.findings.push(Finding::unknown(
            SYNCED,
            "GatewayNotReady",
            "GitLab does not show its models to the operator's token; see the AIGateway's TokenValid",
        ));
        return Ok(());
    }
    let Some(id) = sync(model, api, gateway, &session, &instance, ctx, outcome).await? else { return Ok(()) };
    outcome.gitlab_id = Some(id);
    check::run(model, gateway, &session, &instance, ctx, outcome).await
}

/// The open conversation of the gateway; without one the outcome says why.
async fn session(
    gateway: &AIGateway,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<Option<std::sync::Arc<Session>>, Error> {
    let conditions = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if conditions::get(conditions, GATEWAY_URL_CONFIGURED).is_some_and(|c| c.reason == "InstanceClaimed") {
        outcome.accepted();
        outcome.findings.push(Finding::unknown(
            SYNCED,
            "GatewayNotReady",
            format!("AIGateway {} does not manage its GitLab: another one does", gateway.name_any()),
        ));
        return Ok(None);
    }
    if !conditions::is_true(conditions, TOKEN_VALID) {
        outcome.accepted();
        let why = conditions::get(conditions, TOKEN_VALID).map(|c| format!(": {}", c.message)).unwrap_or_default();
        outcome.findings.push(Finding::unknown(
            SYNCED,
            "GatewayNotReady",
            format!("waiting for TokenValid of AIGateway {}{why}", gateway.name_any()),
        ));
        return Ok(None);
    }
    match ctx.sessions.open(gateway).await {
        Ok(session) => Ok(Some(session)),
        Err(SessionError::Input(crate::inputs::InputError::Kube(error))) => Err(error.into()),
        Err(error) => {
            outcome.accepted();
            outcome.findings.push(Finding::unknown(SYNCED, error.category(), error.to_string()));
            Ok(None)
        }
    }
}

pub(super) fn marks(model: &SelfHostedModel) -> Marks {
    Marks {
        external_id: model.annotations().get(EXTERNAL_ID).cloned(),
        create_pending: model.annotations().get(CREATE_PENDING).cloned(),
    }
}

/// The marks that count in the GitLab that is spoken to.
pub(super) fn marks_at(model: &SelfHostedModel, home: &Home) -> Marks {
    if made_at(model, home) { marks(model) } else { Marks::default() }
}

/// Where the gateway speaks to another GitLab than before: what stays in that one. To be told when the marks that speak of
/// it are overwritten.
fn left_in_former(model: &SelfHostedModel, home: &Home) -> Option<Event> {
    let what = may_be_left(&marks(model), &model.spec.display_name).filter(|_| !made_at(model, home))?;
    let text = format!("the AIGateway speaks to {home} now; {what} stays in the GitLab of before");
    Some(Event::warning("LeftInFormerGitLab", text))
}

/// Ids that other SelfHostedModels of the gateway hold.
pub(super) fn taken_ids(model: &SelfHostedModel, home: &Home, ctx: &Context) -> Vec<String> {
    ctx.models_of(&model.namespace().unwrap_or_default(), &model.spec.gateway_ref.name)
        .iter()
        .filter(|other| other.uid() != model.uid())
        .filter_map(|other| held_id(other, home))
        .collect()
}

/// Whether GitLab does not list models of this family now.
pub(super) fn hidden(model: &SelfHostedModel, instance: &Instance) -> bool {
    model.spec.family.is_beta() && !instance.testing_terms_accepted()
}

/// Brings the model to what is declared; its id when GitLab now holds it so.
async fn sync(
    model: &mut SelfHostedModel,
    api: &Api<SelfHostedModel>,
    gateway: &AIGateway,
    session: &Session,
    seen: &Instance,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<Option<String>, Error> {
    let home = session.home();
    let taken = taken_ids(model, &home, ctx);
    let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
    let hidden = hidden(model, seen);
    let desired = plan::desired_model(&model.spec, &seen.capabilities);
    let fresh;
    let mut instance = seen;
    if plan_for(model, &home, instance, hidden, &taken, &desired).is_some() {
        // What is about to be written is decided on a look that is newer than the last write of anybody here.
        fresh = match session.observe(Duration::ZERO).await {
            Ok(instance) => instance,
            Err(error) => {
                outcome.failed(&error, false);
                return Ok(None);
            }
        };
        instance = &fresh;
    }
    let own = marks_at(model, &home);
    let matched = match_model(&own, &model.spec.display_name, model.spec.adoption_policy, instance, hidden, &taken);
    let operation = plan::plan_model(&matched, &desired);
    let found = match &matched {
        Match::NameTaken(other) => {
            outcome.findings.push(
                Finding::fails(
                    SYNCED,
                    "NameTaken",
                    format!(
                        "GitLab has a model {:?} ({}) that this resource did not create; set adoptionPolicy: ByName to take \
                         it over, or choose another displayName",
                        other.name, other.id
                    ),
                )
                .by_person(),
            );
            return Ok(None);
        }
        Match::Hidden(id) => {
            outcome.findings.push(Finding::unknown(
                SYNCED,
                "HiddenByGitLab",
                "GitLab lists models of beta families only after an administrator accepts its testing terms",
            ));
            return Ok(Some((*id).to_owned()));
        }
        Match::Ours(found) | Match::Adopt(found) => Some(found.id.clone()),
        Match::Create => None,
    };
    let adopting = matches!(matched, Match::Adopt(_));
    if let Some(operation) = &operation
        && gateway.spec.management_policy == ManagementPolicy::Observe
    {
        outcome.findings.push(
            Finding::fails(SYNCED, "Drifted", format!("managementPolicy is Observe; would {operation}")).by_person(),
        );
        return Ok(found);
    }
    let mut left = left_in_former(model, &home);
    let written = match operation {
        None => Ok(found),
        Some(operation) => {
            if matches!(operation, Operation::CreateModel(_)) {
                outcome.events.extend(left.take());
                let at = home_mark(model, &home);
                mark(model, api, &[(CREATE_PENDING, Some(desired.name.clone())), (EXTERNAL_ID, None), at]).await?;
            }
            ctx.may_write()?;
            let result = act(session, &operation).await;
            session.changed().await;
            if result.is_ok() {
                outcome.events.push(event(&operation, adopting));
            }
            result.map(Some)
        }
    };
    match written {
        Ok(id) => {
            outcome.events.extend(left.take());
            let at = home_mark(model, &home);
            mark(model, api, &[(EXTERNAL_ID, id.clone()), (CREATE_PENDING, None), at]).await?;
            outcome.findings.push(Finding::holds(SYNCED, "Synced", "GitLab holds the model as declared"));
            Ok(id)
        }
        Err(error) => {
            if matches!(matched, Match::Create)
                && !pending_stays(own.create_pending.as_ref() == Some(&desired.name), error.outcome_unknown())
            {
                mark(model, api, &[(CREATE_PENDING, None)]).await?;
            }
            outcome.failed(&error, true);
            Ok(None)
        }
    }
}

fn plan_for(
    model: &SelfHostedModel,
    home: &Home,
    instance: &Instance,
    hidden: bool,
    taken: &[&str],
    desired: &plan::DesiredModel,
) -> Option<Operation> {
    let own = marks_at(model, home);
    let matched = match_model(&own, &model.spec.display_name, model.spec.adoption_policy, instance, hidden, taken);
    plan::plan_model(&matched, desired)
}

/// Executes one operation; the id of the model that it was about.
async fn act(session: &Session, operation: &Operation) -> Result<String, duo_gitlab::Error> {
    match operation {
        Operation::CreateModel(desired) => {
            Ok(session.client.create_model(&convert::model_input(desired, false)).await?.id)
        }
        Operation::UpdateModel { id, desired, clear_token, .. } => {
            session.client.update_model(id, &convert::model_input(desired, *clear_token)).await?;
            Ok(id.clone())
        }
        other => Err(duo_gitlab::Error::Configuration { what: format!("{other} is no operation on a model") }),
    }
}

fn event(operation: &Operation, adopting: bool) -> Event {
    let reason = match operation {
        Operation::CreateModel(_) => "ModelCreated",
        _ if adopting => "ModelAdopted",
        _ => "ModelUpdated",
    };
    Event::normal(reason, operation.to_string())
}

/// Writes annotations where they differ and keeps the object current.
async fn mark(
    model: &mut SelfHostedModel,
    api: &Api<SelfHostedModel>,
    changes: &[(&str, Option<String>)],
) -> Result<(), Error> {
    let differs = changes.iter().any(|(key, value)| model.annotations().get(*key) != value.as_ref());
    if !differs {
        return Ok(());
    }
    let annotations: BTreeMap<String, Option<String>> =
        changes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    if let Changed::Now(live) | Changed::Already(live) = metadata::set_annotations(api, model, &annotations).await? {
        *model = live;
    }
    Ok(())
}

impl Outcome {
    /// Looks again soon: another controller is at work.
    pub(super) fn look_again(&mut self, after: Duration) {
        self.next = self.next.sooner(Next::After(after));
    }
}
