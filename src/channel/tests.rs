//! What a channel promises about late replies, restarts, lengths and names.

use std::time::{Duration, Instant};

use super::*;
use crate::Options;

fn now() -> Instant {
    Instant::now()
}

fn echo(request: &[u8], reply: &mut Vec<u8>) {
    reply.extend_from_slice(request);
}

/// Goal: a late reply answers nobody, however many there are. Method: three calls time out, the
/// server answers all three, and the fourth call must get its own answer.
#[test]
fn late_replies_are_dropped() {
    let (mut client, mut server) = Channel::pair(&Options::new()).unwrap();
    let mut reply = Vec::new();
    for late in ["a", "b", "c"] {
        let outcome = client.call(late.as_bytes(), &mut reply, Some(now()));
        assert_eq!(outcome, Err(CallError::TimedOut));
    }
    for _ in 0..3 {
        server.serve_one(Some(now()), echo).unwrap();
    }
    let thread = std::thread::spawn(move || server.serve(echo));
    client.call(b"d", &mut reply, None).unwrap();
    assert_eq!(reply, b"d");
    drop(client);
    assert_eq!(thread.join().unwrap(), Ok(1));
}

/// Goal: a server that answers everything but the request does not keep a call past its deadline.
/// Method: many such answers, and a deadline that has passed: not all of them are taken.
#[test]
fn other_replies_do_not_hold_a_call() {
    let (requests, _served) = crate::pair(4096).unwrap();
    let (mut server, replies) = crate::pair(4096).unwrap();
    for _ in 0..50 {
        server.send(&[0xFF; NUMBER_BYTES]).unwrap();
    }
    let mut client = Client::from_ends(requests, replies);
    let outcome = client.call(b"?", &mut Vec::new(), Some(now()));
    assert_eq!(outcome, Err(CallError::TimedOut));
    let (_, replies) = client.into_ends();
    assert!(replies.totals().messages < 50, "all were looked at");
}

/// Goal: a client never takes a reply meant for its predecessor. Method: one client asks and goes;
/// its request is answered after its successor came, whose first call has to get its own answer.
#[test]
fn a_new_client_does_not_inherit_replies() {
    let requests = Options::new().create_anonymous().unwrap();
    let replies = Options::new().create_anonymous().unwrap();
    let client = || Client::from_ends(requests.producer().unwrap(), replies.consumer().unwrap());
    let mut server = Server::from_ends(replies.producer().unwrap(), requests.consumer().unwrap());
    let mut reply = Vec::new();
    let outcome = client().call(b"old", &mut reply, Some(now()));
    assert_eq!(outcome, Err(CallError::TimedOut));
    let mut second = client();
    server.serve_one(None, echo).unwrap();
    let thread = std::thread::spawn(move || server.serve_one(None, echo));
    second.call(b"new", &mut reply, None).unwrap();
    assert_eq!(reply, b"new");
    thread.join().unwrap().unwrap();
}

/// Goal: a request is carried out once by a living server, though its reply had to wait. Method:
/// fill the reply ring, serve with a deadline that has passed, make room, serve again.
#[test]
fn a_reply_without_room_is_kept() {
    let (client, mut server) = Channel::pair(&Options::new().capacity_bytes(4096)).unwrap();
    let (mut requests, mut replies) = client.into_ends();
    let mut ask = |number: u64| requests.send(&number.to_le_bytes()).unwrap();
    ask(1);
    ask(2);
    let mut carried_out = 0;
    let long = |count: &mut u32, reply: &mut Vec<u8>| {
        *count += 1;
        reply.resize(3000, 7);
    };
    server
        .serve_one(Some(now()), |_, reply| long(&mut carried_out, reply))
        .unwrap();
    let full = server.serve_one(Some(now()), |_, reply| long(&mut carried_out, reply));
    assert_eq!(full, Err(CallError::TimedOut));
    assert_eq!(carried_out, 2);
    assert_eq!(replies.skip(9), Ok(1));
    let idle = server.serve_one(Some(now()), |_, reply| long(&mut carried_out, reply));
    assert_eq!(idle, Err(CallError::TimedOut));
    assert_eq!(carried_out, 2);
    let mut kept = Vec::new();
    replies.recv_vec(&mut kept, Some(now())).unwrap();
    assert_eq!((kept.len(), kept[0]), (3008, 2));
}

/// Goal: lengths at the edge are ordinary, one byte more is an error that names both, and what is
/// no call at all is reported and passed over. Method: each in turn.
#[test]
fn lengths_have_edges() {
    let (mut client, mut server) = Channel::pair(&Options::new().capacity_bytes(4096)).unwrap();
    let longest = usize::try_from(client.max_request_bytes()).unwrap();
    let mut reply = Vec::new();
    let too_long = CallError::TooLong {
        message_bytes: longest as u64 + 1,
        max_bytes: longest as u64,
    };
    let outcome = client.call(&vec![0; longest + 1], &mut reply, None);
    assert_eq!(outcome, Err(too_long));
    let thread = std::thread::spawn(move || {
        server.serve_one(None, echo).unwrap();
        server.serve_one(None, echo).unwrap();
        let outcome = server.serve_one(None, |_, reply| reply.resize(longest + 1, 0));
        assert_eq!(outcome, Err(too_long));
        server
    });
    client.call(&vec![5; longest], &mut reply, None).unwrap();
    assert_eq!(reply, vec![5; longest]);
    client.call(b"", &mut reply, None).unwrap();
    assert_eq!(reply, b"");
    let soon = Instant::now() + Duration::from_millis(1);
    let outcome = client.call(b"", &mut reply, Some(soon));
    assert_eq!(outcome, Err(CallError::TimedOut));
    let mut server = thread.join().unwrap();
    let (mut requests, _replies) = client.into_ends();
    requests.send(b"1234567").unwrap();
    let outcome = server.serve_one(None, echo);
    assert_eq!(outcome, Err(CallError::NoNumber { found_bytes: 7 }));
    assert_eq!(
        server.serve_one(Some(now()), echo),
        Err(CallError::TimedOut)
    );
}

/// Goal: one location gives two, or a typed error. Method: each kind, with keys at the edges.
#[test]
fn locations_come_in_twos() {
    let two = |text: &str| {
        let (requests, replies) = locations(&text.parse().unwrap())?;
        Ok::<_, OpenError>((requests.to_string(), replies.to_string()))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(two("/a/b").unwrap(), pair("/a/b.request", "/a/b.reply"));
    assert_eq!(two("shm:x").unwrap(), pair("shm:x.request", "shm:x.reply"));
    assert_eq!(two("sysv:0x10").unwrap(), pair("sysv:0x10", "sysv:0x11"));
    let edge = pair("sysv:0x7fffffff", "sysv:0x80000000");
    assert_eq!(two("sysv:0x7fffffff").unwrap(), edge);
    for refused in ["sysv:0xffffffff", "sysv:id:7", "fd:0"] {
        assert!(
            matches!(
                two(refused),
                Err(OpenError::InvalidOption {
                    option: "location",
                    ..
                })
            ),
            "{refused}"
        );
    }
}
