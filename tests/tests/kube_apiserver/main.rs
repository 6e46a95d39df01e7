//! The gateway on a real `kube-apiserver` with a real `etcd`, where these are installed: whether what the simulated
//! cluster is assumed to do is what Kubernetes does. The cases are few, since each starts its own server.

mod cases;
mod server;
mod world;
