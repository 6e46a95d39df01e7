//! The settings of `postern gateway`, in one table: flags, environment, file, help and the keys of `config-postern` are
//! made from it.

use xds::settings::Effect;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The flag without its dashes, and the key in the file.
    pub name: &'static str,
    /// What stands for the value in the help.
    pub value_name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// The default as the user would write it; empty if there is none.
    pub default: &'static str,
    /// Whether it can be given several times (in the environment: separated by commas; in the file: a list).
    pub list: bool,
    /// When it takes effect if a `ConfigMap` sets it.
    pub effect: Effect,
}

impl Setting {
    /// The environment variable: `POSTERN_` and the name in capitals.
    pub fn variable(&self) -> String {
        format!("POSTERN_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Changes while the process runs.
    const fn live(self) -> Self {
        Self { effect: Effect::Now, ..self }
    }

    /// A change takes effect at the next start.
    const fn at_start(self) -> Self {
        Self { effect: Effect::NextStart, ..self }
    }
}

const fn one(name: &'static str, value_name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, value_name, help, default, list: false, effect: Effect::Never }
}

const fn list(name: &'static str, value_name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, value_name, help, default, list: true, effect: Effect::Never }
}

/// All settings of `postern gateway`.
pub const GATEWAY_SETTINGS: &[Setting] = &[
    one("source", "dir:PATH|kube", "", "Where objects come from: a directory of manifests, or the Kubernetes API"),
    one(
        "kubeconfig",
        "FILE",
        "",
        "How the Kubernetes API is reached; by default as the pod's service account or, outside of a cluster, as \
         $KUBECONFIG or ~/.kube/config says",
    ),
    one("kube-context", "NAME", "", "Context in the kubeconfig; by default its current one"),
    list("namespaces", "NAMESPACE", "", "Namespaces of the Kubernetes API that are followed; by default all"),
    one(
        "secret-selector",
        "SELECTOR",
        "",
        "Labels of the Secrets that are followed, such as networking.internal.knative.dev/certificate-uid; by default \
         all, of any type",
    ),
    one(
        "kube-api-qps",
        "COUNT",
        "500",
        "Secrets fetched from the Kubernetes API in a second, for handshakes and renewed certificates together; twice as \
         many at once after a pause",
    ),
    one(
        "own-namespace",
        "NAMESPACE",
        "",
        "Namespace of the gateway's Services, its Lease and the ConfigMap config-postern; by default the pod's own or, \
         outside of a cluster, postern-system",
    ),
    one(
        "knative-namespace",
        "NAMESPACE|off",
        "knative-serving",
        "Namespace of Knative's ConfigMaps config-kourier and config-network, which are read where they exist, or `off`",
    ),
    one(
        "status",
        "on|off",
        "on",
        "Whether status is written to objects of the Kubernetes API; of several gateways, one at a time does",
    ),
    one("pod-name", "NAME", "", "Name of this pod, unique among the gateways; by default the host's name"),
    one("public-service", "NAME", "postern", "Service for traffic from outside, as Knative Ingresses' status names it"),
    one(
        "internal-service",
        "NAME",
        "postern-internal",
        "Service for traffic from inside the cluster, likewise; its endpoints are all gateways",
    ),
    one("cluster-domain", "DOMAIN", "cluster.local", "Domain of the cluster's DNS"),
    one(
        "publish-service",
        "NAMESPACE/NAME",
        "",
        "Service whose addresses the status of Ingresses shows; by default the public one",
    ),
    list("publish-status-address", "ADDRESS", "", "Address that the status of Ingresses shows instead"),
    one("lease-name", "NAME", "postern", "Lease whose holder writes status"),
    // client-go's defaults (tools/leaderelection).
    one("lease-duration", "TIME", "15s", "How long others wait for a holder that does not renew, in whole seconds"),
    one("lease-renew-deadline", "TIME", "10s", "How long without renewal the holder still writes"),
    one("lease-retry-period", "TIME", "2s", "How often the Lease is renewed or tried for"),
    one("status-rate", "COUNT", "200", "Status patches in a second, on average; twice as many at once"),
    list(
        "listen",
        "NAME=ADDR|NAME=off",
        "",
        "Address of a listener, or `off`. Names: external-http (8080), external-https (8443), internal-http (8081), \
         internal-https (8444), probe-http (8090), probe-https (9443), metrics (9000), admin (9901, loopback only)",
    ),
    one(
        "sealed-dir",
        "PATH",
        "",
        "Directory for encrypted copies of certificates, to serve those that left the cache while the API server is \
         away; the key is in this process's memory only. Without it there are none",
    ),
    // 2 to 4 KiB each.
    one("sealed-bytes", "SIZE", "64MiB", "Disk space that encrypted copies may take"),
    one(
        "memory-limit",
        "auto|SIZE|off",
        "auto",
        "Memory that the process may use: what its cgroup allows, or a size if that is less; `off` follows no limit",
    ).live(),
    // See `overload::Thresholds`.
    one(
        "overload-shrink",
        "PERCENT",
        "85%",
        "Share of the memory limit at which the certificate cache is shrunk and memory given back",
    ).live(),
    one("overload-close", "PERCENT", "92%", "Share at which idle connections, and then others, are closed").live(),
    one("overload-refuse", "PERCENT", "96%", "Share at which new connections are closed and requests answered 503").live(),
    one(
        "cert-cache",
        "auto|SIZE",
        "auto",
        "Memory that cached certificates may hold; `auto` plans it from the memory limit, and is 32MiB without one",
    ).live(),
    one("cert-loads", "COUNT", "64", "Certificates that are loaded at the same time"),
    one(
        "cert-miss-rate",
        "COUNT",
        "2000",
        "Certificates that may be loaded in a second; a client that asks for many leaves a fifth of that to others",
    ).live(),
    one(
        "default-certificate",
        "NAMESPACE/NAME",
        "",
        "Secret to present when a client asks for an unknown server name or for none; without it such clients are refused",
    ).live(),
    one("min-tls-version", "1.2|1.3", "1.2", "Lowest TLS version that is accepted").at_start(),
    one("handshake-timeout", "TIME", "10s", "How long hello, certificate and handshake may take together").live(),
    one("header-timeout", "TIME", "10s", "How long a request's header may take from its first byte").live(),
    // 60 s are waited in front (AWS): who waits longer loses no request.
    one(
        "keepalive-timeout",
        "TIME",
        "75s",
        "How long a connection may idle between requests; longer than a balancer in front keeps it. Connections of HTTP/2 may \
         for 5m at least",
    ).live(),
    one(
        "write-stall-timeout",
        "TIME",
        "60s",
        "How long a client may take nothing of an answer that waits for it; 10s, if that is less, while memory is short",
    ).live(),
    one(
        "max-buffered",
        "auto|SIZE",
        "auto",
        "Bytes of bodies that may wait for clients and endpoints; from three quarters on those end that stand still. \
         `auto` is what is left of the memory limit, and 1GiB without one",
    ).live(),
    one(
        "max-connections",
        "auto|COUNT",
        "auto",
        "Downstream connections at the same time; `auto` is as many as the memory limit has room for, at most 20000",
    ).live(),
    one(
        "max-connections-per-client",
        "auto|COUNT",
        "auto",
        "Downstream connections at the same time from one address, or IPv6 /64; `auto` is a quarter of max-connections. A \
         load balancer in front is one address",
    ).live(),
    one("proxy-protocol", "on|off", "off", "Whether the external listeners require a PROXY protocol header (v1 or v2)").live(),
    list(
        "trusted-proxies",
        "CIDR",
        "",
        "Peers whose X-Forwarded-For, -Proto and -Host are kept and appended to; those of others are replaced",
    ).live(),
    one(
        "trusted-hops-count",
        "COUNT",
        "0",
        "Proxies in front that append to X-Forwarded-For, where their addresses are not known: the client is that many \
         addresses from its right end with use-remote-address, one more without. With trusted-proxies too, only these peers \
         are believed",
    ).live(),
    one(
        "use-remote-address",
        "on|off",
        "off",
        "Whether the peer's address is appended to X-Forwarded-For with trusted-hops-count, and whatever the count is; `on` \
         for an edge. proxy-protocol is `on` too where there is a count",
    ).live(),
    one(
        "underscore-headers",
        "safe|drop",
        "safe",
        "Header fields with `_` in their name: `safe` passes them on, but for those that read like a field that the gateway \
         sets once `_` is read as `-`; `drop` passes none on, as nginx does",
    ).live(),
    one(
        "endpoint-wait",
        "TIME",
        "5s",
        "How long a request waits for an endpoint that can be reached before it is answered with 503",
    ).live(),
    one(
        "loopback-endpoints",
        "auto|on|off",
        "auto",
        "Whether services may lead to loopback, link-local and unspecified addresses, where only this host is meant to be \
         asked; `auto` lets them with a directory of manifests only",
    ),
    one("stream-idle-timeout", "TIME", "0s", "How long an upstream may stay silent within a request; 0s is no limit").live(),
    one(
        "kingress-class",
        "CLASS",
        "postern.ingress.networking.knative.dev",
        "Class of the Knative Ingresses that are served (annotation networking.knative.dev/ingress.class)",
    ),
    one(
        "ingress-controller",
        "NAME",
        "postern.dev/ingress-controller",
        "Controller name of the IngressClasses that are served",
    ),
    one(
        "ingress-class",
        "NAME",
        "postern",
        "Class name of the Ingresses that are served, besides the classes of ingress-controller. Another name than the \
         default takes that class over, whichever controller its IngressClass names",
    ),
    one(
        "https-redirect",
        "on|off",
        "on",
        "Whether Knative Ingresses that ask for it (httpOption: Redirected) redirect to HTTPS; `off` where a balancer in \
         front does, as with Kourier's KOURIER_HTTPOPTION_DISABLED, which sets it too",
    ),
    list(
        "accept-unsupported",
        "KEY",
        "",
        "Key of Kourier's or Knative's settings that is known not to be implemented here, such as extauthz-host: nothing is \
         served while one that closes something is set and not named here",
    )
    .live(),
    list(
        "shared-secret-namespaces",
        "NAMESPACE",
        "knative-serving",
        "Namespaces whose Secrets a Knative Ingress of any namespace may use",
    ),
    one(
        "drain-delay",
        "TIME",
        "5s",
        "How long connections are still accepted after SIGTERM, while load balancers notice",
    ).live(),
    // Below Kubernetes' default terminationGracePeriodSeconds of 30.
    one("drain-timeout", "TIME", "25s", "How long a drain may take in all, the delay included").live(),
    one("log-format", "text|json", "text", "How log lines look"),
    one(
        "log-level",
        "LEVEL",
        "info",
        "Which log lines are written: error, warn, info, debug, trace, or tracing directives",
    ).live(),
    one("access-log", "on|off", "on", "Whether a line is written to standard output for each request").live(),
    one("threads", "COUNT", "", "Threads that serve traffic; by default as many as there are processors"),
];
