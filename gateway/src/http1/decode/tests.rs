use super::*;

/// What a body decodes to, and what is left of the input: in pieces of `step` bytes.
fn decode_in(
    mut decoder: Decoder,
    text: &str,
    step: usize,
) -> Result<(String, bool, String, Option<Fields>), Malformed> {
    let (mut input, mut body) = (BytesMut::new(), Vec::new());
    let mut pieces = text.as_bytes().chunks(step);
    let ended = loop {
        match decoder.decode(&mut input)? {
            Decoded::Data(data) => {
                assert!(!data.is_empty() && data.len() <= CHUNK);
                body.extend_from_slice(&data);
            }
            Decoded::End => break true,
            Decoded::Incomplete => match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None => break decoder.ends_with_input(),
            },
        }
    };
    assert_eq!(decoder.is_done(), ended);
    let trailers = decoder.take_trailers();
    let rest = [&input[..], &pieces.flatten().copied().collect::<Vec<_>>()].concat();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ok((text(body), ended, text(rest), trailers))
}

/// The same, however the input arrives.
fn decode(make: impl Fn() -> Decoder, text: &str) -> Result<(String, bool, String, Option<Fields>), Malformed> {
    let whole = decode_in(make(), text, text.len().max(1));
    for step in [1, 3, 7] {
        assert_eq!(decode_in(make(), text, step), whole, "{text:?} in pieces of {step}");
    }
    whole
}

fn chunked(text: &str) -> Result<(String, bool, String, Option<Fields>), Malformed> {
    decode(Decoder::chunked, text)
}

#[test]
fn a_body_ends_where_its_framing_says() {
    type Case = (fn() -> Decoder, &'static str, &'static str, bool, &'static str);
    let cases: [Case; 7] = [
        (|| Decoder::Done, "GET", "", true, "GET"),
        (|| Decoder::Length(5), "helloGET", "hello", true, "GET"),
        (|| Decoder::Length(5), "hell", "hell", false, ""),
        (|| Decoder::UntilClose, "hello", "hello", true, ""),
        (Decoder::chunked, "5\r\nhello\r\n0\r\n\r\nGET", "hello", true, "GET"),
        (Decoder::chunked, "5\r\nhello\r\n", "hello", false, ""),
        (Decoder::chunked, "5\r\nhello\r\n0\r\n", "hello", false, ""),
    ];
    for (make, text, body, ended, rest) in cases {
        let expected = (body.to_owned(), ended, rest.to_owned(), None);
        assert_eq!(decode(make, text), Ok(expected), "{text:?}");
    }
}

#[test]
fn chunks_are_joined_whatever_their_size_is_written_like() {
    for text in [
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\n000\r\n\r\n",
        "5;name=value;other=\"a b\"\r\nhello\r\n0;last\r\n\r\n",
        "5 ; ext\r\nhello\r\n0\r\n\r\n",
    ] {
        assert_eq!(chunked(text), Ok(("hello".to_owned(), true, String::new(), None)), "{text:?}");
    }
}

#[test]
fn malformed_chunks_are_refused() {
    for text in [
        "zz\r\nab\r\n",
        "\r\n",
        ";ext\r\n",
        "-1\r\na\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "2\nab\r\n",
        "2;a\nb\r\nab\r\n",
        "2;a\rb\r\nab\r\n",
        "2\r\nabc\r\n",
        "2\r\nab\n0\r\n\r\n",
        "ffffffffffffffff1\r\n",
        "0\r\na b\r\n\r\n",
        "0\r\na: b\n\r\n",
        "0\r\na : b\r\n\r\n",
        "0\r\na: b\r\n c\r\n\r\n",
    ] {
        assert_eq!(chunked(text).err(), Some(Malformed), "{text:?}");
    }
}

#[test]
fn extensions_and_trailers_are_limited_all_together() {
    let extension = |bytes: usize| format!("1;{}\r\na\r\n", "x".repeat(bytes));
    let trailer = |bytes: usize| format!("0\r\na: {}\r\n\r\n", "x".repeat(bytes));
    for (text, is_valid) in [
        (extension(16_000) + &trailer(300), true),
        (extension(9_000) + &extension(9_000) + "0\r\n\r\n", false),
        (extension(16_000) + &trailer(1_000), false),
        (trailer(17_000), false),
        (format!("0\r\n{}\r\n", "a: b\r\n".repeat(100)), true),
        (format!("0\r\n{}\r\n", "a: b\r\n".repeat(101)), false),
        (format!("1;{}", "x".repeat(20_000)), false),
        (format!("0\r\n{}", "x".repeat(20_000)), false),
    ] {
        let decoded = decode_in(Decoder::chunked(), &text, 1024);
        assert_eq!(decoded.is_ok(), is_valid, "{}", &text[..20]);
    }
    let many = "1\r\na\r\n".repeat(20_000) + "0\r\n\r\n";
    assert!(decode_in(Decoder::chunked(), &many, 1024).is_ok(), "small chunks are no extensions");
}

#[test]
fn trailers_are_kept_but_for_those_that_mislead() {
    let text = "1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\nhost: b\r\ngrpc-status: 0\r\n\r\nGET";
    let (body, ended, rest, trailers) = chunked(text).expect("is valid");
    assert_eq!((body.as_str(), ended, rest.as_str()), ("a", true, "GET"));
    let trailers = trailers.expect("has trailers");
    let list: Vec<_> = trailers.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(list, [(&b"X-Sum"[..], &b"1"[..]), (b"grpc-status", b"0")]);
}

#[test]
fn a_body_is_cut_out_of_the_buffer_without_a_copy() {
    let mut input = BytesMut::from(&vec![b'x'; 3 * CHUNK][..]);
    let at = input.as_ptr();
    let mut decoder = Decoder::Length(2 * CHUNK as u64);
    let Ok(Decoded::Data(first)) = decoder.decode(&mut input) else { panic!("there is data") };
    assert_eq!((first.as_ptr(), first.len()), (at, CHUNK));
    assert!(matches!(decoder.decode(&mut input), Ok(Decoded::Data(second)) if second.len() == CHUNK));
    assert!(decoder.is_done() && input.len() == CHUNK);
}
