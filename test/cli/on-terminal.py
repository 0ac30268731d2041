"""For terminal.test.ts: runs a command on a terminal of its own, presses keys or sends a signal when it has printed "ready" (as often
as the environment variable READY_COUNT says; once by default), and prints as JSON what the terminal was set to before, meanwhile and after, what was printed, and how the command ended."""
import json, os, pty, select, signal, sys, termios, time

keys, signal_name, command = sys.argv[1], sys.argv[2], sys.argv[3:]
ready_count = int(os.environ.get("READY_COUNT", "1"))


def settings():
    flags = termios.tcgetattr(slave)[:4]
    return [int(flag) for flag in flags]


master, slave = pty.openpty()
before = settings()
child = os.fork()
if child == 0:
    os.setsid()
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.execvp(command[0], command)
output = b""
during = None
deadline = time.time() + 60
status = None
while time.time() < deadline:
    if select.select([master], [], [], 0.02)[0]:
        output += os.read(master, 4096)
    if during is None and output.count(b"ready") >= ready_count:
        during = settings()
        if keys:
            os.write(master, keys.encode().decode("unicode_escape").encode())
        if signal_name:
            os.kill(child, getattr(signal, signal_name))
    if status is None:
        pid, result = os.waitpid(child, os.WNOHANG)
        if pid:
            status = result
            deadline = min(deadline, time.time() + 0.2)
if status is None:
    os.kill(child, signal.SIGKILL)
print(json.dumps({
    "before": before,
    "during": during,
    "after": settings(),
    "output": output.decode(errors="replace"),
    "status": None if status is None else os.waitstatus_to_exitcode(status),
}))
