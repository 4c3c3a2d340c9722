//! How a node carries out wants: times, collapse, failures, relays.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use common::{Origin, get, ms, node, open, reply, send, slow};

fn in_background(address: SocketAddr, target: &'static str) -> JoinHandle<common::Reply> {
    std::thread::spawn(move || get(address, target))
}

/// Answers with the count of answers; from the second on with `later`.
fn counting(later: u16) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::new(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
        0 => reply(200, "", "0"),
        n => reply(later, "", &n.to_string()),
    })
}

#[test]
fn an_answer_is_used_for_its_fresh_time_and_shown_stale_while_it_is_refreshed() {
    let origin = counting(200);
    let node = node(origin.address);
    let target = "/get?origin=/a&fresh=300&stale=5000";
    assert_eq!(get(node.listen, target).text(), "200 0");
    assert_eq!(get(node.listen, target).text(), "200 0");
    sleep(ms(400));
    assert_eq!(get(node.listen, target).text(), "200 0", "stale");
    sleep(ms(150));
    assert_eq!(get(node.listen, target).text(), "200 1", "refreshed behind");
    assert_eq!(origin.asked("/a"), 2);
    node.stop();
}

#[test]
fn what_is_missing_is_remembered_and_private_is_not() {
    let origin = Origin::new(|target, _| match target {
        "/none" => reply(404, "", "no"),
        _ => slow(200, reply(200, "cache-control: private\r\n", "mine")),
    });
    let node = node(origin.address);
    for _ in 0..2 {
        assert_eq!(get(node.listen, "/get?origin=/none&key=n&missing=60000").text(), "404 no");
    }
    assert_eq!(origin.asked("/none"), 1);
    let target = "/get?origin=/mine&key=m&fresh=60000";
    let viewers: Vec<_> = (0..3).map(|_| in_background(node.listen, target)).collect();
    for viewer in viewers {
        assert_eq!(viewer.join().unwrap().text(), "200 mine");
    }
    assert_eq!(origin.asked("/mine"), 3, "each asked for itself");
    node.stop();
}

#[test]
fn waiters_share_one_request_and_time_out_alone() {
    let origin = Origin::new(|_, _| slow(1000, reply(200, "", "late")));
    let node = node(origin.address);
    let start = Instant::now();
    let patient: Vec<_> = (0..8)
        .map(|_| in_background(node.listen, "/get?origin=/a&fresh=1000&timeout=5000"))
        .collect();
    sleep(ms(200));
    assert_eq!(get(node.listen, "/get?origin=/a&fresh=1000&timeout=200").text(), "timeout");
    assert!(start.elapsed() < ms(900), "{:?}", start.elapsed());
    for viewer in patient {
        assert_eq!(viewer.join().unwrap().text(), "200 late");
    }
    assert_eq!(origin.asked("/a"), 1);
    node.stop();
}

#[test]
fn a_waiter_outlives_the_time_of_the_one_that_led() {
    let count = AtomicUsize::new(0);
    let origin = Origin::new(move |_, _| {
        let pause = if count.fetch_add(1, Ordering::SeqCst) == 0 { 60_000 } else { 0 };
        slow(pause, reply(200, "", "second"))
    });
    let node = node(origin.address);
    let leader = in_background(node.listen, "/get?origin=/a&timeout=400");
    sleep(ms(200));
    assert_eq!(get(node.listen, "/get?origin=/a&timeout=3000").text(), "200 second");
    assert_eq!(leader.join().unwrap().text(), "timeout");
    node.stop();
}

#[test]
fn a_result_is_computed_once_and_the_lead_is_handed_over_when_its_viewer_leaves() {
    let origin = Origin::new(|_, _| slow(700, reply(200, "", "made")));
    let node = node(origin.address);
    let leaver =
        open(node.listen, "GET /result?origin=/a&key=r&keep=0 HTTP/1.1\r\nhost: x\r\n\r\n");
    sleep(ms(150));
    let followers: Vec<_> =
        (0..6).map(|_| in_background(node.listen, "/result?origin=/a&key=r&keep=0")).collect();
    sleep(ms(150));
    drop(leaver);
    for follower in followers {
        assert_eq!(follower.join().unwrap().text(), "200 made");
    }
    assert_eq!(origin.asked("/a"), 1, "the fetch of the one that left went on");
    node.stop();
}

#[test]
fn without_a_kept_result_those_who_wait_begin_again_one_by_one() {
    let origin = Origin::new(|_, _| slow(200, reply(200, "", "mine")));
    let node = node(origin.address);
    let viewers: Vec<_> =
        (0..3).map(|_| in_background(node.listen, "/result?origin=/a&key=r")).collect();
    for viewer in viewers {
        assert_eq!(viewer.join().unwrap().text(), "200 mine");
    }
    assert_eq!(origin.asked("/a"), 3);
    let follower = "/result?origin=/b&key=s&timeout=100";
    let leader = in_background(node.listen, "/result?origin=/b&key=s&timeout=2000");
    sleep(ms(50));
    assert_eq!(get(node.listen, follower).text(), "timeout");
    assert_eq!(leader.join().unwrap().text(), "200 mine");
    node.stop();
}

#[test]
fn what_one_says_whose_time_is_over_is_no_result_for_those_who_wait() {
    let origin = Origin::new(|_, _| slow(900, reply(200, "", "mine")));
    let node = node(origin.address);
    let patient = "/result?origin=/a&key=r&keep=0&timeout=5000";
    let leader = in_background(node.listen, patient);
    sleep(ms(150));
    let follower = in_background(node.listen, patient);
    sleep(ms(150));
    let hasty = "/result?origin=/a&key=r&keep=0&timeout=100";
    assert_eq!(get(node.listen, hasty).text(), "timeout");
    for viewer in [leader, follower] {
        assert_eq!(viewer.join().unwrap().text(), "200 mine");
    }
    assert_eq!(origin.asked("/a"), 1);
    node.stop();
}

#[test]
fn viewers_of_one_object_share_its_transfer_while_it_arrives() {
    let origin = Origin::new(|_, _| {
        let head =
            b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\ncontent-type: video/mp4\r\n\r\nabcd".to_vec();
        vec![(Duration::ZERO, head), (ms(800), b"efgh".to_vec())]
    });
    let node = node(origin.address);
    let first = in_background(node.listen, "/relay?origin=/s&fresh=60000");
    sleep(ms(200));
    let mut second =
        open(node.listen, "GET /relay?origin=/s&fresh=60000 HTTP/1.1\r\nhost: x\r\n\r\n");
    let early = std::io::Read::read(&mut second, &mut [0; 1024]).unwrap();
    assert!(early > 0 && !first.is_finished(), "it streams before it is whole");
    let range = "GET /relay?origin=/s&fresh=60000 HTTP/1.1\r\nhost: x\r\nrange: bytes=2-5\r\nconnection: close\r\n\r\n";
    for when in ["while it arrives", "from the cache"] {
        let part = send(node.listen, range);
        assert_eq!((part.status, part.text().as_str()), (206, "cdef"), "{when}");
        assert!(part.head.contains("content-range: bytes 2-5/8\r\n"), "{}", part.head);
    }
    let whole = first.join().unwrap();
    assert_eq!((whole.status, whole.text().as_str()), (200, "abcdefgh"));
    assert!(
        whole.head.contains("x-relay: 1\r\n") && whole.head.contains("content-type: video/mp4\r\n"),
        "{}",
        whole.head
    );
    assert_eq!(origin.asked("/s"), 1);
    let outside = send(node.listen, &range.replace("2-5", "9-"));
    assert_eq!(outside.status, 416);
    node.stop();
}

#[test]
fn a_relay_that_fails_before_its_first_byte_goes_back_and_one_after_is_cut() {
    let origin = Origin::new(|target, _| match target {
        "/gone" => reply(404, "", "no"),
        "/large" => reply(200, "", &"x".repeat(100)),
        _ => vec![(Duration::ZERO, b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nabcd".to_vec())],
    });
    let node = node(origin.address);
    assert_eq!(get(node.listen, "/relay?origin=/gone&key=a").text(), "404 ");
    assert_eq!(get(node.listen, "/relay?origin=/large&key=b&max=10").text(), "too large");
    let cut = get(node.listen, "/relay?origin=/cut&key=c&fresh=60000");
    assert!(cut.head.contains("content-length: 8\r\n") && cut.body.len() < 8, "{cut:?}");
    get(node.listen, "/relay?origin=/cut&key=c&fresh=60000");
    assert_eq!(origin.asked("/cut"), 2, "what broke off is not kept");
    node.stop();
}

#[test]
fn only_the_named_headers_go_to_the_origin_and_then_nothing_is_shared() {
    let origin = Origin::new(|_, head| {
        let secret = head.contains("cookie") || head.contains("user-agent");
        let authorized = head.contains("authorization: me");
        reply(200, "", &format!("secret={secret} authorized={authorized}"))
    });
    let node = node(origin.address);
    let request = "GET /get?origin=/a&fresh=60000&personal=1 HTTP/1.1\r\nhost: x\r\ncookie: a=b\r\nuser-agent: u\r\n\
                   authorization: me\r\nconnection: close\r\n\r\n";
    for _ in 0..2 {
        assert_eq!(send(node.listen, request).text(), "200 secret=false authorized=true");
    }
    assert_eq!(origin.asked("/a"), 2);
    node.stop();
}
