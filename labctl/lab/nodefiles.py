"""Files a node's root file system gets besides its packages."""

from __future__ import annotations

SHARED = "/srv/shared"
MARKER = ".labctl-volume"

# The small init: systemd from 256 on refuses to start under cgroup v1 and hybrid hierarchies.
INIT = """\
#!/bin/sh
# First process of a lab node: starts the enabled services, reaps orphans, stops on SIGPWR.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset container_ttys
mkdir -p /run/lock /run/sshd /run/netns /run/user
ulimit -n "$(ulimit -Hn)"
umask 022
cg=/sys/fs/cgroup
if [ -f "$cg/cgroup.controllers" ]; then
    # cgroup v2: a cgroup with processes in it cannot hand controllers to its children.
    mkdir -p "$cg/init"
    while read -r pid; do echo "$pid" > "$cg/init/cgroup.procs" 2>/dev/null; done < "$cg/cgroup.procs"
    for c in $(cat "$cg/cgroup.controllers"); do echo "+$c" > "$cg/cgroup.subtree_control"; done
fi
stop() {
    trap '' PWR TERM INT
    for s in $(ls -r /etc/rc2.d/S* 2>/dev/null); do "$s" stop; done
    kill -TERM -1 2>/dev/null
    n=0
    while [ $n -lt 20 ] && [ "$(ls -d /proc/[0-9]* | wc -l)" -gt 1 ]; do n=$((n + 1)); sleep 0.1; done
    # In a container this ends its first process with a word to LXC, which starts the container again.
    [ -e /run/restart ] && exec python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x01234567)'
    exit 0
}
trap stop PWR TERM INT
for s in /etc/rc2.d/S*; do "$s" start & done
while :; do sleep infinity & wait $!; done
"""

SHUTDOWN = """\
#!/usr/bin/python3
\"\"\"shutdown [-r|-h|-P] [now|+MINUTES|HH:MM] [MESSAGE], shutdown -c, reboot, poweroff: of a lab node.\"\"\"
import os, shutil, signal, subprocess, sys, time

WAITING = "/run/shutdown.pid"


def cancel():
    try:
        with open(WAITING) as stream:
            os.kill(int(stream.read()), signal.SIGTERM)
        os.unlink(WAITING)
    except (OSError, ValueError):
        pass


def seconds(when):
    if when == "now":
        return 0
    try:
        if ":" in when:
            hour, minute = (int(word) for word in when.split(":"))
            now = time.localtime()
            return ((hour - now.tm_hour) * 3600 + (minute - now.tm_min) * 60 - now.tm_sec) % 86400
        return 60 * int(when.lstrip("+"))
    except ValueError:
        sys.exit("shutdown: " + when + " is no time: now, +MINUTES or HH:MM")


name = os.path.basename(sys.argv[0])
options = [word for word in sys.argv[1:] if word.startswith("-")]
words = [word for word in sys.argv[1:] if not word.startswith("-")]
if os.geteuid():
    sys.exit(name + ": only root may do this")
cancel()
if "-c" in options:
    sys.exit()
delay = seconds(words[0] if words else "+1") if name == "shutdown" else 0
if len(words) > 1 and shutil.which("wall"):
    subprocess.run(["wall", " ".join(words[1:])], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
sys.stdout.flush()
# The terminal goes with this process: its hang-up must not reach the child before that has left the session.
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork():
    os._exit(0)
os.setsid()
null = os.open(os.devnull, os.O_RDWR)
for number in range(3):
    os.dup2(null, number)
with open(WAITING, "w") as stream:
    stream.write(str(os.getpid()))
time.sleep(delay)
if name == "reboot" or "-r" in options or "--reboot" in options:
    open("/run/restart", "w").close()
os.kill(1, signal.SIGPWR)
"""

CONTAINERD_SERVICE = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          containerd
# Required-Start:    $local_fs
# Required-Stop:     $local_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: containerd container runtime
### END INIT INFO
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DAEMON=/usr/bin/containerd
PIDFILE=/run/containerd.pid
. /lib/lsb/init-functions
start() {
    # containerd says READY=1 to a notification socket, so start returns when it answers.
    start-stop-daemon --start --oknodo --quiet --background --make-pidfile --pidfile $PIDFILE \\
        --notify-await --notify-timeout 30 --output /var/log/containerd.log --exec $DAEMON
}
stop() {
    start-stop-daemon --stop --oknodo --quiet --retry TERM/10/KILL/5 --pidfile $PIDFILE --exec $DAEMON
    rm -f $PIDFILE
}
case "$1" in
    start) log_daemon_msg "Starting containerd" containerd; start; log_end_msg $? ;;
    stop) log_daemon_msg "Stopping containerd" containerd; stop; log_end_msg $? ;;
    restart|force-reload) log_daemon_msg "Restarting containerd" containerd; stop; start; log_end_msg $? ;;
    status) status_of_proc -p $PIDFILE $DAEMON containerd ;;
    *) echo "Usage: $0 {start|stop|restart|force-reload|status}" >&2; exit 3 ;;
esac
"""

SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 200
MaxSessions 200
PrintMotd no
"""

CRIU = """\
#!/bin/sh
export LD_LIBRARY_PATH=LIBRARIES
exec /opt/criu/usr/sbin/criu "$@"
"""

SUDOERS = "lab ALL=(ALL:ALL) NOPASSWD: ALL\n"
