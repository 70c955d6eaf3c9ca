//! In which order the places of one model are called.

/// What is known of a place when a choice is made.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Share beside the others' weights; 0: only after all others.
    pub weight: u32,
    /// Calls under way.
    pub under_way: usize,
    /// It may be called: it is not left alone, and this request has not been there yet.
    pub usable: bool,
}

/// Up to so many calls under way nothing has piled up.
const FEW: usize = 4;

/// Smooth weighted round robin: shares are exact and evenly mixed (3:1 gives a a b a, not a a a b).
#[derive(Debug, Default)]
pub struct Turns {
    credit: Vec<i64>,
}

impl Turns {
    /// The usable place whose turn it is, if there is one. A place on which calls pile up (half more than its share
    /// of those under way) is passed over for the one with the fewest for its weight.
    pub fn next(&mut self, loads: &[Load]) -> Option<usize> {
        self.credit.resize(loads.len(), 0);
        let weighted = |at: &usize| loads[*at].usable && loads[*at].weight > 0;
        let total: i64 = loads.iter().filter(|load| load.usable).map(|load| i64::from(load.weight)).sum();
        for at in (0..loads.len()).filter(weighted) {
            self.credit[at] += i64::from(loads[at].weight);
        }
        let turn = (0..loads.len()).filter(weighted).max_by_key(|at| (self.credit[*at], std::cmp::Reverse(*at)));
        let Some(turn) = turn else { return least(loads) };
        self.credit[turn] -= total;
        let load = loads[turn];
        let under_way: usize = (0..loads.len()).filter(weighted).map(|at| loads[at].under_way).sum();
        let share = under_way as u64 * u64::from(load.weight);
        let crowded = load.under_way > FEW && 2 * load.under_way as u64 * total.unsigned_abs() > 3 * share;
        if crowded { least(loads) } else { Some(turn) }
    }
}

/// The usable place with the fewest calls for its weight; those without weight only among themselves.
fn least(loads: &[Load]) -> Option<usize> {
    let per_weight = |load: &Load, other: &Load| load.under_way as u64 * u64::from(other.weight.max(1));
    (0..loads.len()).filter(|at| loads[*at].usable).min_by(|a, b| {
        let (a, b) = (&loads[*a], &loads[*b]);
        (a.weight == 0).cmp(&(b.weight == 0)).then_with(|| per_weight(a, b).cmp(&per_weight(b, a)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn idle(weights: &[u32]) -> Vec<Load> {
        weights.iter().map(|weight| Load { weight: *weight, under_way: 0, usable: true }).collect()
    }

    #[test]
    fn turns_are_mixed() {
        let mut turns = Turns::default();
        let order: Vec<usize> = (0..8).map(|_| turns.next(&idle(&[3, 1])).unwrap()).collect();
        assert_eq!(order, [0, 0, 1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_place_on_which_calls_pile_up_is_passed_over() {
        let mut turns = Turns::default();
        let load = |under_way| Load { weight: 1, under_way, usable: true };
        assert!((0..10).all(|_| turns.next(&[load(40), load(3)]) == Some(1)));
        assert_eq!(turns.next(&[load(40)]), Some(0));
    }

    #[test]
    fn without_weight_only_where_nobody_has_any() {
        let mut turns = Turns::default();
        assert!((0..10).all(|_| turns.next(&idle(&[0, 2])) == Some(1)));
        assert_eq!(turns.next(&idle(&[0, 0])), Some(0));
        let mut loads = idle(&[0, 2]);
        loads[1].usable = false;
        assert_eq!(turns.next(&loads), Some(0), "all others are left alone");
        loads[0].usable = false;
        assert_eq!(turns.next(&loads), None);
    }

    #[test]
    fn the_shares_of_a_place_that_is_left_alone_go_to_the_others_and_are_not_made_up_for_later() {
        let mut turns = Turns::default();
        let mut loads = idle(&[1, 1, 2]);
        loads[0].usable = false;
        for _ in 0..30 {
            assert_ne!(turns.next(&loads), Some(0));
        }
        loads[0].usable = true;
        let counts = (0..40).filter(|_| turns.next(&loads) == Some(0)).count();
        assert_eq!(counts, 10);
    }

    proptest! {
        #[test]
        fn shares_are_exact(weights in proptest::collection::vec(0_u32..20, 1..6)) {
            let total: u32 = weights.iter().sum();
            prop_assume!(total > 0);
            let mut turns = Turns::default();
            let mut counts = vec![0; weights.len()];
            for _ in 0..total {
                counts[turns.next(&idle(&weights)).unwrap()] += 1;
            }
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn a_usable_place_is_always_found(
            loads in proptest::collection::vec((0_u32..=1000, 0_usize..100_000, any::<bool>()), 0..8),
        ) {
            let load = |(weight, under_way, usable)| Load { weight, under_way, usable };
            let loads: Vec<Load> = loads.into_iter().map(load).collect();
            match Turns::default().next(&loads) {
                Some(at) => {
                    prop_assert!(loads[at].usable);
                    prop_assert!(loads[at].weight > 0 || !loads.iter().any(|load| load.usable && load.weight > 0));
                }
                None => prop_assert!(!loads.iter().any(|load| load.usable)),
            }
        }
    }
}
