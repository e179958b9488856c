//! The `postrider` command: reads the arguments and hands over to `app`.

fn main() {}
