//! Tests of the compact form: what servers send each other and store comes back as it was, and
//! bytes that are none of it are refused.

use proptest::prelude::*;

use super::*;

fn any_username() -> impl Strategy<Value = Username> {
    "[^\\s\\p{Cc}]{1,32}".prop_map(|text| Username::new(&text).unwrap())
}

fn any_device() -> impl Strategy<Value = Device> {
    "[^\\s\\p{Cc}]{1,16}".prop_map(|text| Device::new(&text).unwrap())
}

fn any_client() -> impl Strategy<Value = ClientId> {
    "[A-Za-z0-9._-]{1,64}".prop_map(|text| ClientId::new(&text).unwrap())
}

fn any_principal() -> impl Strategy<Value = Principal> {
    let subject = "[^\\s\\p{Cc}]{1,32}".prop_map(|text| Subject::new(&text).unwrap());
    prop_oneof![any_client().prop_map(Principal::Client), subject.prop_map(Principal::Subject)]
}

fn any_meta() -> impl Strategy<Value = Meta> {
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "[^\"\\\\\\p{Cc}]{0,64}".prop_map(|text| format!("\"{text}\"")),
        Just(r#"[null, true, {"\u00e9\n": 1.5e-3}]"#.to_owned()),
    ];
    let member = ("[a-z ]{0,8}", value).prop_map(|(key, value)| format!("\"{key}\": {value}"));
    proptest::collection::vec(member, 0..4)
        .prop_map(|members| Meta::new(&format!("{{{}}}", members.join(", "))).unwrap())
}

fn any_write() -> impl Strategy<Value = Write> {
    let meta = proptest::option::of(any_meta());
    let connect = (any_username(), any_device(), any::<IpAddr>(), any::<u16>(), meta);
    prop_oneof![
        connect.prop_map(|(username, device, ip, port, meta)| {
            Write::Connect { username, device, ip, port, meta }
        }),
        (any_username(), any_device())
            .prop_map(|(username, device)| Write::Disconnect { username, device }),
        any::<u32>().prop_map(|count| Write::Sequence { count }),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let write = (any_client(), any::<u64>(), any::<u64>(), any_write());
    prop_oneof![
        (any_client(), any_principal())
            .prop_map(|(client, principal)| Command::Open { client, principal }),
        write.prop_map(|(client, generation, request, write)| {
            let (generation, request) = (Generation(generation), RequestId(request));
            Command::Write { client, generation, request, write }
        }),
        (any_client(), any::<u64>()).prop_map(|(client, generation)| Command::Expire {
            client,
            generation: Generation(generation)
        }),
        Just(Command::Begin),
    ]
}

fn any_applied() -> impl Strategy<Value = Applied> {
    let change = || (any_username(), any_device(), any::<u64>().prop_map(Revision));
    let refused = [
        (RequestKind::ConnectUser, Refusal::UsernameTaken),
        (RequestKind::DisconnectUser, Refusal::NotOwner),
        (RequestKind::DisconnectUser, Refusal::NotFound),
        (RequestKind::GetSequenceNumber, Refusal::NotFound),
    ];
    prop_oneof![
        change().prop_map(|(username, device, revision)| Applied::Connected {
            username,
            device,
            revision
        }),
        change().prop_map(|(username, device, revision)| Applied::Disconnected {
            username,
            device,
            revision
        }),
        any::<(u64, u32)>().prop_map(|(first, count)| Applied::Numbers { first, count }),
        prop::sample::select(refused.to_vec())
            .prop_map(|(kind, refusal)| Applied::Refused { kind, refusal }),
    ]
}

/// Whatever is read from `bytes` can be written, and read again as the same.
fn reads_soundly(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(command) = postcard::from_bytes::<Command>(bytes) {
        let again = postcard::to_allocvec(&command).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Command>(&again), Ok(command));
    }
    if let Ok(applied) = postcard::from_bytes::<Applied>(bytes) {
        let again = postcard::to_allocvec(&applied).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Applied>(&again), Ok(applied));
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_written_is_read(command in any_command(), applied in any_applied()) {
        let bytes = postcard::to_allocvec(&command).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Command>(&bytes), Ok(command));
        let bytes = postcard::to_allocvec(&applied).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Applied>(&bytes), Ok(applied));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        reads_soundly(&bytes)?;
    }

    #[test]
    fn damaged_bytes_do_no_harm(
        command in any_command(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = postcard::to_allocvec(&command).unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        reads_soundly(&bytes)?;
    }
}

#[test]
fn what_was_never_valid_is_refused() {
    let connect = |json: &str| {
        let (username, device) = ("ann".parse().unwrap(), Device::default());
        let (ip, port) = ([10, 0, 0, 1].into(), 80);
        let meta = Some(Meta::trusted(json));
        postcard::to_allocvec(&Write::Connect { username, device, ip, port, meta }).unwrap()
    };
    let read = |bytes: &[u8]| postcard::from_bytes::<Write>(bytes).is_ok();
    assert!(read(&connect(r#"{"a":1}"#)));
    for json in ["", "1", "{", "{}{}", r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#] {
        assert!(!read(&connect(json)), "{json}");
    }
    assert!(!read(&connect(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1024)))));
    // A space within the name.
    let mut bytes = connect("{}");
    let at = bytes.windows(3).position(|part| part == b"ann").unwrap();
    bytes[at + 1] = b' ';
    assert!(!read(&bytes));
}

#[test]
fn only_writes_are_refused() {
    for kind in RequestKind::ALL {
        let refused = Applied::Refused { kind, refusal: Refusal::NotFound };
        assert_eq!(postcard::to_allocvec(&refused).is_ok(), kind.is_write(), "{kind:?}");
    }
}
