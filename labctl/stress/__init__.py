"""Load that labctl makes: what is asked for, and the programs on the nodes that make it (collectors/stress/)."""
