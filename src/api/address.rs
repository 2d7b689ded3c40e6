//! What the CRD asks of `spec.url`, in CEL: as much of `domain::target::Origin::parse` as CEL can say.
//!
//! What is left is the business of IDNA, which CEL does not know: a name with other letters than ASCII's, and a label
//! that begins with `xn--`. docs/reasons.md names it, and `tests/admission.rs` holds both sides against each other.

/// A label of a name. Letters that are not ASCII's become some that are, and then stand for more of them.
const LABEL: &str =
    r"[A-Za-z0-9_\x{80}-\x{10FFFF}]([-A-Za-z0-9_\x{80}-\x{10FFFF}]{0,61}[A-Za-z0-9_\x{80}-\x{10FFFF}])?";

/// A label that makes a host an address, where it is the last (the URL Standard's "ends in a number").
const NUMBER: &str = "([0-9]+|0[xX][0-9A-Fa-f]*)";

/// What stands before the host, and after it. Rules match the whole url: the cost of a part of it, which has no bound,
/// would be more than the API server allows.
const BEFORE: &str = "^[^:/]*://";
const AFTER: &str = "([:/?#@].*)?$";

/// `rule` for a url that is one, and whose host is in brackets or not. Of others other rules speak.
fn of_hosts(in_brackets: bool, rule: &str) -> String {
    let other = if in_brackets {
        "!self.contains('[')"
    } else {
        "self.contains('[')"
    };
    format!("!isURL(self) || {other} || {rule}")
}

/// Blanks of any kind, control characters, backslashes and percent signs: nobody writes them, and programs differ in
/// what they take them for.
pub(super) fn characters() -> String {
    r"!self.matches('[\\p{Z}\\p{Cc}%\\\\]') && bytes(self).size() <= 512".to_owned()
}

pub(super) fn port() -> String {
    let port = "url(self).getPort()";
    format!("!isURL(self) || {port} == '' || {port}.size() <= 5 && int({port}) >= 1 && int({port}) <= 65535")
}

pub(super) fn name() -> String {
    let labels = format!("self.matches(r'{BEFORE}({LABEL}[.])*{LABEL}[.]?{AFTER}')");
    let length = format!("self.matches('{BEFORE}[^:/?#@]{{1,253}}[.]?{AFTER}')");
    of_hosts(false, &format!("{labels} && {length}"))
}

/// As the URL Standard reads IPv4 addresses: up to four numbers, decimal, octal or hexadecimal, of which the last fills
/// what the others leave. The operator's address policy judges what they mean.
pub(super) fn ipv4() -> String {
    let byte = number(
        "25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]",
        "[0-7]{1,2}|[0-3][0-7]{2}",
        2,
    );
    let two = number(
        "[1-9][0-9]{0,3}|0|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]",
        "[0-7]{1,5}|1[0-7]{5}",
        4,
    );
    let three = number(
        "[1-9][0-9]{0,6}|0|1[0-5][0-9]{6}|16[0-6][0-9]{5}|167[0-6][0-9]{4}|1677[0-6][0-9]{3}|16777[01][0-9]{2}|\
         167772(0[0-9]|1[0-5])",
        "[0-7]{1,8}",
        6,
    );
    let four = number(
        "[1-9][0-9]{0,8}|0|[1-3][0-9]{9}|4[01][0-9]{8}|42[0-8][0-9]{7}|429[0-3][0-9]{6}|4294[0-8][0-9]{5}|\
         42949[0-5][0-9]{4}|429496[0-6][0-9]{3}|4294967([01][0-9]{2}|2[0-8][0-9]|29[0-5])",
        "[0-7]{1,10}|[1-3][0-7]{10}",
        8,
    );
    let address = format!("({byte}[.]){{3}}{byte}|({byte}[.]){{2}}{two}|{byte}[.]{three}|{four}");
    let is_number = format!("self.matches('{BEFORE}([^:/?#@]*[.])?{NUMBER}[.]?{AFTER}')");
    let is_address = format!("self.matches('{BEFORE}({address})[.]?{AFTER}')");
    of_hosts(false, &format!("!{is_number} || {is_address}"))
}

/// A number of an address, by its decimal and octal forms and its hexadecimal digits.
fn number(decimal: &str, octal: &str, hexadecimal: usize) -> String {
    format!("({decimal}|0+({octal})?|0[xX]0*[0-9A-Fa-f]{{0,{hexadecimal}}})")
}

/// `isURL` sees to the rest of an IPv6 address, but for a zone and, in API servers of before 2026, for what is none.
pub(super) fn ipv6() -> String {
    of_hosts(
        true,
        &format!("self.matches(r'{BEFORE}\\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\\]{AFTER}')"),
    )
}

/// Whether `spec.tls.serverName` is no address in any of its spellings.
pub(super) fn no_address() -> String {
    format!("!self.matches('(^|[.]){NUMBER}$')")
}
