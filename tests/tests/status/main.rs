//! Status as the whole gateway writes it: `postern gateway --source kube` against the simulated cluster.

#[cfg(test)]
mod conditions;
#[cfg(test)]
mod events;
#[cfg(test)]
mod gateways;
#[cfg(test)]
mod ingress;
#[cfg(test)]
mod kingress;
#[cfg(test)]
mod leadership;
#[cfg(test)]
mod world;
