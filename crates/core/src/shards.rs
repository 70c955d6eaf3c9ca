//! Which of several operators works on a gateway: one by its labels, and never two, whatever their selectors say.
//!
//! An operator with a label selector is a shard. It notes its name on each gateway before it works on it, under the
//! gateway's resource version: of two shards whose selectors overlap, one comes first and the other leaves the gateway
//! alone. When labels move a gateway to another shard, the first lets go of it once its last calls must have ended, and
//! removes its note. The note of a shard that is gone (its lease is free or has run out) binds nobody.

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
}

/// What to do with a gateway and all that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Work on it.
    Work,
    /// Note the own name first.
    Take,
    /// Do nothing more; the note stays until all calls must have ended.
    Finish,
    /// Remove the note.
    Release,
    /// Another operator works on it although the selector takes it.
    Held,
    /// It is none of ours.
    Leave,
}

/// No call that began before the selector changed is under way after so many seconds.
pub const FINISH_SECONDS: u64 = 15;

/// Decides.
pub fn turn(seen: Seen<'_>) -> Turn {
    let Seen { me, matches, noted, other_lives, gone_for } = seen;
    let noted = noted.filter(|name| !name.is_empty());
    let mine = noted == Some(me);
    match (matches, noted) {
        (false, _) if mine && gone_for < FINISH_SECONDS => Turn::Finish,
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
            let seen = Seen { me, matches, noted, other_lives, gone_for };
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
                    turn(Seen { me, matches: true, noted, other_lives, gone_for: 0 }) == Turn::Work
                };
                assert!(!(works(one, other) && works(other, one)), "{one:?} and {other:?} with {noted:?}");
            }
        }
    }
}
