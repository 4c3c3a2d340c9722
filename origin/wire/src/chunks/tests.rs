use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

/// A chunk with a full header and a time below the extended ones.
fn full(id: u8, time: u32, length: usize, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut chunk = vec![id];
    chunk.extend(&time.to_be_bytes()[1..]);
    chunk.extend(&(length as u32).to_be_bytes()[1..]);
    chunk.extend([kind, 1, 0, 0, 0]);
    chunk.extend(payload);
    chunk
}

/// The same with an extended time.
fn extended(id: u8, time: u32, length: usize, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut chunk = full(id, EXTENDED, length, kind, &time.to_be_bytes());
    chunk.extend(payload);
    chunk
}

/// A chunk without a header of its own.
fn more(id: u8, payload: &[u8]) -> Vec<u8> {
    [&[0xc0 | id], payload].concat()
}

/// Reads at once and byte by byte, which is to be the same.
fn read(bytes: &[u8]) -> (Vec<Message>, Result<(), ChunkError>) {
    let whole = read_all([bytes], LIMIT);
    assert_eq!(whole, read_all(bytes.chunks(1), LIMIT));
    whole
}

/// Kind, time and length of each message. All bytes have to be read.
fn messages(pieces: &[Vec<u8>]) -> Vec<(u8, u32, usize)> {
    let (messages, outcome) = read(&pieces.concat());
    assert_eq!(outcome, Ok(()));
    messages.iter().map(|message| (message.kind, message.time, message.body.len())).collect()
}

#[test]
fn sound_may_stand_between_two_chunks_of_a_picture() {
    let pieces = [
        full(6, 40, 300, 9, &[7; 128]),
        full(4, 41, 10, 8, &[8; 10]),
        more(6, &[7; 128]),
        full(4, 62, 200, 8, &[8; 128]),
        more(6, &[7; 44]),
        more(4, &[8; 72]),
    ];
    assert_eq!(messages(&pieces), [(8, 41, 10), (9, 40, 300), (8, 62, 200)]);
    let (read, _) = read(&pieces.concat());
    let pure = |message: &Message| message.body.iter().all(|byte| *byte == 16 - message.kind);
    assert!(read.iter().all(pure));
}

#[test]
fn the_chunk_size_may_change_between_two_chunks_of_a_message() {
    let set = |size: u32| full(2, 0, 4, kind::SET_CHUNK_SIZE, &size.to_be_bytes());
    let pieces = [
        full(4, 0, 700, 9, &[7; 128]),
        set(500),
        more(4, &[7; 500]),
        set(16),
        more(4, &[7; 16]),
        set(4096),
        more(4, &[7; 56]),
        full(4, 0, 4000, 9, &[7; 4000]),
    ];
    assert_eq!(messages(&pieces), [(9, 0, 700), (9, 0, 4000)]);
    assert_eq!(read(&set(0)).1, Err(ChunkError::Size(0)));
    assert_eq!(read(&set(u32::MAX)).1, Err(ChunkError::Size(u32::MAX)));
    // One that is cut short says nothing.
    assert_eq!(messages(&[full(2, 0, 2, 1, &[1, 1]), full(4, 0, 1, 9, &[7])]), [(9, 0, 1)]);
}

#[test]
fn extended_times_are_read_with_and_without_their_repeat() {
    // Four hours and 39 minutes, and the end of 32 bits.
    for late in [EXTENDED, EXTENDED + 1, u32::MAX - 1] {
        for repeat in [&late.to_be_bytes()[..], &[]] {
            let pieces = [
                extended(4, late, 300, 9, &[7; 128]),
                more(4, &[repeat, &[7; 128]].concat()),
                more(4, &[repeat, &[7; 44]].concat()),
                extended(6, late, 130, 8, &[8; 128]),
                more(6, &[repeat, &[8; 2]].concat()),
                // 40 ms later, across the end of 32 bits for the last of them.
                vec![0x44, 0, 0, 40, 0, 0, 1, 9, 7],
            ];
            let next = late.wrapping_add(40);
            assert_eq!(messages(&pieces), [(9, late, 300), (8, late, 130), (9, next, 1)]);
        }
    }
}

#[test]
fn times_add_up() {
    let pieces = [
        full(4, 1000, 1, 9, &[7]),
        // Since the last one, twice by the same header; then with a length of its own.
        vec![0x84, 0, 0, 40, 7],
        more(4, &[7]),
        vec![0x44, 0, 0, 20, 0, 0, 2, 8, 7, 7],
        // As the specification has it, a time counts as a step for what has no header.
        full(5, 30, 1, 8, &[8]),
        more(5, &[8]),
    ];
    let times = [(9, 1000, 1), (9, 1040, 1), (9, 1080, 1), (8, 1100, 2), (8, 30, 1), (8, 60, 1)];
    assert_eq!(messages(&pieces), times);
}

#[test]
fn chunk_streams_have_numbers_of_one_two_and_three_bytes() {
    let header = [0, 0, 0, 0, 0, 129, 9, 1, 0, 0, 0];
    for basic in [vec![63_u8], vec![0, 0], vec![0, 255], vec![1, 0, 1], vec![1, 255, 255]] {
        let mut again = basic.clone();
        again[0] |= 0xc0;
        let pieces = [basic, header.to_vec(), vec![7; 128], again, vec![7]];
        assert_eq!(messages(&pieces), [(9, 0, 129)]);
    }
    // 64 + 1 in two bytes and in three is the same.
    let pieces = [vec![0, 1], header.to_vec(), vec![7; 128], vec![0xc1, 1, 0, 7]];
    assert_eq!(messages(&pieces), [(9, 0, 129)]);
}

#[test]
fn a_message_can_be_given_up() {
    let abort = full(2, 0, 4, kind::ABORT, &4_u32.to_be_bytes());
    let pieces = [
        full(4, 0, 300, 9, &[7; 128]),
        abort,
        full(4, 1, 10, 9, &[8; 10]),
        // Without an abort as well, a new header begins anew; one that says the same goes on.
        full(4, 2, 300, 9, &[7; 128]),
        full(4, 3, 130, 9, &[8; 128]),
        vec![0x44, 0, 0, 0, 0, 0, 130, 9, 8, 8],
    ];
    assert_eq!(messages(&pieces), [(9, 1, 10), (9, 3, 130)]);
}

#[test]
fn a_first_header_may_leave_out_the_message_stream() {
    let bytes = vec![0x42, 0, 0, 0, 0, 0, 4, 1, 0, 0, 16, 0];
    assert_eq!(messages(&[bytes]), []);
    assert_eq!(read(&[0x84, 0, 0, 0]).1, Err(ChunkError::NoStream(4)));
    assert_eq!(read(&[0xc4]).1, Err(ChunkError::NoStream(4)));
}

#[test]
fn unfinished_messages_are_bounded_together() {
    assert_eq!(read(&full(4, 0, LIMIT + 1, 9, &[])).1, Err(ChunkError::Memory(LIMIT + 1, LIMIT)));
    let size = full(2, 0, 4, 1, &(LIMIT as u32).to_be_bytes());
    let part = |id| full(id, 0, LIMIT, 9, &vec![7; LIMIT / 4]);
    let mut small = size.clone();
    small.extend(full(2, 0, 4, 1, &(LIMIT as u32 / 4).to_be_bytes()));
    for id in 4..8 {
        small.extend(part(id));
    }
    let (_, outcome) = read_all([small.as_slice()], LIMIT);
    assert_eq!(outcome, Ok(()));
    small.extend(part(8));
    let (_, outcome) = read_all([small.as_slice()], LIMIT);
    assert!(matches!(outcome, Err(ChunkError::Memory(_, LIMIT))), "{outcome:?}");
    let many: Vec<u8> =
        (0..=STREAMS_MAX as u8).flat_map(|id| [&[0, id][..], &[0; 11]].concat()).collect();
    assert_eq!(read(&many).1, Err(ChunkError::Streams));
}

#[test]
fn what_is_announced_takes_no_memory() {
    let mut reader = ChunkReader::new(16 << 20);
    reader.push(&full(4, 0, (1 << 24) - 1, 9, &[7; 128]));
    assert_eq!(reader.next(), Ok(None));
    let body = reader.streams.values().find_map(|stream| stream.body.as_ref());
    assert!(body.is_some_and(|body| body.capacity() < 4096));
}

/// Chunks that are nearly right.
fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(1_u8), Just(2), Just(8), Just(9), Just(20), any::<u8>()];
    let length = prop_oneof![Just(4_u32), 0_u32..600];
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    (0_u8..4, 2_u8..5, any::<bool>(), length, kind, bytes).prop_map(
        |(format, stream, extended, length, kind, bytes)| {
            let mut chunk = vec![format << 6 | stream];
            let mut rest = if extended { vec![255; 3] } else { vec![0, 0, 1] };
            rest.extend(&length.to_be_bytes()[1..]);
            rest.extend([kind, 1, 0, 0, 0]);
            chunk.extend(&rest[..[11, 7, 3, 0][usize::from(format)]]);
            chunk.extend(bytes);
            chunk
        },
    )
}

proptest! {
    #[test]
    fn where_the_bytes_are_split_changes_nothing(
        chunks in prop::collection::vec(chunk(), 1..8),
        cuts in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let bytes = chunks.concat();
        let (mut pieces, mut rest) = (Vec::new(), bytes.as_slice());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(read_all(pieces, LIMIT), read_all([bytes.as_slice()], LIMIT));
    }

    #[test]
    fn what_is_written_is_read(
        sent in prop::collection::vec((2_u8..64, any::<u32>(), 0_usize..900), 1..8),
        size in 1_usize..300,
    ) {
        let (mut bytes, mut expected) = (BytesMut::new(), Vec::new());
        let set = Message::new(kind::SET_CHUNK_SIZE, 0, (size as u32).to_be_bytes().to_vec());
        write(&mut bytes, 2, SIZE, &set);
        for (id, time, length) in sent {
            let message = Message { time, ..Message::new(9, 1, vec![id; length]) };
            write(&mut bytes, id, size, &message);
            expected.push(message);
        }
        prop_assert_eq!(read_all([&bytes[..]], LIMIT), (expected, Ok(())));
    }
}
