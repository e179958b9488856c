use super::*;

/// Everything that comes out of these bytes, fed in pieces of `n` bytes.
fn read_in_pieces(bytes: &[u8], n: usize) -> Result<Vec<Reply>, ProtocolFault> {
    let (mut reader, mut incoming, mut replies) = (ReplyReader::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(n) {
        incoming.extend_from_slice(piece);
        while let Some(reply) = reader.read(&mut incoming)? {
            replies.push(reply.parse());
        }
    }
    Ok(replies)
}

fn read(bytes: &[u8]) -> Result<Vec<Reply>, ProtocolFault> {
    read_in_pieces(bytes, bytes.len().max(1))
}

#[test]
fn a_reply_becomes_code_enhanced_code_and_text() {
    let replies = read(b"250 2.1.5 Ok: queued\r\n550 No such user\r\n221\r\n354-\r\n354 \r\n").unwrap();
    assert_eq!(replies[0], Reply { code: 250, enhanced: Some((2, 1, 5)), text: "Ok: queued".into() });
    assert_eq!(replies[1], Reply { code: 550, enhanced: None, text: "No such user".into() });
    assert_eq!(replies[2], Reply { code: 221, enhanced: None, text: String::new() });
    assert_eq!(replies[3], Reply { code: 354, enhanced: None, text: String::new() });
    assert_eq!(replies[0].to_string(), "250 2.1.5 Ok: queued");
    assert_eq!(replies[0].enhanced_text().as_deref(), Some("2.1.5"));
}

#[test]
fn the_lines_of_a_reply_are_joined_without_their_codes() {
    let bytes = b"550-5.1.1 The account that you tried\r\n550-5.1.1 to reach does not exist.\r\n550 5.1.1 b8-x\r\n";
    let text = "The account that you tried to reach does not exist. b8-x";
    assert_eq!(read(bytes).unwrap(), [Reply { code: 550, enhanced: Some((5, 1, 1)), text: text.into() }]);
}

#[test]
fn replies_are_the_same_however_their_bytes_are_split() {
    let bytes = b"220-one\r\n220 two\r\n250 2.0.0 ok\n451 4.7.1 later\r\n";
    let whole = read(bytes).unwrap();
    assert_eq!(whole.len(), 3);
    for n in 1..bytes.len() {
        assert_eq!(read_in_pieces(bytes, n).unwrap(), whole);
    }
}

#[test]
fn what_only_looks_like_an_enhanced_code_stays_text() {
    for text in ["5.1 x", "5.1.1.1 x", "3.1.1 x", "5.1.1111 x", "5..1 x", "55.1.1 x", "5.1.1, x", "127.0.0.1 x"] {
        let reply = &read(format!("550 {text}\r\n").as_bytes()).unwrap()[0];
        assert_eq!((reply.enhanced, reply.text.as_str()), (None, text));
    }
}

#[test]
fn any_bytes_make_safe_text() {
    let reply = &read(b"550 a\x00b\x1b[31m\xff\xe2\x80\xaec\rd\tz\r\n").unwrap()[0];
    assert_eq!(reply.text, "a\u{fffd}b\u{fffd}[31m\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}z");
}

#[test]
fn long_text_is_capped_at_a_character() {
    let mut bytes = Vec::new();
    for _ in 0..20 {
        bytes.extend_from_slice(b"550-");
        bytes.extend_from_slice("é".repeat(1000).as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"550 end\r\n");
    let replies = read(&bytes).unwrap();
    assert_eq!(replies[0].text, "é".repeat(1000) + " " + &"é".repeat(23));
    let reply = &read(&[b"550 ".as_slice(), &[0xff; 4000], b"\r\n"].concat()).unwrap()[0];
    assert!(reply.text.len() <= MAX_TEXT_BYTES);
}

#[test]
fn lines_and_replies_without_end_are_refused() {
    assert_eq!(read(&vec![b'2'; MAX_LINE_BYTES + 2]).unwrap_err(), ProtocolFault::TooLong);
    let line = [b"250-".as_slice(), &[b'x'; MAX_LINE_BYTES], b"\r\n"].concat();
    assert_eq!(read(&line).unwrap_err(), ProtocolFault::TooLong);
    assert_eq!(read(&b"250-endless\r\n".repeat(6000)).unwrap_err(), ProtocolFault::TooLong);
    let short = read(&b"250 ok\r\n".repeat(20_000)).unwrap();
    assert_eq!(short.len(), 20_000, "the limit is for each reply, not for a session");
}

#[test]
fn what_is_not_smtp_is_refused() {
    for bytes in
        ["\r\n", "hi\r\n", "HTTP/1.1 400 Bad\r\n", "25 x\r\n", "2500 x\r\n", "199 x\r\n", "650 x\r\n", "2x0 y\r\n"]
    {
        assert_eq!(read(bytes.as_bytes()).unwrap_err(), ProtocolFault::NotSmtp, "{bytes:?}");
    }
    assert_eq!(read(b"250-a\r\n550 b\r\n").unwrap_err(), ProtocolFault::MixedCodes);
}

#[test]
fn half_a_reply_is_none_yet() {
    let (mut reader, mut incoming) = (ReplyReader::default(), BytesMut::from(&b"250-a\r\n250"[..]));
    assert_eq!(reader.read(&mut incoming), Ok(None));
    assert!(reader.is_inside());
    incoming.extend_from_slice(b" b\r\n");
    assert_eq!(reader.read(&mut incoming).unwrap().unwrap().text, b"a\nb");
    assert!(!reader.is_inside());
}
