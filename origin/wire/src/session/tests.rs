#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

const LIMIT: usize = 1 << 20;

fn command(kind: u8, stream: u32, values: &[Value]) -> Vec<u8> {
    let mut body = BytesMut::new();
    amf::write(&mut body, values);
    sent(kind, stream, &body)
}

fn sent(kind: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    chunks::write(&mut out, 3, 128, &Message::new(kind, stream, body.to_vec()));
    out.to_vec()
}

fn call(name: &str, values: &[Value]) -> Vec<u8> {
    let all = [&[Value::text(name), Value::Number(7.0)], values].concat();
    command(kind::COMMAND, 0, &all)
}

fn take(session: &mut Session, bytes: &[u8]) -> Vec<SessionEvent> {
    session.push(bytes);
    std::iter::from_fn(|| session.next().unwrap()).collect()
}

/// The commands that were answered, and the rest.
fn answers(session: &mut Session) -> (Vec<Vec<Value>>, Vec<Message>) {
    let (messages, outcome) = chunks::read_all([&session.take_output()[..]], LIMIT);
    assert_eq!(outcome, Ok(()));
    let (commands, rest): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.kind == kind::COMMAND);
    (commands.iter().map(|message| amf::read(&message.body)).collect(), rest)
}

fn connect(app: &str) -> Session {
    let mut session = Session::new(LIMIT);
    let app = Value::texts(&[("app", app)]);
    assert_eq!(take(&mut session, &call("connect", &[app])), []);
    let (commands, rest) = answers(&mut session);
    assert_eq!(commands[0][0].as_text(), Some("_result"));
    let code = commands[0][3].get("code").and_then(Value::as_text);
    assert_eq!(code, Some("NetConnection.Connect.Success"));
    let kinds: Vec<u8> = rest.iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [kind::WINDOW_SIZE, kind::PEER_BANDWIDTH]);
    session
}

/// The key with which it would be looked up.
fn key(app: &str, publish: &[Value]) -> String {
    let mut session = connect(app);
    let all = [&[Value::text("publish")], publish].concat();
    match take(&mut session, &command(kind::COMMAND, 1, &all)).as_slice() {
        [SessionEvent::Publish(key)] => key.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_key_is_found_wherever_encoders_put_it() {
    let publish = |name: &str| [Value::Number(5.0), Value::Null, Value::text(name)];
    let with_type = [&publish("KEY")[..], &[Value::text("live")]].concat();
    assert_eq!(key("live", &with_type), "KEY");
    assert_eq!(key("live", &publish("KEY")), "KEY");
    assert_eq!(key("live/", &publish("KEY?token=x&y=z")), "KEY");
    assert_eq!(key("live?x=y", &publish(" KEY\n")), "KEY");
    assert_eq!(key("live/KEY", &publish("")), "KEY");
    assert_eq!(key("live/KEY?x=y", &publish("")), "KEY");
    assert_eq!(key("/live/_definst_/", &publish("KEY")), "KEY");
    // Of two values, and of one.
    assert_eq!(key("live/KEY", &[Value::Number(5.0)]), "KEY");
    assert_eq!(key("live/KEY", &[]), "KEY");
    assert_eq!(key("live", &[Value::Null, Value::Null, Value::Null]), "");
}

#[test]
fn an_application_of_another_name_is_refused_in_words() {
    for (about, is_good) in [
        (Some(Value::texts(&[("app", "vod")])), false),
        (Some(Value::texts(&[("app", "lively")])), false),
        (Some(Value::texts(&[("tcUrl", "rtmp://host:1935/live/")])), true),
        (Some(Value::texts(&[("tcUrl", "rtmp://host")])), false),
        (Some(Value::Null), false),
        (None, false),
    ] {
        let mut session = Session::new(LIMIT);
        let events = take(&mut session, &call("connect", about.as_slice()));
        assert_eq!(events.is_empty(), is_good, "{about:?}");
        if !is_good {
            let (commands, _) = answers(&mut session);
            let names: Vec<_> = commands.iter().map(|command| command[0].as_text()).collect();
            assert_eq!(names, [Some("_error"), Some("onStatus")]);
            for command in commands {
                assert_eq!(command[3].get("level"), Some(&Value::text("error")));
                let code = command[3].get("code").and_then(Value::as_text);
                assert_eq!(code, Some("NetConnection.Connect.Rejected"));
                let text = command[3].get("description").and_then(Value::as_text);
                assert!(text.is_some_and(|text| text.contains("rtmp://HOST/live")));
            }
        }
    }
}

#[test]
fn every_call_is_answered() {
    let mut session = connect("live");
    for (name, result) in [
        ("releaseStream", Value::Undefined),
        ("FCPublish", Value::Undefined),
        ("createStream", Value::Number(1.0)),
        ("createStream", Value::Number(2.0)),
        ("_checkbw", Value::Undefined),
        ("getStreamLength", Value::Number(0.0)),
        ("somethingNew", Value::Undefined),
        ("FCUnpublish", Value::Undefined),
    ] {
        assert_eq!(take(&mut session, &call(name, &[Value::Null, Value::text("KEY")])), []);
        let (commands, _) = answers(&mut session);
        let expected = [Value::text("_result"), Value::Number(7.0), Value::Null, result];
        assert_eq!(commands[0], expected, "{name}");
        let more: Vec<_> = commands[1..].iter().map(|command| command[0].as_text()).collect();
        match name {
            "FCPublish" => assert_eq!(more, [Some("onFCPublish")]),
            "FCUnpublish" => assert_eq!(more, [Some("onFCUnpublish")]),
            _ => assert_eq!(more, []),
        }
    }
    // Neither answers nor what asks for none is answered.
    let silent = [Value::text("somethingNew"), Value::Number(0.0)];
    take(&mut session, &command(kind::COMMAND, 0, &silent));
    take(&mut session, &call("_result", &[]));
    assert_eq!(answers(&mut session), (Vec::new(), Vec::new()));
}

#[test]
fn commands_come_in_amf3_messages_and_odd_ones_are_left_aside() {
    let publish = [Value::text("publish"), Value::Number(5.0), Value::Null, Value::text("KEY")];
    let mut body = BytesMut::new();
    amf::write(&mut body, &publish);
    let with_zero = [&[0], &body[..]].concat();
    for (kind, body) in [
        (kind::COMMAND_AMF3, &with_zero[..]),
        (kind::COMMAND_AMF3, &body[..]),
        (kind::COMMAND, &with_zero[..]),
    ] {
        let mut session = connect("live");
        let events = take(&mut session, &sent(kind, 1, body));
        assert_eq!(events, [SessionEvent::Publish("KEY".to_owned())]);
    }
    let mut session = connect("live");
    for odd in [&[][..], &[0], &[5], &[2, 0, 9], &[2, 0, 1, b'x'], &[3, 0, 1, b'x', 0x20], &[17]] {
        for kind in [kind::COMMAND, kind::COMMAND_AMF3, kind::DATA, kind::DATA_AMF3, 77] {
            assert_eq!(take(&mut session, &sent(kind, 1, odd)), [], "{odd:?}");
        }
    }
    assert_eq!(take(&mut session, &sent(kind::DATA, 1, &[2; 64 << 10])), []);
}

fn tag(video: bool, time: u32, data: &[u8]) -> SessionEvent {
    SessionEvent::Media(Tag { video, time, data: Bytes::copy_from_slice(data) })
}

#[test]
fn pictures_count_while_it_publishes() {
    let mut session = connect("live");
    assert_eq!(take(&mut session, &sent(kind::VIDEO, 1, &[1])), []);
    take(&mut session, &command(kind::COMMAND, 5, &[Value::text("publish")]));
    session.accept();
    let (commands, rest) = answers(&mut session);
    assert_eq!(commands[0][0].as_text(), Some("onStatus"));
    assert_eq!(commands[0][3].get("level"), Some(&Value::text("status")));
    assert_eq!(rest[0].body[..], [0, 0, 0, 0, 0, 5]);
    assert_eq!(take(&mut session, &sent(kind::VIDEO, 1, &[1])), [tag(true, 0, &[1])]);
    // Two in one message: their times count from its own.
    let mut both = vec![8, 0, 0, 1, 0, 0, 9, 0, 0, 0, 0, 3, 0, 0, 0, 12];
    both.extend([9, 0, 0, 1, 0, 0, 49, 0, 0, 0, 0, 4, 0, 0, 0, 12]);
    let events = take(&mut session, &sent(kind::AGGREGATE, 1, &both));
    assert_eq!(events, [tag(false, 0, &[3]), tag(true, 40, &[4])]);
    for end in ["FCUnpublish", "deleteStream", "closeStream"] {
        session.accept();
        let ended = take(&mut session, &call(end, &[Value::Null]));
        assert_eq!(ended, [SessionEvent::Unpublish], "{end}");
        assert_eq!(take(&mut session, &call(end, &[Value::Null])), []);
        assert_eq!(take(&mut session, &sent(kind::VIDEO, 1, &[1])), []);
    }
}

#[test]
fn pings_and_windows_are_answered() {
    let mut session = connect("live");
    take(&mut session, &sent(kind::USER_CONTROL, 0, &[0, 6, 1, 2, 3, 4]));
    let (_, rest) = answers(&mut session);
    assert_eq!((rest[0].kind, &rest[0].body[..]), (kind::USER_CONTROL, &[0, 7, 1, 2, 3, 4][..]));
    // A window of one byte would cost an answer for each byte.
    take(&mut session, &sent(kind::WINDOW_SIZE, 0, &1_u32.to_be_bytes()));
    for _ in 0..3 {
        let picture = sent(kind::VIDEO, 1, &vec![0; WINDOW_MIN as usize / 2]);
        take(&mut session, &picture);
    }
    let (_, rest) = answers(&mut session);
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0].kind, kind::ACKNOWLEDGEMENT);
    let total = u32::from_be_bytes(rest[0].body[..].try_into().unwrap());
    assert!(total > WINDOW_MIN && total <= session.received);
}

#[test]
fn a_refusal_says_why() {
    let mut session = connect("live");
    take(&mut session, &command(kind::COMMAND, 1, &[Value::text("publish")]));
    session.refuse("NetStream.Publish.BadName", "not valid");
    let (commands, _) = answers(&mut session);
    let expected = info("error", "NetStream.Publish.BadName", "not valid");
    assert_eq!(commands[0][3], expected);
}
