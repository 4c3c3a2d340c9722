use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn written(values: &[Value]) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out, values);
    out.to_vec()
}

/// An object with an odd value between two plain ones.
fn around(odd: &[u8]) -> Vec<Value> {
    let end = [0, 0, marker::OBJECT_END];
    let plain = [&name("after")[..], &[marker::BOOLEAN, 1], &end].concat();
    let body = [&[marker::OBJECT][..], &name("odd"), odd, &plain, &[marker::NULL]].concat();
    read(&body)
}

#[test]
fn every_kind_of_value_is_read_or_stepped_over() {
    let date = [&[marker::DATE][..], &1.5_f64.to_be_bytes(), &[0, 0]].concat();
    let long = [&[marker::LONG_STRING, 0, 0, 0, 2][..], b"ab"].concat();
    let xml = [&[marker::XML, 0, 0, 0, 4][..], b"<a/>"].concat();
    let end = [0, 0, marker::OBJECT_END];
    let typed = [&[marker::TYPED_OBJECT][..], &name("K"), &name("k"), &[1, 0], &end].concat();
    let strict = vec![marker::STRICT_ARRAY, 0, 0, 0, 2, 1, 1, 5];
    let counted = [&[marker::ECMA_ARRAY, 0, 0, 0, 1][..], &name("k"), &[1, 0], &end].concat();
    let miscounted = [&[marker::ECMA_ARRAY, 0, 0, 0, 9][..], &name("k"), &[1, 0], &end].concat();
    let uncounted = [&[marker::ECMA_ARRAY, 0, 0, 0, 0][..], &name("k"), &[1, 0], &end].concat();
    // An array of an integer and a dynamic object with a kind, to which a second one refers.
    let amf3 = [
        &[marker::AMF3, 9, 7, 1, 4, 0x85, 5, 10, 0x1b, 1, 3][..],
        b"a",
        &[5, 0, 0, 0, 0, 0, 0, 0, 0, 3],
        b"d",
        &[2, 1, 10, 1, 3, 1],
    ]
    .concat();
    let k = Value::Object(vec![("k".to_owned(), Value::Boolean(false))]);
    let of = [
        (date, Value::Date(1.5)),
        (long, Value::text("ab")),
        (xml, Value::text("<a/>")),
        (typed, k.clone()),
        (strict, Value::Array(vec![Value::Boolean(true), Value::Null])),
        (counted, k.clone()),
        (miscounted, k.clone()),
        (uncounted, k),
        (vec![marker::UNDEFINED], Value::Undefined),
        (vec![marker::REFERENCE, 0, 1], Value::Aside),
        (vec![marker::UNSUPPORTED], Value::Aside),
        (amf3, Value::Aside),
    ];
    for (odd, value) in of {
        let read = around(&odd);
        assert_eq!(read[0].get("odd"), Some(&value), "{odd:?}");
        assert_eq!(read[0].get("after"), Some(&Value::Boolean(true)), "{odd:?}");
        assert_eq!(read[1..], [Value::Null], "{odd:?}");
    }
}

#[test]
fn an_array_without_an_end_ends_by_its_count() {
    let array = [&[marker::ECMA_ARRAY, 0, 0, 0, 1][..], &name("k"), &[1, 1]].concat();
    let k = Value::Object(vec![("k".to_owned(), Value::Boolean(true))]);
    assert_eq!(read(&array), std::slice::from_ref(&k));
    for after in [Value::Null, Value::Number(1.0), Value::text("onMetaData")] {
        let body = [&array[..], &written(std::slice::from_ref(&after))].concat();
        assert_eq!(read(&body), [k.clone(), after]);
    }
}

#[test]
fn what_is_not_understood_ends_the_reading_and_the_rest_counts() {
    let mut body = written(&[Value::text("connect"), Value::Number(1.0)]);
    body.push(marker::OBJECT);
    body.extend(name("app"));
    body.extend(written(&[Value::text("live")]));
    body.extend(name("odd"));
    body.extend([0x20, 1, 2, 3]);
    let values = read(&body);
    assert_eq!(values.len(), 3);
    assert_eq!(values[2].get("app").and_then(Value::as_text), Some("live"));
    // Cut off anywhere, what came before it stays.
    for length in 0..body.len() {
        assert!(read(&body[..length]).len() <= 3);
    }
}

#[test]
fn neither_depth_nor_number_of_values_is_the_senders_choice() {
    let deep = [marker::STRICT_ARRAY, 0, 0, 0, 1].repeat(100_000);
    assert_eq!(read(&deep).len(), 1);
    let deep = [&[marker::AMF3][..], &[9, 3, 1].repeat(100_000)].concat();
    assert_eq!(read(&deep), []);
    assert!(read(&[marker::NULL; 1 << 20]).len() < VALUES_MAX);
    let claimed = [&[marker::STRICT_ARRAY][..], &[255; 4]].concat();
    assert_eq!(read(&claimed), [Value::Array(Vec::new())]);
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(bytes in prop::collection::vec(0_u8..20, 0..200)) {
        let once = written(&read(&bytes));
        prop_assert_eq!(written(&read(&once)), once);
    }
}
