"""The embedded lab: LXC system containers on this machine, each a real node with sshd and containerd."""

from labctl.lab.lab import Lab, NodeStatus

__all__ = ["Lab", "NodeStatus"]
