//! The terms of a listener's connections: how many there may be, how many of one address, and how long a silent one is kept.

use std::net::IpAddr;
use std::time::Duration;

use crate::abuse::source::Source;

/// How long a connection may stay without a request while there is room for others.
pub(in crate::http) const PATIENCE: Duration = Duration::from_secs(60);

/// The most connections of a listener, and the share of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Connections that may be open at a time.
    pub most: usize,
    /// Connections of one address, or of one IPv6 network of 64 bits. `None` where the peers are proxies of one's own, each of
    /// which speaks for many clients.
    pub share: Option<usize>,
}

impl Terms {
    /// The terms for a listener. `share` 0 means that addresses have no share; without a setting, a share is a quarter of the
    /// connections.
    pub fn new(most: u32, share: Option<u32>) -> Self {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let most = count(most);
        let share = share.map_or((most / 4).max(1), count);
        Self { most, share: (share > 0).then_some(share) }
    }

    /// The same terms, for a listener whose peers are proxies of one's own.
    #[must_use]
    pub const fn behind_proxies(self, are_there: bool) -> Self {
        if are_there { Self { share: None, ..self } } else { self }
    }

    /// Connections that are kept free for the next ones, at the expense of those that wait without a request.
    pub(super) const fn reserve(self) -> usize {
        self.most / 16
    }

    /// Whether an address that holds its share may have one more while `open` connections are open. An address may use what
    /// others do not need.
    pub(super) const fn is_roomy(self, open: usize) -> bool {
        open < self.most / 2
    }

    /// How long a connection that never sent a request may stay while `open` connections are open. An honest client sends its
    /// request at once. So little patience costs nobody anything but those that hold connections for nothing.
    pub(super) fn patience(self, open: usize) -> Duration {
        let free = self.most.saturating_sub(open);
        match self.most.checked_div(free) {
            Some(0..=2) => PATIENCE,
            Some(3..=4) => Duration::from_secs(15),
            Some(5..=8) => Duration::from_secs(5),
            _ => Duration::from_secs(2),
        }
    }

    /// The source that a peer's connections are counted for; `None` if they have no share. A peer on this machine is a
    /// sidecar of one's own.
    pub(super) fn counted(self, peer: IpAddr) -> Option<Source> {
        let limited = self.share.is_some() && !peer.to_canonical().is_loopback();
        limited.then(|| Source::of_peer(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_shrinks_as_connections_run_out() {
        let terms = Terms::new(4096, None);
        let seconds = |open| terms.patience(open).as_secs();
        assert_eq!([0, 2048, 3000, 3500, 3900, 4096, 9999].map(seconds), [60, 60, 15, 5, 2, 2, 2]);
        assert_eq!(Terms::new(1, None).patience(0), PATIENCE);
    }

    #[test]
    fn an_address_has_a_quarter_unless_the_setting_or_the_proxies_say_otherwise() {
        let share = |most, share| Terms::new(most, share).share;
        assert_eq!([share(4096, None), share(1, None), share(100, Some(7))], [Some(1024), Some(1), Some(7)]);
        assert_eq!(share(4096, Some(0)), None);
        assert_eq!(Terms::new(4096, Some(7)).behind_proxies(true).share, None);
        assert_eq!(Terms::new(4096, Some(7)).behind_proxies(false).share, Some(7));
    }

    #[test]
    fn peers_on_this_machine_have_no_share_and_an_ipv6_network_is_one_address() {
        let terms = Terms::new(4096, None);
        let counted = |peer: &str| terms.counted(peer.parse().unwrap());
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(counted(local), None, "{local}");
        }
        assert_eq!(counted("2001:db8:1:2:3::4"), counted("2001:db8:1:2::"));
        assert_ne!(counted("2001:db8:1:2::"), counted("2001:db8:1:3::"));
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
        assert_eq!(terms.behind_proxies(true).counted([192, 0, 2, 1].into()), None);
    }
}
