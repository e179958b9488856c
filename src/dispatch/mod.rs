//! The engine: started campaigns become deliveries, deliveries become messages, and what became of each is written down.
//!
//! How a message gets through the rooms:
//!
//! 1. `scheduler` starts what is due, `expansion` makes deliveries of the audience, in batches.
//! 2. `claims` takes batches by lease, as much as throttles and relays let through and each campaign its `portion`, and puts
//!    them on the workspace's `desk`, which is drawn from in turns; `leases` are renewed.
//! 3. `lanes` opens connections to the relays in use, of `choice`; each `worker` has a `supply` that draws deliveries with their permits,
//!    looks at the `gate`, has the message made by `compose` and signed by `signing`, and asks for its intent.
//!    Of a relay without a server `fleet` has a lane to each recipient domain; what goes to one that can't be reached is put off.
//! 4. It waits in the `books` until a `committer` commits intents in groups; what is granted stands in line on the connection's
//!    `runway`, where the session takes it after a last look at the `gate`.
//! 5. The outcome goes into the `books` too. The commit that writes `outcomes` down gives their places in the doubt windows to the
//!    intents of those that wait behind.
//! 6. `keeper` brings due retries back to work, sweeps cancelled campaigns, ends campaigns that have nothing left, and
//!    rescues what dead nodes held.
//!
//! Answers that are about us are noted at the `destinations` of a relay, which hold or slow down what goes there on every node
//! (`holds`); the rates that nodes share are spent in `slices`.
//!
//! Beside all that `lookups` finds out who runs domains that nobody knows.
//!
//! `changes` follows the acts of obedience, `pulse` knows whether Postgres is there. No transaction is open across a network
//! call, no MAIL FROM is written without a live lease and a committed intent, and no outcome is thrown away. All queues are
//! bounded: the desks by what `claims` takes, everything behind them by the doubt windows.
//!
//! Not here: the dialogue (`smtp`), relays (`relay`), SQL (`store`), HTTP (`api`).

mod aim;
mod appetite;
mod balance;
mod books;
mod bound;
mod campaign;
mod chance;
mod changes;
mod choice;
mod claim;
mod claims;
mod committer;
mod compose;
mod counts;
mod crew;
mod desk;
mod destinations;
mod drawing;
mod echo;
mod excuse;
mod expansion;
mod fleet;
mod flight;
mod gate;
mod held;
mod holding;
mod holds;
mod index;
mod inlet;
mod keeper;
mod lane;
mod lanes;
mod leases;
mod limits;
mod link;
mod lookups;
mod memory;
mod moment;
mod outcomes;
mod place;
mod portion;
mod pulse;
mod queue;
mod rescue;
mod run;
mod runway;
mod scheduler;
mod settings;
mod signing;
mod slices;
mod staff;
mod supply;
mod way;
mod worker;

pub use run::{Context, run};
pub use settings::Settings;
