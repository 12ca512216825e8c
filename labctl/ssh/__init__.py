"""SSH: how hosts are reached, and the pool of what is open to them. paramiko loads on the first connect."""

from labctl.ssh.connections import Connections
from labctl.ssh.settings import VARIABLES, Become, ConnectionSettings

__all__ = ["VARIABLES", "Become", "ConnectionSettings", "Connections"]
