//! Chains of certificates: why they are refused, and when those end that are accepted.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, CidrSubnet, CustomExtension,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    NameConstraints, PublicKeyData, SanType, SignatureAlgorithm, date_time_ymd,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};
use scim_bridge_operator::{
    bridge::{
        HttpProber,
        wire::trust::{Bundle, Trust},
    },
    clock::SystemClock,
    domain::connection::evidence::{
        ChainFault, DateFault, Exchange, Member, NameFault, Reading, Roots, TransportFailure,
    },
};

use crate::{
    peer::{Peer, healthy},
    support::{Differences, loopback, order_for, probe_by, told},
};

type Ca = CertifiedIssuer<'static, KeyPair>;
type Edit<'a> = &'a dyn Fn(&mut CertificateParams);

/// What a server shows: its certificate, those that it sends along, and its key.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    /// The server's certificate, to be trusted itself.
    pem: String,
}

/// Who is trusted, in PEM.
enum Trusted {
    /// By the operator.
    System(String),
    /// By the connection.
    Given(String),
}

const HOST: &str = "localhost";

fn plain(_: &mut CertificateParams) {}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str, edit: Edit<'_>) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    edit(&mut params);
    params
}

fn root(name: &str, edit: Edit<'_>) -> Ca {
    Ca::self_signed(authority(name, edit), KeyPair::generate().unwrap()).unwrap()
}

fn below(parent: &Ca, name: &str, edit: Edit<'_>) -> Ca {
    Ca::signed_by(authority(name, edit), KeyPair::generate().unwrap(), parent).unwrap()
}

fn server(edit: Edit<'_>) -> CertificateParams {
    let mut params = named("the server");
    params.subject_alt_names = vec![SanType::DnsName(HOST.try_into().unwrap())];
    edit(&mut params);
    params
}

/// A certificate of `issuer`, and these behind it.
fn by(issuer: &Issuer<'_, KeyPair>, behind: &[&Ca], edit: Edit<'_>) -> Shown {
    let key = KeyPair::generate().unwrap();
    let certificate = server(edit).signed_by(&key, issuer).unwrap();
    shown(&certificate, key, behind)
}

fn self_signed(edit: Edit<'_>) -> Shown {
    let key = KeyPair::generate().unwrap();
    let certificate = server(edit).self_signed(&key).unwrap();
    shown(&certificate, key, &[])
}

fn shown(certificate: &Certificate, key: KeyPair, behind: &[&Ca]) -> Shown {
    let behind = behind.iter().map(|authority| authority.der().clone());
    Shown {
        chain: std::iter::once(certificate.der().clone()).chain(behind).collect(),
        key,
        pem: certificate.pem(),
    }
}

fn given(authorities: &[&Ca]) -> Trusted {
    Trusted::Given(authorities.iter().map(|authority| authority.pem()).collect())
}

fn by_the_operator(authority: &Ca) -> Trusted {
    Trusted::System(authority.pem())
}

impl Shown {
    /// The same with these bytes sent along too.
    fn and(mut self, certificate: &[u8]) -> Self {
        self.chain.push(CertificateDer::from(certificate.to_vec()));
        self
    }

    /// The same with a certificate of the chain changed after it was signed.
    fn with(mut self, place: usize, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Self {
        self.chain[place] = CertificateDer::from(change(&self.chain[place]));
        self
    }

    async fn probe(&self, host: &str, trusted: &Trusted) -> (Exchange, Vec<String>) {
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        let peer = Peer::start_showing(self.chain.clone(), key.into(), healthy);
        let mut system = RootCertStore::empty();
        let trust = match trusted {
            Trusted::Given(pem) => Trust::Only(Bundle::read(pem.as_bytes()).unwrap()),
            Trusted::System(pem) => {
                for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    system.add(root.unwrap()).unwrap();
                }
                Trust::System
            }
        };
        let prober = HttpProber::new(Arc::new(loopback()), Arc::new(system), Arc::new(SystemClock));
        let order = order_for(&format!("https://{host}:{}", peer.port()), trust);
        (probe_by(&prober, &order).await, peer.heard())
    }
}

/// Probes each row, and holds the cause against what is expected; `None` is an accepted chain.
async fn hold(rows: Vec<(&str, Shown, Trusted, Option<TransportFailure>)>) {
    hold_at(HOST, rows).await;
}

async fn hold_at(host: &str, rows: Vec<(&str, Shown, Trusted, Option<TransportFailure>)>) {
    let mut differences = Differences::default();
    for (row, shown, trusted, expected) in rows {
        let (exchange, heard) = shown.probe(host, &trusted).await;
        let seen = match exchange.ping {
            Reading::Failed(failure) => Some(failure),
            Reading::NotSent | Reading::Answered(_) => None,
        };
        differences.compare(row, &format!("{expected:?}"), &format!("{seen:?}"));
        if expected.is_some() {
            differences.compare(row, "[]", &format!("{heard:?}"));
            differences.compare(row, "None", &format!("{:?}", exchange.certificate));
        } else {
            differences.compare(row, "Connected", &told(None, &exchange));
        }
    }
    differences.assert_none();
}

#[allow(clippy::unnecessary_wraps, reason = "a row may also have none")]
const fn untrusted(fault: ChainFault) -> Option<TransportFailure> {
    Some(TransportFailure::CertificateUntrusted(fault))
}

#[allow(clippy::unnecessary_wraps, reason = "a row may also have none")]
const fn expired(fault: DateFault) -> Option<TransportFailure> {
    Some(TransportFailure::CertificateExpired(fault))
}

#[tokio::test]
async fn who_is_not_known() {
    let (ours, theirs) = (root("ours", &plain), root("theirs", &plain));
    let (middle, stranger) = (below(&ours, "middle", &plain), below(&theirs, "stranger", &plain));
    // Set up anew under the old name.
    let anew = root("ours", &plain);
    let middle_anew = below(&ours, "middle", &plain);
    let other_encoding = Issuer::new(
        authority("ours", &|params| {
            let name = DnValue::PrintableString("ours".try_into().unwrap());
            params.distinguished_name.push(DnType::CommonName, name);
        }),
        KeyPair::generate().unwrap(),
    );
    let no_authority = Ca::self_signed(named("no authority"), KeyPair::generate().unwrap()).unwrap();
    let for_others: Edit<'_> =
        &|params| params.subject_alt_names = vec![SanType::DnsName("ingress.local".try_into().unwrap())];
    let as_authority: Edit<'_> = &|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    hold(vec![
        ("a chain", by(&middle, &[&middle], &plain), given(&[&ours]), None),
        (
            "the same by the operator's roots",
            by(&middle, &[&middle], &plain),
            by_the_operator(&ours),
            None,
        ),
        (
            "in any order",
            by(&below(&middle, "low", &plain), &[&middle], &plain),
            given(&[&ours]),
            untrusted(ChainFault::Incomplete(Roots::Given)),
        ),
        (
            "the server's certificate alone",
            by(&middle, &[], &plain),
            given(&[&ours]),
            untrusted(ChainFault::Incomplete(Roots::Given)),
        ),
        (
            "the same by the operator's roots",
            by(&middle, &[], &plain),
            by_the_operator(&ours),
            untrusted(ChainFault::Incomplete(Roots::System)),
        ),
        (
            "with another's intermediate certificate",
            by(&middle, &[&stranger], &plain),
            given(&[&ours]),
            untrusted(ChainFault::Incomplete(Roots::Given)),
        ),
        (
            "of an authority that nobody knows",
            by(&stranger, &[&stranger], &plain),
            given(&[&ours]),
            untrusted(ChainFault::UnknownIssuer(Roots::Given)),
        ),
        (
            "the same by the operator's roots",
            by(&stranger, &[&stranger], &plain),
            by_the_operator(&ours),
            untrusted(ChainFault::UnknownIssuer(Roots::System)),
        ),
        (
            "with the root that nobody knows",
            by(&stranger, &[&stranger, &theirs], &plain),
            given(&[&ours]),
            untrusted(ChainFault::UnknownIssuer(Roots::Given)),
        ),
        (
            "self-signed",
            self_signed(&plain),
            given(&[&ours]),
            untrusted(ChainFault::SelfSigned(Roots::Given)),
        ),
        (
            "the same by the operator's roots",
            self_signed(&plain),
            by_the_operator(&ours),
            untrusted(ChainFault::SelfSigned(Roots::System)),
        ),
        (
            "as openssl req -x509 makes it",
            self_signed(as_authority),
            by_the_operator(&ours),
            untrusted(ChainFault::SelfSigned(Roots::System)),
        ),
        (
            "without a name",
            self_signed(&|params| params.subject_alt_names.clear()),
            given(&[&ours]),
            untrusted(ChainFault::SelfSigned(Roots::Given)),
        ),
        (
            "a front's own",
            self_signed(for_others),
            given(&[&ours]),
            untrusted(ChainFault::DefaultCertificate),
        ),
        (
            "an authority's, for the server",
            by(&ours, &[], as_authority),
            given(&[&ours]),
            untrusted(ChainFault::ServerIsAuthority),
        ),
        (
            "of an authority that was set up anew",
            by(&anew, &[], &plain),
            given(&[&ours]),
            untrusted(ChainFault::OtherKey(Member::Authority)),
        ),
        (
            "the same with the old one sent along",
            by(&anew, &[&ours], &plain),
            given(&[&ours]),
            untrusted(ChainFault::OtherKey(Member::Authority)),
        ),
        (
            "both are trusted",
            by(&anew, &[], &plain),
            given(&[&ours, &anew]),
            None,
        ),
        (
            "with the old intermediate certificate",
            by(&middle_anew, &[&middle], &plain),
            given(&[&ours]),
            untrusted(ChainFault::OtherKey(Member::Intermediate)),
        ),
        (
            "with both intermediate certificates",
            by(&middle_anew, &[&middle, &middle_anew], &plain),
            given(&[&ours]),
            None,
        ),
        (
            "of an issuer in another encoding",
            by(&other_encoding, &[], &plain),
            given(&[&ours]),
            untrusted(ChainFault::OtherEncoding),
        ),
        (
            "of an issuer that is no authority",
            by(&no_authority, &[], &plain),
            given(&[&no_authority]),
            untrusted(ChainFault::Authority),
        ),
    ])
    .await;
}

fn constrained(
    permitted: Vec<GeneralSubtree>,
    excluded: Vec<GeneralSubtree>,
) -> impl Fn(&mut CertificateParams) {
    move |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: permitted.clone(),
            excluded_subtrees: excluded.clone(),
        });
    }
}

#[tokio::test]
async fn what_authorities_may_not() {
    let dns = |name: &str| vec![GeneralSubtree::DnsName(name.to_owned())];
    let mail = || vec![GeneralSubtree::Rfc822Name("example.com".to_owned())];
    let directory = || {
        vec![GeneralSubtree::DirectoryName(
            named("the server").distinguished_name,
        )]
    };
    let with_mail: Edit<'_> = &|params| {
        params
            .subject_alt_names
            .push(SanType::Rfc822Name("scim@example.com".try_into().unwrap()));
    };
    let with_address: Edit<'_> = &|params| {
        params
            .subject_alt_names
            .push(SanType::IpAddress([192, 0, 2, 1].into()));
    };

    let ours = root("ours", &plain);
    let other = below(&ours, "other", &constrained(dns("example.com"), vec![]));
    let except = below(&ours, "except", &constrained(vec![], dns("localhost")));
    let same = below(&ours, "same", &constrained(dns("localhost"), vec![]));
    let network = GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix([10, 0, 0, 0].into(), 8));
    let network = below(&ours, "network", &constrained(vec![network], vec![]));
    let of_mail = below(&ours, "of mail", &constrained(mail(), vec![]));
    let of_names = below(&ours, "of names", &constrained(directory(), vec![]));
    let except_names = below(&ours, "except names", &constrained(vec![], directory()));
    let low = below(&of_names, "low", &plain);
    let named_root = root("named root", &constrained(directory(), vec![]));
    let star = below(&ours, "star", &constrained(dns("*.example.com"), vec![]));
    let pinned = by(&of_names, &[&of_names], &plain);
    let pin = pinned.pem.clone();
    // Of two that have the name, the one with the key counts.
    let twin = root("twin", &constrained(dns("example.com"), vec![]));
    let old_twin = root("twin", &plain);

    let short = root("short", &|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let below_short = below(&short, "below short", &plain);
    let unmarked = below(&ours, "unmarked", &|params| params.is_ca = IsCa::ExplicitNoCa);
    let unsaid = below(&ours, "unsaid", &|params| params.is_ca = IsCa::NoCa);
    let mut tower = vec![below(&ours, "level 0", &plain)];
    for level in 1..7 {
        tower.push(below(&tower[level - 1], &format!("level {level}"), &plain));
    }
    let floors = |count: usize| {
        by(
            &tower[count - 1],
            &tower[..count].iter().collect::<Vec<_>>(),
            &plain,
        )
    };

    let form = untrusted(ChainFault::NameConstraintForm);
    let names = untrusted(ChainFault::NameConstraint);
    let rights = untrusted(ChainFault::Authority);
    hold(vec![
        (
            "for its names",
            by(&same, &[&same], &plain),
            given(&[&ours]),
            None,
        ),
        (
            "for others",
            by(&other, &[&other], &plain),
            given(&[&ours]),
            names,
        ),
        (
            "for all but it",
            by(&except, &[&except], &plain),
            given(&[&ours]),
            names,
        ),
        (
            "for names, with an address",
            by(&network, &[&network], &with_address),
            given(&[&ours]),
            names,
        ),
        (
            "of a network, without an address",
            by(&network, &[&network], &plain),
            given(&[&ours]),
            None,
        ),
        (
            "of mail, without mail",
            by(&of_mail, &[&of_mail], &plain),
            given(&[&ours]),
            None,
        ),
        (
            "of mail, with mail",
            by(&of_mail, &[&of_mail], with_mail),
            given(&[&ours]),
            form,
        ),
        (
            "of a name that DNS does not have",
            by(&star, &[&star], &plain),
            given(&[&ours]),
            form,
        ),
        (
            "of directory names",
            by(&of_names, &[&of_names], &plain),
            given(&[&ours]),
            form,
        ),
        (
            "except directory names",
            by(&except_names, &[&except_names], &plain),
            given(&[&ours]),
            form,
        ),
        (
            "of directory names, further up",
            by(&low, &[&low, &of_names], &plain),
            given(&[&ours]),
            form,
        ),
        (
            "of directory names, at the root",
            by(&named_root, &[], &plain),
            given(&[&named_root]),
            form,
        ),
        (
            "the same by the operator's roots",
            by(&named_root, &[], &plain),
            by_the_operator(&named_root),
            form,
        ),
        (
            "what is advised: the authority below",
            by(&low, &[&low, &of_names], &plain),
            given(&[&low]),
            None,
        ),
        (
            "what is advised: the certificate itself",
            pinned,
            Trusted::Given(pin),
            None,
        ),
        (
            "for others, and a namesake is trusted too",
            by(&twin, &[], &plain),
            given(&[&old_twin, &twin]),
            names,
        ),
        (
            "more authorities than one allows",
            by(&below_short, &[&below_short], &plain),
            given(&[&short]),
            rights,
        ),
        (
            "CA:FALSE",
            by(&unmarked, &[&unmarked], &plain),
            given(&[&ours]),
            rights,
        ),
        (
            "no basicConstraints",
            by(&unsaid, &[&unsaid], &plain),
            given(&[&ours]),
            rights,
        ),
        (
            "CA:FALSE, trusted itself",
            by(&unmarked, &[], &plain),
            given(&[&unmarked]),
            rights,
        ),
        ("six intermediate certificates", floors(6), given(&[&ours]), None),
        (
            "seven intermediate certificates",
            floors(7),
            given(&[&ours]),
            untrusted(ChainFault::TooLong),
        ),
    ])
    .await;
}

/// The content of a DER value, and what follows it.
fn open(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short @ 0..=0x80 => (usize::from(short), 2),
        0x81 => (usize::from(der[2]), 3),
        _ => (usize::from(u16::from_be_bytes([der[2], der[3]])), 4),
    };
    (&der[start..start + length], &der[start + length..])
}

/// A DER value.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match (high, low) {
        (0, short @ 0..0x80) => vec![tag, short],
        (0, low) => vec![tag, 0x81, low],
        (high, low) => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}

fn sequence(content: &[u8]) -> Vec<u8> {
    value(0x30, content)
}

/// A certificate without its version and its extensions: of version 1, then.
fn version_1(der: &[u8]) -> Vec<u8> {
    let (certificate, _) = open(der);
    let (body, signature) = open(certificate);
    let (_, mut rest) = open(body);
    let start = rest;
    // Serial number, signature, issuer, validity, subject, key.
    for _ in 0..6 {
        (_, rest) = open(rest);
    }
    let body = sequence(&start[..start.len() - rest.len()]);
    sequence(&[&body, signature].concat())
}

/// A certificate with another object identifier in it, as often as it has the first.
fn replaced<const N: usize>(from: [u8; N], to: [u8; N]) -> impl Fn(&[u8]) -> Vec<u8> {
    move |der| {
        let mut changed = der.to_vec();
        for at in 0..der.len() - N {
            if der[at..].starts_with(&from) {
                changed[at..at + N].copy_from_slice(&to);
            }
        }
        assert_ne!(changed, der);
        changed
    }
}

/// An RSA key of so many bits, which nobody has.
struct Rsa(Vec<u8>);

impl Rsa {
    fn of(bits: usize) -> Self {
        let modulus = value(2, &[&[0][..], &vec![0xff; bits / 8]].concat());
        Self(sequence(&[&modulus[..], &[2, 3, 1, 0, 1]].concat()))
    }
}

impl PublicKeyData for Rsa {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

#[tokio::test]
async fn what_is_too_weak_or_not_well_formed() {
    let rsa_key = || KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let ours = Ca::self_signed(authority("ours", &plain), rsa_key()).unwrap();
    let middle = Ca::signed_by(authority("middle", &plain), rsa_key(), &ours).unwrap();
    let stranger = root("stranger", &plain);
    let low = below(&stranger, "low", &plain);
    // Signed by nobody who has the key: with such a key no signature would be accepted.
    let weak = |key: &Rsa| {
        let certificate = authority("weak", &plain).signed_by(key, &ours).unwrap();
        let issuer = Issuer::new(authority("weak", &plain), rsa_key());
        by(&issuer, &[], &plain).and(certificate.der())
    };
    let weak_root = {
        let itself = Issuer::new(authority("weak root", &plain), rsa_key());
        let certificate = authority("weak root", &plain)
            .signed_by(&Rsa::of(1024), &itself)
            .unwrap();
        (by(&itself, &[], &plain), Trusted::Given(certificate.pem()))
    };
    // 1.2.840.113549.1.1.11 is RSA with SHA-256; the same with 5 and 4 is RSA with SHA-1 and with MD5.
    let rsa_with = |hash| {
        let of = |hash| [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, hash];
        replaced(of(11), of(hash))
    };
    // From P-256 to P-192.
    let rare = replaced(
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1],
    );
    let curved = below(&ours, "curved", &plain);
    let client: Edit<'_> = &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let both: Edit<'_> = &|params| {
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
    };
    let critical: Edit<'_> = &|params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    };
    let for_clients = below(&ours, "for clients", client);
    let extended = below(&ours, "extended", critical);
    let extended_root = root("extended root", critical);

    let signature = untrusted(ChainFault::WeakSignature);
    let key = untrusted(ChainFault::WeakKey);
    let usage = untrusted(ChainFault::Usage);
    let version = untrusted(ChainFault::Version);
    let form = untrusted(ChainFault::Form);
    let extension = untrusted(ChainFault::Extension);
    let nobody = untrusted(ChainFault::UnknownIssuer(Roots::Given));
    hold(vec![
        (
            "RSA and SHA-256",
            by(&middle, &[&middle], &plain),
            given(&[&ours]),
            None,
        ),
        (
            "SHA-1",
            by(&middle, &[&middle], &plain).with(0, rsa_with(5)),
            given(&[&ours]),
            signature,
        ),
        (
            "MD5",
            by(&middle, &[&middle], &plain).with(0, rsa_with(4)),
            given(&[&ours]),
            signature,
        ),
        (
            "SHA-1 further up",
            by(&middle, &[&middle], &plain).with(1, rsa_with(5)),
            given(&[&ours]),
            signature,
        ),
        ("RSA, 1024 bits", weak(&Rsa::of(1024)), given(&[&ours]), key),
        ("RSA, 8200 bits", weak(&Rsa::of(8200)), given(&[&ours]), key),
        (
            "RSA, 2048 bits of somebody else",
            weak(&Rsa::of(2048)),
            given(&[&ours]),
            untrusted(ChainFault::OtherKey(Member::Intermediate)),
        ),
        (
            "a rare curve",
            by(&curved, &[&curved], &plain).with(1, &rare),
            given(&[&ours]),
            key,
        ),
        ("RSA, 1024 bits, trusted", weak_root.0, weak_root.1, key),
        ("for clients", by(&ours, &[], client), given(&[&ours]), usage),
        (
            "for clients and servers",
            by(&ours, &[], both),
            given(&[&ours]),
            None,
        ),
        (
            "of an authority for clients",
            by(&for_clients, &[&for_clients], &plain),
            given(&[&ours]),
            usage,
        ),
        (
            "version 1",
            by(&ours, &[], &plain).with(0, version_1),
            given(&[&ours]),
            version,
        ),
        (
            "version 1 further up",
            by(&middle, &[&middle], &plain).with(1, version_1),
            given(&[&ours]),
            version,
        ),
        (
            "version 1 beside the chain",
            by(&middle, &[&middle], &plain).and(&version_1(stranger.der())),
            given(&[&ours]),
            None,
        ),
        (
            "version 1 beside a chain that nobody knows",
            by(&low, &[&low], &plain).and(&version_1(ours.der())),
            given(&[&ours]),
            nobody,
        ),
        (
            "a critical extension",
            by(&ours, &[], critical),
            given(&[&ours]),
            extension,
        ),
        (
            "a critical extension further up",
            by(&extended, &[&extended], &plain),
            given(&[&ours]),
            extension,
        ),
        (
            "a critical extension of who is trusted",
            by(&extended_root, &[], &plain),
            given(&[&extended_root]),
            None,
        ),
        (
            "cut off",
            by(&ours, &[], &plain).with(0, |der| der[..der.len() - 9].to_vec()),
            given(&[&ours]),
            form,
        ),
        (
            "cut off further up",
            by(&middle, &[&middle], &plain).with(1, |der| der[..der.len() - 9].to_vec()),
            given(&[&ours]),
            form,
        ),
        (
            "zeroes beside the chain",
            by(&middle, &[&middle], &plain).and(&[0; 64]),
            given(&[&ours]),
            None,
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_is_not_valid_now() {
    let old: Edit<'_> = &|params| params.not_after = date_time_ymd(2021, 1, 1);
    let new: Edit<'_> = &|params| params.not_before = date_time_ymd(2099, 1, 1);
    let reversed: Edit<'_> = &|params| {
        params.not_before = date_time_ymd(2099, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    };
    let ours = root("ours", &plain);
    let old_middle = below(&ours, "middle", old);
    let new_middle = below(&ours, "new middle", new);
    let (old_root, new_root) = (root("old root", old), root("new root", new));
    // Its authority's certificate was renewed with the same key.
    let renewed = Issuer::new(
        authority("old root", &plain),
        KeyPair::from_pem(&old_root.key().serialize_pem()).unwrap(),
    );
    let renewed = authority("old root", &plain)
        .signed_by(old_root.key(), &renewed)
        .unwrap();
    // Signed by both an authority that has ended and one that has not.
    let crossed = below(&old_root, "crossed", &plain);
    let crossed_by_ours = authority("crossed", &plain)
        .signed_by(crossed.key(), &ours)
        .unwrap();

    let ended = |member| expired(DateFault::Ended(member));
    hold(vec![
        (
            "ended",
            by(&ours, &[], old),
            given(&[&ours]),
            ended(Member::Server),
        ),
        (
            "ended before it began",
            by(&ours, &[], reversed),
            given(&[&ours]),
            ended(Member::Server),
        ),
        (
            "an intermediate one ended",
            by(&old_middle, &[&old_middle], &plain),
            given(&[&ours]),
            ended(Member::Intermediate),
        ),
        (
            "the same by the operator's roots",
            by(&old_middle, &[&old_middle], &plain),
            by_the_operator(&ours),
            ended(Member::Intermediate),
        ),
        (
            "who is trusted ended",
            by(&old_root, &[], &plain),
            given(&[&old_root]),
            ended(Member::Authority),
        ),
        (
            "the same by the operator's roots",
            by(&old_root, &[], &plain),
            by_the_operator(&old_root),
            None,
        ),
        (
            "who is trusted ended, and was renewed",
            by(&old_root, &[], &plain),
            Trusted::Given(old_root.pem() + &renewed.pem()),
            None,
        ),
        (
            "who is trusted ended, and another is not",
            by(&crossed, &[&crossed], &plain).and(crossed_by_ours.der()),
            given(&[&old_root, &ours]),
            None,
        ),
        (
            "not yet",
            by(&ours, &[], new),
            given(&[&ours]),
            expired(DateFault::NotYet),
        ),
        (
            "an intermediate one not yet",
            by(&new_middle, &[&new_middle], &plain),
            given(&[&ours]),
            expired(DateFault::NotYet),
        ),
        (
            "who is trusted not yet",
            by(&new_root, &[], &plain),
            given(&[&new_root]),
            expired(DateFault::NotYet),
        ),
        (
            "ended, self-signed and trusted",
            self_signed(old),
            Trusted::System(String::new()),
            ended(Member::Server),
        ),
    ])
    .await;
}

#[tokio::test]
async fn which_names_count() {
    let ours = root("ours", &plain);
    let by_name = |name: &'static str| {
        by(&ours, &[], &move |params| {
            params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        })
    };
    let common_name = || {
        by(&ours, &[], &|params| {
            *params = named(HOST);
        })
    };
    let mismatch = |fault| Some(TransportFailure::CertificateNameMismatch(fault));
    hold(vec![
        (
            "another",
            by_name("scim.example.com"),
            given(&[&ours]),
            mismatch(NameFault::Other),
        ),
        (
            "a common name",
            common_name(),
            given(&[&ours]),
            mismatch(NameFault::Unnamed),
        ),
    ])
    .await;
    let address = by(&ours, &[], &|params| {
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    });
    hold_at(
        "127.0.0.1",
        vec![
            ("the address", address, given(&[&ours]), None),
            (
                "the address as a name",
                by_name("127.0.0.1"),
                given(&[&ours]),
                mismatch(NameFault::AddressAsName),
            ),
            (
                "a name",
                by_name(HOST),
                given(&[&ours]),
                mismatch(NameFault::Other),
            ),
        ],
    )
    .await;
}

/// What ends first of all that the verification used; what it did not use does not count.
#[tokio::test]
async fn when_a_chain_ends() {
    let until =
        |year: i32| move |params: &mut CertificateParams| params.not_after = date_time_ymd(year, 1, 1);
    let ours = root("ours", &until(2080));
    let theirs = root("theirs", &until(2090));
    let middle = below(&ours, "middle", &until(2050));
    let low = below(&middle, "low", &until(2060));
    let soon = below(&ours, "soon", &until(2031));
    let crossed = below(&ours, "crossed", &until(2050));
    let crossed_by_theirs = authority("crossed", &until(2040))
        .signed_by(crossed.key(), &theirs)
        .unwrap();
    let endless: Edit<'_> = &|params| params.not_after = date_time_ymd(9999, 12, 31);
    let renewed = Issuer::new(
        authority("ours", &plain),
        KeyPair::from_pem(&ours.key().serialize_pem()).unwrap(),
    );
    let renewed = authority("ours", &until(2085))
        .signed_by(ours.key(), &renewed)
        .unwrap();
    let pinned = by(&soon, &[&soon], &until(2070));
    let pin = Trusted::Given(pinned.pem.clone());

    let mut differences = Differences::default();
    for (row, shown, trusted, expected) in [
        (
            "the server's",
            by(&ours, &[], &until(2040)),
            given(&[&ours]),
            "2040 Server",
        ),
        (
            "the intermediate one's",
            by(&middle, &[&middle], &until(2070)),
            given(&[&ours]),
            "2050 Intermediate",
        ),
        (
            "the upper intermediate one's",
            by(&low, &[&low, &middle], &until(2070)),
            given(&[&ours]),
            "2050 Intermediate",
        ),
        (
            "the authority's",
            by(&ours, &[], &until(2095)),
            given(&[&ours]),
            "2080 Authority",
        ),
        (
            "of the operator's roots no end is known",
            by(&ours, &[], &until(2095)),
            by_the_operator(&ours),
            "2095 Server",
        ),
        (
            "nor where the server sends it",
            by(&ours, &[&ours], &until(2095)),
            by_the_operator(&ours),
            "2095 Server",
        ),
        (
            "an intermediate one that is trusted",
            by(&low, &[&low, &middle], &until(2070)),
            given(&[&low]),
            "2060 Authority",
        ),
        (
            "one that is sent, and not used",
            by(&middle, &[&middle, &soon], &until(2040)),
            given(&[&ours]),
            "2040 Server",
        ),
        (
            "of two ways, the one that was used",
            by(&crossed, &[&crossed], &until(2070)).and(crossed_by_theirs.der()),
            given(&[&theirs]),
            "2040 Intermediate",
        ),
        (
            "the other",
            by(&crossed, &[&crossed], &until(2070)).and(crossed_by_theirs.der()),
            given(&[&ours]),
            "2050 Intermediate",
        ),
        (
            "an authority's that was renewed",
            by(&ours, &[], &until(2095)),
            Trusted::Given(ours.pem() + &renewed.pem()),
            "2085 Authority",
        ),
        ("trusted itself", pinned, pin, "2070 Server"),
        (
            "no end",
            by(&ours, &[], endless),
            by_the_operator(&ours),
            "9999 Server",
        ),
    ] {
        let (exchange, _) = shown.probe(HOST, &trusted).await;
        let seen = exchange.certificate.as_ref().map(|certificate| {
            let year = certificate.not_after.to_string()[..4].to_owned();
            format!("{year} {:?}", certificate.ends)
        });
        differences.compare(row, expected, &seen.unwrap_or_else(|| told(None, &exchange)));
    }
    differences.assert_none();
}
