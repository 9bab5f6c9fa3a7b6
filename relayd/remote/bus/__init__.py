"""Links of hubs and nodes that reach each other through NATS only; imported where `--bus` is given."""
