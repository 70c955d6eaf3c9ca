//! Points at which something can go wrong: a call of a stretch, by its name and number, and what happens to it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use duo_e2e::World;
use duo_testkit::fault_proxy::{Call, Fault};

use crate::scenario::Phase;

/// The neighbour that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The API server.
    Kubernetes,
    /// GitLab.
    GitLab,
}

/// A point. Its text form `Phase|Side|name|number|Fault` plays it alone: `DUO_FAULT_POINT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The stretch.
    pub phase: Phase,
    /// Who is called.
    pub side: Side,
    /// The call's or event's name.
    pub name: String,
    /// Its number in the stretch.
    pub nth: u32,
    /// What happens.
    pub fault: Fault,
}

impl Point {
    /// Arms its fault.
    pub fn arm(&self, world: &World) {
        let proxies = world.proxies.as_ref().expect("proxies");
        let proxy = match self.side {
            Side::Kubernetes => &proxies.kubernetes,
            Side::GitLab => &proxies.gitlab,
        };
        proxy.arm(&self.name, self.nth, self.fault);
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{:?}|{}|{}|{}", self.phase, self.side, self.name, self.nth, self.fault)
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('|').collect();
        let [phase, side, name, nth, fault] = parts[..] else { return Err(format!("{text:?} has not five parts")) };
        Ok(Self {
            phase: Phase::ALL.into_iter().find(|known| known.to_string() == phase).ok_or("no such phase")?,
            side: if side == "GitLab" { Side::GitLab } else { Side::Kubernetes },
            name: name.to_owned(),
            nth: nth.parse().map_err(|error| format!("{nth}: {error}"))?,
            fault: fault.parse()?,
        })
    }
}

/// Calls of an undisturbed life: what was called in which stretch how often.
#[derive(Clone, Debug, Default)]
pub struct Baseline(BTreeMap<(Phase, Side, String), (Call, u32)>);

impl Baseline {
    /// Takes note of a stretch; of several lives the highest numbers count.
    pub fn note(&mut self, world: &World, phase: Phase) {
        let proxies = world.proxies.as_ref().expect("proxies");
        for (side, proxy) in [(Side::Kubernetes, &proxies.kubernetes), (Side::GitLab, &proxies.gitlab)] {
            for call in proxy.calls() {
                let nth = call.nth;
                let entry = self.0.entry((phase, side, call.named.name.clone())).or_insert_with(|| (call, 0));
                entry.1 = entry.1.max(nth);
            }
        }
    }

    /// Takes in what another life saw.
    pub fn merge(&mut self, other: Self) {
        for (key, (call, nth)) in other.0 {
            let entry = self.0.entry(key).or_insert((call, 0));
            entry.1 = entry.1.max(nth);
        }
    }

    /// Calls and events in all.
    pub fn calls(&self) -> u32 {
        self.0.values().map(|(_, count)| count).sum()
    }

    /// Every point, those of first calls before those of later ones.
    pub fn every_point(&self) -> Vec<Point> {
        let mut points: Vec<Point> = self
            .0
            .iter()
            .flat_map(|((phase, side, name), (call, count))| {
                (1..=*count).flat_map(move |nth| {
                    faults(call).map(move |fault| Point { phase: *phase, side: *side, name: name.clone(), nth, fault })
                })
            })
            .collect();
        points.sort_by(|a, b| (a.nth, a.fault, &a.name).cmp(&(b.nth, b.fault, &b.name)));
        points
    }

    /// Every point, many in one life: no call of a stretch has two points in the same life.
    pub fn packed(&self) -> Vec<Vec<Point>> {
        let mut calls: BTreeMap<(Phase, Side, String), Vec<Point>> = BTreeMap::new();
        for point in self.every_point() {
            calls.entry((point.phase, point.side, point.name.clone())).or_default().push(point);
        }
        // each call begins with another fault, so that one life has all of them
        for (at, points) in calls.values_mut().enumerate() {
            let by = at % points.len();
            points.rotate_left(by);
        }
        let lives = calls.values().map(Vec::len).max().unwrap_or_default();
        (0..lives).map(|life| calls.values().filter_map(|points| points.get(life).cloned()).collect()).collect()
    }

    /// Sets of points such that every kind of call meets every fault that fits it in one of them, and no call two in one
    /// life. Which stretch a call is met in changes from set to set.
    pub fn covering(&self) -> Vec<Vec<Point>> {
        let mut kinds: BTreeMap<(Side, &str), Vec<(Phase, &Call)>> = BTreeMap::new();
        for ((phase, side, name), (call, _)) in &self.0 {
            kinds.entry((*side, name)).or_default().push((*phase, call));
        }
        let lives = Fault::ALL.len();
        (0..lives)
            .map(|life| {
                kinds
                    .iter()
                    .enumerate()
                    .filter_map(|(at, ((side, name), places))| {
                        let faults: Vec<Fault> = faults(places[0].1).collect();
                        let fault = *faults.get((life + at) % lives)?;
                        let phase = places[(life + at) % places.len()].0;
                        Some(Point { phase, side: *side, name: (*name).to_owned(), nth: 1, fault })
                    })
                    .collect()
            })
            .collect()
    }
}

fn faults(call: &Call) -> impl Iterator<Item = Fault> {
    let (named, event) = (call.named.clone(), call.event);
    Fault::ALL.into_iter().filter(move |fault| if event { fault.is_of_events() } else { fault.fits(&named) })
}
