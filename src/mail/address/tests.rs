use super::*;

fn fault(text: &str) -> AddressError {
    Address::parse(text).expect_err(text)
}

#[test]
fn the_spelling_is_kept_and_the_identity_is_lower_case() {
    let address = Address::parse("Jo.O'Brien+news@BÜCHER.Example").unwrap();
    assert_eq!(address.as_given(), "Jo.O'Brien+news@BÜCHER.Example");
    assert_eq!(address.key(), "jo.o'brien+news@xn--bcher-kva.example");
    assert_eq!(address.domain(), "xn--bcher-kva.example");
    assert_eq!(address.envelope(), "Jo.O'Brien+news@xn--bcher-kva.example");
    assert_eq!(address, Address::parse("jo.o'brien+news@xn--bcher-kva.example").unwrap());
    assert!(!address.needs_smtputf8());
}

#[test]
fn utf8_local_parts_need_smtputf8() {
    let address = Address::parse("Δοκιμή@example.com").unwrap();
    assert!(address.needs_smtputf8());
    assert_eq!(address.key(), "δοκιμή@example.com");
    assert_eq!(fault("a\u{202E}b@example.com"), AddressError::LocalPartCharacter('\u{202E}'));
    assert_eq!(fault("a\u{85}b@example.com"), AddressError::LocalPartCharacter('\u{85}'));
}

#[test]
fn quotes_serve_odd_dots_and_nothing_else() {
    assert_eq!(Address::parse("\".a..b.\"@example.com").unwrap().key(), "\".a..b.\"@example.com");
    assert_eq!(Address::parse("\"Plain\"@example.com").unwrap().key(), "plain@example.com");
    for smuggler in [
        "\"a> SIZE=1 <b\"@example.com",
        "\"a b\"@example.com",
        "\"a\\\"b\"@example.com",
        "\"a\r\nb\"@x.org",
        "\"\"@example.com",
        "\"a@example.com",
        "\"a@b\"@example.com",
        "\"@example.com",
    ] {
        assert_eq!(fault(smuggler), AddressError::Quoted, "{smuggler:?}");
    }
}

#[test]
fn the_error_names_what_is_wrong() {
    assert_eq!(fault(""), AddressError::Empty);
    assert_eq!(fault("nobody"), AddressError::NoAt);
    assert_eq!(fault("@example.com"), AddressError::NoLocalPart);
    assert_eq!(fault("a@"), AddressError::NoDomain);
    assert_eq!(fault("a@[192.0.2.1]"), AddressError::Literal);
    assert_eq!(fault("a@192.0.2.1"), AddressError::Literal);
    assert_eq!(fault("a@intranet"), AddressError::SingleLabel);
    assert!(Address::parse("a@localhost").is_ok());
    for domain in
        ["exa mple.com", "-a.com", "a-.com", "a..com", ".com", "example.com.", "ex_ample.com", "a.com\r\n", "a>.com"]
    {
        assert_eq!(fault(&format!("a@{domain}")), AddressError::Domain, "{domain:?}");
    }
    for dots in [".a@example.com", "a.@example.com", "a..b@example.com"] {
        assert_eq!(fault(dots), AddressError::Dots);
    }
    for (text, bad) in [
        ("a b@example.com", ' '),
        ("a\0@example.com", '\0'),
        ("a\r\n@example.com", '\r'),
        ("a>@example.com", '>'),
        ("a@b@example.com", '@'),
        (" a@example.com", ' '),
        ("a\\@example.com", '\\'),
        ("a,b@example.com", ','),
    ] {
        assert_eq!(fault(text), AddressError::LocalPartCharacter(bad));
    }
    assert_eq!(AddressError::LocalPartCharacter('\r').to_string(), "the character U+000D may not stand before the @");
}

#[test]
fn the_limits_of_rfc_5321_hold() {
    let local = "a".repeat(64);
    assert!(Address::parse(&format!("{local}@example.com")).is_ok());
    assert_eq!(fault(&format!("{local}a@example.com")), AddressError::LocalPartTooLong);
    let label = "b".repeat(63);
    assert!(Address::parse(&format!("a@{label}.{label}.{label}.example")).is_ok());
    assert_eq!(fault(&format!("{local}@{label}.{label}.{label}")), AddressError::TooLong);
    assert_eq!(fault(&format!("a@{label}b.com")), AddressError::Domain);
}

#[test]
fn what_is_logged_is_masked() {
    let address = Address::parse("recipient@example.com").unwrap();
    assert_eq!(address.masked(), "r***@example.com");
    assert_eq!(format!("{address:?}"), "Address(r***@example.com)");
}

#[test]
fn json_is_the_given_spelling_and_is_parsed_at_the_door() {
    let address: Address = serde_json::from_str("\"Ann@Example.com\"").unwrap();
    assert_eq!(serde_json::to_string(&address).unwrap(), "\"Ann@Example.com\"");
    assert!(serde_json::from_str::<Address>("\"ann\"").is_err());
}
