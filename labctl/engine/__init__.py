"""Running playbooks."""
