//! The Kubernetes source against the simulated cluster, over real sockets.

#[cfg(test)]
mod failures;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod world;
