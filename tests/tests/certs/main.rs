//! `postern certs` and the part of the admin API behind it, against a real gateway.

#[cfg(test)]
mod advise;
#[cfg(test)]
mod budget;
#[cfg(test)]
mod list;
#[cfg(test)]
mod show;
#[cfg(test)]
mod throttle;
#[cfg(test)]
mod world;
