mod bodies;
mod limits;
mod requests;
mod rig;
