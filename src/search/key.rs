//! What records are found by: a field and its value, as a keyed hash of 64 bits. No value stands in an index in clear, and
//! who does not have the installation's secret cannot try values.

/// The fields that have postings. The numbers are part of what is hashed: they are never changed and never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Field {
    /// `customer.id` of a decided transaction.
    Customer = 1,
    /// `card.fingerprint`.
    Card = 2,
    /// `merchant.id`.
    Merchant = 3,
    /// `device.id`.
    Device = 4,
    /// `transaction_id`.
    Transaction = 5,
    /// `decision_id`.
    Decision = 6,
    /// The outcome, by its name on the wire.
    Outcome = 7,
    /// A rule that matched, live or only watching.
    Rule = 8,
    /// A reason code, the one that decided or any other.
    Reason = 9,
    /// The policy, by content hash.
    Policy = 10,
    /// Labels, by the id of the transaction that they are for.
    LabelOf = 11,
    /// Reviews, by the id of the decision that they are for.
    ReviewOf = 12,
}

/// What keys the hashes of one installation.
#[derive(Clone)]
pub struct SearchKey([u8; 32]);

impl std::fmt::Debug for SearchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SearchKey(..)")
    }
}

impl SearchKey {
    /// A key of those 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Of a value of a field.
    pub fn hash(&self, field: Field, value: &str) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[field as u8]).update(value.as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(bytes)
    }

    /// What says that an index was made under this key, without saying which it is.
    pub fn check_value(&self) -> [u8; 16] {
        let mut check = [0; 16];
        check.copy_from_slice(&blake3::keyed_hash(&self.0, b"check value").as_bytes()[..16]);
        check
    }
}
