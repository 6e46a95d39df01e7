//! The Kubernetes source against the simulated cluster, over real sockets.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod liveness;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod rewind;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod settings;
mod types;
#[cfg(test)]
mod world;
