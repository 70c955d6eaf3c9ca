//! One request's way through the places of its model: whose turn it is, again after a pause, twice at once, elsewhere.
//! Decides nothing itself that [`crate::resilience`] can decide. Dropping it ends whatever is under way.
//!
//! The model's own places come first: each is called at most once, the next one at once when one fails; then calls are
//! made again, after pauses, as far as the model's rule and budget allow. Then each fallback in the same manner. A
//! fault of the request, found by one of the model's own places, ends it, and so does the time. A connection check asks
//! for the model itself and for an answer within 3 s: it makes no call again and asks no fallback, and it calls places
//! that are otherwise left alone.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use duo_protocol::model::UpstreamFailure;
use futures::future::{Either, select};
use tokio::time::{Instant, timeout};

use super::lost::{FailedCall, Lost};
use crate::resilience::{Attempt, HedgeRule, Load, Slot, Verdict, pause, retry_after, verdict};
use crate::upstream::{CallOptions, Declared, Place, Timeouts};

/// The way.
pub(super) struct Course<'a> {
    pub(super) target: &'a Declared,
    /// Everything ends here.
    pub(super) deadline: Instant,
    /// For each call; its times are what is left of the whole.
    pub(super) options: CallOptions,
    /// A call is over with the first piece, not with the whole answer.
    pub(super) streaming: bool,
    /// A connection check.
    pub(super) check: bool,
    /// For second calls.
    pub(super) hedge: Option<HedgeRule>,
    /// What went wrong so far.
    pub(super) lost: Lost,
}

/// A call that went well.
pub(super) struct Won<T> {
    pub(super) value: T,
    /// Number of the place.
    pub(super) member: usize,
    /// Still to be told how the answer ends.
    pub(super) attempt: Attempt,
    /// What went wrong before.
    pub(super) lost: Lost,
}

/// A place that was chosen, and its call.
type Chosen = (usize, Attempt);
/// A call that went well, at this place.
type Good<T> = (T, usize, Attempt);

/// What follows a failure.
#[derive(PartialEq, Eq)]
enum Next {
    /// The way goes on.
    On,
    /// Nothing will help, or no time is left.
    End,
}

impl Course<'_> {
    /// Goes it. `call` makes one call of one place.
    ///
    /// # Errors
    /// All that went wrong.
    pub(super) async fn run<T, F, C>(mut self, call: &C) -> Result<Won<T>, Lost>
    where
        C: Fn(Arc<Place>, CallOptions) -> F,
        F: Future<Output = Result<T, UpstreamFailure>>,
    {
        self.target.state.called();
        let fallbacks = if self.check { 0 } else { self.target.members.len() - self.target.own };
        let groups = (0..=fallbacks).map(|at| match at {
            0 => 0..self.target.own,
            at => self.target.own + at - 1..self.target.own + at,
        });
        for group in groups {
            match self.group(group, call).await {
                Ok((value, member, attempt)) => return Ok(Won { value, member, attempt, lost: self.lost }),
                Err(Next::On) => {}
                Err(Next::End) => break,
            }
        }
        Err(self.lost)
    }

    async fn group<T, F, C>(&mut self, group: Range<usize>, call: &C) -> Result<Good<T>, Next>
    where
        C: Fn(Arc<Place>, CallOptions) -> F,
        F: Future<Output = Result<T, UpstreamFailure>>,
    {
        let mut called = Called::default();
        while let Some(chosen) = self.choose(&group, &mut called) {
            match self.once(chosen, &group, &mut called, call).await {
                Ok(good) => return Ok(good),
                Err(Next::On) => {}
                Err(Next::End) => return Err(Next::End),
            }
        }
        let retries = if self.check { 0 } else { self.target.policy.retries };
        for retry in 0..retries {
            let Some(chosen) = self.again(&group, retry).await else { break };
            match self.once(chosen, &group, &mut called, call).await {
                Ok(good) => return Ok(good),
                Err(Next::On) => {}
                Err(Next::End) => return Err(Next::End),
            }
        }
        Err(Next::On)
    }

    /// The place whose turn it is among those that this request has not called yet.
    fn choose(&mut self, group: &Range<usize>, called: &mut Called) -> Option<Chosen> {
        loop {
            let member = self.turn(group, called)?;
            called.add(member);
            match self.begin(member) {
                Ok(attempt) => return Some((member, attempt)),
                Err(wait) => self.lost.left_alone.push((member, wait)),
            }
        }
    }

    fn turn(&self, group: &Range<usize>, called: &Called) -> Option<usize> {
        let open = || group.clone().filter(|member| !called.has(*member));
        if group.len() == 1 || self.check {
            return open().next();
        }
        let (now, rule) = (Instant::now().into_std(), self.target.policy.breaker);
        let load = |member: usize| {
            let one = &self.target.members[member];
            let usable = !called.has(member) && one.state.usable(rule, now);
            Load { weight: one.weight, under_way: one.state.under_way(), usable }
        };
        let loads: Vec<Load> = group.clone().map(load).collect();
        let mut turns = self.target.state.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // where all are left alone, each is asked for the time until it is not
        turns.next(&loads).map(|at| group.start + at).or_else(|| open().next())
    }

    fn begin(&self, member: usize) -> Result<Attempt, Duration> {
        let state = &self.target.members[member].state;
        state.begin(self.target.policy.breaker, self.check, Instant::now().into_std())
    }

    /// The place to call again, once its pause is over.
    async fn again(&self, group: &Range<usize>, retry: u32) -> Option<Chosen> {
        let policy = &self.target.policy;
        let now = Instant::now();
        let wait = |member: usize| {
            let last = self.lost.failures.iter().rfind(|call| call.member == member)?;
            let usable = self.target.members[member].state.usable(policy.breaker, now.into_std());
            let may = usable && verdict(&last.failure) == Verdict::Again;
            let pause = pause(retry, retry_after(&last.failure), policy.max_pause, fastrand::f64());
            may.then_some((pause?, member))
        };
        let (wait, member) = group.clone().filter_map(wait).min()?;
        if now + wait >= self.deadline || !self.target.state.may_retry() {
            return None;
        }
        tokio::time::sleep(wait).await;
        Some((member, self.begin(member).ok()?))
    }

    /// One call, or two of which one is enough.
    async fn once<T, F, C>(
        &mut self,
        (member, attempt): Chosen,
        group: &Range<usize>,
        called: &mut Called,
        call: &C,
    ) -> Result<Good<T>, Next>
    where
        C: Fn(Arc<Place>, CallOptions) -> F,
        F: Future<Output = Result<T, UpstreamFailure>>,
    {
        let Some(rule) = self.hedge else {
            let result = self.timed(member, call).await;
            return self.settle((member, attempt), result);
        };
        let delay = self.target.state.hedge_delay(rule.percentile, rule.min_delay, self.streaming);
        let mut first = self.timed(member, call);
        let early = match delay {
            Some(delay) => timeout(delay, &mut first).await.ok(),
            None => Some((&mut first).await),
        };
        let second = if early.is_some() { None } else { self.second(member, group, called) };
        let Some((other, other_attempt, _slot)) = second else {
            let result = match early {
                Some(result) => result,
                None => first.await,
            };
            return self.settle((member, attempt), result);
        };
        let second = self.timed(other, call);
        let (first_chosen, second_chosen) = ((member, attempt), (other, other_attempt));
        match select(first, second).await {
            Either::Left((result, rest)) => self.either(first_chosen, result, second_chosen, rest).await,
            Either::Right((result, rest)) => {
                if result.is_ok() {
                    self.target.state.hedges_won.fetch_add(1, Ordering::Relaxed);
                }
                self.either(second_chosen, result, first_chosen, rest).await
            }
        }
    }

    /// Of two calls one is over. An answer ends the other, a failure leaves it as the only one.
    async fn either<T>(
        &mut self,
        quick: Chosen,
        result: Result<T, UpstreamFailure>,
        slow: Chosen,
        rest: impl Future<Output = Result<T, UpstreamFailure>>,
    ) -> Result<Good<T>, Next> {
        if result.is_ok() {
            // a call that is given up took at least so long
            self.target.state.took(slow.1.started().elapsed(), self.streaming);
            return self.settle(quick, result);
        }
        match self.settle(quick, result) {
            Err(Next::On) => {
                let result = rest.await;
                self.settle(slow, result)
            }
            other => other,
        }
    }

    /// Where the second call goes: another of the model's own places, else the same. It takes a place of its own among
    /// the model's calls; where there is none, it is not made.
    fn second(&self, member: usize, group: &Range<usize>, called: &mut Called) -> Option<(usize, Attempt, Slot)> {
        let slot = self.target.state.gate.try_enter()?;
        let now = Instant::now().into_std();
        let usable = |at: usize| self.target.members[at].state.usable(self.target.policy.breaker, now);
        let other = self.turn(group, called).filter(|at| usable(*at)).unwrap_or(member);
        if !usable(other) || !self.target.state.may_hedge() {
            return None;
        }
        called.add(other);
        Some((other, self.begin(other).ok()?, slot))
    }

    /// A call that ends in time. Boxed, because clients' futures are large and this one stands in many places.
    fn timed<'c, T, F, C>(
        &self,
        member: usize,
        call: &'c C,
    ) -> Pin<Box<impl Future<Output = Result<T, UpstreamFailure>> + use<'c, T, F, C>>>
    where
        C: Fn(Arc<Place>, CallOptions) -> F,
        F: Future<Output = Result<T, UpstreamFailure>>,
    {
        let overall = self.deadline.saturating_duration_since(Instant::now());
        let first_byte = self.options.timeouts.first_byte.min(overall);
        let options = CallOptions { timeouts: Timeouts { first_byte, overall }, ..self.options.clone() };
        let place = self.target.members[member].place.clone();
        Box::pin(
            async move { timeout(first_byte, call(place, options)).await.unwrap_or(Err(UpstreamFailure::Timeout)) },
        )
    }

    /// Takes note of how a call went.
    fn settle<T>(
        &mut self,
        (member, mut attempt): Chosen,
        result: Result<T, UpstreamFailure>,
    ) -> Result<Good<T>, Next> {
        let now = Instant::now();
        let took = now.into_std().saturating_duration_since(attempt.started());
        match result {
            Ok(value) => {
                if self.hedge.is_some() {
                    self.target.state.took(took, self.streaming);
                }
                Ok((value, member, attempt))
            }
            Err(failure) => {
                if !self.cut_short(&failure, took, now) {
                    attempt.failed(&failure, now.into_std());
                }
                // a fallback may refuse what the model itself would take, for its smaller window
                let requests = verdict(&failure) == Verdict::TheRequests && member < self.target.own;
                let end = requests || now >= self.deadline;
                self.lost.failures.push(FailedCall { member, failure, took });
                Err(if end { Next::End } else { Next::On })
            }
        }
    }
}

impl Course<'_> {
    /// A call that we ended before it had its time says nothing about the place, and does not count against it: that of
    /// a connection check, and one that began when little was left of the request's time.
    fn cut_short(&self, failure: &UpstreamFailure, took: Duration, now: Instant) -> bool {
        let late = now >= self.deadline && took < self.options.timeouts.first_byte / 2;
        *failure == UpstreamFailure::Timeout && (self.check || late)
    }
}

/// Places that a request has called. More than 64 of one model are not declared.
#[derive(Default)]
struct Called(u64);

impl Called {
    fn add(&mut self, member: usize) {
        self.0 |= 1_u64.checked_shl(u32::try_from(member).unwrap_or(u32::MAX)).unwrap_or(u64::MAX);
    }

    fn has(&self, member: usize) -> bool {
        u32::try_from(member).ok().and_then(|at| 1_u64.checked_shl(at)).is_none_or(|bit| self.0 & bit != 0)
    }
}
