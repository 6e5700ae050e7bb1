"""A SLURM of the tests' own: controller, two nodes and munge, on free ports, in a temporary folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol")
MAX_ARRAY_SIZE = 2
NODES = ("one", "two")

# Jobs are requeued where the partition `urgent` needs their cores. A credential that lives for five seconds lets a
# requeued job start again after as long; the default is two minutes. Ended jobs leave the queue soon, as those of a
# large cluster do.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
MinJobAge=2
MaxArraySize={array}
SlurmdTimeout=10
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing():
    """Give the first program of SLURM that is not installed, or None."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return next((name for name in PROGRAMS if shutil.which(name, path=path) is None), None)


class Cluster:
    """A running cluster of two nodes with four cores each, as far as it knows."""

    def __init__(self):
        # Not where pytest has its folders: the path of a socket may have a hundred characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._processes = {}

    def start(self):
        """Start everything, and wait until both nodes take jobs."""
        ports = dict(zip(("controller", *NODES), _free_ports(3), strict=True))
        host = socket.gethostname()
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[name]} CPUs=4 RealMemory=4000"
            for name in NODES
        ]
        text = CONFIGURATION.format(
            host=host,
            controller=ports["controller"],
            user=getpass.getuser(),
            folder=self.folder,
            array=MAX_ARRAY_SIZE,
            nodes="\n".join(nodes),
        )
        (self.folder / "slurm.conf").write_text(text, encoding="ascii")
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        own = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        self._launch(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={own['socket']}",
            f"--pid-file={own['pid']}", f"--log-file={own['log']}", f"--seed-file={own['seed']}",
        )  # fmt: skip
        self.until(own["socket"].exists, "munged has no socket")
        self._launch("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        self.until(
            lambda: self.say("sinfo", "-h", "-N", "-p", "main", "-o", "%t") == "idle\nidle", "nodes are not idle"
        )
        return self

    def start_node(self, name):
        """Start a node."""
        self._launch("slurmd", "-D", "-N", name, key=name)

    def say(self, *command):
        """Run a command of SLURM and give what it prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=30, check=False
        )
        return (done.stdout + done.stderr).strip()

    def queue(self):
        """Give the jobs that wait or run, as text: id, state and node of each."""
        return self.say("squeue", "-h", "-r", "-o", "%i %t %N").splitlines()

    def clear(self):
        """Cancel every job, and wait until none runs."""
        if self.queue():
            self.say("scancel", "--full", "--user", getpass.getuser())
            self.until(lambda: not self.queue(), "jobs do not end")

    def stop(self):
        """End everything."""
        if "slurmctld" in self._processes:
            self.clear()
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _launch(self, program, *arguments, key=None):
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
        with (self.folder / f"{key or program}.log").open("ab") as log:
            self._processes[key or program] = subprocess.Popen(
                [shutil.which(program, path=path), *arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    def until(self, holds, otherwise):
        limit = time.monotonic() + 60
        while not holds():
            if time.monotonic() > limit:
                logs = "\n".join(path.read_text(errors="replace")[-1000:] for path in self.folder.glob("*.log"))
                raise AssertionError(f"{otherwise}; the logs say:\n{logs}")
            time.sleep(0.1)


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
