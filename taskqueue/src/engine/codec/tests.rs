//! Records come back as they were, and whatever else there is is read or refused.

use sinew_journal::Dice;

use super::*;

fn some_bytes(dice: &mut Dice, max: usize) -> Bytes {
    (0..dice.below(max + 1)).map(|_| dice.next() as u8).collect::<Vec<_>>().into()
}

fn some_text(dice: &mut Dice) -> String {
    ["", "gpu", "größer", "a much longer text than the others"][dice.below(4)].to_owned()
}

fn some_span(dice: &mut Dice) -> Option<Duration> {
    dice.percent(40).then(|| Duration::from_nanos(dice.next() >> dice.below(64)))
}

fn some_id(dice: &mut Dice) -> [u8; 16] {
    u128::to_be_bytes(u128::from(dice.next()) << 64 | u128::from(dice.next()))
}

fn some_options(dice: &mut Dice) -> TaskOptions {
    let backoff = match (some_span(dice), some_span(dice)) {
        (Some(first), Some(max)) => Backoff { first, max },
        _ => Backoff::default(),
    };
    TaskOptions {
        tags: (0..dice.below(4)).map(|_| some_text(dice)).collect(),
        priority: dice.next() as u8,
        delay: some_span(dice),
        deadline: some_span(dice),
        attempts_max: [1, 0, 7, u32::MAX][dice.below(4)],
        backoff,
        stall_timeout: some_span(dice),
        queueing: dice.percent(50),
        detached: dice.percent(50),
        result_kept: some_span(dice),
        idempotency_key: dice.percent(50).then(|| some_text(dice)),
        dead_letter: [None, Some(false), Some(true)][dice.below(3)],
    }
}

fn some_spec(dice: &mut Dice) -> Arc<Spec> {
    Arc::new(Spec {
        id: TaskId::from_bytes(some_id(dice)),
        owner: some_text(dice).into(),
        submitted: Moment(dice.next()),
        options: if dice.percent(50) { TaskOptions::default() } else { some_options(dice) },
        payload: some_bytes(dice, 60),
        fingerprint: dice.next() as u32,
    })
}

fn some_outcome(dice: &mut Dice) -> Arc<Outcome> {
    let (worker, number) = (WorkerId::from_bytes(some_id(dice)), dice.next() as u32);
    let (attempt, attempts) = (number, number);
    let ending = match dice.below(7) {
        0 => Ending::Done { worker, attempt },
        1 => Ending::Failed { worker, attempt, code: some_text(dice), message: some_text(dice) },
        2 => Ending::WorkerLost { worker, attempt },
        3 => Ending::Stalled { worker, attempt },
        4 => Ending::DeadlineExceeded { attempts },
        5 => Ending::Cancelled { attempts },
        _ => Ending::NoWorkers { attempts },
    };
    Arc::new(Outcome { ending, body: some_bytes(dice, 60) })
}

fn some_carried(dice: &mut Dice) -> Carried {
    let at = Moment(dice.next());
    let state = match dice.below(5) {
        0 => CarriedState::Waits(None),
        1 => CarriedState::Waits(Some(at)),
        2 => CarriedState::Begun { worker: WorkerId::from_bytes(some_id(dice)), owner: some_text(dice).into(), at },
        3 => CarriedState::Ended { outcome: some_outcome(dice), at },
        _ => CarriedState::Dead { outcome: some_outcome(dice), at },
    };
    Carried {
        spec: some_spec(dice),
        sequence: dice.next(),
        number: dice.next() as u32,
        spent: dice.next() as u32,
        detached: dice.percent(50),
        state,
    }
}

fn some_record(dice: &mut Dice) -> Record {
    let (task, at) = (TaskId::from_bytes(some_id(dice)), Moment(dice.next()));
    match dice.below(8) {
        0 => Record::Accepted { spec: some_spec(dice), sequence: dice.next() },
        1 => {
            let (number, worker) = (dice.next() as u32, WorkerId::from_bytes(some_id(dice)));
            Record::Begun { task, number, worker, owner: some_text(dice).into(), at }
        }
        2 => Record::Waits { task, spent: dice.next() as u32, until: dice.percent(50).then_some(at) },
        3 => Record::Ended { task, outcome: some_outcome(dice), at },
        4 => Record::Detached { task },
        5 => Record::DeadDropped { task },
        6 => Record::Released { task },
        _ => Record::Carried(some_carried(dice)),
    }
}

#[test]
fn records_come_back_and_nothing_else_is_read() {
    let mut dice = Dice::new(1);
    for _ in 0..3_000 {
        let records: Vec<_> = (0..=dice.below(4)).map(|_| some_record(&mut dice)).collect();
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for record in &records {
            put(&mut bytes, record);
            ends.push(bytes.len());
        }
        let read = |bytes: &[u8]| Records::of(Bytes::copy_from_slice(bytes)).collect::<Read<Vec<_>>>();
        assert_eq!(read(&bytes), Ok(records.clone()));
        // Cut anywhere, it is refused but between two records.
        let cut = dice.below(bytes.len());
        match ends.iter().position(|end| *end == cut) {
            Some(last) => assert_eq!(read(&bytes[..cut]), Ok(records[..=last].to_vec())),
            None => assert_eq!(read(&bytes[..cut]).is_err(), cut > 0, "{records:?} cut at {cut}"),
        }
        // Whatever it is, it is read or refused.
        bytes[cut] = dice.next() as u8;
        let _ = read(&bytes);
    }
}

#[test]
fn the_largest_record_fits_a_batch() {
    let payload = Bytes::from(vec![0; crate::PAYLOAD_BYTES_MAX as usize]);
    let options = TaskOptions {
        tags: vec!["t".repeat(crate::TAG_BYTES_MAX); crate::TAGS_MAX],
        idempotency_key: Some("k".repeat(crate::IDEMPOTENCY_KEY_BYTES_MAX)),
        ..TaskOptions::default()
    };
    let mut dice = Dice::new(1);
    let spec = Arc::new(Spec {
        options,
        payload: payload.clone(),
        owner: "o".repeat(1_024).into(),
        ..(*some_spec(&mut dice)).clone()
    });
    let (code, message) =
        ("c".repeat(crate::scheduler::CODE_BYTES_MAX), "m".repeat(crate::scheduler::MESSAGE_BYTES_MAX));
    let ending = Ending::Failed { worker: WorkerId::from_bytes([1; 16]), attempt: 1, code, message };
    let outcome = Arc::new(Outcome { ending, body: payload });
    let state = CarriedState::Dead { outcome, at: Moment(1) };
    let mut bytes = Vec::new();
    put(&mut bytes, &Record::Carried(Carried { spec, state, ..some_carried(&mut dice) }));
    assert!(bytes.len() <= sinew_journal::BATCH_BODY_BYTES_MAX, "{}", bytes.len());
}
