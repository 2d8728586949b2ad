//! Which replica takes the next read.

use super::topology::{Backend, Topology};

/// The index of the backend that takes the read with this ticket number. Tickets count up by one
/// for each read of the whole proxy, so with equal weights reads go round strictly; with unequal
/// ones each backend gets its share, spread evenly over the sequence. Only those that `suits`
/// admits are considered; where `busy` has a number for each backend, of these only those that
/// have the fewest statements in flight in proportion to their weight.
pub fn pick(
    topology: &Topology,
    ticket: u64,
    busy: &[u32],
    suits: impl Fn(&Backend) -> bool,
) -> Option<usize> {
    let suits = |backend: &Backend| takes_reads(backend) && suits(backend);
    let all = || topology.backends.iter().enumerate();
    let load = |(index, backend): (usize, &Backend)| {
        let busy = busy.get(index).copied().unwrap_or(0);
        Load { busy: busy.into(), weight: backend.weight.into() }
    };
    let least = match busy.is_empty() {
        true => None,
        false => all().filter(|it| suits(it.1)).map(load).reduce(Load::lighter),
    };
    let eligible = || {
        all().filter(|it| suits(it.1) && least.is_none_or(|least| load(*it).is_as_light_as(least)))
    };
    let (mut count, mut total, mut heaviest) = (0u64, 0u64, 0u64);
    for (_, backend) in eligible() {
        count += 1;
        total += u64::from(backend.weight);
        heaviest = heaviest.max(u64::from(backend.weight));
    }
    if count == 0 {
        return None;
    }
    if heaviest * count == total {
        return eligible().nth((ticket % count) as usize).map(|(index, _)| index);
    }
    let mut position = spread(ticket, total);
    for (index, backend) in eligible() {
        match position.checked_sub(u64::from(backend.weight)) {
            Some(rest) => position = rest,
            None => return Some(index),
        }
    }
    None
}

/// Statements in flight to be judged by a weight above 0.
#[derive(Clone, Copy)]
struct Load {
    busy: u64,
    weight: u64,
}

impl Load {
    fn lighter(self, other: Load) -> Load {
        if other.busy * self.weight < self.busy * other.weight { other } else { self }
    }

    fn is_as_light_as(self, other: Load) -> bool {
        self.busy * other.weight == other.busy * self.weight
    }
}

fn takes_reads(backend: &Backend) -> bool {
    backend.reads.is_ok() && backend.weight > 0
}

/// A point in `0..total` that moves by the golden ratio with each ticket: any run of tickets
/// covers the range evenly, without the blocks that counting modulo the total would give.
fn spread(ticket: u64, total: u64) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let fraction = ticket.wrapping_mul(GOLDEN);
    ((u128::from(fraction) * u128::from(total)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::super::topology::tests::topology;
    use super::*;

    fn counts(weights: &[u32], tickets: u64) -> Vec<usize> {
        let mut topology = topology(weights.len());
        for (backend, weight) in topology.backends[1..].iter_mut().zip(weights) {
            backend.weight = *weight;
        }
        let mut counts = vec![0; weights.len()];
        for ticket in 0..tickets {
            counts[pick(&topology, ticket, &[], |_| true).unwrap() - 1] += 1;
        }
        counts
    }

    #[test]
    fn equal_weights_go_round_strictly() {
        let topology = topology(3);
        let picked: Vec<_> =
            (0..6).filter_map(|ticket| pick(&topology, ticket, &[], |_| true)).collect();
        assert_eq!(picked, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn unequal_weights_give_shares() {
        for (weights, shares) in [
            (vec![1, 3], vec![250, 750]),
            (vec![100, 0], vec![1000, 0]),
            (vec![1, 1, 2], vec![250, 250, 500]),
        ] {
            for (count, share) in counts(&weights, 1000).iter().zip(&shares) {
                assert!(count.abs_diff(*share) <= 5, "{weights:?}: {count} for {share}");
            }
        }
    }

    #[test]
    fn excluded_and_avoided_backends_take_nothing() {
        let mut topology = topology(2);
        topology.backends[1].reads = Err("lags".into());
        let avoided = topology.backends[2].id;
        assert_eq!(pick(&topology, 0, &[], |_| true), Some(2));
        assert_eq!(pick(&topology, 0, &[], |backend| backend.id != avoided), None);
    }

    #[test]
    fn the_least_busy_in_proportion_to_their_weights() {
        // Weights, statements in flight, and who of the replicas takes the next reads.
        let table: [(&[u32], &[u32], &[usize]); 7] = [
            (&[1, 1, 1], &[0, 0, 0], &[1, 2, 3]),
            (&[1, 1, 1], &[2, 0, 1], &[2]),
            (&[1, 1, 1], &[1, 0, 0], &[2, 3]),
            (&[1, 3], &[1, 2], &[2]),
            (&[1, 3], &[1, 3], &[1, 2]),
            (&[1, 3], &[1, 4], &[1]),
            // Who takes no reads is not the least busy of them.
            (&[0, 1], &[0, 9], &[2]),
        ];
        for (weights, in_flight, expected) in table {
            let mut topology = topology(weights.len());
            for (backend, weight) in topology.backends[1..].iter_mut().zip(weights) {
                backend.weight = *weight;
            }
            let busy = [&[0], in_flight].concat();
            let mut picked: Vec<_> =
                (0..12).filter_map(|ticket| pick(&topology, ticket, &busy, |_| true)).collect();
            picked.sort();
            picked.dedup();
            assert_eq!(picked, expected, "{weights:?} {in_flight:?}");
        }
        // One that is not admitted does not count either.
        let topology = topology(2);
        let avoided = topology.backends[1].id;
        assert_eq!(pick(&topology, 0, &[0, 0, 5], |backend| backend.id != avoided), Some(2));
    }
}
