"""One node: an LXC system container with an overlay root, its own address, sshd and containerd."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

from labctl.errors import EnvironmentProblem
from labctl.lab import cgroups, nodefiles
from labctl.lab.system import last_words, run
from labctl.records import dataclass

_CONFIG = """\
lxc.uts.name = {name}
lxc.rootfs.path = overlay:{rootfs}:{folder}/overlay
lxc.net.0.type = veth
lxc.net.0.link = {bridge}
lxc.net.0.veth.pair = {veth}
lxc.net.0.flags = up
lxc.net.0.hwaddr = {mac}
lxc.net.0.name = eth0
lxc.net.0.ipv4.address = {address}/24
lxc.mount.auto = proc:rw sys:rw cgroup:rw:force
lxc.apparmor.profile = unconfined
lxc.cap.drop =
lxc.cgroup.relative = 0
lxc.cgroup.dir.container = {top}/{lab}/{name}
lxc.cgroup.dir.monitor = {top}/{lab}/monitor-{name}
lxc.cgroup.dir.monitor.pivot = {top}/{lab}/pivot-{name}
lxc.autodev = 1
lxc.tty.max = 0
lxc.pty.max = 1024
lxc.environment = container=lxc
lxc.mount.entry = tmpfs run tmpfs rw,nosuid,nodev,mode=0755 0 0
lxc.mount.entry = {containerd} var/lib/containerd none bind,create=dir 0 0
lxc.mount.entry = {shared} {mount} none bind,create=dir 0 0
lxc.mount.entry = /dev/fuse dev/fuse none bind,optional,create=file 0 0
lxc.mount.entry = /dev/net/tun dev/net/tun none bind,optional,create=file 0 0
lxc.init.cmd = /sbin/node-init
lxc.log.file = {folder}/lxc.log
lxc.log.level = WARN
lxc.console.logfile = {folder}/console.log
"""


@dataclass(frozen=True)
class Container:
    """A node as the lab keeps it. `folder` holds its configuration, overlay and containerd's data."""

    lab: str
    name: str
    index: int
    folder: Path
    rootfs: Path
    shared: Path
    bridge: str
    address: str

    @property
    def lxc_name(self) -> str:
        # LXC's control sockets are named by path and name in the network namespace, which a lab in
        # another mount namespace may share: the lab's random id keeps them apart.
        return f"{self.lab}-{self.name}"

    @property
    def veth(self) -> str:
        return f"v{self.lab}-{self.index}"

    @property
    def mac(self) -> str:
        """The same at every start: neighbours remember it for half a minute, and would send to the old one."""
        octets = [0x02, *bytes.fromhex(self.lab), self.index >> 8, self.index & 0xFF]
        return ":".join(f"{octet:02x}" for octet in octets)

    def lxc(self, program: str, *arguments: str) -> list[str]:
        return [program, "-P", str(self.folder.parent), "-n", self.lxc_name, *arguments]

    def state(self) -> str:
        """LXC's word: RUNNING, FROZEN, STOPPED."""
        said = run(self.lxc("lxc-info", "-s", "-H"), check=False)
        return said.stdout.strip() if said.returncode == 0 else "STOPPED"

    def pid(self) -> int | None:
        """The first process of the node, as this machine numbers it."""
        said = run(self.lxc("lxc-info", "-p", "-H"), check=False).stdout.strip()
        return int(said) if said.isdigit() and int(said) > 0 else None

    def write(self, hosts: str, authorized_key: str) -> None:
        """Write the configuration and the files that are this node's alone. It must not be running."""
        upper = self.folder / "overlay"
        files = {
            "etc/hostname": (f"{self.name}\n", 0o644),
            "etc/hosts": (hosts, 0o644),
            "root/.ssh/authorized_keys": (authorized_key, 0o600),
            "home/lab/.ssh/authorized_keys": (authorized_key, 0o600),
            "etc/machine-id": (f"{self._machine_id()}\n", 0o444),
        }
        # A directory of the upper layer shows its own mode and owner, not the lower one's.
        modes = {"root": 0o700, "root/.ssh": 0o700, "home/lab/.ssh": 0o700}
        for name, (text, mode) in files.items():
            path = upper / name
            upper.mkdir(exist_ok=True)
            for parent in reversed(path.relative_to(upper).parents[:-1]):
                (upper / parent).mkdir(exist_ok=True)
                (upper / parent).chmod(modes.get(str(parent), 0o755))
            path.unlink(missing_ok=True)
            path.write_text(text)
            path.chmod(mode)
        self._give_to_lab(upper)
        (self.folder / "containerd").mkdir(exist_ok=True)
        key = upper / "etc/ssh/ssh_host_ed25519_key"
        if not key.exists():
            key.parent.mkdir(parents=True, exist_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(key)])
        (self.folder / "config").write_text(
            _CONFIG.format(
                name=self.name,
                rootfs=self.rootfs,
                folder=self.folder,
                bridge=self.bridge,
                veth=self.veth,
                mac=self.mac,
                address=self.address,
                top=cgroups.TOP,
                lab=self.lab,
                shared=_escape(self.shared),
                mount=nodefiles.SHARED.lstrip("/"),
                containerd=_escape(self.folder / "containerd"),
            )
        )

    def _machine_id(self) -> str:
        path = self.folder / "overlay/etc/machine-id"
        if path.exists():
            return path.read_text().strip()
        return Path("/proc/sys/kernel/random/uuid").read_text().strip().replace("-", "")

    def _give_to_lab(self, upper: Path) -> None:
        owner = (self.rootfs / "home/lab").stat()
        for path in (upper / "home/lab", *(upper / "home/lab").rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)

    def host_key(self) -> str:
        """The node's public host key: type and base64 text."""
        text = (self.folder / "overlay/etc/ssh/ssh_host_ed25519_key.pub").read_text()
        return " ".join(text.split()[:2])

    def start(self) -> None:
        """Start the node; EnvironmentProblem with LXC's own words when it does not start."""
        cgroups.remove_node(self.lab, self.name)
        run(["ip", "link", "delete", "dev", self.veth], check=False)
        log = self.folder / "lxc.log"
        log.unlink(missing_ok=True)
        started = run(self.lxc("lxc-start", "-f", str(self.folder / "config"), "-d"), check=False)
        if started.returncode:
            text = log.read_text(errors="replace") if log.exists() else started.stderr
            errors = [line.split(" - ", 1)[-1] for line in text.splitlines() if " ERROR " in line]
            raise EnvironmentProblem(
                f"node {self.name} does not start: {last_words(chr(10).join(errors[:3]) or text)}",
                hint=f"all of LXC's words: {log}",
            )

    def wait_for_sshd(self, timeout: float = 60.0) -> None:
        """Wait until sshd greets, by connecting to it."""
        deadline = time.monotonic() + timeout
        while not self.greets(max(1.0, deadline - time.monotonic())):
            if time.monotonic() > deadline:
                raise EnvironmentProblem(
                    f"sshd of node {self.name} did not answer within {timeout:g} s",
                    hint=f"what the node wrote: {self.folder / 'console.log'}",
                )
            time.sleep(0.01)  # a refused connection is refused at once

    def greets(self, timeout: float) -> bool:
        """Whether sshd sends its banner within `timeout` seconds of being connected to."""
        try:
            with socket.create_connection((self.address, 22), timeout=min(timeout, 1.0)) as connection:
                connection.settimeout(timeout)  # a busy machine connects at once and greets much later
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def release_nfs(self) -> None:
        """Take the node's NFS mounts off while their server still answers: a kernel waits long for one that
        does not."""
        pid = self.pid()
        if pid is None:
            return
        try:
            lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        except OSError:
            return
        inside = ["nsenter", "-t", str(pid), "-m", "-n", "--"]
        for line in reversed(lines):
            before, _, after = line.partition(" - ")
            if after.startswith("nfs"):
                run([*inside, "umount", "-f", "-l", before.split(" ")[4]], timeout=20, check=False)

    def kill(self) -> None:
        """End the node and all its processes at once, also when LXC has lost sight of them; nothing when it
        is not running."""
        run(self.lxc("lxc-stop", "-k"), check=False)
        cgroups.kill(self.lab, self.name)


def _escape(path: Path) -> str:
    return str(path).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
