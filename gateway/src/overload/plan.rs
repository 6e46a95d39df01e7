//! The plan: how the memory limit is divided, and whether that can work out.
//!
//! It is arithmetic on what was measured; what is really used, and what is done if it becomes too much, says the stage.

use std::fmt;

const MIB: u64 = 1 << 20;

/// What the process takes with no service and no client: code, threads, the runtime, the allocator's own. Measured.
pub(super) const FIXED: u64 = 24 * MIB;

/// An idle connection over TLS with HTTP/2: 33 KiB after a request, and 3.8 in the kernel (its socket's, which version 2 of
/// cgroups counts too), and some for what tables of headers hold after hundreds. With HTTP/1.1 it is 15 KiB in all.
pub(super) const PER_CONNECTION: u64 = 40 * 1024;

/// So many connections there may be at least, whatever is left for them: they are rarely all there, all with HTTP/2, and if
/// they are, idle ones are closed. And at most, unless a number is set.
const LEAST_CONNECTIONS: usize = 1_000;
pub(crate) const DEFAULT_CONNECTIONS: usize = 20_000;

/// The certificate cache where no limit is known: room for about 9,000 ECDSA certificates.
pub(crate) const DEFAULT_CACHE: u64 = 32 * MIB;

/// The least that the certificate cache has, whatever else is short: some 500 certificates, so that busy names stay.
pub(super) const CACHE_FLOOR: u64 = 2 * MIB;

/// More helps nobody: about 70,000 certificates.
const CACHE_CEILING: u64 = 256 * MIB;

/// The cache has a sixteenth of the limit even where all connections together would leave it nothing: they are rarely there
/// all at once, and if they are, it shrinks.
const CACHE_SHARE: u64 = 16;

/// Requests and handshakes under way, and updates being read, need room whatever the limit is.
const HEADROOM: u64 = 16 * MIB;

/// The share of the limit, in percent, that is left to what cannot be reserved: fragmentation, page tables, pages of the
/// executable, updates being read.
const UNPLANNED: u64 = 12;

/// No machine has more mebibytes: 16 TiB.
const MOST: u64 = 1 << 24;

/// So many points below the first stage of overload ends what a cache is planned to take that was not set: what it takes is
/// an estimate, and must not begin a stage by itself.
pub(super) const MARGIN: u8 = 5;

/// What the limit is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// In bytes.
    pub(super) limit: u64,
    /// Bytes of the process without services and clients.
    pub(super) fixed: u64,
    /// Bytes of routes, endpoints and indexes.
    pub(super) routes: u64,
    /// How many may be open.
    pub(super) connections: usize,
    /// Fewer, where there is no room for them.
    pub(super) fit_connections: bool,
    /// Bytes of the certificate cache; `None` for what is left.
    pub(super) cert_cache: Option<u64>,
    /// Bytes of memory that encrypted copies take when all that may be kept are there.
    pub(super) sealed: u64,
    /// The share of the limit, in percent, above which overload begins: what is planned stays below.
    pub(super) shrink: u8,
}

/// The parts of the limit, in bytes. They add up to it if it [`fits`](Self::fits), and to more if not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) limit: u64,
    pub(crate) fixed: u64,
    pub(crate) routes: u64,
    pub(crate) certificates: u64,
    pub(crate) sealed: u64,
    pub(crate) connections: u64,
    /// How many may be open.
    pub(crate) max_connections: usize,
    /// For what is under way.
    pub(crate) headroom: u64,
}

/// What would make a plan fit; either is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// A limit of at least so many bytes; `None` if no machine has that much.
    pub(super) limit: Option<u64>,
    /// At most so many connections; `None` if even one is too many.
    pub(super) connections: Option<u64>,
    /// At most so many bytes for the certificate cache, where it was set; `None` if less would not do either.
    pub(super) cert_cache: Option<u64>,
}

impl Demand {
    /// Divides the limit.
    pub(super) fn plan(&self) -> Plan {
        let max_connections = self.max_connections();
        let connections = (max_connections as u64).saturating_mul(PER_CONNECTION);
        let plan = Plan {
            limit: self.limit,
            fixed: self.fixed,
            routes: self.routes,
            certificates: self.certificates(connections),
            sealed: self.sealed,
            connections,
            max_connections,
            headroom: self.least_headroom(),
        };
        let spare = self.limit.saturating_sub(plan.sum());
        Plan { headroom: plan.headroom.saturating_add(spare), ..plan }
    }

    /// What would have to be changed if it does not fit.
    pub(super) fn advice(&self) -> Advice {
        let fits = |mebibytes: u64| Self { limit: mebibytes * MIB, ..*self }.plan().fits();
        // Fitting begins somewhere and never ends: halve the interval.
        let (mut too_little, mut enough) = (0_u64, MOST);
        while enough - too_little > 1 {
            let middle = too_little.midpoint(enough);
            if fits(middle) { enough = middle } else { too_little = middle }
        }
        let plan = self.plan();
        let left_for = |part: &str| {
            let others = plan.parts().into_iter().filter(|(name, _)| *name != part);
            self.limit.saturating_sub(others.fold(0, |sum, (_, bytes)| sum.saturating_add(bytes)))
        };
        let set = self.cert_cache.map(|_| left_for("certificates") / MIB * MIB);
        Advice {
            limit: Some(enough * MIB).filter(|_| enough < MOST),
            connections: Some(left_for("connections") / PER_CONNECTION).filter(|connections| *connections > 0),
            cert_cache: set.filter(|bytes| *bytes >= CACHE_FLOOR),
        }
    }

    /// Bytes for certificates, beside connections that take so many.
    fn certificates(&self, connections: u64) -> u64 {
        self.cert_cache.unwrap_or_else(|| {
            let room = self.room();
            let rest = room.saturating_sub(connections).saturating_sub(self.margin());
            rest.max(self.cache_share(room)).clamp(CACHE_FLOOR, CACHE_CEILING)
        })
    }

    fn max_connections(&self) -> usize {
        if !self.fit_connections {
            return self.connections;
        }
        let room = self.room();
        let cache = self.cert_cache.unwrap_or_else(|| self.cache_share(room).max(CACHE_FLOOR) + self.margin());
        let fitting = usize::try_from(room.saturating_sub(cache) / PER_CONNECTION).unwrap_or(usize::MAX);
        fitting.max(LEAST_CONNECTIONS).min(self.connections)
    }

    /// Bytes for certificates and connections.
    fn room(&self) -> u64 {
        let parts = [self.fixed, self.routes, self.sealed, self.least_headroom()];
        self.limit.saturating_sub(parts.into_iter().fold(0, u64::saturating_add))
    }

    fn cache_share(&self, room: u64) -> u64 {
        (self.limit / CACHE_SHARE).min(room)
    }

    fn margin(&self) -> u64 {
        self.limit / 100 * u64::from(MARGIN)
    }

    fn least_headroom(&self) -> u64 {
        (self.limit / 100 * u64::from(100 - self.shrink.min(100))).max(HEADROOM)
    }
}

impl Plan {
    /// Whether all of it can be used at the same time.
    pub(crate) fn fits(&self) -> bool {
        self.sum() <= self.limit
    }

    /// Whether the difference is not worth a change: what is planned by itself moves with every service that comes.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let is_near = |one: u64, other: u64| one.abs_diff(other) <= one.max(other) / 16;
        self.limit == other.limit
            && self.sealed == other.sealed
            && is_near(self.connections, other.connections)
            && self.fits() == other.fits()
            && is_near(self.certificates, other.certificates)
            && is_near(self.headroom, other.headroom)
            && is_near(self.routes.max(MIB), other.routes.max(MIB))
    }

    /// Returns the bytes that clients may hold: what is left of the limit beside the other parts and [`UNPLANNED`]. At the least a
    /// MiB, for probes and for whoever looks why.
    pub(super) fn reservable(&self) -> u64 {
        let kept = [self.fixed, self.routes, self.certificates, self.sealed, self.limit / 100 * UNPLANNED];
        self.limit.saturating_sub(kept.into_iter().fold(0, u64::saturating_add)).max(MIB)
    }

    /// Name and bytes of each part.
    pub(crate) fn parts(&self) -> [(&'static str, u64); 6] {
        [
            ("fixed", self.fixed),
            ("routes", self.routes),
            ("certificates", self.certificates),
            ("sealed", self.sealed),
            ("connections", self.connections),
            ("headroom", self.headroom),
        ]
    }

    fn sum(&self) -> u64 {
        self.parts().iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }
}

/// `limit 200 MiB = fixed 24 MiB + … + 2000 connections 78 MiB + …`, or `<` where it does not fit.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit {} {}", Mebibytes(self.limit), if self.fits() { "=" } else { "<" })?;
        let parts = self.parts().into_iter().filter(|(name, bytes)| *name != "sealed" || *bytes > 0);
        for (place, (name, bytes)) in parts.enumerate() {
            let plus = if place == 0 { "" } else { " +" };
            if name == "connections" {
                write!(f, "{plus} {} {name} {}", self.max_connections, Mebibytes(bytes))?;
            } else {
                write!(f, "{plus} {name} {}", Mebibytes(bytes))?;
            }
        }
        Ok(())
    }
}

/// What would do, as a sentence goes on after "the memory limit is too small for all that may be asked for".
impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.map(|bytes| format!("give the process at least {}", Mebibytes(bytes)));
        let connections = self.connections.map(|connections| format!("set max-connections to at most {connections}"));
        let cache = self.cert_cache.map(|bytes| format!("set cert-cache to at most {}", Mebibytes(bytes)));
        let ways: Vec<_> = [limit, connections, cache].into_iter().flatten().collect();
        match &*ways {
            [] => f.write_str("no limit that a machine could have would do"),
            ways => write!(f, "for that, {}", ways.join(", or ")),
        }
    }
}

/// Bytes as people compare them.
pub(super) struct Mebibytes(pub(super) u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = self.0 as f64 / MIB as f64;
        let digits = usize::from(mebibytes < 10.0 && !self.0.is_multiple_of(MIB));
        write!(f, "{mebibytes:.digits$} MiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(limit: u64, routes: u64, connections: usize) -> Demand {
        let (limit, routes) = (limit * MIB, routes * MIB);
        Demand {
            limit,
            fixed: FIXED,
            routes,
            connections,
            fit_connections: false,
            cert_cache: None,
            sealed: 0,
            shrink: 85,
        }
    }

    #[test]
    fn parts_of_a_plan_that_fits_add_up_to_the_limit() {
        for (limit, routes, connections) in [(512, 20, 8_000), (4096, 100, 20_000), (200, 1, 2_000), (64, 0, 100)] {
            let plan = demand(limit, routes, connections).plan();
            assert!(plan.fits(), "{plan}");
            assert_eq!(plan.sum(), plan.limit, "{plan}");
        }
    }

    #[test]
    fn the_cache_gets_what_is_left_within_sane_bounds() {
        let cache = |limit, routes, connections| demand(limit, routes, connections).plan().certificates / MIB;
        // The headroom is 15 % with 5 % of margin, and what gets lost in rounding; connections are 40 MiB.
        assert_eq!(cache(300, 40, 1_024), 300 - 24 - 40 - 45 - 15 - 40);
        assert_eq!(cache(8_192, 100, 1_024), 256);
        // All connections would leave nothing: a sixteenth of the limit.
        assert_eq!(cache(320, 100, 20_000), 20);
        // And where even that is not there, the floor.
        assert_eq!(cache(60, 100, 20_000), 2);
        let sized = Demand { cert_cache: Some(7 * MIB), ..demand(400, 40, 1_024) };
        assert_eq!(sized.plan().certificates, 7 * MIB);
    }

    #[test]
    fn a_plan_that_does_not_fit_says_which_limit_or_how_many_connections_would() {
        for cert_cache in [None, Some(32 * MIB)] {
            let demand = Demand { cert_cache, ..demand(300, 100, 20_000) };
            assert!(!demand.plan().fits());
            let Advice { limit, connections, .. } = demand.advice();
            let limit = limit.unwrap();
            assert!(Demand { limit, ..demand }.plan().fits(), "{limit}");
            assert!(!Demand { limit: limit - MIB, ..demand }.plan().fits(), "{limit}");
            let connections = usize::try_from(connections.unwrap()).unwrap();
            assert!(connections > 1_000);
            assert!(Demand { connections, ..demand }.plan().fits(), "{connections}");
            assert!(!Demand { connections: connections + 100, ..demand }.plan().fits(), "{connections}");
        }
    }

    #[test]
    fn a_cache_that_is_larger_than_the_limit_does_not_fit_and_no_advice_is_nothing() {
        let cache = |bytes| Demand { cert_cache: Some(bytes), ..demand(512, 25, 5_000) };
        let large = cache(100 << 30);
        assert!(!large.plan().fits());
        let Advice { limit, connections, cert_cache } = large.advice();
        assert!(limit.is_some_and(|limit| limit > 100 << 30));
        assert_eq!(connections, None, "none at all would not do");
        assert!(cache(cert_cache.unwrap()).plan().fits());
        let text = large.advice().to_string();
        assert!(text.contains("give the process at least") && text.contains("cert-cache to at most"), "{text}");
        assert!(!text.contains("max-connections"), "{text}");
        // 16 EiB: the sum would begin again at zero.
        let endless = cache(u64::MAX);
        assert!(!endless.plan().fits());
        let Advice { limit, connections, cert_cache: less } = endless.advice();
        assert_eq!((limit, connections, less), (None, None, cert_cache));
        assert!(endless.plan().to_string().starts_with("limit 512 MiB < "));
    }

    #[test]
    fn connections_that_are_not_set_are_as_many_as_fit() {
        for (limit, routes, at_least) in [(200, 5, 2_500), (512, 25, 8_000), (1_024, 25, 17_500)] {
            for cert_cache in [None, Some(8 * MIB), Some(limit * MIB / 8)] {
                let demand = Demand { fit_connections: true, cert_cache, ..demand(limit, routes, 20_000) };
                let plan = demand.plan();
                assert!(plan.fits(), "{plan}");
                assert!(cert_cache.is_some() || plan.max_connections >= at_least, "{plan}");
                // As many as that, and no more.
                let one_more =
                    Demand { connections: plan.max_connections + 100, fit_connections: false, ..demand }.plan();
                let is_less = plan.max_connections < 20_000;
                let keeps_cache = one_more.fits() && one_more.certificates >= plan.certificates;
                assert!(!is_less || !keeps_cache, "{plan}, and with more {one_more}");
            }
        }
    }

    #[test]
    fn some_connections_there_are_even_where_none_fit() {
        let plan = Demand { fit_connections: true, ..demand(64, 100, 20_000) }.plan();
        assert_eq!((plan.max_connections, plan.fits()), (LEAST_CONNECTIONS, false));
        let few = Demand { fit_connections: true, ..demand(64, 100, 100) }.plan();
        assert_eq!(few.max_connections, 100);
    }

    #[test]
    fn twenty_thousand_connections_and_as_many_services_fit_12_hundred_mebibytes() {
        assert!(demand(1_200, 25, 20_000).plan().fits());
    }

    #[test]
    fn nothing_overflows_however_small_or_large_the_limit() {
        for limit in [0, 1, 1 << 62] {
            let demand = Demand { limit, ..demand(0, 100, 20_000) };
            assert!(demand.plan().certificates >= CACHE_FLOOR);
            demand.advice();
            Demand { routes: u64::MAX, connections: usize::MAX, ..demand }.advice();
            Demand { routes: u64::MAX, connections: usize::MAX, fit_connections: true, ..demand }.advice();
        }
    }

    #[test]
    fn a_plan_reads_as_a_sum() {
        let text = demand(512, 25, 5_120).plan().to_string();
        assert!(text.starts_with("limit 512 MiB = fixed 24 MiB + routes 25 MiB + certificates "), "{text}");
        assert!(text.contains(" + 5120 connections 200 MiB + headroom "), "{text}");
        let sealed = Demand { sealed: 64 * MIB, ..demand(512, 25, 5_120) }.plan();
        assert!(sealed.to_string().contains(" + sealed 64 MiB + 5120 connections"), "{sealed}");
        assert_eq!((sealed.sum(), sealed.fits()), (512 * MIB, true));
        assert!(demand(64, 100, 0).plan().to_string().starts_with("limit 64 MiB < fixed"));
        assert_eq!(Mebibytes(MIB * 3 / 2).to_string(), "1.5 MiB");
    }

    #[test]
    fn a_few_more_services_are_no_other_plan() {
        let plan = demand(512, 50, 5_120).plan();
        assert!(plan.is_like(&demand(512, 51, 5_120).plan()));
        assert!(!plan.is_like(&demand(512, 70, 5_120).plan()));
        assert!(!plan.is_like(&demand(500, 50, 5_120).plan()));
    }
}
