//! Overload: the real gateway under a memory limit, and under attack.
//!
//! Each case has a gateway, a directory and backends of its own.

mod attacks;
mod cgroup;
mod frames;
mod hoarding;
mod plan;
mod stages;
mod waiting;
mod world;
