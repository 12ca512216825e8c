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
    exit 0
}
trap stop PWR TERM INT
for s in /etc/rc2.d/S*; do "$s" start & done
while :; do sleep infinity & wait $!; done
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
