//! The table: files, servers, a name, and what becomes of it.

use std::time::Duration;

/// One look-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) name: &'static str,
    /// Lines of resolv.conf(5) beside those of the servers.
    pub(crate) resolv_conf: &'static str,
    pub(crate) hosts: &'static str,
    /// What each server knows; an empty text is an address where nobody listens.
    pub(crate) zones: &'static [&'static str],
    /// The addresses, in the order of their text; or the error.
    pub(crate) found: &'static str,
    /// Names in the order in which each server was asked for them: `1: a.test b.test; 2: a.test`.
    pub(crate) asked: &'static str,
    pub(crate) within: Duration,
    /// Why the C library does otherwise.
    pub(crate) unlike_the_system: Option<&'static str>,
}

const fn row(what: &'static str, name: &'static str) -> Row {
    Row {
        what,
        name,
        resolv_conf: "",
        hosts: "",
        zones: &[],
        found: "",
        asked: "",
        // No row that ends by an answer takes this long.
        within: Duration::from_secs(40),
        unlike_the_system: None,
    }
}

impl Row {
    const fn conf(mut self, resolv_conf: &'static str) -> Self {
        self.resolv_conf = resolv_conf;
        self
    }

    const fn hosts(mut self, hosts: &'static str) -> Self {
        self.hosts = hosts;
        self
    }

    const fn at(mut self, zones: &'static [&'static str]) -> Self {
        self.zones = zones;
        self
    }

    const fn finds(mut self, found: &'static str) -> Self {
        self.found = found;
        self
    }

    const fn asks(mut self, asked: &'static str) -> Self {
        self.asked = asked;
        self
    }

    /// For rows in which a share has to run out.
    const fn within(mut self, seconds: u64) -> Self {
        self.within = Duration::from_secs(seconds);
        self
    }

    const fn unlike_the_system(mut self, why: &'static str) -> Self {
        self.unlike_the_system = Some(why);
        self
    }
}

const POD: &str = "search ns.svc.test svc.test test\noptions ndots:5";
const DEAD: &str = "";

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    // === The hosts file decides ===
    row("a line of one family", "scim.test").hosts("10.0.0.1 scim.test").at(&["scim.test 10.0.0.9 fd00::9"]).finds("10.0.0.1"),
    row("a line of the other", "scim.test").hosts("fd00::1 scim.test").at(&["scim.test 10.0.0.9 fd00::9"]).finds("fd00::1"),
    row("a line while DNS is silent", "scim.test").hosts("10.0.0.1 scim.test").at(&["* SILENT"]).finds("10.0.0.1"),
    row("several lines", "scim.test").hosts("10.0.0.1 scim.test\nfd00::1 scim.test\n10.0.0.2 scim.test").at(&["* 10.0.0.9"]).finds("10.0.0.1 10.0.0.2 fd00::1"),
    row("an alias", "scim.test").hosts("10.0.0.1 bridge scim.test # pinned").at(&["* 10.0.0.9"]).finds("10.0.0.1"),
    row("another case", "scim.test").hosts("10.0.0.1 SCIM.Test").at(&["* 10.0.0.9"]).finds("10.0.0.1"),
    row("a comment", "scim.test").hosts("#10.0.0.1 scim.test\n10.0.0.2 # scim.test").at(&["scim.test 10.0.0.9"]).finds("10.0.0.9").asks("1: scim.test"),
    row("no address", "scim.test").hosts("10.0.0 scim.test\nscim.test 10.0.0.1\n10.0.0.1").at(&["scim.test 10.0.0.9"]).finds("10.0.0.9").asks("1: scim.test"),
    row("an address with a zone", "scim.test").hosts("fe80::1%lo scim.test").at(&["scim.test 10.0.0.9"]).finds("10.0.0.9").asks("1: scim.test"),
    row("a broken line before", "scim.test").hosts("\u{1}\u{2}\n\n  \n10.0.0.1\tscim.test").at(&["* 10.0.0.9"]).finds("10.0.0.1"),
    row("a name that only a search domain makes", "scim").conf("search a.test").hosts("10.0.0.1 scim.a.test").at(&["scim.a.test 10.0.0.9"]).finds("10.0.0.9").asks("1: scim.a.test"),
    row("an absolute name", "scim.test.").hosts("10.0.0.1 scim.test").at(&["* 10.0.0.9"]).finds("10.0.0.1").unlike_the_system("it compares the dot too, and asks DNS"),

    // === localhost ===
    row("localhost by the file", "localhost").hosts("127.0.0.1 localhost").at(&["* 10.0.0.9"]).finds("127.0.0.1"),
    row("localhost", "localhost").at(&["* 10.0.0.9"]).finds("127.0.0.1 ::1").unlike_the_system("RFC 6761 asks for it; the library leaves it to the file"),
    row("below localhost", "bridge.localhost.").at(&["* 10.0.0.9"]).finds("127.0.0.1 ::1").unlike_the_system("RFC 6761 asks for it; the library leaves it to the file"),

    // === Search list, ndots, absolute names ===
    row("as it stands", "scim.test").at(&["scim.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test"),
    row("no such name", "scim.test").at(&["other.test 10.0.0.1"]).finds("NotFound").asks("1: scim.test"),
    row("no address", "scim.test").at(&["scim.test NODATA"]).finds("NotFound").asks("1: scim.test"),
    row("a Service of the Pod's namespace", "bridge").conf(POD).at(&["bridge.ns.svc.test 10.0.0.1"]).finds("10.0.0.1").asks("1: bridge.ns.svc.test"),
    row("a Service of another namespace", "bridge.scim").conf(POD).at(&["bridge.scim.svc.test 10.0.0.1"]).finds("10.0.0.1").asks("1: bridge.scim.ns.svc.test bridge.scim.svc.test"),
    row("a public name in a Pod", "scim.example").conf(POD).at(&["scim.example 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.example.ns.svc.test scim.example.svc.test scim.example.test scim.example"),
    row("an absolute name in a Pod", "scim.example.").conf(POD).at(&["scim.example 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.example"),
    row("an absolute name that is not there", "scim.example.").conf(POD).at(&["scim.example.test 10.0.0.1"]).finds("NotFound").asks("1: scim.example"),
    row("enough dots", "a.b.c.d.e.f").conf(POD).at(&["a.b.c.d.e.f 10.0.0.1"]).finds("10.0.0.1").asks("1: a.b.c.d.e.f"),
    row("enough dots, and a domain after all", "a.b").conf("search x.test").at(&["a.b.x.test 10.0.0.1"]).finds("10.0.0.1").asks("1: a.b a.b.x.test"),
    row("a wildcard without addresses", "scim").conf("search a.test b.test").at(&["scim.a.test NODATA; scim.b.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.a.test scim.b.test"),
    row("a domain that fails", "scim").conf("search a.test b.test").at(&["scim.a.test SERVFAIL; scim.b.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.a.test scim.b.test"),
    row("a domain that fails, and nothing else", "scim.example").conf("search a.test\noptions ndots:5").at(&["scim.example.a.test SERVFAIL"]).finds("Failed").asks("1: scim.example.a.test scim.example"),
    row("a silent domain", "scim.example").conf("search a.test b.test\noptions ndots:5").at(&["scim.example.a.test SILENT; scim.example.b.test 10.0.0.9; scim.example 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.example.a.test scim.example").within(12),
    row("a silent domain, and nothing else", "scim.example").conf("search a.test b.test\noptions ndots:5").at(&["scim.example.a.test SILENT"]).finds("TimedOut").asks("1: scim.example.a.test scim.example").within(12),
    row("a silent name", "scim.example").conf("search a.test").at(&["scim.example SILENT; scim.example.a.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.example scim.example.a.test").within(12),
    row("a silent domain behind the name", "scim.example").conf("search a.test b.test").at(&["scim.example.a.test SILENT"]).finds("NotFound").asks("1: scim.example scim.example.a.test").within(12),
    row("no domain for a name that fails", "scim.example.").conf("search a.test").at(&["* SERVFAIL"]).finds("Failed").asks("1: scim.example"),
    row("the last line counts", "scim").conf("search a.test\ndomain b.test").at(&["scim.b.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.b.test"),
    row("no top level domain", "scim").conf("search a.test\noptions no-tld-query").at(&["scim 10.0.0.1"]).finds("NotFound").asks("1: scim.a.test"),
    row("the root in the list", "scim").conf("search . a.test").at(&["scim.a.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim scim.a.test"),

    // === Labels ===
    row("an underscore", "op_scim.corp.example").at(&["op_scim.corp.example 10.0.0.1"]).finds("10.0.0.1").asks("1: op_scim.corp.example"),
    row("an underscore first", "_scim._tcp.example").at(&["_scim._tcp.example 10.0.0.1"]).finds("10.0.0.1").asks("1: _scim._tcp.example"),
    row("an underscore last", "scim_.example").at(&["scim_.example 10.0.0.1"]).finds("10.0.0.1").asks("1: scim_.example"),
    row("digits", "1.2.example").at(&["1.2.example 10.0.0.1"]).finds("10.0.0.1").asks("1: 1.2.example"),
    row("digits first", "1password.example").at(&["1password.example 10.0.0.1"]).finds("10.0.0.1").asks("1: 1password.example"),
    row("hyphens", "a--b-.c-.example").at(&["a--b-.c-.example 10.0.0.1"]).finds("10.0.0.1").asks("1: a--b-.c-.example"),
    row("a hyphen first", "a.-b.example").at(&["a.-b.example 10.0.0.1"]).finds("10.0.0.1").asks("1: a.-b.example"),
    row("63 octets", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example").at(&["* 10.0.0.1"]).finds("10.0.0.1").asks("1: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example"),
    row("64 octets", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example").at(&["* 10.0.0.1"]).finds("NotFound"),
    row("an empty label", "scim..example").at(&["* 10.0.0.1"]).finds("NotFound"),
    row("an encoded name", "xn--bcher-kva.example").at(&["xn--bcher-kva.example 10.0.0.1"]).finds("10.0.0.1").asks("1: xn--bcher-kva.example"),

    // === Families ===
    row("IPv4 alone", "scim.test").at(&["scim.test 10.0.0.1 10.0.0.2"]).finds("10.0.0.1 10.0.0.2").asks("1: scim.test"),
    row("IPv6 alone", "scim.test").at(&["scim.test fd00::1"]).finds("fd00::1").asks("1: scim.test"),
    row("both", "scim.test").at(&["scim.test 10.0.0.1 fd00::1"]).finds("10.0.0.1 fd00::1").asks("1: scim.test"),
    row("IPv6 is silent", "scim.test").at(&["scim.test A 10.0.0.1; scim.test AAAA SILENT"]).finds("10.0.0.1").asks("1: scim.test"),
    row("IPv4 is silent", "scim.test").at(&["scim.test A SILENT; scim.test AAAA fd00::1"]).finds("fd00::1").asks("1: scim.test").unlike_the_system("without IPv4 it does not take IPv6"),
    row("IPv6 fails", "scim.test").at(&["scim.test A 10.0.0.1; scim.test AAAA SERVFAIL"]).finds("10.0.0.1").asks("1: scim.test"),
    row("IPv4 fails", "scim.test").at(&["scim.test A SERVFAIL; scim.test AAAA fd00::1"]).finds("fd00::1").asks("1: scim.test"),
    row("no such name for IPv6", "scim.test").at(&["scim.test A 10.0.0.1; scim.test AAAA NXDOMAIN"]).finds("10.0.0.1").asks("1: scim.test"),
    row("no such name, and silence", "scim.test").at(&["scim.test A NXDOMAIN; scim.test AAAA SILENT"]).finds("NotFound").asks("1: scim.test"),
    row("no address, and silence", "scim.test").at(&["scim.test A NODATA; scim.test AAAA SILENT"]).finds("TimedOut").asks("1: scim.test").within(8),
    row("no address, and failure", "scim.test").at(&["scim.test A NODATA; scim.test AAAA SERVFAIL"]).finds("Failed").asks("1: scim.test"),
    row("no IPv6 wanted", "scim.test").conf("options no-aaaa").at(&["scim.test A 10.0.0.1; scim.test AAAA fd00::1"]).finds("10.0.0.1").asks("1: scim.test"),
    row("one after the other", "scim.test").conf("options single-request").at(&["scim.test 10.0.0.1 fd00::1"]).finds("10.0.0.1 fd00::1").asks("1: scim.test"),
    row("one after the other, the first is silent", "scim.test").conf("options single-request").at(&["scim.test A SILENT; scim.test AAAA fd00::1"]).finds("fd00::1").asks("1: scim.test").within(12).unlike_the_system("without IPv4 it does not take IPv6"),
    row("one after the other, by other sockets", "scim.test").conf("options single-request-reopen").at(&["scim.test 10.0.0.1 fd00::1"]).finds("10.0.0.1 fd00::1").asks("1: scim.test"),

    // === Servers ===
    row("the first fails", "scim.test").at(&["* SERVFAIL", "scim.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test; 2: scim.test"),
    row("the first refuses", "scim.test").at(&["* REFUSED", "scim.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test; 2: scim.test"),
    row("the first does not understand", "scim.test").at(&["* FORMERR", "scim.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test; 2: scim.test"),
    row("the first knows nothing of the name", "scim.test").at(&["* LAME", "scim.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test; 2: scim.test"),
    row("the first is not there", "scim.test").at(&[DEAD, "scim.test 10.0.0.1"]).finds("10.0.0.1").asks("2: scim.test"),
    row("the first is silent", "scim.test").at(&["* SILENT", "scim.test 10.0.0.1"]).conf("options timeout:1").finds("10.0.0.1").asks("1: scim.test; 2: scim.test"),
    row("the first sends garbage", "scim.test").at(&["* GARBAGE", "scim.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test; 2: scim.test").unlike_the_system("it gives up"),
    row("two do not serve", "scim.test").at(&["* SERVFAIL", DEAD, "scim.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test; 3: scim.test"),
    row("what the first says counts", "scim.test").at(&["other.test 10.0.0.1", "scim.test 10.0.0.1"]).finds("NotFound").asks("1: scim.test"),
    row("no fourth server", "scim.test").at(&["* SERVFAIL", "* SERVFAIL", "* SERVFAIL", "scim.test 10.0.0.1"]).finds("Failed").asks("1: scim.test; 2: scim.test; 3: scim.test"),
    row("no server is there", "scim.test").at(&[DEAD]).finds("Failed"),
    row("no server answers", "scim.test").at(&["* SILENT", "* SILENT"]).finds("TimedOut").asks("1: scim.test; 2: scim.test").within(8),
    row("one fails, one is silent", "scim.test").at(&["* SERVFAIL", "* SILENT"]).finds("TimedOut").asks("1: scim.test; 2: scim.test").within(8),

    // === TCP ===
    row("too long for UDP", "scim.test").at(&["scim.test TOOLONG 10.0.0.1 fd00::1"]).finds("10.0.0.1 fd00::1").asks("1: scim.test"),
    row("TCP from the start", "scim.test").conf("options use-vc").at(&["scim.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test"),
    row("no server by TCP", "scim.test").conf("options use-vc").at(&[DEAD, "scim.test 10.0.0.1"]).finds("10.0.0.1").asks("2: scim.test"),

    // === Answers ===
    row("among answers to other questions", "scim.test").at(&["scim.test FOREIGN 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test"),
    row("among what is too short", "scim.test").at(&["scim.test SHORT 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test").unlike_the_system("it gives up"),
    row("in capitals", "scim.test").at(&["scim.test CAPITALS 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test"),
    row("an alias", "scim.test").at(&["scim.test ALIASES 1 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test"),
    row("a chain", "scim.test").at(&["scim.test ALIASES 10 10.0.0.1 fd00::1"]).finds("10.0.0.1 fd00::1").asks("1: scim.test"),
    row("a chain without an end", "scim.test").at(&["scim.test ALIASES 3"]).finds("NotFound").asks("1: scim.test"),
    row("a chain that is too long", "scim.test").at(&["scim.test ALIASES 30 10.0.0.1"]).finds("Failed").asks("1: scim.test").unlike_the_system("it has no bound"),
    row("of another name", "scim.test").at(&["scim.test OTHER 10.0.0.1"]).finds("NotFound").asks("1: scim.test"),
    row("broken behind the answers", "scim.test").at(&["scim.test BROKEN 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test"),
    row("garbage", "scim.test").at(&["* GARBAGE"]).finds("Failed").asks("1: scim.test"),

    // === EDNS ===
    row("with EDNS", "scim.test").conf("options edns0").at(&["scim.test 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test"),
    row("without, where it is not understood", "scim.test").conf("options edns0").at(&["scim.test PLAIN 10.0.0.1"]).finds("10.0.0.1").asks("1: scim.test").unlike_the_system("it learns that for the next look-up"),
];
