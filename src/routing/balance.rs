//! Which replica takes the next read.

use super::topology::{Backend, Topology};

/// The index of the backend that takes the read with this ticket number. Tickets count up by one
/// for each read of the whole proxy, so with equal weights reads go round strictly; with unequal
/// ones each backend gets its share, spread evenly over the sequence. Only those that `suits`
/// admits are considered.
pub fn pick(topology: &Topology, ticket: u64, suits: impl Fn(&Backend) -> bool) -> Option<usize> {
    let suits = |backend: &Backend| takes_reads(backend) && suits(backend);
    let eligible = || topology.backends.iter().enumerate().filter(|(_, backend)| suits(backend));
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
            counts[pick(&topology, ticket, |_| true).unwrap() - 1] += 1;
        }
        counts
    }

    #[test]
    fn equal_weights_go_round_strictly() {
        let topology = topology(3);
        let picked: Vec<_> =
            (0..6).filter_map(|ticket| pick(&topology, ticket, |_| true)).collect();
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
        assert_eq!(pick(&topology, 0, |_| true), Some(2));
        assert_eq!(pick(&topology, 0, |backend| backend.id != avoided), None);
    }
}
