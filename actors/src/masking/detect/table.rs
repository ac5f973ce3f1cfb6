//! The detectors, a row each: what it finds, how, and examples of what it must and must not.

use super::digits::{DigitRow, any_shape, is_card};
use super::{Clue, Detector, Finder, bank, contact, national, secrets};

/// Numbers that letters and numbers must not touch, of one length and in one of some shapes.
const fn number(digits: usize, holds: fn(&[u8]) -> bool, shape: fn(&[usize]) -> bool) -> Finder {
    Finder::Digits(DigitRow { least: digits, most: digits, holds, shape, alone: true })
}

/// Every detector.
pub static DETECTORS: &[Detector] = &[
    Detector {
        name: "payment-card",
        about: "13 to 19 digits of a known card scheme (prefix and length) whose check digit holds (Luhn), in groups or not",
        finder: Finder::Digits(DigitRow {
            least: 13,
            most: 19,
            holds: is_card,
            shape: any_shape,
            alone: false,
        }),
        hits: &[
            "<4111111111111111>",
            "card <4111 1111 1111 1111>, paid",
            "<3782-822463-10005>",
            "no<5555555555554444>space",
            "<6759649826438453>",
        ],
        misses: &["4111111111111112", "1795262400000", "0000000000000000", "6.129384756478"],
    },
    Detector {
        name: "iban",
        about: "an international bank account number: a country of the registry, its length, and check digits (mod 97), in groups or not",
        finder: Finder::Text(Clue::Letters, bank::find_ibans),
        hits: &[
            "<DE89370400440532013000>",
            "to <GB29 NWBK 6016 1331 9268 19> today",
            "<no9386011117947>",
            "<MT84-MALT-0110-0001-2345-MTLC-AST0-01S>",
        ],
        misses: &[
            "DE89370400440532013001",
            "ZZ89370400440532013000",
            "XDE89370400440532013000",
            "DE893704004405320130001",
        ],
    },
    Detector {
        name: "email",
        about: "an e-mail address with a domain of at least two labels",
        finder: Finder::Text(Clue::At, contact::find_emails),
        hits: &["<ann@example.com>", "Ann <ann.o'neill+x@mail.example.co.uk>!", "a=<b@c.de>."],
        misses: &["ann@localhost", "@example.com", "ann@10.1.2.3", "a@b"],
    },
    Detector {
        name: "phone",
        about: "a telephone number with its country's code (+… or 00… in groups), or in a North American form",
        finder: Finder::Text(Clue::Phone, contact::find_phones),
        hits: &[
            "<+49 30 901820>",
            "call <+442079460958> now",
            "<0049 30 901820>",
            "<(212) 555-0123>",
            "<1-212-555-0123>",
            "<212.555.0123>",
            "<+1 (212) 555-0123>",
        ],
        misses: &[
            "2125550123",
            "1795262400000",
            "200 300 4000",
            "+1234567",
            "0012345678901",
            "112-555-0123",
            "12-212-555-0123",
        ],
    },
    Detector {
        name: "ip-address",
        about: "an IPv4 or IPv6 address",
        finder: Finder::Text(Clue::Address, contact::find_addresses),
        hits: &[
            "<10.1.2.3>",
            "from <192.168.0.1>.",
            "<2001:db8::1>",
            "[<::1>]:9092",
            "<fe80::a:b:c:d>",
            "<10.1.2.3>:9092",
        ],
        misses: &["1.2.3", "1.2.3.4.5", "256.1.1.1", "12:30:45", "std::vec", "::", "v1.2.3.4"],
    },
    Detector {
        name: "us-ssn",
        about: "a United States social security number, in groups of 3, 2 and 4 digits",
        finder: number(9, national::is_ssn, |shape| shape == [3, 2, 4]),
        hits: &["<078-05-1120>", "ssn: <219 09 9999>"],
        misses: &[
            "078051120",
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "078-00-1120",
            "078-05-0000",
            "1-078-05-1120",
        ],
    },
    Detector {
        name: "uk-nino",
        about: "a United Kingdom national insurance number, in pairs or not",
        finder: Finder::Text(Clue::Letters, national::find_ninos),
        hits: &["<PC760006B>", "<YT 84 56 78 B>", "no. <zw689195c>"],
        misses: &["PC760006E", "GB760006B", "DC760006B", "XPC760006B", "PC760006B1"],
    },
    Detector {
        name: "de-tax-id",
        about: "a German tax identification number (11 digits, ISO 7064 mod 11,10)",
        finder: number(11, national::is_german_tax_id, |shape| {
            matches!(shape, [11] | [2, 3, 3, 3])
        }),
        hits: &["<93504678288>", "<65 754 329 082>"],
        misses: &["93504678289", "12345678903", "05754329082", "a93504678288"],
    },
    Detector {
        name: "fr-nir",
        about: "a French social security number with its key (15 digits)",
        finder: number(15, national::is_french_nir, |shape| {
            matches!(shape, [15] | [13, 2] | [1, 2, 2, 2, 3, 3] | [1, 2, 2, 2, 3, 3, 2])
        }),
        hits: &["<288067750959451>", "<2 08 02 35 486 714 82>", "<1071290318663 67>"],
        misses: &["288067750959452", "588067750959451", "288137750959445"],
    },
    Detector {
        name: "es-dni",
        about: "a Spanish DNI or NIE: digits and the letter that checks them",
        finder: Finder::Text(Clue::Row(7), national::find_spanish_ids),
        hits: &["<22420002Q>", "<47740731-e>", "<Z8433856Z>", "nie <Y-3742018-R>"],
        misses: &["22420002R", "2420002Q", "A8433856Z", "22420002QQ"],
    },
    Detector {
        name: "it-codice-fiscale",
        about: "an Italian tax code (16 letters and digits, the last a check letter)",
        finder: Finder::Text(Clue::Word(16), national::find_codici_fiscali),
        hits: &["<HGSRNA03E16I199J>", "cf <mgrzza61s12c855x>"],
        misses: &["HGSRNA03E16I199K", "HGSRNA03F16I199J", "XHGSRNA03E16I199J"],
    },
    Detector {
        name: "pl-pesel",
        about: "a Polish PESEL (11 digits: a date, and a check digit)",
        finder: number(11, national::is_pesel, |shape| shape.len() == 1),
        hits: &["<02082019187>", "pesel <63240540569>"],
        misses: &["02082019188", "02132019187", "020820191870"],
    },
    Detector {
        name: "se-personnummer",
        about: "a Swedish personal identity number: a date and a check digit, of 12 digits, or of 10 in groups of 6 and 4",
        finder: Finder::Digits(DigitRow {
            least: 10,
            most: 12,
            holds: |digits| digits.len() != 11 && national::is_personnummer(digits),
            shape: |shape| matches!(shape, [6, 4] | [12] | [8, 4]),
            alone: true,
        }),
        hits: &["<590816-3198>", "<195908163198>", "<20150228-4993>"],
        misses: &["5908163198", "590816-3199", "591316-3193", "155908163198"],
    },
    Detector {
        name: "in-aadhaar",
        about: "an Indian Aadhaar number (12 digits, Verhoeff), in groups of four or not",
        finder: number(12, national::is_aadhaar, |shape| matches!(shape, [12] | [4, 4, 4])),
        hits: &["<726018159082>", "<5016 6131 8603>"],
        misses: &["726018159083", "126018159082", "726-018-159-082"],
    },
    Detector {
        name: "cn-resident-id",
        about: "a Chinese resident identity number (17 digits and a check character)",
        finder: Finder::Text(Clue::Row(17), national::find_chinese_ids),
        hits: &["<279280200601079744>", "id <48932419581218937x>"],
        misses: &["279280200601079745", "279280200613079744", "2792802006010797441"],
    },
    Detector {
        name: "br-cpf",
        about: "a Brazilian CPF (11 digits, two of them check digits), in groups or not",
        finder: number(11, national::is_cpf, |shape| matches!(shape, [11] | [3, 3, 3, 2])),
        hits: &["<84656321206>", "cpf <233.079.244-19>"],
        misses: &["84656321207", "11111111111", "846-56321206"],
    },
    Detector {
        name: "ca-sin",
        about: "a Canadian social insurance number, in three groups of three digits (Luhn)",
        finder: number(9, national::is_sin, |shape| shape == [3, 3, 3]),
        hits: &["<176 031 375>", "sin <215-901-091>"],
        misses: &["176031375", "176 031 376", "076 031 375"],
    },
    Detector {
        name: "jwt",
        about: "a JSON Web Token: three parts or more, the first a header that names its algorithm",
        finder: Finder::Text(Clue::Prefix, secrets::find_tokens),
        hits: &[
            "Bearer <eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl>",
            "<eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.>",
        ],
        misses: &["eyJhbGciOiJIUzI1NiJ9", "eyJmb28iOiJiYXIifQ.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"],
    },
    Detector {
        name: "cloud-key",
        about: "a key of a cloud or service by its prefix (AWS, Google, GitHub, GitLab, Slack, Stripe, …), or a private key in PEM",
        finder: Finder::Text(Clue::Prefix, secrets::find_keys),
        hits: &[
            "id=<AKIAIOSFODNN7EXAMPLE>",
            "<ghp_0123456789abcdefghijABCDEFGHIJ012345>",
            "-<-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY----->-",
        ],
        misses: &[
            "AKIAIOSFODNN7EXAMPL",
            "AKIAiosfodnn7example",
            "-----BEGIN CERTIFICATE-----",
            "XAKIAIOSFODNN7EXAMPLE",
        ],
    },
];
