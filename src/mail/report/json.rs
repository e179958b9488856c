//! How much a JSON text would take once it is parsed, told before it is: a map with one field takes some thirty times the
//! bytes that it is written with. A leaf.

/// Whether a text has at most so many maps, arrays and further members of them. One look at each byte.
pub(super) fn has_at_most(n_max: usize, json: &[u8]) -> bool {
    let mut n_members: usize = 0;
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'{' | b'[' | b',' if !is_string => n_members += 1,
            _ => {}
        }
    }
    n_members <= n_max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_count_and_what_stands_in_strings_does_not() {
        assert!(has_at_most(0, b"1"));
        assert!(has_at_most(0, br#""{[,\"{[,\\""#));
        let json = br#"{"a,\"[": [1, {}, "x,\\"], "b": 2}"#;
        assert!(has_at_most(6, json));
        assert!(!has_at_most(5, json));
        assert!(!has_at_most(5, br#""unended \"", [,,,,,"#));
    }
}
