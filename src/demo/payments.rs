//! The sample data: payments with card numbers and e-mail addresses, the same at every start.

use serde_json::json;

/// The topic that they are in.
pub const TOPIC: &str = "payments";

/// How many there are.
pub const RECORDS: usize = 20;

/// A record of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its number, as text.
    pub key: String,
    /// A JSON document.
    pub value: String,
}

/// All payments, in their order.
#[must_use]
pub fn all() -> Vec<Payment> {
    let customers = CUSTOMERS.iter().cycle().take(RECORDS);
    let payments = customers.zip(1_u32..).map(|((email, card), number)| {
        let euros = 9 + number.wrapping_mul(37) % 90;
        let mut value = json!({ "card": card, "email": email, "eur": euros });
        if let (Some(note), Some(fields)) = (note(number, email), value.as_object_mut()) {
            fields.insert("note".to_owned(), note.into());
        }
        Payment { key: number.to_string(), value: value.to_string() }
    });
    payments.collect()
}

/// Free text: here it is the detectors that find what the fields' names do not tell.
fn note(number: u32, email: &str) -> Option<String> {
    match number % 5 {
        2 => Some(format!("mail {email}")),
        4 => Some("or 5555 5555 5555 4444".to_owned()),
        _ => None,
    }
}

/// Names of nobody and the card schemes' own test numbers, whose check digits hold.
const CUSTOMERS: [(&str, &str); 8] = [
    ("ada@example.com", "4111111111111111"),
    ("grace@example.org", "5105105105105100"),
    ("alan@example.com", "378282246310005"),
    ("edsger@example.org", "4012888888881881"),
    ("barbara@example.com", "6011111111111117"),
    ("donald@example.org", "3530111333300000"),
    ("tony@example.com", "4242424242424242"),
    ("leslie@example.org", "30569309025904"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_card_has_its_check_digit() {
        for (_, card) in CUSTOMERS {
            let digits = card.bytes().rev().map(|byte| u32::from(byte - b'0')).enumerate();
            let sum: u32 = digits
                .map(|(place, digit)| match (place % 2, digit * 2) {
                    (0, _) => digit,
                    (_, double) => double / 10 + double % 10,
                })
                .sum();
            assert_eq!(sum % 10, 0, "{card}");
        }
    }

    #[test]
    fn payments_are_json_with_a_key_of_their_own() {
        let payments = all();
        assert_eq!(payments.len(), RECORDS);
        assert_eq!(payments, all());
        let keys: BTreeSet<&str> = payments.iter().map(|payment| payment.key.as_str()).collect();
        assert_eq!(keys.len(), RECORDS);
        for payment in &payments {
            let value: serde_json::Value = serde_json::from_str(&payment.value).unwrap();
            assert!(value["card"].is_string() && value["email"].is_string(), "{value}");
        }
        assert!(payments.iter().any(|payment| payment.value.contains("note\":\"mail ")));
        assert!(payments.iter().any(|payment| payment.value.contains("note\":\"or ")));
    }
}
