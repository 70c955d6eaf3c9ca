//! Observe, plan, act for the features of one assignment.

use std::collections::BTreeMap;

use duo_api::annotations::{ASSIGNED_FEATURES, EXTERNAL_INSTANCE, FINALIZER};
use duo_api::condition::{ACCEPTED, SYNCED};
use duo_api::{AIGateway, Feature, FeatureAssignment, ManagementPolicy, SelfHostedModel};
use duo_core::conditions::Finding;
use duo_core::observed::Instance;
use duo_core::ownership::Home;
use duo_core::plan::{self, FeatureTarget, Held, Operation, Release};
use duo_core::validate;
use duo_runtime::metadata::{self, Changed};
use kube::{Api, ResourceExt};

use super::{Outcome, assigned, claimed, set_feature};
use crate::contests::Fights;
use crate::context::{Context, held_id, home_mark, made_at};
use crate::entrance;
use crate::error::{Error, Next};
use crate::report::Event;
use crate::session::Session;
use crate::turn::{self, Turn};

pub(super) async fn run(
    item: &mut FeatureAssignment,
    api: &Api<FeatureAssignment>,
    gateway: &AIGateway,
    (target, served_by): (Option<FeatureTarget>, Option<&SelfHostedModel>),
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let contested = claimed(item, ctx);
    let session = match entrance::open(gateway, ctx).await? {
        Ok(session) => session,
        Err(waiting) => {
            accepted(validate::features_claimed(&contested), outcome);
            outcome.findings.push(waiting);
            return Ok(());
        }
    };
    let mut instance = match session.observe_period().await {
        Ok(instance) => instance,
        Err(error) => {
            accepted(validate::features_claimed(&contested), outcome);
            outcome.findings.push(Finding::unknown(SYNCED, error.category(), error.to_string()));
            outcome.next = (&error).into();
            return Ok(());
        }
    };
    outcome.known(&instance, item, served_by);
    let family = served_by.map(|model| model.spec.family);
    let unfit = validate::unfit_features(&instance, &item.spec.features, family);
    let license = gateway.status.as_ref().and_then(|status| status.gitlab.as_ref()?.license.as_ref());
    let offline = validate::managed_offline(item.spec.provider, license);
    let nothing_works = offline.is_some();
    let refusal = validate::features_claimed(&contested)
        .or(offline)
        .or_else(|| validate::features_offered(&instance, &item.spec.features))
        .or_else(|| validate::family_incompatible(&unfit, family));
    accepted(refusal, outcome);
    let unfit: Vec<Feature> = unfit.into_iter().map(|(feature, _)| feature).collect();
    let home = session.home();
    // A status of before the gateway's URL was changed names a number of another GitLab.
    // And one that somebody deleted a moment ago is made anew under another number; GitLab refuses the former one.
    let models = ctx.models_of(&item.namespace().unwrap_or_default(), &gateway.name_any());
    let known = |id: &str| {
        models.iter().filter(|model| held_id(model, &home).as_deref() == Some(id)).any(|model| {
            instance.model(id).is_some() || (model.spec.family.is_beta() && !instance.testing_terms_accepted())
        })
    };
    let target = target.filter(|target| target.model_id().is_none_or(known));
    let Some(target) = target else {
        outcome.findings.push(Finding::unknown(
            SYNCED,
            "WaitingForModel",
            "Features are set once the model is registered",
        ));
        return Ok(());
    };
    // Features that others hold, that GitLab lacks or for which it would refuse the model are left alone; the rest goes
    // on.
    let mine: Vec<Feature> = item
        .spec
        .features
        .iter()
        .copied()
        .filter(|feature| !contested.iter().any(|(claimed, _)| claimed == feature))
        .filter(|feature| !nothing_works && !unfit.contains(feature) && instance.feature(feature.key()).is_some())
        .collect();
    let mut operations = operations(item, &instance, &mine, &target, &home, ctx);
    if !operations.is_empty() {
        instance = match session.observe_to_write().await {
            Ok(instance) => instance,
            Err(error) => {
                outcome.findings.push(Finding::unknown(SYNCED, error.category(), error.to_string()));
                outcome.next = (&error).into();
                return Ok(());
            }
        };
        operations = self::operations(item, &instance, &mine, &target, &home, ctx);
    }
    let synced = Finding::holds(SYNCED, "Synced", format!("{} features are set as declared", mine.len()));
    if gateway.spec.management_policy == ManagementPolicy::Observe {
        if let Some(finding) = drift(&operations) {
            outcome.plan = plan::sentences(&operations);
            outcome.findings.push(finding);
            return Ok(());
        }
    } else {
        if waits(item, gateway, served_by, plan::moves(&instance, &mine, &target), ctx, outcome).await? {
            return Ok(());
        }
        let before = item.status.clone().unwrap_or_default().conditions;
        let subject = item.clone();
        let fights = Fights::new(ctx, &subject, SYNCED, &before);
        fights.looked(&operations);
        remember(item, api, (&mine, &home), false, ctx).await?;
        let acted = act(&session, operations, &fights, ctx, outcome).await?;
        if !acted.held && acted.refused.is_none() {
            remember(item, api, (&mine, &home), true, ctx).await?;
        }
        if let Some(finding) = acted.refused.or_else(|| fights.standing()) {
            outcome.findings.push(finding);
            return Ok(());
        }
        outcome.findings.push(fights.with_told(synced));
        return Ok(());
    }
    outcome.findings.push(synced);
    Ok(())
}

fn accepted(refusal: Option<Finding>, outcome: &mut Outcome) {
    outcome.findings.push(refusal.unwrap_or_else(|| Finding::holds(ACCEPTED, "Accepted", "The declaration is valid")));
}

/// Writes that set the declared features and release those that are declared no more.
fn operations(
    item: &FeatureAssignment,
    instance: &Instance,
    mine: &[Feature],
    target: &FeatureTarget,
    home: &Home,
    ctx: &Context,
) -> Vec<Operation> {
    let mut operations: Vec<Operation> =
        mine.iter().filter_map(|feature| plan::plan_feature(instance, *feature, target)).collect();
    let features = assigned_at(item, home);
    let features = features.into_iter().filter(|held| !item.spec.features.contains(&held.feature)).collect();
    // One edit may drop a feature and name another model: the feature is still on the former one.
    let models = ctx.held_ids(&item.namespace().unwrap_or_default(), &item.spec.gateway_ref.name, home);
    let release = Release { features, models, elsewhere: others_features(item, ctx), ..Release::default() };
    operations.extend(plan::plan_release(instance, &release));
    operations
}

/// Features that this object has set in the GitLab that is spoken to.
fn assigned_at(item: &FeatureAssignment, home: &Home) -> Vec<Held> {
    if made_at(item, home) { assigned(item) } else { Vec::new() }
}

/// Features that other assignments of the gateway name: whoever holds them now sets them.
pub(super) fn others_features(item: &FeatureAssignment, ctx: &Context) -> Vec<Feature> {
    ctx.assignments_of(&item.namespace().unwrap_or_default(), &item.spec.gateway_ref.name)
        .iter()
        .filter(|other| other.uid() != item.uid() && other.metadata.deletion_timestamp.is_none())
        .flat_map(|other| other.spec.features.clone())
        .collect()
}

/// Whether a feature that users have now stays where it is until the gateway's pods have the model that is to serve it.
async fn waits(
    item: &FeatureAssignment,
    gateway: &AIGateway,
    served_by: Option<&SelfHostedModel>,
    moves: bool,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<bool, Error> {
    let before = item.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let Some(model) = served_by.filter(|_| moves && turn::matters(gateway, before, item.metadata.generation)) else {
        ctx.waiting.forget(item);
        return Ok(false);
    };
    let seen = ctx.lookout.look(gateway, ctx).await?;
    let what = format!("SelfHostedModel {} as it is declared", model.name_any());
    match turn::of(item, &what, model, gateway, &seen, ctx) {
        Turn::GitLab(late) => {
            outcome.events.extend(late);
            Ok(false)
        }
        Turn::Pods { finding, silent, again } => {
            outcome.silent = silent;
            outcome.findings.push(finding);
            outcome.next = Next::After(again);
            Ok(true)
        }
    }
}

fn drift(operations: &[Operation]) -> Option<Finding> {
    (!operations.is_empty()).then(|| {
        let list: Vec<String> = operations.iter().map(ToString::to_string).collect();
        Finding::fails(SYNCED, "Drifted", format!("managementPolicy is Observe; would {}", list.join("; "))).by_person()
    })
}

/// What became of the operations.
struct Acted {
    /// GitLab refused some.
    refused: Option<Finding>,
    /// Some were not tried: somebody fights about them.
    held: bool,
}

/// Sets feature by feature: GitLab's batch is not atomic and does not say which feature it refused. One refusal does
/// not stop the others.
async fn act(
    session: &Session,
    operations: Vec<Operation>,
    fights: &Fights<'_, FeatureAssignment>,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<Acted, Error> {
    let mut refused: Vec<(String, duo_gitlab::Error)> = Vec::new();
    let mut held = false;
    for operation in operations {
        let Some(operation) = fights.judge(operation) else {
            held = true;
            continue;
        };
        let Operation::UpdateFeature { feature, target, .. } = &operation else { continue };
        ctx.may_write()?;
        match set_feature(session, feature, target).await {
            Ok(()) => {
                let drift = fights.is_drift(&operation);
                let contested = fights.wrote(&operation);
                match (contested, drift) {
                    (true, _) => {}
                    (false, true) => {
                        let text = format!("changed in GitLab and put back: {operation}");
                        fights.tell(&text);
                        outcome.events.push(Event::normal("DriftCorrected", text));
                    }
                    (false, false) => outcome.events.push(Event::normal("FeatureAssigned", operation.to_string())),
                }
            }
            Err(error) => {
                let down = error.is_transient();
                refused.push((feature.clone(), error));
                if down {
                    break;
                }
            }
        }
    }
    if !refused.is_empty() {
        session.changed().await;
    }
    let Some((_, first)) = refused.first() else { return Ok(Acted { refused: None, held }) };
    let (category, person) = (first.category(), !first.is_transient());
    outcome.next = Next::from(first);
    let list: Vec<String> = refused.iter().map(|(feature, error)| format!("{feature}: {error}")).collect();
    let finding = Finding::fails(SYNCED, category, list.join("; "));
    let finding = if person { finding.by_person() } else { finding };
    Ok(Acted { refused: Some(finding), held })
}

/// Notes which features this object sets, with our finalizer: before the first write all that it may set, after the last
/// one only those that it holds.
async fn remember(
    item: &mut FeatureAssignment,
    api: &Api<FeatureAssignment>,
    (mine, home): (&[Feature], &Home),
    done: bool,
    ctx: &Context,
) -> Result<(), Error> {
    let provider = item.spec.provider;
    let mut features: Vec<Held> = mine.iter().map(|feature| Held { feature: *feature, provider }).collect();
    if !done {
        features.extend(assigned_at(item, home));
    }
    features.sort_unstable();
    features.dedup();
    let list = Held::write(&features);
    let marks: BTreeMap<String, Option<String>> =
        [(ASSIGNED_FEATURES, Some(list)), home_mark(item, home)].map(|(name, value)| (name.to_owned(), value)).into();
    let marked = item.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    if marked && marks.iter().all(|(name, value)| item.annotations().get(name) == value.as_ref()) {
        return Ok(());
    }
    let from = item.resource_version();
    *item = match metadata::mark(api, item, FINALIZER, &marks).await? {
        Changed::Now(live) | Changed::Already(live) => live,
        Changed::Gone => return Err(Error::Gone),
    };
    ctx.own.note(from.as_deref(), item);
    Ok(())
}

/// Whether this resource may have set features in some GitLab.
pub(super) fn may_hold(item: &FeatureAssignment) -> bool {
    [ASSIGNED_FEATURES, EXTERNAL_INSTANCE].iter().any(|mark| item.annotations().contains_key(*mark))
}
