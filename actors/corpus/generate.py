#!/usr/bin/env python3
"""Writes corpus.jsonl: texts with what of personal and secret data is in them, for the precision and recall of detectors.

Each line is {"text": …, "found": [[detector, data], …]}. Data is made by the algorithms of those who give the numbers out, with check
digits, and belongs to nobody but by chance. It stands in sentences, log lines and fields, in the forms in which people write it, those
included that the detectors are known to miss. The other half are texts of systems that look like such data and are none. The same
seed writes the same file.
"""

import base64
import json
import random
import string
import sys
import uuid

rng = random.Random(20261122)
DIGITS = string.digits


def digits(count, first=DIGITS):
    return rng.choice(first) + "".join(rng.choice(DIGITS) for _ in range(count - 1))


def grouped(number, sizes, separator):
    parts, at = [], 0
    for size in sizes:
        parts.append(number[at : at + size])
        at += size
    return separator.join(parts)


def luhn(number):
    total = 0
    for index, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if index % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card():
    prefix, count = rng.choice(
        [("4", 16), ("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16), ("3530", 16), ("62", 16), ("62", 19), ("6759", 19), ("36", 14)]
    )
    number = prefix + digits(count - 1 - len(prefix))
    number += luhn(number)
    if count == 16 and rng.random() < 0.5:
        return grouped(number, (4, 4, 4, 4), rng.choice(" -"))
    if count == 15 and rng.random() < 0.5:
        return grouped(number, (4, 6, 5), rng.choice(" -"))
    return number


def iban():
    country, bban = rng.choice(
        [("DE", lambda: digits(18)), ("GB", lambda: "NWBK" + digits(14)), ("FR", lambda: digits(10) + "A1B" + digits(10)), ("NL", lambda: "ABNA" + digits(10)),
         ("ES", lambda: digits(20)), ("IT", lambda: "X" + digits(22)), ("CH", lambda: digits(17)), ("NO", lambda: digits(11)), ("PL", lambda: digits(24))]
    )
    account = bban()
    value = int("".join(str(int(character, 36)) for character in account + country + "00"))
    number = f"{country}{98 - value % 97:02}{account}"
    form = rng.random()
    if form < 0.4:
        return " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    return number.lower() if form < 0.45 else number


def email():
    local = rng.choice(["ann", "bob.smith", "c.d-e", "info+sales", "o'brien", "x_1", "müller", "j.p.morgan"])
    domain = rng.choice(["example.com", "mail.example.co.uk", "firma.de", "a-b.io", "dept.university.edu"])
    # The last form is an address and is not found.
    return rng.choice([f"{local}@{domain}"] * 19 + [f'"ann lee"@{domain}'])


def phone():
    return rng.choice(
        [lambda: f"+49 30 {digits(6, '123456789')}", lambda: f"+44 20 {digits(4, '78')} {digits(4)}", lambda: f"+1 ({digits(3, '23456789')}) {digits(3, '23456789')}-{digits(4)}",
         lambda: f"({digits(3, '23456789')}) {digits(3, '23456789')}-{digits(4)}", lambda: f"{digits(3, '23456789')}-{digits(3, '23456789')}-{digits(4)}",
         lambda: f"+91{digits(10, '6789')}", lambda: f"0033 1 {digits(2, '4')} {digits(2)} {digits(2)} {digits(2)}", lambda: f"+33{digits(9, '1234567')}",
         # National forms are not found.
         lambda: f"030 {digits(6, '123456789')}"]
    )()


def address():
    if rng.random() < 0.6:
        return ".".join(str(rng.randint(1, 254)) for _ in range(4))
    parts = [f"{rng.randint(0, 65535):x}" for _ in range(8)]
    return rng.choice([":".join(parts), f"2001:db8::{parts[0]}", f"fe80::{parts[0]}:{parts[1]}"])


def ssn():
    area = rng.choice([number for number in range(1, 900) if number != 666])
    number = f"{area:03}{rng.randint(1, 99):02}{rng.randint(1, 9999):04}"
    # Without its groups it is a number like any other, and is not found.
    return rng.choice([grouped(number, (3, 2, 4), "-")] * 8 + [grouped(number, (3, 2, 4), " "), number])


def nino():
    while True:
        letters = rng.choice("ABCEGHJKLMNOPRSTWXYZ") + rng.choice("ABCEGHJKLMNPRSTWXYZ")
        if letters not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"):
            break
    number = letters + digits(6) + rng.choice("ABCD")
    return rng.choice([number, grouped(number, (2, 2, 2, 2, 1), " ")])


def german_tax_id():
    while True:
        first = rng.sample(DIGITS, 9)
        first.insert(rng.randint(0, 9), rng.choice(first))
        if first[0] != "0":
            break
    product = 10
    for digit in first:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    number = "".join(first) + str((11 - product) % 10)
    return rng.choice([number, grouped(number, (2, 3, 3, 3), " ")])


def nir():
    department = rng.choice([f"{rng.randint(1, 95):02}"] * 19 + ["2A"])
    head = f"{rng.choice('12')}{rng.randint(0, 99):02}{rng.randint(1, 12):02}{department}{rng.randint(1, 900):03}{rng.randint(1, 999):03}"
    number = f"{head}{97 - int(head.replace('2A', '19')) % 97:02}"
    return rng.choice([number, grouped(number, (1, 2, 2, 2, 3, 3, 2), " ")])


def dni():
    letters = "TRWAGMYFPDXBNJZSQVHLCKE"
    if rng.random() < 0.5:
        number = int(digits(8))
        return f"{number:08}{rng.choice(['', '-'])}{letters[number % 23]}"
    lead, number = rng.randint(0, 2), int(digits(7))
    return f"{'XYZ'[lead]}{number:07}{letters[(lead * 10**7 + number) % 23]}"


def codice_fiscale():
    odd = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]
    letters = lambda count: "".join(rng.choice("ABCDEFGILMNOPRSTVZ") for _ in range(count))
    code = f"{letters(6)}{rng.randint(0, 99):02}{rng.choice('ABCDEHLMPRST')}{rng.randint(1, 28):02}{letters(1)}{rng.randint(1, 999):03}"
    total = 0
    for index, character in enumerate(code):
        place = int(character) if character.isdigit() else ord(character) - 65
        total += odd[place] if index % 2 == 0 else place
    return code + chr(65 + total % 26)


def pesel():
    head = f"{rng.randint(0, 99):02}{rng.choice([0, 20]) + rng.randint(1, 12):02}{rng.randint(1, 28):02}{digits(4)}"
    total = sum(int(digit) * weight for digit, weight in zip(head, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)))
    return head + str(-total % 10)


def personnummer():
    short = f"{rng.randint(0, 99):02}{rng.randint(1, 12):02}{rng.randint(1, 28):02}{digits(3)}"
    short += luhn(short)
    return rng.choice([f"{short[:6]}-{short[6:]}", f"19{short}", f"19{short[:6]}-{short[6:]}", f"{short[:6]}-{short[6:]}", short])


def aadhaar():
    turn = lambda a, b: (a + b) % 5 if a < 5 and b < 5 else (a + b - 5) % 5 + 5 if a < 5 else (a - b) % 5 + 5 if b < 5 else (a - b) % 5
    base = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    permuted = lambda value, times: permuted(base[value], times - 1) if times else value
    head = digits(11, "23456789")
    for check in DIGITS:
        total = 0
        for index, digit in enumerate(reversed(head + check)):
            total = turn(total, permuted(int(digit), index % 8))
        if total == 0:
            break
    number = head + check
    return rng.choice([number, grouped(number, (4, 4, 4), " ")])


def resident_id():
    head = f"{rng.randint(110000, 659999)}{rng.randint(1940, 2015)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}{digits(3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return head + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(head, weights)) % 11]


def cpf():
    number = digits(9)
    for count in (10, 11):
        total = sum(int(digit) * weight for digit, weight in zip(number, range(count, 1, -1)))
        number += str(total * 10 % 11 % 10)
    return rng.choice([number, f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"])


def sin():
    number = digits(8, "12345679")
    number += luhn(number)
    return rng.choice([grouped(number, (3, 3, 3), " ")] * 4 + [grouped(number, (3, 3, 3), "-")] * 4 + [number])


def unpadded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt():
    header = {"alg": rng.choice(["RS256", "ES256", "HS256"]), "typ": "JWT"}
    payload = {"sub": rng.choice(["ann", "bob"]), "exp": rng.randint(10**9, 2 * 10**9)}
    return ".".join([unpadded(json.dumps(header).encode()), unpadded(json.dumps(payload).encode()), unpadded(rng.randbytes(32))])


def cloud_key():
    some = lambda alphabet, count: "".join(rng.choice(alphabet) for _ in range(count))
    letters = string.ascii_letters + DIGITS
    return rng.choice(
        [lambda: "AKIA" + some(string.ascii_uppercase + DIGITS, 16), lambda: "ghp_" + some(letters, 36), lambda: "glpat-" + some(letters, 20),
         lambda: "AIza" + some(letters + "-_", 35), lambda: "xoxb-" + some(DIGITS, 12) + "-" + some(letters, 24), lambda: "sk_live_" + some(letters, 24),
         lambda: "hvs." + some(letters, 24), lambda: "npm_" + some(letters, 36),
         # What has no prefix of its own is not found.
         lambda: some(letters + "+/", 40)]
    )()


DATA = {
    "payment-card": card, "iban": iban, "email": email, "phone": phone, "ip-address": address, "us-ssn": ssn, "uk-nino": nino,
    "de-tax-id": german_tax_id, "fr-nir": nir, "es-dni": dni, "it-codice-fiscale": codice_fiscale, "pl-pesel": pesel,
    "se-personnummer": personnummer, "in-aadhaar": aadhaar, "cn-resident-id": resident_id, "br-cpf": cpf, "ca-sin": sin, "jwt": jwt,
    "cloud-key": cloud_key,
}

AROUND = [
    "{}", "{}", "{}", "the customer gave {} by mail", "id={}", "value: {}, checked", "({})", "[{}]", "\"{}\"", "ref/{} ok", "{}.", "user {} changed the plan",
    "2026-11-22T08:15:42Z INFO {} accepted", "für {} am 3. Mai", "{}; {}",
]


def fresh_uuid():
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


NOTHING = [
    lambda: str(rng.randint(1_600_000_000_000, 1_900_000_000_000)), lambda: str(rng.randint(1_600_000_000, 1_900_000_000)), fresh_uuid,
    lambda: rng.randbytes(20).hex(), lambda: f"v{rng.randint(0, 9)}.{rng.randint(0, 99)}.{rng.randint(0, 99)}", lambda: f"{rng.randint(0, 9)}.{digits(15)}",
    lambda: f"ORD-{digits(9)}", lambda: digits(9), lambda: digits(10), lambda: digits(11), lambda: digits(12), lambda: digits(14), lambda: digits(16),
    lambda: f"2026-11-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}.{digits(6)}Z",
    lambda: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}", lambda: f"{rng.uniform(-90, 90):.7f},{rng.uniform(-180, 180):.7f}",
    lambda: base64.b64encode(rng.randbytes(24)).decode(), lambda: f"{rng.randint(1, 999)} {rng.randint(100, 999)} {rng.randint(100, 999)} EUR",
    lambda: f"sku {rng.choice(string.ascii_uppercase)}{digits(7)}", lambda: f"@user{digits(3)} wrote", lambda: f"a{digits(3)}@localhost",
    lambda: f"std::{rng.choice(['vec', 'map', 'cafe'])}::{rng.choice(['new', 'add'])}", lambda: f"trace {rng.getrandbits(128):032x}",
    lambda: f"{rng.choice(string.ascii_uppercase)}{rng.choice(string.ascii_uppercase)}{digits(6)}", lambda: f"{digits(5)}-{digits(4)}",
    lambda: f"{rng.randint(1, 12)}/{rng.randint(1, 28)}/2026 {rng.randint(1, 99)}%", lambda: f"partition {digits(2)} offset {digits(8)}", lambda: f"978{digits(10)}",
]


def main():
    lines = []
    for name, make in DATA.items():
        for _ in range(120):
            around = rng.choice(AROUND)
            data = [make() for _ in range(around.count("{}"))]
            lines.append({"text": around.format(*data), "found": [[name, one] for one in data]})
    for make in NOTHING:
        for _ in range(100):
            around = rng.choice(AROUND[:-1])
            lines.append({"text": around.format(make()), "found": []})
    rng.shuffle(lines)
    with open(sys.argv[1] if len(sys.argv) > 1 else "corpus.jsonl", "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


main()
