"""labctl beside its peers: what each takes for the same work, in one run, on one machine."""
