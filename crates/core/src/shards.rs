//! Which of several operators works on a gateway: one by its labels, and never two, whatever their selectors say.
//!
//! An operator with a label selector is a shard. It notes its name on each gateway before it works on it, under the
//! gateway's resource version: of two shards whose selectors overlap, one comes first and the other leaves the gateway
//! alone. When labels move a gateway to another shard, the first lets go of it once nothing of it is worked on any more
//! and its last calls must have ended, and removes its note. The note of a shard that is gone (its lease is free or has
//! run out) binds nobody.
//!
//! What each operator takes stands on its lease ([`Scope`]). So one of them, the first by name, can say that nobody takes
//! a gateway.

use std::collections::BTreeMap;

use crate::selector::Selector;

/// The name of an operator without a selector; it notes nothing.
pub const WHOLE: &str = "";

/// What is known of a gateway and of who may work on it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// This operator's own name.
    pub me: &'a str,
    /// Its selector takes the gateway.
    pub matches: bool,
    /// The shard that is noted on the gateway.
    pub noted: Option<&'a str>,
    /// The other operator that might work on it holds its lease: the noted one; where none is noted, one without a
    /// selector (for a shard).
    pub other_lives: bool,
    /// Seconds since the selector takes the gateway no more.
    pub gone_for: u64,
    /// Something that belongs to it is worked on here at this moment.
    pub busy: bool,
}

/// What to do with a gateway and all that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Work on it.
    Work,
    /// Note the own name first.
    Take,
    /// Begin nothing more; the note stays until what was begun is done and all calls must have ended.
    Finish,
    /// Remove the note.
    Release,
    /// Another operator works on it although the selector takes it.
    Held,
    /// It is none of ours.
    Leave,
}

/// A call whose answer nobody waits for any more has ended after so many seconds.
pub const FINISH_SECONDS: u64 = 15;

/// Decides.
pub fn turn(seen: Seen<'_>) -> Turn {
    let Seen { me, matches, noted, other_lives, gone_for, busy } = seen;
    let noted = noted.filter(|name| !name.is_empty());
    let mine = noted == Some(me);
    match (matches, noted) {
        (false, _) if mine && (busy || gone_for < FINISH_SECONDS) => Turn::Finish,
        (false, _) if mine => Turn::Release,
        (false, _) => Turn::Leave,
        (true, _) if mine => Turn::Work,
        (true, _) if other_lives => Turn::Held,
        (true, None) if me == WHOLE => Turn::Work,
        // the note of one that is gone would keep its successor out later
        (true, Some(_)) if me == WHOLE => Turn::Release,
        (true, _) => Turn::Take,
    }
}

/// What an operator takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    selector: Option<Selector>,
    namespaces: Vec<String>,
}

impl Scope {
    /// No selector: all labels; no namespaces: all.
    pub fn new(selector: Option<Selector>, namespaces: Vec<String>) -> Self {
        Self { selector, namespaces }
    }

    /// As it stands on a lease; `None` for what another version may have written.
    pub fn read(selector: &str, namespaces: &str) -> Option<Self> {
        let selector = if selector.is_empty() { None } else { Some(selector.parse().ok()?) };
        let namespaces = namespaces.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect();
        Some(Self { selector, namespaces })
    }

    /// Selector and namespaces, as [`Self::read`] takes them.
    pub fn written(&self) -> (String, String) {
        (self.selector.as_ref().map(ToString::to_string).unwrap_or_default(), self.namespaces.join(","))
    }

    /// Whether labels alone are taken.
    pub fn takes_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }

    /// Whether objects of this namespace are seen.
    pub fn watches(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|name| name == namespace)
    }

    /// Whether a gateway is taken.
    pub fn takes(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.watches(namespace) && self.takes_labels(labels)
    }
}

/// An operator whose lease is held; `None`: its lease does not say what it takes.
pub type Peer = (String, Option<Scope>);

/// So long nobody takes a gateway until that is told: operators that start together see each other's leases one by one,
/// and the next replica of one that died needs its lease first.
pub const ORPHAN_SECONDS: u64 = 30;

/// Whether no operator takes a gateway, and `me` is the one to say so: the first by name of those that see it. Of one
/// that does not say what it takes, the best is thought.
pub fn tells_of_orphan(me: &str, peers: &[Peer], namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    let taken = peers.iter().any(|(_, scope)| scope.as_ref().is_none_or(|scope| scope.takes(namespace, labels)));
    let seeing = peers.iter().filter(|(_, scope)| scope.as_ref().is_some_and(|scope| scope.watches(namespace)));
    !taken && seeing.map(|(name, _)| name.as_str()).min() == Some(me)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        use Turn::{Finish, Held, Leave, Release, Take, Work};
        // me, selector takes it, noted, the other lives, gone for
        let cases = [
            ("east", true, Some("east"), false, 0, Work),
            ("east", true, None, false, 0, Take),
            ("east", true, None, true, 0, Held),
            ("east", true, Some("west"), true, 0, Held),
            ("east", true, Some("west"), false, 0, Take),
            ("east", false, Some("east"), false, 0, Finish),
            ("east", false, Some("east"), false, 14, Finish),
            ("east", false, Some("east"), false, 15, Release),
            ("east", false, Some("west"), true, 0, Leave),
            ("east", false, Some("west"), false, 99, Leave),
            ("east", false, None, false, 0, Leave),
            (WHOLE, true, None, false, 0, Work),
            (WHOLE, true, Some(""), false, 0, Work),
            (WHOLE, true, Some("east"), true, 0, Held),
            (WHOLE, true, Some("east"), false, 0, Release),
        ];
        for (me, matches, noted, other_lives, gone_for, expected) in cases {
            let seen = Seen { me, matches, noted, other_lives, gone_for, busy: false };
            assert_eq!(turn(seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn of_two_living_operators_never_both_work() {
        let names = [WHOLE, "east", "west"];
        for noted in [None, Some("east"), Some("west"), Some("gone")] {
            for (one, other) in names.iter().flat_map(|one| names.iter().map(move |other| (*one, *other))) {
                if one == other {
                    continue;
                }
                // both see the truth: the other one lives, the one called `gone` does not
                let works = |me: &str, rival: &str| {
                    let other_lives = match noted {
                        Some(name) => name == rival,
                        None => rival == WHOLE,
                    };
                    turn(Seen { me, matches: true, noted, other_lives, gone_for: 0, busy: false }) == Turn::Work
                };
                assert!(!(works(one, other) && works(other, one)), "{one:?} and {other:?} with {noted:?}");
            }
        }
    }

    #[test]
    fn a_shard_lets_go_only_when_nothing_is_under_way() {
        for (gone_for, busy, expected) in [
            (FINISH_SECONDS, true, Turn::Finish),
            (600, true, Turn::Finish),
            (FINISH_SECONDS - 1, false, Turn::Finish),
            (FINISH_SECONDS, false, Turn::Release),
        ] {
            let seen = Seen { me: "east", matches: false, noted: Some("east"), other_lives: false, gone_for, busy };
            assert_eq!(turn(seen), expected, "{seen:?}");
        }
    }

    fn peer(name: &str, selector: &str, namespaces: &str) -> Peer {
        (name.to_owned(), Scope::read(selector, namespaces))
    }

    #[test]
    fn one_of_those_who_see_it_tells_of_a_gateway_that_nobody_takes() {
        let north = BTreeMap::from([("shard".to_owned(), "north".to_owned())]);
        let (east, west) = (peer("east", "shard=east", ""), peer("west", "shard=west", ""));
        let cases = [
            (vec![east.clone(), west.clone()], vec!["east"]),
            (vec![west.clone(), east.clone()], vec!["east"]),
            (vec![west.clone()], vec!["west"]),
            (vec![east.clone(), west.clone(), peer("south", "shard!=east", "")], vec![]),
            (vec![east.clone(), peer(WHOLE, "", "")], vec![]),
            // one that does not look here is no help, and does not tell either
            (vec![peer("a", "shard=north", "other"), east.clone(), west.clone()], vec!["east"]),
            (vec![peer("a", "shard=east", "bank,other"), east.clone()], vec!["a"]),
            // one of another version may take it
            (vec![east.clone(), peer("new", "shard ~ north", "")], vec![]),
        ];
        for (peers, expected) in cases {
            let tells = |me: &&str| tells_of_orphan(me, &peers, "bank", &north);
            let told: Vec<&str> = ["a", "east", "new", "south", "west"].into_iter().filter(tells).collect();
            assert_eq!(told, expected, "{peers:?}");
        }
    }

    #[test]
    fn what_an_operator_takes_is_read_as_it_was_written() {
        for (selector, namespaces) in [("", ""), ("team in (a,b),!legacy", "one,two"), ("a=b", "one")] {
            let scope = Scope::read(selector, namespaces).unwrap();
            assert_eq!(scope.written(), (selector.to_owned(), namespaces.to_owned()));
        }
        assert_eq!(Scope::read("a b", ""), None);
    }
}
