//! Observe, plan, act for one model.

use std::time::Duration;

use duo_api::annotations::{API_TOKEN_FINGERPRINT, CREATE_PENDING, EXTERNAL_ID};
use duo_api::condition::SYNCED;
use duo_api::{AIGateway, ManagementPolicy, SelfHostedModel};
use duo_core::conditions::Finding;
use duo_core::observed::Instance;
use duo_core::ownership::{Home, Match, match_model, pending_stays};
use duo_core::plan::{self, Operation, TokenChange};
use duo_core::validate;
use duo_gitlab::ApiToken;
use kube::{Api, ResourceExt};

use super::marks::{holder, left_in_former, mark, marks_at, taken_ids};
use super::token::{self, ModelToken};
use super::{Outcome, check, serving, turn};
use crate::contests::Fights;
use crate::context::{Context, home_mark};
use crate::error::{Error, Next};
use crate::report::Event;
use crate::session::{Session, Written};
use crate::{convert, entrance};

/// The next pass follows without a pause that anybody would notice.
const AT_ONCE: Duration = Duration::from_millis(100);
/// How soon to look again for a name that another resource is about to give up.
const NAME_RETRY: Duration = Duration::from_secs(1);

pub(super) async fn run(
    model: &mut SelfHostedModel,
    api: &Api<SelfHostedModel>,
    gateway: &AIGateway,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let session = match entrance::open(gateway, ctx).await? {
        Ok(session) => session,
        Err(waiting) => {
            outcome.accepted();
            outcome.findings.push(waiting);
            return Ok(());
        }
    };
    let instance = match session.observe_period().await {
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
    let Some(token) = token::read(model, gateway, &home, ctx).await? else {
        // It went a moment ago; the next pass says so.
        outcome.look_again(NAME_RETRY);
        return Ok(());
    };
    let side = Side { gateway, session: &session, token: &token };
    let Some(id) = sync(model, api, &side, &instance, ctx, outcome).await? else {
        return Ok(());
    };
    if outcome.silent {
        return Ok(());
    }
    let ours = marks_at(model, &home).external_id.as_ref() == Some(&id);
    outcome.gitlab_instance = ours.then(|| home.written(outcome.gitlab_instance.as_deref()));
    outcome.gitlab_id = Some(id);
    if serving::run(model, gateway, ctx, outcome).await? {
        // GitLab's check of a model that hangs takes long: what users feel is told first.
        outcome.findings.extend(check::last(model));
        outcome.look_again(AT_ONCE);
        return Ok(());
    }
    check::run(model, gateway, &session, &instance, &token, ctx, outcome).await
}

/// Whether GitLab does not list models of this family now.
pub(super) fn hidden(model: &SelfHostedModel, instance: &Instance) -> bool {
    model.spec.family.is_beta() && !instance.testing_terms_accepted()
}

/// GitLab's side of a pass: who declares it, who speaks to it, and the key that it may be given.
struct Side<'a> {
    gateway: &'a AIGateway,
    session: &'a Session,
    token: &'a ModelToken,
}

/// Brings the model to what is declared; its id when GitLab holds it.
async fn sync(
    model: &mut SelfHostedModel,
    api: &Api<SelfHostedModel>,
    side: &Side<'_>,
    seen: &Instance,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<Option<String>, Error> {
    let Side { gateway, session, token } = side;
    let home = session.home();
    let taken = taken_ids(model, &home, ctx);
    let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
    let hidden = hidden(model, seen);
    let desired = plan::DesiredModel { token: token.wish, ..plan::desired_model(&model.spec, &seen.capabilities) };
    let own = marks_at(model, &home);
    let matched_in =
        |instance| match_model(&own, &model.spec.display_name, model.spec.adoption_policy, instance, hidden, &taken);
    let fresh;
    let mut instance = seen;
    let found = match matched_in(instance) {
        Match::Ours(found) | Match::Adopt(found) => Some(found),
        _ => None,
    };
    if turn::waits(model, gateway, found, ctx, outcome).await? {
        return Ok(found.map(|found| found.id.clone()));
    }
    if let Some(operation) = plan::plan_model(&matched_in(instance), &desired) {
        // What is about to be written is decided on a look of a moment ago that has all writes of this process in it; a
        // create on one that began in this pass, for the name may be somebody else's since.
        let creates = matches!(operation, Operation::CreateModel(_));
        let looked =
            if creates { session.observe_since(outcome.began).await } else { session.observe_to_write().await };
        fresh = match looked {
            Ok(instance) => instance,
            Err(error) => {
                outcome.failed(&error, false);
                return Ok(None);
            }
        };
        instance = &fresh;
    }
    let matched = matched_in(instance);
    let operation = plan::plan_model(&matched, &desired);
    let found = match &matched {
        Match::NameTaken(other) => {
            name_taken(model, other, &home, ctx, outcome);
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
    if let Some(operation) = &operation
        && gateway.spec.management_policy == ManagementPolicy::Observe
    {
        outcome.plan = plan::sentences(std::slice::from_ref(operation));
        outcome.findings.push(
            Finding::fails(SYNCED, "Drifted", format!("managementPolicy is Observe; would {operation}")).by_person(),
        );
        return Ok(found);
    }
    let before = model.status.clone().unwrap_or_default().conditions;
    let subject = model.clone();
    let fights = Fights::new(ctx, &subject, SYNCED, &before);
    fights.looked(operation.as_slice());
    let mut left = left_in_former(model, &home);
    let synced = Finding::holds(SYNCED, "Synced", "GitLab holds the model as declared");
    let written = match operation {
        None => Ok(found),
        Some(operation) => {
            let ours = operation.follows_our_secret();
            if !ours && fights.judge(operation.clone()).is_none() {
                outcome.findings.extend(fights.standing());
                return Ok(found);
            }
            if matches!(operation, Operation::CreateModel(_)) {
                outcome.events.extend(left.take());
                let at = home_mark(model, &home);
                mark(model, api, &[(CREATE_PENDING, Some(desired.name.clone())), (EXTERNAL_ID, None), at], ctx).await?;
            } else {
                // adopted, or its finalizer was taken away
                mark(model, api, &[], ctx).await?;
            }
            ctx.may_write()?;
            let result = act(session, &operation, token).await;
            if result.is_err() {
                session.changed().await;
            }
            if result.is_ok() {
                let drift = !ours && fights.is_drift(&operation);
                let event = event(&operation, matches!(matched, Match::Adopt(_)), drift);
                if ours || !fights.wrote(&operation) {
                    // What was done for the first time or on demand is an event only: a word would have to go again.
                    if drift {
                        fights.tell(event.message());
                    }
                    outcome.events.push(event);
                }
            }
            result.map(Some)
        }
    };
    match written {
        Ok(id) => {
            outcome.events.extend(left.take());
            let at = home_mark(model, &home);
            let given = (API_TOKEN_FINGERPRINT, token.mark(model));
            mark(model, api, &[(EXTERNAL_ID, id.clone()), (CREATE_PENDING, None), given, at], ctx).await?;
            outcome.findings.push(fights.standing().unwrap_or_else(|| fights.with_told(synced)));
            Ok(id)
        }
        Err(error) => {
            if matches!(matched, Match::Create)
                && !pending_stays(own.create_pending.as_ref() == Some(&desired.name), error.outcome_unknown())
            {
                mark(model, api, &[(CREATE_PENDING, None)], ctx).await?;
            }
            outcome.failed(&error, true);
            Ok(None)
        }
    }
}

/// Whose the model is that has our name.
fn name_taken(
    model: &SelfHostedModel,
    other: &duo_core::observed::Model,
    home: &Home,
    ctx: &Context,
    outcome: &mut Outcome,
) {
    let holder = holder(model, &other.id, home, ctx);
    let whose = |holder: &SelfHostedModel| {
        format!("the model {:?} in GitLab ({}) belongs to SelfHostedModel {}", other.name, other.id, holder.name_any())
    };
    let passes = holder.as_deref().and_then(|holder| {
        let leaves = holder.metadata.deletion_timestamp.is_some().then_some("which is being deleted");
        let renames = holder.spec.display_name != model.spec.display_name;
        Some(format!("{}, {}", whose(holder), leaves.or(renames.then_some("which is being renamed"))?))
    });
    if let Some(text) = passes {
        // Nothing of the other object tells when GitLab has its new name.
        outcome.look_again(NAME_RETRY);
        outcome.findings.push(Finding::fails(SYNCED, "NameTaken", text));
        return;
    }
    let text = match holder {
        Some(holder) => format!("{}; choose another displayName", whose(&holder)),
        None => format!(
            "GitLab has a model {:?} ({}) that this resource did not create; set adoptionPolicy: ByName to take it over, \
             or choose another displayName",
            other.name, other.id
        ),
    };
    outcome.findings.push(Finding::fails(SYNCED, "NameTaken", text).by_person());
}

/// Executes one operation; the id of the model that it was about.
async fn act(session: &Session, operation: &Operation, token: &ModelToken) -> Result<String, duo_gitlab::Error> {
    match operation {
        Operation::CreateModel(desired) => {
            let created = session.client.create_model(&convert::model_input(desired, token.to_give())).await?;
            let id = created.id.clone();
            session.wrote(Written::Model(convert::model(created)));
            Ok(id)
        }
        Operation::UpdateModel { id, desired, token: change, .. } => {
            let token = match change {
                TokenChange::Keep => ApiToken::Keep,
                TokenChange::Clear => ApiToken::Clear,
                TokenChange::Set => token.to_give(),
            };
            let updated = session.client.update_model(id, &convert::model_input(desired, token)).await?;
            session.wrote(Written::Model(convert::model(updated)));
            Ok(id.clone())
        }
        other => Err(duo_gitlab::Error::Configuration { what: format!("{other} is no operation on a model") }),
    }
}

fn event(operation: &Operation, adopting: bool, drift: bool) -> Event {
    match operation {
        _ if adopting => Event::normal("ModelAdopted", operation.to_string()),
        Operation::CreateModel(_) if drift => {
            Event::normal("DriftCorrected", format!("the model was deleted in GitLab and made anew: {operation}"))
        }
        Operation::CreateModel(_) => Event::normal("ModelCreated", operation.to_string()),
        _ if drift => Event::normal("DriftCorrected", format!("changed in GitLab and put back: {operation}")),
        _ => Event::normal("ModelUpdated", operation.to_string()),
    }
}

impl Outcome {
    /// Looks again soon: another controller is at work.
    pub(super) fn look_again(&mut self, after: Duration) {
        self.next = self.next.sooner(Next::After(after));
    }
}
