//! Clocks that run wrong: each too fast or too slow, at a rate that changes; now and then one stands still for a while or
//! leaps ahead. A clock never goes back, as the system's monotonic one.
//!
//! What a clock shows is a function of the true time, drawn from a seed, so that a timer is a sleep until the true time at
//! which the clock will show its deadline. Who is polled within [`Clock::scope`], and what that spawns, lives by it.

use std::cmp::Ordering;
use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::Arc;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};
use openraft_rt::deterministic_rng::DeterministicRng;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant as True, Sleep, Timeout};

use super::Chance;

/// Parts of the true rate.
const TRUE_RATE: u64 = 1000;

tokio::task_local! {
    static CLOCK: Arc<Clock>;
}

/// One member's, from its start to its end.
#[derive(Debug)]
pub struct Clock {
    number: u64,
    phases: Mutex<Phases>,
}

#[derive(Debug)]
struct Phases {
    /// In order, without a gap between them.
    all: Vec<Phase>,
    /// None for a clock that is right.
    chance: Option<Chance>,
}

/// From `begins` to `ends` in true time the clock runs at one rate, beginning at what it shows then.
#[derive(Debug, Clone, Copy)]
struct Phase {
    begins: True,
    ends: True,
    shows: True,
    rate: u64,
}

impl Phase {
    fn at(&self, now: True) -> True {
        self.shows + scaled(now.saturating_duration_since(self.begins), self.rate, TRUE_RATE)
    }
}

fn scaled(time: Duration, by: u64, of: u64) -> Duration {
    let nanos = (time.as_nanos() * u128::from(by)).div_ceil(u128::from(of));
    Duration::from_nanos(nanos as u64)
}

impl Clock {
    pub fn new(number: u64, mut chance: Chance) -> Arc<Self> {
        let now = True::now();
        let chance = (!chance.one_in(4)).then_some(chance);
        let first = Phase { begins: now, ends: now, shows: now, rate: TRUE_RATE };
        Arc::new(Self { number, phases: Mutex::new(Phases { all: vec![first], chance }) })
    }

    pub async fn scope<F: Future>(self: &Arc<Self>, run: F) -> F::Output {
        CLOCK.scope(self.clone(), run).await
    }

    /// How much of its time passes between two true times; none before it began.
    pub fn passes(&self, from: True, to: True) -> Duration {
        self.at(to).saturating_duration_since(self.at(from))
    }

    fn at(&self, now: True) -> True {
        let mut phases = self.phases.lock();
        while phases.last().ends <= now {
            phases.extend();
        }
        let found = phases.all.partition_point(|phase| phase.ends <= now);
        phases.all[found].at(now)
    }

    /// The first true time at which it shows this, or more.
    fn when(&self, shown: True) -> True {
        let mut phases = self.phases.lock();
        while phases.last().at(phases.last().ends) <= shown {
            phases.extend();
        }
        let found = phases.all.partition_point(|phase| phase.at(phase.ends) <= shown);
        let phase = phases.all[found];
        // It may have leapt over it.
        let left = shown.saturating_duration_since(phase.shows);
        match phase.rate {
            0 => phase.begins,
            rate => phase.begins + scaled(left, TRUE_RATE, rate),
        }
    }
}

impl Phases {
    fn last(&self) -> Phase {
        *self.all.last().expect("it begins with one")
    }

    fn extend(&mut self) {
        let last = self.last();
        let (begins, mut shows) = (last.ends, last.at(last.ends));
        let (mut lasts, mut rate) = (Duration::from_secs(60), TRUE_RATE);
        if let Some(chance) = &mut self.chance {
            lasts = Duration::from_millis(500 + chance.below(9_000));
            rate = if chance.one_in(2) { 500 + chance.below(500) } else { 1000 + chance.below(1001) };
            if chance.one_in(12) {
                (rate, lasts) = (0, Duration::from_millis(100 + chance.below(3_000)));
            } else if chance.one_in(10) {
                shows += Duration::from_millis(100 + chance.below(10_000));
            }
        }
        self.all.push(Phase { begins, ends: begins + lasts, shows, rate });
    }
}

/// The clock of who is polled; none is the true time.
pub fn current() -> Option<Arc<Clock>> {
    CLOCK.try_with(Arc::clone).ok()
}

fn true_time(shown: Instant) -> True {
    let clock = current();
    shown.check(clock.as_ref().map_or(0, |clock| clock.number));
    clock.map_or(shown.shown, |clock| clock.when(shown.shown))
}

pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match current() {
        Some(clock) => tokio::spawn(CLOCK.scope(clock, future)),
        None => tokio::spawn(future),
    }
}

pub fn sleep(time: Duration) -> Sleep {
    sleep_until(Instant::now() + time)
}

pub fn sleep_until(deadline: Instant) -> Sleep {
    tokio::time::sleep_until(true_time(deadline))
}

pub fn timeout<F: Future>(time: Duration, future: F) -> Timeout<F> {
    tokio::time::timeout_at(true_time(Instant::now() + time), future)
}

/// What a clock showed. That of one is nothing to another: to compare them is a mistake, and ends the proof.
#[derive(Clone, Copy)]
pub struct Instant {
    clock: u64,
    shown: True,
}

impl Instant {
    pub fn now() -> Self {
        let clock = current();
        let shown = clock.as_ref().map_or_else(True::now, |clock| clock.at(True::now()));
        Self { clock: clock.map_or(0, |clock| clock.number), shown }
    }

    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.check(earlier.clock);
        self.shown.saturating_duration_since(earlier.shown)
    }

    fn check(&self, clock: u64) {
        assert_eq!(self.clock, clock, "the time of one member's clock is taken for another's");
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} on clock {}", self.shown, self.clock)
    }
}

impl PartialEq for Instant {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Instant {}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Self) -> Ordering {
        self.check(other.clock);
        self.shown.cmp(&other.shown)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self { shown: self.shown + time, ..self }
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, time: Duration) {
        self.shown += time;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        Self { shown: self.shown - time, ..self }
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, time: Duration) {
        self.shown -= time;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl openraft::Instant for Instant {
    fn now() -> Self {
        Self::now()
    }
}

/// Elections draw from a seed, and every timer of raft is of the member's clock.
#[derive(Debug)]
pub struct Runtime(Seeded);

type Seeded = DeterministicRng<TokioRuntime>;

impl Runtime {
    /// Runs with elections that repeat.
    pub async fn seeded<F: Future>(seed: u64, run: F) -> F::Output {
        Seeded::scope(seed, run).await
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = <Seeded as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Seeded as AsyncRuntime>::JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = <Seeded as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = <Seeded as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <Seeded as AsyncRuntime>::Mpsc;
    type Watch = <Seeded as AsyncRuntime>::Watch;
    type Oneshot = <Seeded as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Seeded as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match current() {
            Some(clock) => Seeded::spawn(CLOCK.scope(clock, future)),
            None => Seeded::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Sleep {
        sleep(duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F> {
        timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Timeout<F> {
        tokio::time::timeout_at(true_time(deadline), future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        Seeded::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Seeded::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(Seeded::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

/// A timer rings when its clock shows the deadline, not before, and as soon as that.
#[test]
fn a_timer_rings_when_its_clock_shows_its_deadline() {
    let run = async {
        let mut wrong = 0;
        for number in 1..20 {
            let clock = Clock::new(number, Chance::new(number));
            let mut chance = Chance::new(100 + number);
            for _ in 0..200 {
                let time = Duration::from_millis(chance.below(3_000));
                let (begun, deadline) = clock.scope(async { (True::now(), Instant::now() + time) }).await;
                let rings = clock.when(deadline.shown);
                assert!(clock.at(rings) >= deadline.shown, "clock {number}: too early");
                if rings > begun {
                    let before = rings - Duration::from_nanos(2);
                    assert!(clock.at(before) <= deadline.shown, "clock {number}: too late");
                }
                clock.scope(async { sleep_until(deadline).await }).await;
                wrong += u64::from(begun.elapsed().abs_diff(time) > Duration::from_millis(2));
            }
        }
        assert!(wrong > 1000, "only {wrong} timers rang early or late");
    };
    super::simulate(1, run);
}
