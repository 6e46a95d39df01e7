//! A host that an object would serve, or a server name that it binds to a Secret, or both; and how few bytes say so.
//!
//! Of a host that begins with the object's name and namespace, as all that Knative makes do, only the end is written;
//! and the ends that Knative writes for hosts within the cluster take no room at all.

use crate::packed::{Reader, put_number};
use crate::resource::Visibility;
use crate::translate::host::LOCAL_ENDS;
use crate::translate::secrets::SecretId;

/// What an object claims, in words.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::translate) struct NewClaim {
    pub(in crate::translate) host: String,
    /// Place of the routes among those of the object.
    pub(in crate::translate) routes: Option<u16>,
    pub(in crate::translate) secret: Option<SecretId>,
    pub(in crate::translate) visibility: Visibility,
    pub(in crate::translate) redirect_to_https: bool,
}

/// What an object claims, as it is read from its record.
#[derive(Clone, Copy, Debug)]
pub(in crate::translate) struct Claim<'a> {
    /// What the host begins with; nothing if that is in `rest`.
    owner: Option<Owner<'a>>,
    rest: &'a str,
    routes: Option<u16>,
    secret: Option<SecretId>,
    pub(in crate::translate) visibility: Visibility,
    pub(in crate::translate) redirect_to_https: bool,
}

/// The object that claims: `name.namespace`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
}

const LOCAL: u8 = 1;
const REDIRECT: u8 = 2;
const SECRET: u8 = 4;
const ROUTES: u8 = 8;
/// The first routes, which take no room.
const FIRST_ROUTES: u8 = 16;
const OWNER: u8 = 32;
/// Two bits: a place in [`LOCAL_ENDS`], or that the end is written.
const END_SHIFT: u8 = 6;
const WRITTEN: u8 = 3;

impl NewClaim {
    /// Appends the claim of an object to its record.
    pub(super) fn pack(&self, owner: Owner<'_>, into: &mut Vec<u8>) {
        let rest = owner.rest_of(&self.host);
        let end = rest.and_then(|rest| (0..WRITTEN).zip(LOCAL_ENDS).find(|(_, end)| *end == rest));
        let flags = [
            (LOCAL, self.visibility == Visibility::ClusterLocal),
            (REDIRECT, self.redirect_to_https),
            (SECRET, self.secret.is_some()),
            (ROUTES, self.routes.is_some_and(|place| place > 0)),
            (FIRST_ROUTES, self.routes == Some(0)),
            (OWNER, rest.is_some()),
        ];
        let flags = flags.iter().filter(|(_, set)| *set).fold(0, |all, (flag, _)| all | flag);
        into.push(flags | end.map_or(WRITTEN, |(code, _)| code) << END_SHIFT);
        if let Some(place) = self.routes.filter(|place| *place > 0) {
            put_number(into, place.into());
        }
        if let Some(secret) = self.secret {
            put_number(into, secret.into());
        }
        if end.is_none() {
            let rest = rest.unwrap_or(&self.host);
            put_number(into, rest.len() as u64);
            into.extend_from_slice(rest.as_bytes());
        }
    }
}

impl<'a> Claim<'a> {
    /// Reads a claim of an object. `None` at the end of the record.
    pub(super) fn read(owner: Owner<'a>, bytes: &mut Reader<'a>) -> Option<Self> {
        let head = bytes.byte()?;
        let has = |flag| head & flag != 0;
        let routes = if has(ROUTES) { u16::try_from(bytes.number()?).ok() } else { has(FIRST_ROUTES).then_some(0) };
        let secret = if has(SECRET) { u32::try_from(bytes.number()?).ok() } else { None };
        let rest = if let Some(end) = LOCAL_ENDS.get(usize::from(head >> END_SHIFT)) {
            end
        } else {
            let length = usize::try_from(bytes.number()?).ok()?;
            bytes.text_of(length)?
        };
        let visibility = if has(LOCAL) { Visibility::ClusterLocal } else { Visibility::External };
        let owner = has(OWNER).then_some(owner);
        Some(Self { owner, rest, routes, secret, visibility, redirect_to_https: has(REDIRECT) })
    }

    /// The host, or server name.
    pub(in crate::translate) fn host(&self) -> String {
        match self.owner {
            Some(Owner { name, namespace }) => [name, ".", namespace, self.rest].concat(),
            None => self.rest.to_owned(),
        }
    }

    /// True if this is the host.
    pub(super) fn is_for(&self, host: &str) -> bool {
        match self.owner {
            Some(owner) => owner.rest_of(host) == Some(self.rest),
            None => self.rest == host,
        }
    }

    pub(in crate::translate) fn secret(&self) -> Option<SecretId> {
        self.secret
    }

    pub(in crate::translate) fn has_routes(&self) -> bool {
        self.routes.is_some()
    }

    /// Place of the routes among those of the object.
    pub(super) fn routes(&self) -> Option<usize> {
        self.routes.map(usize::from)
    }
}

impl Owner<'_> {
    /// What follows `name.namespace` in a host.
    fn rest_of<'h>(&self, host: &'h str) -> Option<&'h str> {
        host.strip_prefix(self.name)?.strip_prefix('.')?.strip_prefix(self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner<'_> = Owner { name: "hello", namespace: "shop" };

    fn claims() -> Vec<NewClaim> {
        let hosts = [
            "hello.shop",
            "hello.shop.svc",
            "hello.shop.svc.cluster.local",
            "hello.shop.example.com",
            "hello.shopping.test",
            "www.test",
            "*",
            "*.hello.shop",
        ];
        let claim = |(n, host): (u16, &str)| NewClaim {
            host: host.to_owned(),
            routes: [None, Some(0), Some(1), Some(u16::MAX - n)][usize::from(n % 4)],
            secret: [None, Some(0), Some(u32::MAX)][usize::from(n % 3)],
            visibility: if n % 2 == 0 { Visibility::External } else { Visibility::ClusterLocal },
            redirect_to_https: n % 5 == 0,
        };
        (0..).zip(hosts).map(claim).collect()
    }

    #[test]
    fn claims_are_read_as_they_were_written() {
        let (claims, mut bytes) = (claims(), Vec::new());
        for claim in &claims {
            claim.pack(OWNER, &mut bytes);
        }
        let mut reader = Reader(&bytes);
        let read: Vec<NewClaim> = std::iter::from_fn(|| Claim::read(OWNER, &mut reader))
            .map(|claim| NewClaim {
                host: claim.host(),
                routes: claim.routes,
                secret: claim.secret,
                visibility: claim.visibility,
                redirect_to_https: claim.redirect_to_https,
            })
            .collect();
        assert_eq!(read, claims);
    }

    #[test]
    fn a_claim_is_for_its_host_alone() {
        let hosts: Vec<String> = claims().into_iter().map(|claim| claim.host).collect();
        for claim in claims() {
            let mut bytes = Vec::new();
            claim.pack(OWNER, &mut bytes);
            let read = Claim::read(OWNER, &mut Reader(&bytes)).unwrap();
            let meant: Vec<&String> = hosts.iter().filter(|host| read.is_for(host)).collect();
            assert_eq!(meant, [&claim.host]);
        }
    }

    #[test]
    fn a_host_within_the_cluster_takes_one_byte() {
        let (visibility, redirect_to_https) = (Visibility::ClusterLocal, false);
        for end in LOCAL_ENDS {
            let (host, mut bytes) = (format!("hello.shop{end}"), Vec::new());
            NewClaim { host, routes: Some(0), secret: None, visibility, redirect_to_https }.pack(OWNER, &mut bytes);
            assert_eq!(bytes.len(), 1);
        }
    }
}
