//! DNS messages: encodes questions and reads replies (RFC 1035).

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

/// The largest UDP reply that is offered with EDNS. It passes every link without fragments.
pub(super) const UDP_PAYLOAD: u16 = 1_200;

/// Most addresses of one family that are read. The policy checks each of them before a few are tried.
const MAX_RECORDS: usize = 512;

/// Most aliases that are followed, one after the other.
const MAX_ALIASES: usize = 16;

/// A question, and the message that asks it.
#[derive(Debug)]
pub(super) struct Question {
    query: Query,
    id: u16,
    pub(super) bytes: Vec<u8>,
}

/// A server's answer about a name, for one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Found(Vec<IpAddr>),
    /// The name exists, but has no address of this family.
    NoAddress,
    /// The name does not exist.
    NoName,
}

/// The reply of a server: an answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Answer(Answer),
    /// The answer is too long for UDP.
    Truncated,
    /// The server does not understand the question. It may understand it without EDNS.
    NotUnderstood,
    /// The server reports an error, or the reply cannot be read.
    Failed,
}

/// Reads the addresses for a name from a server's message, without a look-up. `None` if the message has none. For tests
/// of the parser.
#[must_use]
pub fn read_dns_answer(name: &str, is_v6: bool, message: &[u8]) -> Option<Vec<IpAddr>> {
    let name = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
    let kind = if is_v6 { RecordType::AAAA } else { RecordType::A };
    let mut question = Question::new(&name, kind, false)?;
    question.id = u16::from_be_bytes(*message.first_chunk()?);
    match question.read(message)? {
        Reply::Answer(Answer::Found(addresses)) => Some(addresses),
        Reply::Answer(_) | Reply::Truncated | Reply::NotUnderstood | Reply::Failed => None,
    }
}

// === impl Question ===

impl Question {
    /// `None` if the name does not fit into a message.
    pub(super) fn new(name: &Name, kind: RecordType, with_edns: bool) -> Option<Self> {
        // The ID and the source port are random, so only those who see the question can answer it.
        let mut message = Message::query();
        let query = Query::query(name.clone(), kind);
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        if with_edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD);
            message.set_edns(edns);
        }
        Some(Self {
            query,
            id: message.metadata.id,
            bytes: message.to_vec().ok()?,
        })
    }

    /// Reads the reply to this question. `None` if the bytes do not answer it: somebody else may have sent them.
    ///
    /// Only the header, the question and the answers are read. Errors in the later sections do no harm.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Reply> {
        let mut decoder = BinDecoder::new(bytes);
        let header = Header::read(&mut decoder).ok()?;
        if header.id != self.id
            || header.message_type != MessageType::Response
            || header.op_code != OpCode::Query
        {
            return None;
        }
        let is_definite = matches!(
            header.response_code,
            ResponseCode::NoError | ResponseCode::NXDomain
        );
        // A reply with an error may omit the question.
        if header.counts.queries != 0 || is_definite {
            let queries = Message::read_queries(&mut decoder, header.counts.queries.into()).ok()?;
            if queries != [self.query.clone()] {
                return None;
            }
        }
        if header.truncation {
            return Some(Reply::Truncated);
        }
        let is_lame = || {
            header.counts.answers == 0
                && header.counts.additionals == 0
                && !header.authoritative
                && !header.recursion_available
        };
        let code = header.response_code;
        Some(if code == ResponseCode::NXDomain {
            Reply::Answer(Answer::NoName)
        } else if matches!(code, ResponseCode::FormErr | ResponseCode::NotImp) {
            Reply::NotUnderstood
        } else if code != ResponseCode::NoError || is_lame() {
            // A lame server neither knows the name nor asks other servers, so its empty answer means nothing.
            Reply::Failed
        } else {
            let count = header.counts.answers.into();
            Message::read_records(&mut decoder, count, false, OpCode::Query)
                .map_or(Reply::Failed, |(records, ..)| self.find(&records))
        })
    }

    /// Finds the addresses of the name, or of the name behind its aliases. Records of other names are ignored.
    fn find(&self, records: &[Record]) -> Reply {
        let is_in = |record: &&Record| record.dns_class == DNSClass::IN;
        let mut name = self.query.name();
        for _ in 0..=MAX_ALIASES {
            let own = || records.iter().filter(is_in).filter(|record| record.name == *name);
            let addresses: Vec<_> = own()
                .filter(|record| record.record_type() == self.query.query_type())
                .filter_map(|record| record.data.ip_addr())
                .take(MAX_RECORDS)
                .collect();
            if !addresses.is_empty() {
                return Reply::Answer(Answer::Found(addresses));
            }
            let alias = own().find_map(|record| {
                if let RData::CNAME(alias) = &record.data {
                    Some(&alias.0)
                } else {
                    None
                }
            });
            match alias {
                Some(alias) => name = alias,
                None => return Reply::Answer(Answer::NoAddress),
            }
        }
        Reply::Failed
    }
}
