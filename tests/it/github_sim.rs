//! The simulated GitHub, driven over HTTP as Titan drives it: it must behave as the real one does.

mod adapter;
mod flows;
mod manners;
mod stage;

use stage::Stage;
