//! One budget of memory for the directories of a process.
//!
//! A bridge may send as much as it likes, and there may be any number of bridges. So all memory that a directory
//! takes is charged here before it is taken: bodies, the parsed page, the entries so far, and the last snapshot.
//! Nobody waits for memory: what does not fit ends the read, which is repeated later. So no slow bridge holds up others.
//!
//! Who may take how much, in parts of the whole:
//! - One directory may take three fifths.
//! - A namespace may take at most three times what it leaves free, and a fifth must stay free.
//! - That fifth is for namespaces that take a fortieth or less. A namespace that takes all it can leaves it to them.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The memory for all directories, in bytes. The chart gives 64 MiB to the process, and the process without a directory
/// takes about 16.
///
/// Ten thousand users with twenty groups each take 18 MiB while they are read, and 5 MiB after that, beside which they
/// are read again. One directory may take 24 MiB.
pub const TOTAL: usize = 40 * 1024 * 1024;

/// How many times what it leaves free a namespace may take.
const SHARE: usize = 3;

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<Budget>>);

#[derive(Debug)]
struct Budget {
    total: usize,
    free: usize,
    namespaces: HashMap<Arc<str>, usize>,
}

/// What one directory has taken. Clones share it.
#[derive(Clone)]
pub struct Account {
    memory: Memory,
    namespace: Arc<str>,
    taken: Arc<AtomicUsize>,
}

/// Memory that is taken until this is dropped.
pub struct Charge {
    account: Account,
    bytes: AtomicUsize,
}

/// Why memory is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// One directory must not take more.
    #[error("the directory takes too much memory")]
    Directory,
    /// Too little is free for the namespace to take more. That may change.
    #[error("other directories take the memory")]
    Others,
}

// === impl Memory ===

impl Memory {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self(Arc::new(Mutex::new(Budget {
            total,
            free: total,
            namespaces: HashMap::new(),
        })))
    }

    /// An account for a directory of this namespace.
    #[must_use]
    pub fn account(&self, namespace: &str) -> Account {
        Account {
            memory: self.clone(),
            namespace: namespace.into(),
            taken: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Budget> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// [`TOTAL`]
impl Default for Memory {
    fn default() -> Self {
        Self::new(TOTAL)
    }
}

// === impl Account ===

impl Account {
    /// A charge of nothing yet.
    #[must_use]
    pub fn charge(&self) -> Charge {
        Charge {
            account: self.clone(),
            bytes: AtomicUsize::new(0),
        }
    }
}

/// How much, and not whose.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.taken.load(Ordering::Relaxed))
    }
}

// === impl Charge ===

impl Charge {
    /// Makes the charge so many bytes, more or fewer than before.
    ///
    /// # Errors
    /// [`Full`] says why there is no more. The charge is as it was then.
    pub fn set(&self, bytes: usize) -> Result<(), Full> {
        let Account {
            memory,
            namespace,
            taken,
        } = &self.account;
        // Every change is made under this lock.
        let mut budget = memory.lock();
        let before = self.bytes.load(Ordering::Relaxed);
        let others = taken.load(Ordering::Relaxed).saturating_sub(before);
        let Budget {
            total,
            free,
            namespaces,
        } = &mut *budget;
        let (of_directory, reserve, little) = (*total / 5 * 3, *total / 5, *total / 40);
        let of_namespace = namespaces.get(namespace).copied().unwrap_or_default();
        let of_namespace = of_namespace.saturating_sub(before).saturating_add(bytes);
        let available = free.saturating_add(before);
        if bytes > before {
            if others.saturating_add(bytes) > of_directory {
                return Err(Full::Directory);
            }
            let left = available.checked_sub(bytes).ok_or(Full::Others)?;
            let share = left.saturating_sub(reserve).saturating_mul(SHARE);
            if of_namespace > share.max(little) {
                return Err(Full::Others);
            }
        }
        *free = available.saturating_sub(bytes);
        if of_namespace == 0 {
            namespaces.remove(namespace);
        } else {
            namespaces.insert(Arc::clone(namespace), of_namespace);
        }
        taken.store(others.saturating_add(bytes), Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({})", self.bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // Less is always granted.
        let _ = self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        bridge::scim::lists::{memory_to_parse, read_users},
        domain::directory::{
            snapshot::{GroupEntry, Snapshot},
            walk::{Entry, Listing, Page, Progress, Walk},
        },
    };

    /// Charges in order: `a1=30` makes the charge of directory 1 in namespace a 30. Each gives `.`, `d` or `o` (full).
    fn grants(memory: &Memory, steps: &str) -> String {
        let mut charges: HashMap<String, Charge> = HashMap::new();
        steps
            .split(' ')
            .map(|step| {
                let (name, bytes) = step.split_once('=').unwrap();
                let charge = charges
                    .entry(name.to_owned())
                    .or_insert_with(|| memory.account(&name[..1]).charge());
                match charge.set(bytes.parse().unwrap()) {
                    Ok(()) => '.',
                    Err(Full::Directory) => 'd',
                    Err(Full::Others) => 'o',
                }
            })
            .collect()
    }

    #[test]
    fn nobody_takes_everything() {
        // Of 400: 240 for one directory, 80 to be left free, 10 are little.
        for (steps, expected) in [
            // One directory has its bound, also if all is free.
            ("a1=240 a1=241 a1=240 a1=10 a1=240", ".d..."),
            // A namespace, too.
            ("a1=120 a2=120 a2=121", "..o"),
            // A second one has three quarters of the rest, but for the reserve.
            ("a1=240 b1=60 b1=61", "..o"),
            // What one gives back, others have.
            ("a1=240 b1=100 a1=120 b1=100", ".o.."),
            // Less is always granted, also to one that has more than its share by now.
            ("a1=240 b1=60 a1=239 a1=240", "...o"),
            // Little is always there.
            ("a1=240 b1=60 c1=15 d1=10 d1=11 e1=10 f1=10", "....o.."),
            ("a1=240 a2=1", ".o"),
        ] {
            assert_eq!(grants(&Memory::new(400), steps), expected, "{steps}");
        }
    }

    #[test]
    fn what_is_dropped_is_free() {
        let memory = Memory::new(400);
        for _ in 0..3 {
            assert_eq!(grants(&memory, "a1=160 a2=40 b1=40"), "...");
            let budget = memory.lock();
            assert_eq!((budget.free, budget.namespaces.len()), (400, 0));
        }
    }

    #[test]
    fn a_directory_is_one_account_with_several_charges() {
        let account = Memory::new(400).account("a");
        let [kept, read] = [account.charge(), account.charge()];
        assert_eq!(kept.set(140), Ok(()));
        assert_eq!(read.set(101), Err(Full::Directory));
        assert_eq!(read.set(100), Ok(()));
        drop(kept);
        assert_eq!(read.set(240), Ok(()));
    }

    /// Of seven namespaces that take all they can, each leaves enough for a small directory in another.
    #[test]
    fn hostile_namespaces_leave_something() {
        let memory = Memory::default();
        let mut charges = Vec::new();
        for number in 1..=7 {
            for _ in 0..4 {
                let charge = memory.account(&format!("hostile-{number}")).charge();
                let mut bytes = 0;
                while charge.set(bytes + 4096).is_ok() {
                    bytes += 4096;
                }
                charges.push(charge);
            }
            let honest = memory.account("honest").charge();
            assert_eq!(honest.set(TOTAL / 40), Ok(()), "after {number}");
        }
    }

    /// The figures of [`TOTAL`]. They are read again while the last snapshot is kept.
    #[test]
    fn ten_thousand_users_with_twenty_groups_fit() {
        let groups: Vec<String> = (0..20).map(|number| format!("{number:026}")).collect();
        let page = |users: std::ops::Range<u32>| {
            let users: Vec<_> = users
                .map(|number| {
                    json!({
                        "id": format!("{number:026}"),
                        "userName": format!("someone-{number}@example.com"),
                        "name": {"givenName": "Given name", "familyName": "Family name"},
                        "active": true,
                        "groups": groups.iter().map(|id| json!({"value": id})).collect::<Vec<_>>(),
                    })
                })
                .collect();
            json!({"totalResults": 10_000, "Resources": users}).to_string()
        };
        let entries: Vec<_> = (0..100)
            .flat_map(|number| {
                let page = page(number * 100..(number + 1) * 100);
                read_users(page.as_bytes()).unwrap().entries
            })
            .collect();
        let read: usize = entries.iter().map(Entry::bytes).sum();
        let Progress::More(walk) = Walk::new().feed(Ok(Page {
            total: 10_000,
            entries,
        })) else {
            panic!("not complete yet");
        };
        let beyond = Ok(Page {
            total: 10_000,
            entries: Vec::new(),
        });
        let Progress::Complete(users) = walk.feed(beyond) else {
            panic!("complete");
        };
        let kept = Snapshot::new(users, empty(), Vec::new()).bytes();
        let mib = |bytes: usize| bytes.div_ceil(1024 * 1024);
        assert_eq!((mib(read), mib(kept)), (18, 5));

        let body = page(0..100);
        let page = 2 * body.len() + memory_to_parse(body.as_bytes());
        let account = Memory::default().account("a");
        let charges = [kept, read, page].map(|bytes| {
            let charge = account.charge();
            assert_eq!(charge.set(bytes), Ok(()), "{bytes}");
            charge
        });
        drop(charges);
    }

    fn empty() -> Listing<GroupEntry> {
        let nothing = || {
            Ok(Page {
                total: 0,
                entries: Vec::new(),
            })
        };
        let Progress::More(walk) = Walk::new().feed(nothing()) else {
            panic!("not complete yet");
        };
        let Progress::Complete(list) = walk.feed(nothing()) else {
            panic!("complete");
        };
        list
    }
}
