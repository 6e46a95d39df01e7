//! The simulated cluster, seen by the real client of Kubernetes for Rust.

#[cfg(test)]
mod access;
#[cfg(test)]
mod client;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod process;
#[cfg(test)]
mod stages;
#[cfg(test)]
mod watches;
