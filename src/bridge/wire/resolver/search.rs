//! Lists the names to ask the servers for, in their order.

use hickory_proto::rr::Name;

use super::config::{Config, Switch};

/// A name to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: Name,
    /// Whether this is the given name, not one below a search domain.
    pub(super) is_given: bool,
}

/// Lists the candidates for a name. A name with a dot at the end has only itself. Any other name may belong to a search
/// domain; these come first if the name has fewer than `ndots` dots. Names that DNS cannot encode are left out.
pub(super) fn candidates(name: &str, config: &Config) -> Vec<Candidate> {
    if let Some(absolute) = name.strip_suffix('.') {
        return given(absolute).into_iter().collect();
    }
    let dots = name.matches('.').count();
    let mut all = Vec::new();
    if dots >= config.options.dots {
        all.extend(given(name));
    }
    for domain in &config.search {
        match domain.trim_matches('.') {
            "" if all.iter().any(|candidate: &Candidate| candidate.is_given) => {}
            "" => all.extend(given(name)),
            domain => all.extend(encode(&format!("{name}.{domain}")).map(|name| Candidate {
                name,
                is_given: false,
            })),
        }
    }
    let is_tld_only = dots == 0 && !config.search.is_empty() && config.options.has(Switch::NoTldQuery);
    if !is_tld_only && !all.iter().any(|candidate| candidate.is_given) {
        all.extend(given(name));
    }
    all
}

fn given(name: &str) -> Option<Candidate> {
    encode(name).map(|name| Candidate { name, is_given: true })
}

/// Encodes a name. Every label is allowed: the rules for host names are not the resolver's.
fn encode(name: &str) -> Option<Name> {
    Name::from_labels(name.split('.').map(str::as_bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::{super::config::Environment, *};

    const POD: &str = "search ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5";

    fn names(name: &str, file: &str) -> String {
        let config = Config::read(file, 53, &Environment::default());
        let text = |candidate: &Candidate| {
            let labels: Vec<_> = candidate.name.iter().map(String::from_utf8_lossy).collect();
            labels.join(".") + "."
        };
        let names: Vec<_> = candidates(name, &config).iter().map(text).collect();
        names.join(" ")
    }

    #[test]
    fn order() {
        for (name, file, expected) in [
            ("scim.test", "", "scim.test."),
            ("scim", "", "scim."),
            ("scim.test.", POD, "scim.test."),
            ("scim.", POD, "scim."),
            (
                "scim.test",
                POD,
                "scim.test.ns.svc.cluster.local. scim.test.svc.cluster.local. scim.test.cluster.local. scim.test.",
            ),
            (
                "a.b.c.d.e.f",
                POD,
                "a.b.c.d.e.f. a.b.c.d.e.f.ns.svc.cluster.local. a.b.c.d.e.f.svc.cluster.local. a.b.c.d.e.f.cluster.local.",
            ),
            ("scim", "search a.test b.test.", "scim.a.test. scim.b.test. scim."),
            ("scim.test", "search a.test", "scim.test. scim.test.a.test."),
            ("scim", "search a.test\noptions ndots:0", "scim. scim.a.test."),
            // The root among the search domains.
            ("scim", "search . a.test", "scim. scim.a.test."),
            ("scim", "search a.test .", "scim.a.test. scim."),
            ("scim.test", "search .", "scim.test."),
            // No query for a top level domain.
            ("scim", "search a.test\noptions no-tld-query", "scim.a.test."),
            ("scim", "options no-tld-query", "scim."),
            (
                "scim.test",
                "search a.test\noptions no-tld-query",
                "scim.test. scim.test.a.test.",
            ),
            // Any label.
            ("op_scim.test", "", "op_scim.test."),
            ("_scim._tcp.test", "", "_scim._tcp.test."),
            ("1.2.3.x", "", "1.2.3.x."),
            ("-a-.b--c.-", "", "-a-.b--c.-."),
            ("xn--bcher-kva.test", "", "xn--bcher-kva.test."),
            // No name.
            ("a..test", "search b.test", ""),
            ("", "", ""),
        ] {
            assert_eq!(names(name, file), expected, "{name:?} with {file:?}");
        }
    }

    #[test]
    fn lengths() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(names(&label, ""), format!("{label}."));
        assert_eq!(names(&format!("{label}a"), ""), "");
        assert_eq!(longest.len(), 253);
        assert_eq!(
            names(&longest, "search b.test"),
            format!("{longest}."),
            "too long below a domain"
        );
        assert_eq!(names(&format!("{longest}a"), ""), "");
    }
}
