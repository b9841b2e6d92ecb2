//! What the page says of single steps, each seen from the driver.

use super::*;

#[tokio::test]
async fn an_interface_whose_number_is_not_its_place_in_the_list_is_opened() {
    let mut third = material();
    third.interface = 3;
    let bench = Bench::new(third).await;
    let tether = bench.plugged(&bench.host).await;
    assert_eq!(tether.channel.link().unwrap().interface(), 3);
    drop(tether);
    let (_, leaf, _) = bench.job(None).await;
    assert_eq!(bench.phone.installed(), Some(leaf.fingerprint()));

    let usb = Usb::usbip(bench.exporter.address().into());
    let attached = usb.list().await.unwrap().remove(0);
    let error = usb.open_kind(&attached, (0xff, 0x54, 0x02)).await.unwrap_err();
    assert!(error.to_string().contains("ff/54/02"), "{error}");
}

#[tokio::test]
async fn a_cable_that_fails_is_told_of_what_the_request_was_for() {
    let bench = Bench::new(material()).await;
    let (mut tether, _) = bench.session().await;
    bench.exporter.pull(BUS_ID);
    let error = tether.prepare(&preparation(TransactionId::random(), None, CONSENT)).await.unwrap_err();
    assert!(matches!(error, PhoneError::Usb { during: Step::SigningRequest, .. }), "{error:?}");
}

#[tokio::test]
async fn a_clock_that_is_set_undoes_the_check() {
    let bench = Bench::new(material()).await;
    let (mut tether, _) = bench.session().await;
    let (id, leaf) = bench.ready(&mut tether).await;
    tether.request(&[Tether::staged(id, 0, &leaf), Tether::check(id, &bench.trust)]).await.unwrap();
    assert_eq!(bench.phone.memory().pending.unwrap().step(), 4);
    let time = OffsetDateTime::now_utc().unix_timestamp();
    tether.one(Step::Clock, Operation::SetClock { time }).await.unwrap();
    assert_eq!(bench.phone.memory().pending.unwrap().step(), 3);
    let commit = Operation::Commit { id: (*id.as_bytes()).into() };
    assert_eq!(number(&tether.one(Step::Commit, commit).await.unwrap_err()), code::NOT_CHECKED);
    tether.install(id, &leaf, &bench.trust).await.unwrap();
}

#[tokio::test]
async fn a_leaf_may_be_staged_before_there_is_a_key_and_key_and_request_are_made_all_the_same() {
    let bench = Bench::new(material()).await;
    let (mut tether, _) = bench.session().await;
    let id = TransactionId::random();
    let raw = (*id.as_bytes()).into();
    let user = "alice@contoso.example".to_owned();
    tether.one(Step::Begin, Operation::Begin { id: raw, user: user.clone(), replaces: None }).await.unwrap();
    tether.request(&[Tether::staged(id, 0, &bench.trust.presented[0])]).await.unwrap();
    assert_eq!(bench.phone.memory().pending.unwrap().step(), 3);
    let request = || Operation::SigningRequest { id: raw, common_name: user.clone(), hash: 0 };
    let early = tether.one(Step::SigningRequest, request()).await.unwrap_err();
    assert_eq!(number(&early), code::OUT_OF_ORDER);
    tether.one(Step::MakeKey, Operation::MakeKey { id: raw, kind: 3 }).await.unwrap();
    tether.one(Step::SigningRequest, request()).await.unwrap();
    assert_eq!(bench.phone.memory().pending.unwrap().step(), 3);
}

#[tokio::test]
async fn a_transaction_that_was_committed_is_not_begun_again() {
    let bench = Bench::new(material()).await;
    let (id, leaf, _) = bench.job(None).await;
    let (mut tether, _) = bench.session().await;
    let again = tether.prepare(&preparation(id, Some(leaf.fingerprint()), CONSENT)).await.unwrap_err();
    assert_eq!(number(&again), code::OUT_OF_ORDER);

    let begun = TransactionId::random();
    tether.prepare(&preparation(begun, Some(leaf.fingerprint()), CONSENT)).await.unwrap();
    let commit = Operation::Commit { id: (*id.as_bytes()).into() };
    assert_eq!(number(&tether.one(Step::Commit, commit).await.unwrap_err()), code::OTHER_PENDING);
}

#[tokio::test]
async fn a_server_is_judged_by_its_own_certificate_and_by_its_name_in_any_spelling() {
    let bench = Bench::new(material()).await;
    let (mut tether, _) = bench.session().await;
    let id = TransactionId::random();
    tether.prepare(&preparation(id, None, CONSENT)).await.unwrap();
    tether.stage_trust(id, &bench.trust, Some(time::Duration::ZERO)).await.unwrap();
    let server = ByteVec::from(bench.trust.presented[0].der().to_vec());
    let noise = ByteVec::from(vec![0x30, 0]);
    let cases = [
        (vec![server.clone()], "WEB.Contoso.example.", GOOD),
        (vec![server.clone(), noise.clone()], WEB, GOOD),
        (vec![noise, server.clone()], WEB, BAD),
        (vec![server], "contoso.example", BAD),
        (vec![], "no name", messages::NOT_JUDGED),
    ];
    for (server_chain, name, verdict) in cases {
        let operation = Operation::Check { id: (*id.as_bytes()).into(), server_chain, server_name: name.into() };
        let checked: Checked = read(&tether.one(Step::Check, operation).await.unwrap(), Step::Check).unwrap();
        assert_eq!(checked.server, verdict, "{name}");
    }
}

#[tokio::test]
async fn what_is_left_of_a_frame_from_before_the_reset_is_ignored() {
    let bench = Bench::new(material()).await;
    bench.phone.lie(Lies { keeps_an_armed_packet: true, ..Lies::default() });
    let (mut tether, _) = bench.session().await;
    tether.look(Duration::ZERO).await.unwrap();
}
