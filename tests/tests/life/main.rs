//! Cases from life: the whole gateway on a simulated cluster in which things happen, under load.
//!
//! Each case is a real gateway process, real clients and real backends on loopback. What happens to the cluster is a
//! script with a seed; what a case waits for is a condition with a deadline, never a time.

#[cfg(test)]
mod certificates;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod dropped_watch;
#[cfg(test)]
mod event_storm;
#[cfg(test)]
mod load;
#[cfg(test)]
mod renewals;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod scaling;
#[cfg(test)]
mod world;
