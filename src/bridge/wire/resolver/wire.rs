//! Questions and answers as they are sent (RFC 1035).

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

/// Largest answer by UDP that is asked for with EDNS: it passes every link unbroken.
pub(super) const UDP_PAYLOAD: u16 = 1_200;

/// More addresses of one family are not looked at. The policy judges each of them before a few are tried.
const MAX_RECORDS: usize = 512;

/// A name may be the alias of an alias, so many times.
const MAX_ALIASES: usize = 16;

/// A question, and the message that asks it.
#[derive(Debug)]
pub(super) struct Question {
    query: Query,
    id: u16,
    pub(super) bytes: Vec<u8>,
}

/// What a server knows about a name, for one family of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Found(Vec<IpAddr>),
    /// The name is there, and has no address of this family.
    NoAddress,
    /// There is no such name.
    NoName,
}

/// What a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Answer(Answer),
    /// The answer is too long for UDP.
    Truncated,
    /// The server does not understand the question; without EDNS it may.
    NotUnderstood,
    /// The server cannot say, or what it says cannot be read.
    Failed,
}

/// The addresses that a message brings for a name: what a server sent, without the look-up around it.
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
    /// `None` where the name does not fit into a message.
    pub(super) fn new(name: &Name, kind: RecordType, with_edns: bool) -> Option<Self> {
        // Its number is random, as is the port that it is sent from: nobody who does not see it can answer it.
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

    /// What these bytes answer to the question. `None` where they do not answer it: somebody else may have sent them.
    ///
    /// Behind the answers nothing is read: what a server adds may be broken without harm.
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
        // A server that fails may leave the question out.
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
            // The second: a server that neither knows the name nor would ask others has nothing to do with it.
            Reply::Failed
        } else {
            let count = header.counts.answers.into();
            Message::read_records(&mut decoder, count, false, OpCode::Query)
                .map_or(Reply::Failed, |(records, ..)| self.find(&records))
        })
    }

    /// The addresses of the name, or of what it is an alias of. Records of other names count for nothing.
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
