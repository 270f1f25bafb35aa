//! Messages in one order: native clients on real numbers; in the browser `order.js`, which does what the
//! order in Rust does; and the example chat, which shows the same in two pages.

use std::time::Duration;

use futures::StreamExt as _;
use rollcall_client::{
    Client,
    order::{Config, Event, InOrder, Order, Refused, Tag},
};
use rollcall_shared::time::Instant;
use rollcall_tests::{browser::Browser, server::Server};
use serde_json::{Value, json};
use tokio::sync::mpsc;

#[tokio::test]
async fn native_clients_hear_each_other_in_one_order() {
    let server = Server::patient();
    let client = Client::connect([server.url()]).await.expect("the server is there");
    let begin = client.get_sequence_number().await.expect("a number");
    let config = Config { begin: Some(begin), ..Config::default() };
    let mut order = InOrder::new(config);
    let (network, mut arrivals) = mpsc::unbounded_channel();
    for name in ["ann", "bob", "cem"] {
        order.join(name);
        let other = Client::connect([server.url()]).await.expect("the server is there");
        tokio::spawn(talk(other, name, network.clone()));
    }
    drop(network);
    let (mut given, mut missing, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let mut all_arrived = false;
    loop {
        tokio::select! {
            letter = arrivals.recv(), if !all_arrived => match letter {
                Some((from, previous, number, true)) => {
                    order.push(Tag { from, previous, number }, number).expect("it makes sense");
                }
                Some((_, _, number, false)) => lost.push(number),
                None => {
                    all_arrived = true;
                    order.end();
                }
            },
            event = order.next() => match event {
                Some(Event::Message { number, message, .. }) => {
                    assert_eq!(number, message);
                    given.push(number);
                }
                Some(Event::Missing(gap)) => missing.push(gap.last),
                Some(late @ Event::Late { .. }) => panic!("{late:?}"),
                None => break,
            },
        }
    }
    lost.sort_unstable();
    assert!(given.is_sorted() && missing.is_sorted());
    assert_eq!((given.len(), &missing), (3 * 41 - lost.len(), &lost));
    assert_eq!(lost.len(), 3 * 5);
}

/// Sends 41 messages in turn, each of which travels for a while of its own; every eighth is
/// lost.
async fn talk(
    client: Client,
    name: &'static str,
    network: mpsc::UnboundedSender<(&'static str, u64, u64, bool)>,
) {
    let mut previous = 0;
    for said in 1..=41 {
        let number = client.get_sequence_number().await.expect("a number");
        let letter = (name, previous, number, said % 8 != 0);
        previous = number;
        let network = network.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 7919 % 300)).await;
            // An error says that the test has failed.
            let _ = network.send(letter);
        });
    }
}

#[tokio::test]
async fn both_orders_do_the_same_whatever_comes() {
    let server = Server::start();
    let page = Browser::open("order", &format!("{}/examples/chat.html", server.http())).await;
    let mut random = Random(0x5eed);
    let scenarios: Vec<Scenario> = (0..1500).map(|_| Scenario::new(&mut random)).collect();
    let given: Vec<Value> = scenarios.iter().map(Scenario::json).collect();
    let script = include_str!("scripts/order.js").replace("SCENARIOS", &json!(given).to_string());
    let found = page.value(&script).await;
    let mut events = 0;
    for (at, scenario) in scenarios.iter().enumerate() {
        let expected = scenario.run();
        for (step, said) in expected.iter().enumerate() {
            let given = &scenario.steps[..=step];
            assert_eq!(&found[at][step], said, "{:?} {given:?}", scenario.config);
            events += said[0].as_array().map_or(0, Vec::len);
        }
    }
    assert!(events > 10_000, "only {events} events");
    let seen = json!(["Missing", "Message", true, true]);
    page.assert_equal("a loop that is left", page.value(LOOP).await, seen).await;
    page.assert_no_complaints().await;
}

/// What comes, when: kind, sender, the number before, the number.
type Step = (u64, &'static str, &'static str, u64, u64);

struct Scenario {
    config: Config,
    steps: Vec<Step>,
}

impl Scenario {
    /// Any senders say anything, true or not.
    fn new(random: &mut Random) -> Self {
        let begin = [None, Some(1), Some(4)][random.below(3)];
        let capacity = [2, 4, 1024][random.below(3)];
        let patience = Duration::from_millis(100);
        let mut time = 0;
        let steps = (0..random.below(40)).map(|_| {
            time += [0, 5, 60][random.below(3)];
            let kinds = ["push", "push", "push", "push", "note", "note", "join", "leave", "quiet"];
            let kind = if random.below(80) == 0 { "end" } else { kinds[random.below(9)] };
            let number = random.below(24) as u64;
            // Now and then not smaller, which is nonsense.
            let previous = number.saturating_sub(random.below(5) as u64);
            (time, kind, ["a", "b", "c"][random.below(3)], previous, number)
        });
        Self { steps: steps.collect(), config: Config { begin, patience, capacity } }
    }

    fn json(&self) -> Value {
        let mut options = json!({ "patience": 100, "capacity": self.config.capacity });
        if let Some(begin) = self.config.begin {
            options["begin"] = begin.into();
        }
        json!({ "options": options, "steps": self.steps })
    }

    /// What the order in Rust says to each step, and what it misses then.
    fn run(&self) -> Vec<Value> {
        let mut order = Order::new(self.config.clone());
        let step = |&(time, kind, from, previous, number): &Step| {
            let now = Instant::from_millis(time);
            let tag = Tag { from, previous, number };
            let mut done = Ok(());
            match kind {
                "push" => done = order.push(now, tag, ()),
                "note" => done = order.note(now, tag),
                "join" => order.join(from),
                "leave" => order.leave(from),
                "end" => order.end(),
                _ => {}
            }
            let mut said: Vec<Value> = done.err().map(refusal).into_iter().collect();
            while kind != "quiet"
                && let Some(event) = order.poll(now)
            {
                said.push(match event {
                    Event::Message { number, from, .. } => json!(["Message", from, number, number]),
                    Event::Late { number, from, .. } => json!(["Late", from, number, number]),
                    Event::Missing(gap) => json!(["Missing", gap.from, gap.first, gap.last]),
                });
            }
            let missing = order.missing();
            let missing: Vec<Value> =
                missing.iter().map(|gap| json!([gap.from, gap.first, gap.last])).collect();
            json!([said, missing])
        };
        self.steps.iter().map(step).collect()
    }
}

fn refusal(why: Refused) -> Value {
    match why {
        Refused::Number => json!(["invalid_argument", "number"]),
        Refused::Previous => json!(["invalid_argument", "previous"]),
        Refused::Full => json!(["overloaded", null]),
    }
}

/// Numbers by chance, the same ones in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[tokio::test]
async fn two_pages_show_the_same_chat_and_what_is_missing() {
    let server = Server::patient();
    let chat = |name: &str| format!("{}/examples/chat.html?name={name}", server.http());
    let page = Browser::open("chat", &chat("ann")).await;
    page.wait_true("ann's place", JOINED).await;
    let [ann, bob] = page.open_window(&chat("bob")).await;
    for window in [&ann, &bob] {
        page.switch_to(window).await;
        page.wait_equal("who is here", PEOPLE, 2).await;
        page.value(TRAVELS).await;
    }

    // What ann says first reaches bob last.
    page.switch_to(&ann).await;
    page.click("#five").await;
    page.switch_to(&bob).await;
    let arrived = json!(["three", "four", "five", "two", "one"]);
    page.wait_equal("what arrived", ARRIVED, arrived).await;
    page.wait_equal("the order", ORDERED, json!(["one", "two", "three", "four", "five"])).await;

    // One is lost on its way to bob.
    page.click("#drop").await;
    page.switch_to(&ann).await;
    say(&page, "lost").await;
    say(&page, "after").await;
    page.wait_equal("ann's last", &format!("{ARRIVED}.at(-1)"), "after").await;
    page.switch_to(&bob).await;
    say(&page, "answer").await;
    let missing = "A message of ann is missing";
    let of_bob = json!(["one", "two", "three", "four", "five", missing, "after", "answer"]);
    page.wait_equal("the order with a loss", ORDERED, of_bob).await;
    let numbers = page.value(NUMBERS).await;
    looks_right(&page).await;
    page.assert_no_complaints().await;

    page.switch_to(&ann).await;
    let of_ann = json!(["one", "two", "three", "four", "five", "lost", "after", "answer"]);
    page.wait_equal("the order of who sent it", ORDERED, of_ann).await;
    page.assert_equal("the numbers of both", page.value(NUMBERS).await, numbers).await;
    page.assert_no_complaints().await;
}

/// Every text can be read in both schemes, and on a phone nothing is wider than the window.
async fn looks_right(page: &Browser) {
    for (scheme, width) in [("light", 1280), ("dark", 1280), ("dark", 400), ("light", 400)] {
        page.emulate(&[("prefers-color-scheme", scheme)]).await;
        page.resize(width, 800).await;
        let found = page.value(include_str!("scripts/contrast.js")).await;
        page.assert_equal("texts of bad contrast", &found["bad"], &json!([])).await;
        let beyond =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        page.assert_equal("pixels beyond the window", page.value(beyond).await, json!(0)).await;
    }
}

async fn say(page: &Browser, text: &str) {
    page.fill("#text", text).await;
    page.click("#say [type=submit]").await;
}

/// Reads by a loop until it has a message, which waits for its patience; and what comes after.
const LOOP: &str = "const { Order } = await import(location.origin + '/client/order.js'); \
    const order = new Order({ begin: 1, patience: 50 }); \
    const start = performance.now(); \
    order.push({ number: 2 }); \
    const seen = []; \
    for await (const { type } of order) { seen.push(type); if (type === 'Message') break; } \
    order.push({ number: 3 }); \
    return [...seen, performance.now() - start >= 50, (await order.next()).done]";

const JOINED: &str = "return 'joined' in document.body.dataset";

const PEOPLE: &str = "return document.querySelectorAll('#people li').length";

/// How long messages travel to a page: the first one longest.
const TRAVELS: &str = "rollcallChat.network.travels = ({ text }) => \
    ({ one: 1800, two: 900 })[text] ?? 0; return true";

const ARRIVED: &str = "return [...document.querySelectorAll('#arrived li:not(.dropped)')] \
    .map(line => line.querySelector('.words').lastElementChild.textContent)";

const ORDERED: &str = "return [...document.querySelectorAll('#ordered li')].map(line => { \
    const words = line.querySelector('.words'); \
    return line.className === 'missing' ? words.textContent : words.lastElementChild.textContent })";

const NUMBERS: &str =
    "return [...document.querySelectorAll('#ordered li')].map(line => line.dataset.number)";
