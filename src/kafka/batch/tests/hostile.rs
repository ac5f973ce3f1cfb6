//! Hostile batches: bombs, cuts, false lengths and counts, and buffers that were used before.

use super::super::codec::{Codecs, Pulled};
use super::*;

const BUDGET: usize = 1 << 20;

#[test]
fn bombs_stop_at_the_budget_and_allocate_no_more() {
    let zeros = vec![0_u8; 64 << 20];
    let rows: [(Codec, &str, Vec<u8>); 6] = [
        (Codec::Zstd, "1 MiB of run blocks, 32 GiB", zstd_bomb(1 << 20)),
        (Codec::Zstd, "zeros", ::zstd::bulk::compress(&zeros, 1).unwrap()),
        (Codec::Gzip, "zeros", {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &zeros).unwrap();
            encoder.finish().unwrap()
        }),
        (Codec::Lz4, "zeros", {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            std::io::Write::write_all(&mut encoder, &zeros).unwrap();
            encoder.finish().unwrap()
        }),
        (Codec::Snappy, "zeros", snap::raw::Encoder::new().compress_vec(&zeros).unwrap()),
        (Codec::Snappy, "a declared length", vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
    ];
    for (codec, name, payload) in rows {
        let mut codecs = Codecs::new();
        codecs.start_decoding(codec, &payload).unwrap();
        let error = loop {
            match codecs.pull(codec, &payload, BUDGET) {
                Ok(Pulled::More) => assert!(codecs.plain.len() <= BUDGET),
                Ok(Pulled::End) => panic!("{codec}: {name} ended within the budget"),
                Err(error) => break error,
            }
        };
        let is_window =
            matches!(error, BatchError::Compressed { codec: Codec::Zstd, .. }) && name == "zeros";
        assert!(
            error == BatchError::Budget { limit: BUDGET } || is_window,
            "{codec}: {name}: {error}"
        );
        assert!(
            codecs.plain.capacity() <= BUDGET + 1,
            "{codec}: {name}: {}",
            codecs.plain.capacity()
        );
        let error =
            rewrite(&mut codecs, &batch_of(codec, &payload, 1), &mut Keep, BUDGET).unwrap_err();
        assert!(matches!(
            error,
            BatchError::Budget { .. } | BatchError::Compressed { .. } | BatchError::Records { .. }
        ));
        assert_eq!(codecs.plain.capacity().max(BUDGET), BUDGET, "large buffers are given back");
    }
}

/// Frame of a window of 8 MiB, and blocks that each repeat one byte 128 Ki times.
fn zstd_bomb(size: usize) -> Vec<u8> {
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3];
    let block: u32 = (128 << 10) << 3 | 1 << 1;
    while bomb.len() + 4 < size {
        bomb.extend_from_slice(&block.to_le_bytes()[..3]);
        bomb.push(0);
    }
    bomb
}

#[test]
fn a_snappy_block_declares_no_more_than_it_can_hold() {
    // 2 MiB by 5 bytes: within the budget, and beyond what a block of that size can hold.
    let declared = [0x80, 0x80, 0x80, 0x01, 0];
    let xerial = [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x05".as_slice(), &declared].concat();
    for payload in [declared.to_vec(), xerial] {
        let mut codecs = Codecs::new();
        codecs.start_decoding(Codec::Snappy, &payload).unwrap();
        let error = codecs.pull(Codec::Snappy, &payload, 32 << 20).unwrap_err();
        assert!(matches!(error, BatchError::Compressed { .. }), "{error}");
        assert_eq!(codecs.plain.capacity(), 0);
    }
}

#[test]
fn headers_that_cannot_be_are_refused() {
    let good =
        NewBatch::default().write(&[record(0, None, Some("v"))], &mut Codecs::new()).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut batch = good.to_vec();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        batch
    };
    let rows: [(Vec<u8>, BatchError); 8] = [
        (with(16, &[0]), BatchError::Magic { at: 0, magic: 0 }),
        (with(16, &[1]), BatchError::Magic { at: 0, magic: 1 }),
        (with(16, &[3]), BatchError::Magic { at: 0, magic: 3 }),
        (with(16, &[0xff]), BatchError::Magic { at: 0, magic: -1 }),
        (with(8, &48_i32.to_be_bytes()), BatchError::Length { at: 0, length: 48 }),
        (with(8, &(-1_i32).to_be_bytes()), BatchError::Length { at: 0, length: -1 }),
        (with(21, &5_i16.to_be_bytes()), BatchError::Codec { id: 5 }),
        (with(57, &(-1_i32).to_be_bytes()), BatchError::Count { count: -1 }),
    ];
    for (batch, expected) in rows {
        let mut batches = Batches::new(&batch);
        assert_eq!(batches.next().unwrap().unwrap_err(), expected);
        assert!(batches.next().is_none(), "the walk ends at an error");
        assert_eq!(summarise(&batch), Err(expected));
    }
    // A length beyond the bytes is an incomplete batch, not an allocation.
    let huge = with(8, &i32::MAX.to_be_bytes());
    assert!(Batches::new(&huge).next().is_none());
    let flipped = Bytes::from(with(30, &[0xff]));
    let error = rewrite(&mut Codecs::new(), &flipped, &mut Keep, BUDGET).unwrap_err();
    assert!(matches!(error, BatchError::Crc { .. }), "{error}");
}

#[test]
fn records_that_cannot_be_are_refused() {
    let rows: [(&[u8], usize, &str); 16] = [
        (b"", 1, "fewer than counted"),
        (&[12, 0, 0, 0, 1, 1, 0], 2, "fewer than counted"),
        (&[12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0], 1, "more than counted"),
        (&[12, 0, 0, 0, 1, 1], 1, "cut short"),
        (&[10, 0, 0, 0, 1, 1], 1, "too small"),
        (&[1], 1, "length below zero"),
        (&[14, 0, 0, 0, 1, 1, 0, 0], 1, "bytes left over"),
        (&[12, 0, 0, 0, 1, 1, 1], 1, "header count below zero"),
        (&[12, 0, 0, 0, 1, 1, 2], 1, "a header that is not there"),
        (&[16, 0, 0, 0, 1, 1, 2, 1, 1], 1, "a header without a name"),
        (&[12, 0, 0, 0, 8, 1, 0], 1, "key longer than the record"),
        (&[20, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 0], 1, "key of 2 GiB"),
        (&[22, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0], 1, "2^31 headers"),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1, "length varint too long"),
        (&[0xff, 0xff, 0xff], 1, "length varint cut short"),
        (
            &[28, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 1, 1, 0],
            1,
            "varlong of 70 bits",
        ),
    ];
    for (payload, count, name) in rows {
        for codec in [Codec::None, Codec::Zstd] {
            let payload = match codec {
                Codec::None => payload.to_vec(),
                _ => ::zstd::bulk::compress(payload, 1).unwrap(),
            };
            let batch = batch_of(codec, &payload, count);
            let error = rewrite(&mut Codecs::new(), &batch, &mut Keep, BUDGET).unwrap_err();
            assert!(matches!(error, BatchError::Records { .. }), "{name}: {error}");
        }
    }
}

#[test]
fn compressed_bytes_cut_anywhere_are_refused() {
    let records: Vec<NewRecord> =
        (0..20).map(|index| record(index, Some("key"), Some("value x"))).collect();
    let mut codecs = Codecs::new();
    for (codec, snappy) in [
        (Codec::Gzip, SnappyForm::Raw),
        (Codec::Snappy, SnappyForm::Raw),
        (Codec::Snappy, SnappyForm::Xerial),
        (Codec::Lz4, SnappyForm::Raw),
        (Codec::Zstd, SnappyForm::Raw),
    ] {
        let batch = header_of(codec, snappy).write(&records, &mut codecs).unwrap();
        let payload = first(&batch).payload().to_vec();
        for cut in 0..payload.len() {
            let batch = batch_of(codec, &payload[..cut], 20);
            let error = rewrite(&mut codecs, &batch, &mut Shout::default(), BUDGET).unwrap_err();
            assert!(
                matches!(error, BatchError::Compressed { .. } | BatchError::Records { .. }),
                "{codec} cut at {cut}: {error}"
            );
        }
        let longer = [payload.as_slice(), b"\0"].concat();
        let error =
            rewrite(&mut codecs, &batch_of(codec, &longer, 20), &mut Keep, BUDGET).unwrap_err();
        assert!(
            matches!(error, BatchError::Compressed { .. }),
            "{codec} with a byte more: {error}"
        );
        // The contexts have survived all that.
        assert_eq!(read_all(&mut codecs, &batch), records);
    }
}

#[test]
fn no_byte_of_another_batch_shows() {
    let secret = "5EC2E7".repeat(20_000);
    let big = [record(0, Some(&secret), Some(&secret)), record(1, Some("x"), Some(&secret))];
    let small = [record(0, Some("k"), Some("a small x"))];
    for (codec, snappy) in [
        (Codec::None, SnappyForm::Raw),
        (Codec::Gzip, SnappyForm::Raw),
        (Codec::Snappy, SnappyForm::Raw),
        (Codec::Snappy, SnappyForm::Xerial),
        (Codec::Lz4, SnappyForm::Raw),
        (Codec::Zstd, SnappyForm::Raw),
    ] {
        let new = header_of(codec, snappy);
        let big = new.write(&big, &mut Codecs::new()).unwrap();
        let broken = {
            let payload = first(&big).payload().to_vec();
            batch_of(codec, &payload[..payload.len() - 3], 2)
        };
        let small = new.write(&small, &mut Codecs::new()).unwrap();
        let (fresh, _) =
            rewrite(&mut Codecs::new(), &small, &mut Shout::default(), BUDGET).unwrap();
        let mut codecs = Codecs::new();
        for round in 0..5 {
            // Before it the contexts finished a batch, failed in one, were taken away in the middle of
            // one, or have buffers full of something else.
            match round {
                0 => drop(rewrite(&mut codecs, &big, &mut Shout::default(), BUDGET).unwrap()),
                1 => assert!(rewrite(&mut codecs, &broken, &mut Shout::default(), BUDGET).is_err()),
                2 => {
                    let mut given_up =
                        BatchRewrite::start(&mut codecs, &first(&big), BUDGET).unwrap();
                    let mut output = Output { written: &mut Vec::new(), ahead: &[] };
                    drop(given_up.step(&mut codecs, &mut Shout::default(), &mut output));
                }
                3 => codecs.spoil(0xa5),
                _ => {
                    codecs.start_encoding(codec, first(&big).payload()).unwrap();
                    codecs.push(codec, secret.as_bytes(), &mut Vec::new()).unwrap();
                }
            }
            let (step, _) = rewrite(&mut codecs, &small, &mut Shout::default(), BUDGET).unwrap();
            assert_eq!(step, fresh, "{codec}, round {round}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_are_refused_or_read_and_nothing_worse(
        codec in prop::sample::select(&CODECS[..]),
        snappy in prop_oneof![Just(SnappyForm::Raw), Just(SnappyForm::Xerial)],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        fit in any::<bool>(),
    ) {
        let mut codecs = Codecs::new();
        let mut batch = header_of(codec, snappy).write(&sample(), &mut codecs).unwrap().to_vec();
        for (at, byte) in changes {
            let at = at.index(batch.len().min(600));
            batch[at] = byte;
        }
        let batch = if fit {
            batch[16] = 2;
            batch[22] = codec.id();
            sealed(batch)
        } else {
            Bytes::from(batch)
        };
        for walked in Batches::new(&batch) {
            let Ok(walked) = walked else { break };
            let Ok(mut rewrite) = BatchRewrite::start(&mut codecs, &walked, BUDGET) else { break };
            let (mut shout, mut written) = (Shout::default(), Vec::new());
            let mut output = Output { written: &mut written, ahead: &[] };
            while let Ok(Step::More) = rewrite.step(&mut codecs, &mut shout, &mut output) {}
        }
        prop_assert!(codecs.plain.capacity() <= BUDGET + 1);
    }
}

#[test]
fn a_long_raw_block_of_snappy_takes_many_turns_and_reads_as_in_one() {
    let mut state = 7_u32;
    let mut data = Vec::new();
    while data.len() < 5 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [high, low, ..] = state.to_be_bytes();
        match high % 3 {
            0 => data.extend(std::iter::repeat_n(low, usize::from(low) * 50)),
            1 => data.extend(
                (0..u32::from(low)).flat_map(|at| (state ^ at.wrapping_mul(state)).to_le_bytes()),
            ),
            _ => data.extend(format!("{{\"id\":{state}}}").repeat(9).bytes()),
        }
    }
    let block = snap::raw::Encoder::new().compress_vec(&data).unwrap();
    let decode = |block: &[u8]| -> Result<(usize, Vec<u8>), BatchError> {
        let mut codecs = Codecs::new();
        codecs.start_decoding(Codec::Snappy, block)?;
        let mut turns = 0;
        loop {
            turns += 1;
            let before = codecs.plain.len();
            let pulled = codecs.pull(Codec::Snappy, block, 32 << 20)?;
            assert!(codecs.plain.len() - before <= (128 << 10) + 64, "a turn is bounded");
            if pulled == Pulled::End {
                return Ok((turns, codecs.plain.bytes().to_vec()));
            }
        }
    };
    let (turns, read) = decode(&block).unwrap();
    assert!(read == data && turns >= 40, "{turns} turns, {} bytes", read.len());
    for cut in (0..block.len()).step_by(block.len() / 97) {
        assert!(decode(&block[..cut]).is_err() || cut == 0, "cut at {cut}");
        let mut changed = block.clone();
        changed[cut] ^= 0x55;
        // Whatever it is read as, it is as long as it says.
        if let Ok((_, read)) = decode(&changed) {
            assert_eq!(read.len(), data.len(), "changed at {cut}");
        }
    }
    assert!(decode(&[block, vec![0, 0]].concat()).is_err(), "bytes are left over");
}

#[test]
fn no_turn_over_a_bomb_takes_long() {
    let zeros = vec![0_u8; 16 << 20];
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &zeros).unwrap();
        encoder.finish().unwrap()
    };
    let lz4 = {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        std::io::Write::write_all(&mut encoder, &zeros).unwrap();
        encoder.finish().unwrap()
    };
    // One record of 8 MiB, and zeros behind it.
    let record = [&[0xfe, 0xff, 0xff, 0x07][..], &vec![0; 20 << 20]].concat();
    let rows = [
        (Codec::Zstd, zstd_bomb(1 << 20)),
        (Codec::Gzip, gzip.repeat((1 << 20) / gzip.len() + 1)),
        (Codec::Lz4, lz4.repeat((1 << 20) / lz4.len() + 1)),
        (Codec::Snappy, snap::raw::Encoder::new().compress_vec(&record).unwrap()),
    ];
    for (codec, bomb) in rows {
        let bytes = batch_of(codec, &bomb, 1);
        // The machine is shared: one run that was not disturbed is enough.
        let limit = std::time::Duration::from_millis(5);
        let mut runs = (0..100).map(|_| {
            let mut codecs = Codecs::new();
            let batch = Batches::new(&bytes).next().unwrap().unwrap();
            let mut rewrite = BatchRewrite::start(&mut codecs, &batch, 32 << 20).unwrap();
            let mut output = Output { written: &mut Vec::new(), ahead: &[] };
            let mut worst = std::time::Duration::ZERO;
            loop {
                let began = crate::clock::monotonic();
                let step = rewrite.step(&mut codecs, &mut Keep, &mut output);
                worst = worst.max(began.elapsed());
                if !matches!(step, Ok(Step::More)) {
                    break worst;
                }
            }
        });
        let undisturbed = runs.find(|worst| *worst < limit);
        eprintln!("{codec}: the longest turn over 1 MiB takes {undisturbed:?}");
        // `faults.md` F18.
        assert!(undisturbed.is_some(), "{codec}: no run without a turn above {limit:?}");
    }
}
