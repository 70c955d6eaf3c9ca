//! What each user and each GitLab instance may use: model calls a minute, tokens a minute, calls at a time.
//!
//! Callers are remembered by a keyed hash of their name, so no name is held here, and no more than a fixed number of
//! them: the ones longest unseen are forgotten first, and with them what they had used.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_gateway_config as config;

use super::bucket::Bucket;

/// Callers remembered of each kind.
const MOST_CALLERS: usize = 10_000;
/// A caller that has too many calls under way is asked to come back after this: a completion takes about as long.
const FOR_A_FREE_ONE: Duration = Duration::from_secs(1);

/// Whose allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A person.
    User,
    /// A GitLab.
    Instance,
}

/// Of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Model calls a minute.
    Requests,
    /// Tokens a minute.
    Tokens,
    /// Calls at a time.
    Concurrent,
}

/// A request beyond its caller's allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Refusal {
    /// Whose.
    pub scope: Scope,
    /// Of what.
    pub unit: Unit,
    /// How much is allowed.
    pub allowed: u64,
    /// When another request may go through.
    pub wait: Duration,
}

impl Refusal {
    fn text(&self) -> String {
        let who = match self.scope {
            Scope::User => "This user",
            Scope::Instance => "This GitLab instance",
        };
        match self.unit {
            Unit::Requests => format!("{who} may make {} model calls a minute.", self.allowed),
            Unit::Tokens => format!("{who} may use {} tokens a minute.", self.allowed),
            Unit::Concurrent => format!("{who} may have {} model calls under way at a time.", self.allowed),
        }
    }
}

/// A caller's two names, hashed.
#[derive(Clone, Copy, Debug)]
pub struct Caller([u64; 2]);

/// The rules for both scopes: [user, instance].
type Rules = [Option<Rule>; 2];

#[derive(Clone, Copy, Debug)]
struct Rule {
    requests: Option<u64>,
    tokens: Option<u64>,
    concurrent: Option<u64>,
}

fn rules(limits: &config::Limits) -> Rules {
    [&limits.per_user, &limits.per_instance].map(|said| {
        said.as_ref().map(|said| Rule {
            requests: said.requests_per_minute.map(u64::from),
            tokens: said.tokens_per_minute,
            concurrent: said.concurrent_requests.map(u64::from),
        })
    })
}

#[derive(Debug)]
struct Used {
    requests: Bucket,
    tokens: Bucket,
    under_way: u64,
    seen: Instant,
}

impl Used {
    fn new(rule: Rule, now: Instant) -> Self {
        let bucket = |most: Option<u64>| Bucket::new(most.unwrap_or(u64::MAX), now);
        Self { requests: bucket(rule.requests), tokens: bucket(rule.tokens), under_way: 0, seen: now }
    }

    fn refusal(&mut self, rule: Rule, scope: Scope, now: Instant) -> Option<Refusal> {
        let refusal = |unit, allowed, wait| Some(Refusal { scope, unit, allowed, wait });
        if let Some(most) = rule.concurrent
            && self.under_way >= most
        {
            return refusal(Unit::Concurrent, most, FOR_A_FREE_ONE);
        }
        if let Some(a_minute) = rule.requests
            && let Some(wait) = self.requests.wait(1, a_minute, now)
        {
            return refusal(Unit::Requests, a_minute, wait);
        }
        if let Some(a_minute) = rule.tokens
            && let Some(wait) = self.tokens.wait(1, a_minute, now)
        {
            return refusal(Unit::Tokens, a_minute, wait);
        }
        None
    }
}

type Table = HashMap<u64, Used>;

/// Who has used what.
#[derive(Debug, Default)]
pub struct Allowances {
    hasher: RandomState,
    tables: Mutex<[Table; 2]>,
    /// Refusals by scope and unit.
    refused: [[AtomicU64; 3]; 2],
}

impl Allowances {
    /// The caller of these names; users of two instances are two users.
    pub fn caller(&self, user: &str, instance: &str) -> Caller {
        Caller([self.hasher.hash_one((user, instance)), self.hasher.hash_one(instance)])
    }

    /// Takes a request off the caller's allowances, all or nothing.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was taken.
    pub fn admit(self: &Arc<Self>, caller: Caller, limits: &config::Limits, now: Instant) -> Result<Charge, Refusal> {
        let rules = rules(limits);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, scope) in [(1, Scope::Instance), (0, Scope::User)] {
            let Some(rule) = rules[at] else { continue };
            make_room(&mut tables[at], caller.0[at], now);
            let used = tables[at].entry(caller.0[at]).or_insert_with(|| Used::new(rule, now));
            used.seen = now;
            if let Some(refusal) = used.refusal(rule, scope, now) {
                self.refused[at][refusal.unit as usize].fetch_add(1, Ordering::Relaxed);
                return Err(refusal);
            }
        }
        for (at, rule) in rules.iter().enumerate() {
            if let (Some(rule), Some(used)) = (rule, tables[at].get_mut(&caller.0[at])) {
                used.under_way += 1;
                if let Some(a_minute) = rule.requests {
                    used.requests.take(1, a_minute, now);
                }
            }
        }
        drop(tables);
        Ok(Charge { allowances: self.clone(), caller, rules })
    }

    /// Refusals so far.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        let scopes = ["user", "instance"].into_iter().enumerate();
        scopes.flat_map(move |(at, scope)| {
            let units = ["requests", "tokens", "concurrent"].into_iter().enumerate();
            units.map(move |(unit, name)| (scope, name, self.refused[at][unit].load(Ordering::Relaxed)))
        })
    }
}

/// Makes room for one more in a full table. Those with calls under way stay.
fn make_room(table: &mut Table, newcomer: u64, now: Instant) {
    if table.len() < MOST_CALLERS || table.contains_key(&newcomer) {
        return;
    }
    // a tenth at once, so that it is not done for each
    let mut seen: Vec<Duration> = table.values().map(|used| now.saturating_duration_since(used.seen)).collect();
    let at = seen.len() - seen.len() / 10 - 1;
    let (_, long, _) = seen.select_nth_unstable(at);
    let long = *long;
    table.retain(|_, used| used.under_way > 0 || now.saturating_duration_since(used.seen) < long);
}

/// A request that was let in. Dropping it says that it is over.
#[derive(Debug)]
pub struct Charge {
    allowances: Arc<Allowances>,
    caller: Caller,
    rules: Rules,
}

impl Charge {
    /// Whether anybody counts tokens.
    pub fn counts_tokens(&self) -> bool {
        self.rules.iter().flatten().any(|rule| rule.tokens.is_some())
    }

    /// Takes the tokens that the call used.
    pub fn tokens(&self, count: u64, now: Instant) {
        self.each(|used, rule| {
            if let Some(a_minute) = rule.tokens {
                used.tokens.take(count, a_minute, now);
            }
        });
    }

    /// No model was called after all.
    pub fn give_back(self) {
        self.each(|used, rule| {
            if let Some(a_minute) = rule.requests {
                used.requests.give(1, a_minute);
            }
        });
    }

    fn each(&self, mut change: impl FnMut(&mut Used, &Rule)) {
        let mut tables = self.allowances.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, rule) in self.rules.iter().enumerate() {
            if let (Some(rule), Some(used)) = (rule, tables[at].get_mut(&self.caller.0[at])) {
                change(used, rule);
            }
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.each(|used, _| used.under_way = used.under_way.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(user: (Option<u32>, Option<u64>, Option<u32>), instance: Option<u32>) -> config::Limits {
        let (requests_per_minute, tokens_per_minute, concurrent_requests) = user;
        config::Limits {
            per_user: Some(config::Allowance { requests_per_minute, tokens_per_minute, concurrent_requests }),
            per_instance: instance.map(|requests| config::Allowance {
                requests_per_minute: Some(requests),
                ..config::Allowance::default()
            }),
        }
    }

    #[test]
    fn users_are_apart_and_their_instance_is_one() {
        let (all, now) = (Arc::new(Allowances::default()), Instant::now());
        let limits = limits((Some(2), None, None), Some(3));
        let (a, b) = (all.caller("a", "i"), all.caller("b", "i"));
        for _ in 0..2 {
            drop(all.admit(a, &limits, now).unwrap());
        }
        let refusal = all.admit(a, &limits, now).unwrap_err();
        assert_eq!((refusal.scope, refusal.unit, refusal.allowed), (Scope::User, Unit::Requests, 2));
        assert_eq!(refusal.wait, Duration::from_secs(30));
        drop(all.admit(b, &limits, now).unwrap());
        let refusal = all.admit(b, &limits, now).unwrap_err();
        assert_eq!(refusal.scope, Scope::Instance, "what the user was refused was not taken off the instance");
        assert!(all.admit(all.caller("a", "another"), &limits, now).is_ok());
        let told: Vec<_> = all.refusals().filter(|(.., count)| *count > 0).collect();
        assert_eq!(told, [("user", "requests", 1), ("instance", "requests", 1)]);
    }

    #[test]
    fn tokens_are_paid_before_the_next_call() {
        let (all, now) = (Arc::new(Allowances::default()), Instant::now());
        let limits = limits((None, Some(600), None), None);
        let caller = all.caller("a", "i");
        let charge = all.admit(caller, &limits, now).unwrap();
        charge.tokens(1200, now);
        drop(charge);
        let refusal = all.admit(caller, &limits, now).unwrap_err();
        assert_eq!((refusal.unit, refusal.wait.as_secs()), (Unit::Tokens, 60));
        assert!(all.admit(caller, &limits, now + Duration::from_secs(61)).is_ok());
    }

    #[test]
    fn calls_at_a_time_end_with_their_charge() {
        let (all, now) = (Arc::new(Allowances::default()), Instant::now());
        let limits = limits((None, None, Some(1)), None);
        let caller = all.caller("a", "i");
        let charge = all.admit(caller, &limits, now).unwrap();
        assert_eq!(all.admit(caller, &limits, now).unwrap_err().unit, Unit::Concurrent);
        drop(charge);
        assert!(all.admit(caller, &limits, now).is_ok());
    }

    #[test]
    fn what_called_no_model_is_given_back() {
        let (all, now) = (Arc::new(Allowances::default()), Instant::now());
        let limits = limits((Some(1), None, None), None);
        let caller = all.caller("a", "i");
        all.admit(caller, &limits, now).unwrap().give_back();
        assert!(all.admit(caller, &limits, now).is_ok());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_longest_unseen() {
        let (all, start) = (Arc::new(Allowances::default()), Instant::now());
        let limits = limits((Some(1), None, None), None);
        let busy = all.admit(all.caller("busy", "i"), &limits, start).unwrap();
        for number in 1..30_000_u64 {
            let caller = all.caller(&number.to_string(), "i");
            assert!(all.admit(caller, &limits, start + Duration::from_millis(number)).is_ok());
            assert!(all.tables.lock().unwrap()[0].len() <= MOST_CALLERS);
        }
        let later = start + Duration::from_secs(30);
        assert!(all.admit(all.caller("29999", "i"), &limits, later).is_err(), "the last ones are remembered");
        assert!(all.admit(all.caller("busy", "i"), &limits, later).is_err(), "and those with calls under way");
        drop(busy);
    }
}
