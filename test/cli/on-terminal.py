"""For the tests of terminals: runs a command on a terminal of its own, as a person with a shell does, and prints as JSON what the terminal was
set to before, meanwhile (at the last step) and after, what was printed, how the command ended, and what the shell would read then.

on-terminal.py STEPS COMMAND...: STEPS is JSON, a list of [text, keys] or [text, keys, signal]: when the text has been printed since the step before,
the keys are pressed and the signal is sent. Each request for the cursor's place is
answered after ANSWER_DELAY seconds, an environment variable (0)."""
import json, os, pty, select, signal, sys, termios, time

steps, command = json.loads(sys.argv[1]), sys.argv[2:]
delay = float(os.environ.get("ANSWER_DELAY", "0"))
CURSOR_QUERY = b"\x1b[6n"


def settings():
    return [int(flag) for flag in termios.tcgetattr(slave)[:4]]


master, slave = pty.openpty()
before = settings()
shells = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.setsid()
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.close(master)
    os.close(slave)
    os.execvp(command[0], command)
output = b""
seen = asked = 0
answers = []
during = None
deadline = time.time() + float(os.environ.get("PATIENCE", "60"))
status = None
while time.time() < deadline:
    if select.select([master], [], [], 0.02)[0]:
        output += os.read(master, 4096)
    while (found := output.find(CURSOR_QUERY, asked)) >= 0:
        asked = found + len(CURSOR_QUERY)
        answers.append(time.time() + delay)
    while answers and answers[0] <= time.time():
        answers.pop(0)
        os.write(master, b"\x1b[1;1R")
    if steps and (found := output.find(steps[0][0].encode(), seen)) >= 0:
        text, keys, *name = steps.pop(0)
        seen = found + len(text.encode())
        during = settings()
        if keys:
            os.write(master, keys.encode())
        for each in name:
            if each == "SIGCONT":
                # A shell has had the terminal since the job stopped.
                termios.tcsetattr(slave, termios.TCSANOW, shells)
            os.kill(child, getattr(signal, each))
    if status is None:
        pid, result = os.waitpid(child, os.WNOHANG)
        if pid:
            status = result
            deadline = min(deadline, time.time() + 0.2 + delay)
if status is None:
    os.kill(child, signal.SIGKILL)
after = settings()
raw = termios.tcgetattr(slave)
raw[3] &= ~(termios.ICANON | termios.ECHO)
raw[6][termios.VMIN] = raw[6][termios.VTIME] = 0
termios.tcsetattr(slave, termios.TCSANOW, raw)
print(json.dumps({
    "before": before,
    "during": during,
    "after": after,
    "output": output.decode(errors="replace"),
    "left": os.read(slave, 4096).decode(errors="replace"),
    "steps": len(steps),
    "status": None if status is None else os.waitstatus_to_exitcode(status),
}))
