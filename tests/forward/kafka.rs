//! Kafka: librdkafka's own cluster, spoken to over sockets.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use tollgate::forward::forwarding::{ForwardError, sink};
use tollgate::forward::kafka::KafkaSettings;
use tollgate::forward::settings::{Destination, TargetSettings};

use crate::house::{Entry, House, LOG, check, target, until};

const TOPIC: &str = "audit";
const PARTITIONS: i32 = 4;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(3).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS, 3).unwrap();
    cluster
}

fn to(cluster: &Cluster) -> TargetSettings {
    with_options(&cluster.bootstrap_servers(), &[])
}

fn with_options(brokers: &str, options: &[(&str, &str)]) -> TargetSettings {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let destination = Destination::Kafka(KafkaSettings {
        brokers: brokers.to_owned(),
        topic: TOPIC.to_owned(),
        options: options.collect(),
    });
    TargetSettings { destination, ..target("redis://nowhere") }
}

/// How often a consumer may have nothing to say.
const EMPTY_POLLS_MAX: u32 = 60;

/// Everything in the topic, partition by partition.
fn entries(cluster: &Cluster) -> Vec<Entry> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "check")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let (mut entries, mut empty_polls) = (Vec::new(), 0);
    for partition in 0..PARTITIONS {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        loop {
            // It gives none also for what is no message, such as the news that a broker was reached.
            let Some(polled) = consumer.poll(Duration::from_secs(1)) else {
                empty_polls += 1;
                assert!(
                    empty_polls < EMPTY_POLLS_MAX,
                    "neither a message nor the end of partition {partition}"
                );
                continue;
            };
            let message = match polled {
                Ok(message) => message,
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => break,
                Err(error) => panic!("{error}"),
            };
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let mut fields: HashMap<String, String> = HashMap::new();
            for header in message.headers().unwrap().iter() {
                fields.insert(header.key.to_owned(), text(header.value.unwrap()));
            }
            fields.insert("key".to_owned(), text(message.key().unwrap()));
            fields.insert("body".to_owned(), text(message.payload().unwrap()));
            assert!(message.timestamp().to_millis().unwrap() > 0);
            entries.push(Entry { place: u64::try_from(partition).unwrap(), fields });
        }
    }
    entries
}

#[test]
fn each_record_arrives_once_and_in_the_partition_of_its_entity() {
    let (cluster, house) = (cluster(), House::new());
    let forwarding = house.forward(to(&cluster));
    house.decide(2_000);
    house.wait(&forwarding);
    let entries = entries(&cluster);
    assert_eq!(check(&house, &entries, 1), 0);
    let mut partitions: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &entries {
        assert_eq!(*partitions.entry(&entry.fields["key"]).or_insert(entry.place), entry.place);
        assert_eq!((&*entry.fields["kind"], &*entry.fields["schema"]), ("decision", "1"));
    }
    assert_eq!(partitions.len(), 7);
    forwarding.thread.close();
    let counts = forwarding.status.counts();
    assert_eq!((counts.sent, counts.retries), (2_000, 0), "{counts:?}");
}

#[test]
fn brokers_that_go_and_come_back_under_load_lose_repeat_and_reorder_nothing() {
    let (cluster, house) = (cluster(), House::new());
    let forwarding = house.forward(to(&cluster));
    for round in 0..3 {
        for broker in 1..=3 {
            house.decide(300);
            cluster.broker_down(broker).unwrap();
            house.decide(300);
            if round == 2 {
                // All of them, for longer than one attempt.
                (1..=3).for_each(|broker| cluster.broker_down(broker).unwrap());
                let retries = forwarding.status.counts().retries;
                until("an attempt fails", || forwarding.status.counts().retries > retries);
                (1..=3).for_each(|broker| cluster.broker_up(broker).unwrap());
                break;
            }
            cluster.broker_up(broker).unwrap();
        }
    }
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries(&cluster), 1), 0, "the producer is idempotent");
    let counts = forwarding.status.counts();
    assert_eq!((counts.dead, counts.dropped), (0, 0), "{counts:?}");
}

#[test]
fn errors_of_brokers_are_waited_for() {
    use RDKafkaRespErr as Error;
    let (cluster, house) = (cluster(), House::new());
    let forwarding = house.forward(to(&cluster));
    house.decide(10);
    house.wait(&forwarding);
    for errors in [
        &[Error::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3][..],
        &[Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 3],
        &[Error::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT],
        &[Error::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 2],
        &[Error::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, errors);
        house.decide(100);
        house.wait(&forwarding);
    }
    let repeated = check(&house, &entries(&cluster), 1);
    let counts = forwarding.status.counts();
    println!("{counts:?}, {repeated} repeated");
    assert_eq!((counts.dead, counts.sent), (0, 510), "{counts:?}");
}

#[test]
fn of_a_refused_batch_only_what_is_at_fault_is_a_dead_letter() {
    let (cluster, house) = (cluster(), House::new());
    let forwarding = house.forward(to(&cluster));
    house.decide(10);
    house.wait(&forwarding);
    // The batch, and then the first of its messages.
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
    house.decide(50);
    house.wait(&forwarding);
    assert_eq!(forwarding.status.counts().dead, 0, "no message is at fault by itself");
    check(&house, &entries(&cluster), 1);

    cluster.request_errors(RDKafkaApiKey::Produce, &[error; 2]);
    house.decide(1);
    house.wait(&forwarding);
    let counts = forwarding.status.counts();
    assert_eq!((counts.dead, counts.sent), (1, 60), "{counts:?}");
    let letters = tollgate::forward::dead_letters::DeadLetters::of(house.data(), forwarding.status.name());
    let mut sink = sink(&to(&cluster), LOG).unwrap();
    assert_eq!(tollgate::forward::replay::replay(&letters, &mut *sink, || true).unwrap().sent, 1);
    check(&house, &entries(&cluster), 1);
}

#[test]
fn what_is_too_long_never_reaches_a_broker() {
    let (cluster, house) = (cluster(), House::new());
    let forwarding = house.forward(TargetSettings { message_bytes_max: 4_096, ..to(&cluster) });
    let long = |number| crate::house::decision(number, if number % 10 == 4 { 5_000 } else { 20 });
    house.write(tollgate::audit::frame::Kind::Decision, (0..100).map(long));
    house.wait(&forwarding);
    let counts = forwarding.status.counts();
    assert_eq!((counts.sent, counts.dead, counts.retries), (90, 10, 0));
    assert_eq!(entries(&cluster).len(), 90);
}

#[test]
fn options_are_librdkafkas_but_for_what_the_promises_rest_on() {
    let make = |options: &[(&str, &str)]| sink(&with_options("127.0.0.1:1", options), LOG);
    assert!(make(&[("compression.type", "gzip"), ("client.id", "x")]).is_ok());
    for (option, expected) in [
        (("acks", "1"), "not for config to choose"),
        (("enable.idempotence", "false"), "not for config to choose"),
        (("max.in.flight", "9"), "not for config to choose"),
        (("no.such.option", "1"), "no.such.option"),
    ] {
        let Err(ForwardError::Target { error, .. }) = make(&[option]) else { panic!("{option:?}") };
        assert!(error.to_string().contains(expected), "{error}");
    }
}
