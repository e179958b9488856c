//! The `postrider` command: hands over to `app`.

use std::process::ExitCode;

fn main() -> ExitCode {
    postrider::app::run()
}
