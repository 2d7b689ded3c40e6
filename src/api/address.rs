//! The CRD's CEL rules for `spec.url`: as much of `domain::connection::target::Origin::parse` as CEL can express.
//!
//! CEL does not know IDNA, so only the operator checks names with non-ASCII letters and labels that begin with `xn--`.
//! docs/reasons.md says so, and `tests/admission` compares both sides.

/// A label of a name. IDNA may make it longer, so a label of non-ASCII letters that matches may still be too long.
const LABEL: &str =
    r"[A-Za-z0-9_\x{80}-\x{10FFFF}]([-A-Za-z0-9_\x{80}-\x{10FFFF}]{0,61}[A-Za-z0-9_\x{80}-\x{10FFFF}])?";

/// A label that, as the last one, makes the host an IPv4 address (the URL Standard's "ends in a number").
const NUMBER: &str = "([0-9]+|0[xX][0-9A-Fa-f]*)";

/// Everything before the host, and after it. Rules match the whole url: a part of it has no known bound, so its cost
/// would exceed the API server's limit.
const BEFORE: &str = "^[^:/]*://";
const AFTER: &str = "([:/?#@].*)?$";

/// Applies `rule` only to valid urls whose host is, or is not, in brackets. Other rules refuse the rest.
fn of_hosts(in_brackets: bool, rule: &str) -> String {
    let other = if in_brackets {
        "!self.contains('[')"
    } else {
        "self.contains('[')"
    };
    format!("!isURL(self) || {other} || {rule}")
}

/// No blanks of any kind, control characters, backslashes or percent signs: programs differ in how they read them.
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

/// IPv4 addresses as the URL Standard reads them: up to four decimal, octal or hexadecimal numbers, of which the last
/// fills the remaining bytes. The operator's address policy decides which addresses are allowed.
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

/// The pattern of one number in an address, from its decimal and octal patterns and its count of hexadecimal digits.
fn number(decimal: &str, octal: &str, hexadecimal: usize) -> String {
    format!("({decimal}|0+({octal})?|0[xX]0*[0-9A-Fa-f]{{0,{hexadecimal}}})")
}

/// `isURL` checks IPv6 addresses, but accepts a zone. API servers from before 2026 also accept text that is no address.
pub(super) fn ipv6() -> String {
    of_hosts(
        true,
        &format!("self.matches(r'{BEFORE}\\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\\]{AFTER}')"),
    )
}

/// `spec.tls.serverName` is not an address, in any spelling.
pub(super) fn no_address() -> String {
    format!("!self.matches('(^|[.]){NUMBER}$')")
}
