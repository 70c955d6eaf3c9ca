//! Deletions of a gateway, two models and two assignments in any order and at any pace, decided by the functions that the
//! operator asks, one object at a time in any sequence.

use duo_api::Feature;
use duo_core::deletion::{GATHERING_SECONDS, Patience, Step, gateway_waits, next_step};
use duo_core::observed::{Instance, Model};
use duo_core::ownership::{Doomed, Marks, may_delete};
use duo_core::plan::{self, FeatureTarget, Held, Operation, Release};
use duo_core::url_rules;
use proptest::prelude::*;
use proptest::{collection, sample};

use crate::gitlab::{execute, instance};

const OURS: &str = "http://duo:5052";
const PREVIOUS: &str = "http://before:5052";
/// A model, a feature on it, and a feature that somebody switched off: none of them ours.
const FOREIGN_ID: &str = "99";
const FOREIGN: [&str; 2] = ["review_merge_request", "summarize_review"];
/// A feature that nobody declares and that somebody may have put on our first model.
const BY_HAND: &str = "duo_chat_write_tests";
const OBJECTS: usize = 5;

#[derive(Clone, Debug, Default)]
struct Life {
    deleting_since: Option<i64>,
    gone: bool,
}

impl Life {
    fn leaves(&self) -> bool {
        self.deleting_since.is_some() && !self.gone
    }

    fn stays(&self) -> bool {
        self.deleting_since.is_none()
    }
}

struct World {
    gitlab: Instance,
    now: i64,
    /// Gateway, models, assignments.
    lives: [Life; OBJECTS],
    ids: [String; 2],
    features: [Vec<Feature>; 2],
    /// Which model each assignment names.
    models: [usize; 2],
    left_behind: bool,
}

impl World {
    fn new(features: [Vec<Feature>; 2], models: [usize; 2], by_hand: bool) -> Self {
        let all = [Feature::CodeCompletions, Feature::DuoChat, Feature::DuoChatExplainCode].map(|f| f.key());
        let keys: Vec<&str> = all.into_iter().chain(FOREIGN).chain([BY_HAND]).collect();
        let mut gitlab = instance(&keys, true);
        let ids = ["1", "2"].map(ToOwned::to_owned);
        let model = |id: &str| Model {
            id: id.to_owned(),
            name: format!("model {id}"),
            family: "gpt".to_owned(),
            endpoint: None,
            identifier: None,
            provider: None,
            has_api_token: false,
        };
        gitlab.models = Some(vec![model("1"), model("2"), model(FOREIGN_ID)]);
        gitlab.settings.as_mut().unwrap().gateway_url = Some(OURS.to_owned());
        let mut set = |key: &str, provider: &str, id: Option<&str>| {
            let row = gitlab.features.iter_mut().find(|row| row.key == key).unwrap();
            provider.clone_into(&mut row.provider);
            row.model_id = id.map(ToOwned::to_owned);
        };
        set(FOREIGN[0], "self_hosted", Some(FOREIGN_ID));
        set(FOREIGN[1], "disabled", None);
        if by_hand {
            set(BY_HAND, "self_hosted", Some("1"));
        }
        let mut world = Self { gitlab, now: 0, lives: Default::default(), ids, features, models, left_behind: false };
        world.resync(0);
        world.resync(1);
        world
    }

    fn assignment(&self, at: usize) -> &Life {
        &self.lives[3 + at]
    }

    fn deleting_for(&self, object: usize) -> i64 {
        self.now - self.lives[object].deleting_since.unwrap_or(self.now)
    }

    fn reconcile(&mut self, object: usize) {
        if self.lives[object].gone {
            return;
        }
        let leaves = self.lives[object].leaves();
        match object {
            0 if leaves => self.gateway(),
            1 | 2 if leaves => self.model(object - 1),
            3 | 4 if leaves => self.release(object - 3),
            3 | 4 => self.resync(object - 3),
            _ => {}
        }
    }

    fn gateway(&mut self) {
        let dependents = &self.lives[1..];
        let leaving = dependents.iter().filter(|life| life.leaves()).count();
        let staying = dependents.iter().filter(|life| life.stays()).count();
        if gateway_waits(leaving, staying, self.deleting_for(0), Patience::default()) {
            return;
        }
        let settings = self.gitlab.settings.as_mut().unwrap();
        if url_rules::same(settings.gateway_url.as_deref(), Some(OURS)) {
            settings.gateway_url = Some(PREVIOUS.to_owned());
        }
        self.lives[0].gone = true;
    }

    fn model(&mut self, at: usize) {
        if self.lives[0].gone {
            self.left_behind = true;
            self.lives[1 + at].gone = true;
            return;
        }
        let marks = Marks { external_id: Some(self.ids[at].clone()), create_pending: None };
        let name = format!("model {}", self.ids[at]);
        let seen = self.gitlab.clone();
        let id = match may_delete(&marks, &name, &seen, false, &[self.ids[1 - at].as_str()]) {
            Doomed::Listed(id) => id.to_owned(),
            Doomed::Hidden(_) | Doomed::Nothing => {
                self.lives[1 + at].gone = true;
                return;
            }
        };
        let users = |leaving: bool| {
            (0..2)
                .filter(|user| self.models[*user] == at && !self.assignment(*user).gone)
                .filter(|user| self.assignment(*user).leaves() == leaving)
                .map(|user| user.to_string())
                .collect::<Vec<_>>()
        };
        let features = seen.features_of(&id).into_iter().map(ToOwned::to_owned).collect();
        let (staying, leaving) = (users(false), !users(true).is_empty());
        match next_step(staying, leaving, features, self.deleting_for(1 + at), Patience::default()) {
            Step::WaitForAssignments(_) | Step::WaitForFeatures(..) => {}
            Step::Unassign(features) => {
                for feature in features {
                    let target = FeatureTarget::Unassigned;
                    self.execute(&Operation::UpdateFeature { feature, target, found: String::new() });
                }
            }
            Step::Delete => self.execute(&Operation::DeleteModel { id, name }),
        }
    }

    fn release(&mut self, at: usize) {
        if self.lives[0].gone {
            self.left_behind = true;
            self.lives[3 + at].gone = true;
            return;
        }
        let other = 1 - at;
        let held = |of: usize| self.features[of].iter().map(|feature| Held { feature: *feature, provider: None });
        let release = Release {
            features: held(at).collect(),
            models: (0..2).filter(|model| !self.lives[1 + model].gone).map(|model| self.ids[model].clone()).collect(),
            elsewhere: if self.assignment(other).stays() { self.features[other].clone() } else { Vec::new() },
            chat_released: self.assignment(other).leaves() && self.features[other].contains(&Feature::DuoChat),
            leaving_models: (0..2)
                .filter(|model| self.lives[1 + model].leaves())
                .map(|model| self.ids[model].clone())
                .collect(),
        };
        for operation in plan::plan_release(&self.gitlab, &release) {
            self.execute(&operation);
        }
        self.lives[3 + at].gone = true;
    }

    /// An assignment that stays puts its features back while its model is there to stay.
    fn resync(&mut self, at: usize) {
        if self.lives[0].gone || !self.lives[1 + self.models[at]].stays() {
            return;
        }
        let target = FeatureTarget::Model(self.ids[self.models[at]].clone());
        let planned: Vec<Operation> = self.features[at]
            .iter()
            .filter_map(|feature| plan::plan_feature(&self.gitlab, *feature, &target))
            .collect();
        for operation in planned {
            self.execute(&operation);
        }
    }

    fn execute(&mut self, operation: &Operation) {
        if let Operation::DeleteModel { id, .. } = operation {
            assert!(self.gitlab.features_of(id).is_empty(), "a model is deleted under its features");
        }
        execute(&mut self.gitlab, operation);
    }

    fn foreign_is_untouched(&self, fresh: &Self) {
        assert_eq!(self.gitlab.model(FOREIGN_ID), fresh.gitlab.model(FOREIGN_ID));
        for key in FOREIGN {
            assert_eq!(self.gitlab.feature(key), fresh.gitlab.feature(key));
        }
    }

    fn nothing_of_ours_is_left(&self) {
        let ids: Vec<&str> = self.gitlab.models.iter().flatten().map(|model| model.id.as_str()).collect();
        assert_eq!(ids, [FOREIGN_ID]);
        assert_eq!(self.gitlab.settings.as_ref().unwrap().gateway_url.as_deref(), Some(PREVIOUS));
        for row in self.gitlab.features.iter().filter(|row| !FOREIGN.contains(&row.key.as_str())) {
            assert!(row.provider == "unassigned" && row.model_id.is_none(), "{row:?}");
        }
    }
}

fn split() -> impl Strategy<Value = [Vec<Feature>; 2]> {
    use Feature::{CodeCompletions, DuoChat, DuoChatExplainCode};
    sample::select(vec![
        [vec![CodeCompletions], vec![DuoChat, DuoChatExplainCode]],
        [vec![CodeCompletions, DuoChat], vec![DuoChatExplainCode]],
        [vec![DuoChat], vec![CodeCompletions, DuoChatExplainCode]],
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn deletions_in_any_order_end_with_nothing_of_ours_left_and_nothing_foreign_touched(
        features in split(), models in [0..2_usize, 0..2_usize], by_hand: bool,
        order in Just([0, 1, 2, 3, 4_usize]).prop_shuffle(),
        // Several at a time, or one after the other.
        pauses in collection::vec(prop_oneof![3 => Just(0), 1 => 1..4_i64, 1 => 6..20_i64], OBJECTS),
        turns in collection::vec(0..OBJECTS, 0..200),
    ) {
        let fresh = World::new(features.clone(), models, by_hand);
        let mut world = World::new(features, models, by_hand);
        let mut turns = turns.into_iter();
        let mut gateway_at = 0;
        let mut last = 0;
        for (object, pause) in order.into_iter().zip(pauses) {
            for _ in 0..pause {
                world.now += 1;
                for _ in 0..3 {
                    turns.next().into_iter().for_each(|object| world.reconcile(object));
                }
            }
            world.lives[object].deleting_since = Some(world.now);
            last = world.now;
            if object == 0 {
                gateway_at = world.now;
            }
        }
        let mut rounds = 0;
        while world.lives.iter().any(|life| !life.gone) {
            rounds += 1;
            prop_assert!(rounds < 700, "a deletion does not end: {:?}", world.lives);
            world.now += 1;
            turns.next().into_iter().for_each(|object| world.reconcile(object));
            for object in 0..OBJECTS {
                world.reconcile(object);
            }
        }
        world.foreign_is_untouched(&fresh);
        // A gateway waits for those that follow within that time.
        if last - gateway_at < GATHERING_SECONDS {
            prop_assert!(!world.left_behind);
            world.nothing_of_ours_is_left();
        }
    }
}
